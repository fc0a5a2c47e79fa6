/** Images of another size, with Pillow's filters: antialiased, so that each pixel is made of all that it covers. */
import { badOption, checkOptions } from '../../errors.ts'
import { type Tensor, tensor } from '../../tensor/index.ts'
import { checkCount } from '../sampler.ts'
import { type Box, checkFloat, imageSizes, type Size, sides } from './image.ts'
import { imageStep, runOnBytes, type TwoUses, twoUses } from './step.ts'

/** Their places in this list are the native code's numbers for them. */
const interpolations = ['nearest', 'bilinear', 'bicubic', 'lanczos'] as const

/** How pixels between pixels are made. */
export type Interpolation = (typeof interpolations)[number]

/** The native code's number of an interpolation. */
export function interpolationCode(op: string, name: Interpolation): number {
  const code = interpolations.indexOf(name)
  if (code !== -1) return code
  throw badOption(op, `interpolation must be one of ${interpolations.join(', ')}, not '${String(name)}'`)
}

/** Options of `resize`. */
export interface ResizeOptions {
  /** Default `'bilinear'`. */
  interpolation?: Interpolation | undefined
  /** With a number as size: the most that the longer side may get; the shorter one then gets less. */
  maxSize?: number | undefined
}

/**
 * Images in the size [height, width]; a number is the length of the shorter side, and the other keeps the ratio. uint8 images get
 * Pillow's values; float tensors are not rounded.
 */
export const resize: TwoUses<[size: Size, options?: ResizeOptions]> = twoUses(
  'resize',
  (size: Size, options: ResizeOptions = {}) => {
    checkOptions('resize', options, ['interpolation', 'maxSize'])
    const { interpolation = 'bilinear', maxSize } = options
    const code = interpolationCode('resize', interpolation)
    const [h, w] = sides('resize', size)
    if (maxSize !== undefined && (typeof size !== 'number' || checkCount(maxSize, 'maxSize', 'resize') <= size)) {
      throw badOption('resize', 'maxSize needs one number as size, and must be above it')
    }
    const step =
      typeof size === 'number'
        ? { name: 'resizeShort', numbers: [size, maxSize ?? 0, code] }
        : { name: 'resize', numbers: [h, w, code] }
    return imageStep([step], x => {
      if (x.dtype === 'uint8') return runOnBytes(x, step)
      const { height, width } = imageSizes('resize', x)
      const [newHeight, newWidth] = typeof size === 'number' ? byShortSide(height, width, size, maxSize) : [h, w]
      const box = { top: 0, left: 0, height, width }
      return resizeFloats('resize', x, box, newHeight, newWidth, interpolation)
    })
  },
)

/** Height and width of an image whose shorter side becomes `short`; `most` bounds the longer one. */
function byShortSide(height: number, width: number, short: number, most = Number.POSITIVE_INFINITY): [number, number] {
  const [low, high] = [Math.min(height, width), Math.max(height, width)]
  const long = Math.floor((short * high) / low)
  const [a, b] = long > most ? [Math.floor((most * short) / long), most] : [short, long]
  const [newLow, newHigh] = [Math.max(a, 1), Math.max(b, 1)]
  return width <= height ? [newHigh, newLow] : [newLow, newHigh]
}

/** The part `box` of float images in another size: a product with a matrix of weights along each side. */
export function resizeFloats(
  op: string,
  x: Tensor,
  box: Box,
  height: number,
  width: number,
  interpolation: Interpolation,
): Tensor {
  checkFloat(op, x)
  const part = x.narrow(-2, box.top, box.height).narrow(-1, box.left, box.width)
  const along = (from: number, to: number) =>
    tensor(weights(from, to, interpolation), { dtype: x.dtype, device: x.device }).reshape([to, from])
  const wide = width === box.width ? part : part.matmul(along(box.width, width).transpose(0, 1))
  return height === box.height ? wide : along(box.height, height).matmul(wide)
}

/** Which share each of `from` pixels has in each of `to`: a matrix [to, from]. */
function weights(from: number, to: number, interpolation: Interpolation): Float64Array {
  const matrix = new Float64Array(to * from)
  const scale = from / to
  const { reach, at } = filters[interpolation]
  const stretch = Math.max(scale, 1)
  for (let i = 0; i < to; i++) {
    const row = matrix.subarray(i * from, (i + 1) * from)
    const center = (i + 0.5) * scale
    if (reach === 0) {
      row[Math.min(Math.floor(center), from - 1)] = 1
      continue
    }
    const first = Math.max(0, Math.trunc(center - reach * stretch + 0.5))
    const end = Math.min(from, Math.trunc(center + reach * stretch + 0.5))
    let sum = 0
    for (let k = first; k < end; k++) {
      const weight = at(Math.abs((k - center + 0.5) / stretch))
      row[k] = weight
      sum += weight
    }
    for (let k = first; k < end; k++) row[k] = (row[k] ?? 0) / sum
  }
  return matrix
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

/** How far a filter reaches, and its weight at a distance. */
const filters: Record<Interpolation, { reach: number; at: (x: number) => number }> = {
  nearest: { reach: 0, at: () => 1 },
  bilinear: { reach: 1, at: x => Math.max(0, 1 - x) },
  bicubic: {
    reach: 2,
    at: x => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0),
  },
  lanczos: { reach: 3, at: x => (x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}
