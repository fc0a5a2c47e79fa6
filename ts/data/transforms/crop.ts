/** Parts of images. */
import { badOption, checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { checkCount } from '../sampler.ts'
import {
  type Box,
  below,
  between,
  checkBox,
  checkRange,
  imageSizes,
  type Randomness,
  type Size,
  sides,
  taker,
} from './image.ts'
import { type Interpolation, interpolationCode, resizeFloats } from './resize.ts'
import { imageStep, runOnBytes, type TwoUses, twoUses } from './step.ts'

/** The part of each image that `box` names: a view. */
export function crop(x: Tensor, box: Box): Tensor {
  const { height, width } = imageSizes('crop', x)
  checkBox('crop', box, height, width)
  return x.narrow(-2, box.top, box.height).narrow(-1, box.left, box.width)
}

/** The middle of each image; `size` is the side of a square or [height, width]. A smaller image is first padded with zeros. */
export const centerCrop: TwoUses<[size: Size]> = twoUses('centerCrop', (size: Size) => {
  const [h, w] = sides('centerCrop', size)
  return imageStep([{ name: 'centerCrop', numbers: [h, w] }], x => {
    const whole = imageSizes('centerCrop', x)
    const [down, across] = [Math.max(h - whole.height, 0), Math.max(w - whole.width, 0)]
    const half = (n: number) => [Math.floor(n / 2), Math.ceil(n / 2)] as const
    const padded = down + across === 0 ? x : x.pad([...half(across), ...half(down)])
    const { height, width } = imageSizes('centerCrop', padded)
    return crop(padded, { top: halfEven(height - h), left: halfEven(width - w), height: h, width: w })
  })
})

/** Options of `randomCrop`. */
export interface CropOptions extends Randomness {
  /** Room made around the image first: on all sides, [left and right, top and bottom] or [left, top, right, bottom]. Default 0. */
  padding?: number | readonly [number, number] | readonly [number, number, number, number] | undefined
  /** What stands in that room: `fill`, the nearest pixel, or the mirrored image without its edge. Default `'constant'`. */
  paddingMode?: 'constant' | 'edge' | 'reflect' | undefined
  /** The constant, in the image's own range. Default 0. */
  fill?: number | undefined
}

/** By name: the mode of `pad`, and the native code's number. */
const paddingModes = { constant: ['constant', 0], edge: ['replicate', 1], reflect: ['reflect', 2] } as const

/** A part of `size` (a side, or [height, width]) at a random place, after padding. */
export const randomCrop: TwoUses<[size: Size, options?: CropOptions]> = twoUses(
  'randomCrop',
  (size: Size, options: CropOptions = {}) => {
    const op = 'randomCrop'
    checkOptions(op, options, ['padding', 'paddingMode', 'fill', 'generator'])
    const [h, w] = sides(op, size)
    const { padding = 0, paddingMode = 'constant', fill = 0 } = options
    const [left, top = left, right = left, bottom = top] = typeof padding === 'number' ? [padding] : padding
    for (const side of [left, top, right, bottom]) checkCount(side, 'padding', op, 0)
    if (!Object.hasOwn(paddingModes, paddingMode)) {
      throw badOption(op, `paddingMode must be 'constant', 'edge' or 'reflect', not ${String(paddingMode)}`)
    }
    const [mode, code] = paddingModes[paddingMode]
    const step = { name: op, numbers: [h, w, left, top, right, bottom, code, fill] }
    return imageStep([step], (x, { generator }) => {
      imageSizes(op, x)
      const padded = left + top + right + bottom === 0 ? x : x.pad([left, right, top, bottom], { mode, value: fill })
      const { height, width } = imageSizes(op, padded)
      if (h > height || w > width) {
        throw badOption(op, `a part of ${h} x ${w} is larger than the image of ${height} x ${width}`)
      }
      const next = taker(uniform(2, generator))
      const row = below(next(), height - h + 1)
      return crop(padded, { top: row, left: below(next(), width - w + 1), height: h, width: w })
    })
  },
)

/** Options of `randomResizedCrop`. */
export interface ResizedCropOptions extends Randomness {
  /** Least and greatest share of the image's area. Default [0.08, 1]. */
  scale?: readonly [number, number] | undefined
  /** Least and greatest ratio of width to height. Default [3 / 4, 4 / 3]. */
  ratio?: readonly [number, number] | undefined
  /** Default `'bilinear'`. */
  interpolation?: Interpolation | undefined
}

/** Parts that are tried before the middle is taken. */
const TRIES = 10

/** A part of a random area and shape, in the given size. */
export const randomResizedCrop: TwoUses<[size: Size, options?: ResizedCropOptions]> = twoUses(
  'randomResizedCrop',
  (size: Size, options: ResizedCropOptions = {}) => {
    const op = 'randomResizedCrop'
    checkOptions(op, options, ['scale', 'ratio', 'interpolation', 'generator'])
    const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3], interpolation = 'bilinear' } = options
    const [h, w] = sides(op, size)
    checkRange(op, 'scale', scale, 1)
    checkRange(op, 'ratio', ratio)
    if (ratio[0] === 0) throw badOption(op, 'ratio must be above 0')
    const step = { name: op, numbers: [h, w, ...scale, ...ratio, interpolationCode(op, interpolation)] }
    return imageStep([step], (x, context) => {
      if (x.dtype === 'uint8') return runOnBytes(x, step, 4 * TRIES, context)
      const { height, width } = imageSizes(op, x)
      const box = randomBox(height, width, scale, ratio, taker(uniform(4 * TRIES, context.generator)))
      return resizeFloats(op, x, box, h, w, interpolation)
    })
  },
)

function randomBox(
  height: number,
  width: number,
  scale: readonly [number, number],
  ratio: readonly [number, number],
  next: () => number,
): Box {
  for (let i = 0; i < TRIES; i++) {
    const area = height * width * between(next(), ...scale)
    const aspect = Math.exp(between(next(), Math.log(ratio[0]), Math.log(ratio[1])))
    const [down, across] = [next(), next()]
    const h = Math.round(Math.sqrt(area / aspect))
    const w = Math.round(Math.sqrt(area * aspect))
    if (h < 1 || w < 1 || h > height || w > width) continue
    return { top: below(down, height - h + 1), left: below(across, width - w + 1), height: h, width: w }
  }
  const shape = width / height
  const h = shape < ratio[0] ? Math.min(height, Math.max(1, Math.round(width / ratio[0]))) : height
  const w = shape > ratio[1] ? Math.min(width, Math.max(1, Math.round(height * ratio[1]))) : width
  return { top: Math.floor((height - h) / 2), left: Math.floor((width - w) / 2), height: h, width: w }
}

/** Half of `n`, halves to the even side: where PyTorch's center crop begins. */
function halfEven(n: number): number {
  const low = Math.floor(n / 2)
  return n % 2 === 0 || low % 2 === 0 ? low : low + 1
}
