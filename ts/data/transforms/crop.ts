/** Parts of images. */
import { badOption, checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { checkCount } from '../sampler.ts'
import { type Box, below, checkBox, imageSizes, type Randomness, taker } from './image.ts'

/** The part of each image that `box` names: a view. */
export function crop(x: Tensor, box: Box): Tensor {
  const { height, width } = imageSizes('crop', x)
  checkBox('crop', box, height, width)
  return x.narrow(-2, box.top, box.height).narrow(-1, box.left, box.width)
}

/** The middle of each image; `size` is the side of a square or [height, width]. A larger size is a `BAD_OPTION` error. */
export function centerCrop(x: Tensor, size: number | readonly [number, number]): Tensor {
  const { height, width } = imageSizes('centerCrop', x)
  const [h, w] = sides('centerCrop', size)
  checkFits('centerCrop', h, w, height, width)
  return crop(x, { top: halfEven(height - h), left: halfEven(width - w), height: h, width: w })
}

/** Options of `randomCrop`. */
export interface CropOptions extends Randomness {
  /** Room made around the image first: on all sides, [left and right, top and bottom] or [left, top, right, bottom]. Default 0. */
  padding?: number | readonly [number, number] | readonly [number, number, number, number] | undefined
  /** What stands in that room: `fill`, the nearest pixel, or the mirrored image without its edge. Default `'constant'`. */
  paddingMode?: 'constant' | 'edge' | 'reflect' | undefined
  /** The constant. Default 0. */
  fill?: number | undefined
}

/** A part of `size` (a side, or [height, width]) at a random place, after padding. */
export function randomCrop(x: Tensor, size: number | readonly [number, number], options: CropOptions = {}): Tensor {
  checkOptions('randomCrop', options, ['padding', 'paddingMode', 'fill', 'generator'])
  const [h, w] = sides('randomCrop', size)
  const padded = padImage(x, options)
  const { height, width } = imageSizes('randomCrop', padded)
  checkFits('randomCrop', h, w, height, width)
  const next = taker(uniform(2, options.generator))
  const top = below(next(), height - h + 1)
  return crop(padded, { top, left: below(next(), width - w + 1), height: h, width: w })
}

function padImage(x: Tensor, { padding = 0, paddingMode = 'constant', fill = 0 }: CropOptions): Tensor {
  imageSizes('randomCrop', x)
  const [first, second = first, right = first, bottom = second] = typeof padding === 'number' ? [padding] : padding
  const [left, top] = [first, second]
  for (const side of [left, top, right, bottom]) checkCount(side, 'padding', 'randomCrop', 0)
  const mode = ({ constant: 'constant', edge: 'replicate', reflect: 'reflect' } as const)[paddingMode]
  if (mode === undefined) {
    throw badOption('randomCrop', `paddingMode must be 'constant', 'edge' or 'reflect', not ${String(paddingMode)}`)
  }
  return left + top + right + bottom === 0 ? x : x.pad([left, right, top, bottom], { mode, value: fill })
}

function sides(op: string, size: number | readonly [number, number]): readonly [number, number] {
  const [h, w] = typeof size === 'number' ? [size, size] : size
  return [checkCount(h, 'size', op), checkCount(w, 'size', op)]
}

function checkFits(op: string, h: number, w: number, height: number, width: number): void {
  if (h <= height && w <= width) return
  throw badOption(op, `a part of ${h} x ${w} is larger than the image of ${height} x ${width}`)
}

/** Half of `n`, halves to the even side: where PyTorch's center crop begins. */
function halfEven(n: number): number {
  const low = Math.floor(n / 2)
  return n % 2 === 0 || low % 2 === 0 ? low : low + 1
}
