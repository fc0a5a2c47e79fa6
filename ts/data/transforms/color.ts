/**
 * Brightness, contrast, saturation and hue: of float images in 0..1, and in the random form also of uint8 images. Images of one channel
 * have no saturation and no hue.
 */
import { badOption, checkOptions, WickError } from '../../errors.ts'
import { maximum, minimum, stack, type Tensor, where } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { between, checkFloat, imageSizes, type Randomness, taker } from './image.ts'
import { imageStep, runOnBytes, type TwoUses, twoUses } from './step.ts'

/** A factor f for the range 1 - f (at least 0) to 1 + f, or the range itself. */
export type FactorRange = number | readonly [number, number]

/** Options of `colorJitter`. What isn't given stays as it is. */
export interface ColorJitterOptions extends Randomness {
  brightness?: FactorRange | undefined
  contrast?: FactorRange | undefined
  saturation?: FactorRange | undefined
  /** Greatest turn of the hue as a share of the circle, at most 0.5, or the range of turns. */
  hue?: FactorRange | undefined
}

/** The number of channels: 1 or 3. */
function channelsOf(op: string, x: Tensor): number {
  checkFloat(op, x)
  const { channels } = imageSizes(op, x)
  if (channels === 1 || channels === 3) return channels
  throw new WickError('SHAPE_MISMATCH', `needs 1 or 3 channels, not ${channels}`, { op })
}

function checkFactor(op: string, factor: number): void {
  if (!(factor >= 0 && Number.isFinite(factor))) throw badOption(op, `the factor must be at least 0, not ${factor}`)
}

/** The luminance of red, green and blue, as one channel. */
export function grayscale(x: Tensor): Tensor {
  if (channelsOf('grayscale', x) === 1) return x
  const [r, g, b] = planes(x)
  return r.mul(0.2989).add(g.mul(0.587)).add(b.mul(0.114)).unsqueeze(-3)
}

/** `x` times `factor`, cut to 0..1. */
export function adjustBrightness(x: Tensor, factor: number): Tensor {
  channelsOf('adjustBrightness', x)
  checkFactor('adjustBrightness', factor)
  return x.mul(factor).clamp(0, 1)
}

/** `x` moved away from the mean luminance of each image (factor above 1), or towards it. */
export function adjustContrast(x: Tensor, factor: number): Tensor {
  checkFactor('adjustContrast', factor)
  channelsOf('adjustContrast', x)
  return blend(x, grayscale(x).mean({ dim: [-3, -2, -1], keepdim: true }), factor)
}

/** `x` moved away from its gray version (factor above 1), or towards it. */
export function adjustSaturation(x: Tensor, factor: number): Tensor {
  checkFactor('adjustSaturation', factor)
  return channelsOf('adjustSaturation', x) === 1 ? x : blend(x, grayscale(x), factor)
}

/** The hue of `x` turned by a share of the circle from -0.5 to 0.5. */
export function adjustHue(x: Tensor, turn: number): Tensor {
  if (!(turn >= -0.5 && turn <= 0.5)) throw badOption('adjustHue', `the turn must be between -0.5 and 0.5, not ${turn}`)
  if (channelsOf('adjustHue', x) === 1) return x
  const [r, g, b] = planes(x)
  const high = maximum(maximum(r, g), b)
  const range = high.sub(minimum(minimum(r, g), b))
  // Gray has no hue; any divisor will do.
  const divisor = where(range.eq(0), 1, range)
  const [fromR, fromG, fromB] = [r, g, b].map(c => high.sub(c).div(divisor)) as [Tensor, Tensor, Tensor]
  // In sixths of the circle.
  const notRed = where(high.eq(g), fromR.sub(fromB).add(2), fromG.sub(fromR).add(4))
  const hue = where(high.eq(r), fromB.sub(fromG), notRed).add(6 * turn)
  const turned = [5, 3, 1].map(n => {
    const k = hue.add(n).remainder(6)
    return high.sub(range.mul(minimum(k, k.neg().add(4)).clamp(0, 1)))
  })
  return stack(turned, -3)
}

/** By name, in the native code's order. */
const adjustments = {
  brightness: adjustBrightness,
  contrast: adjustContrast,
  saturation: adjustSaturation,
  hue: adjustHue,
} as const

/** Random brightness, contrast, saturation and hue, in a random order. uint8 images get Pillow's values, whose hue is a byte. */
export const colorJitter: TwoUses<[options?: ColorJitterOptions]> = twoUses(
  'colorJitter',
  (options: ColorJitterOptions = {}) => {
    checkOptions('colorJitter', options, ['brightness', 'contrast', 'saturation', 'hue', 'generator'])
    const names = ['brightness', 'contrast', 'saturation', 'hue'] as const
    const parts = names.map(name => ({ range: rangeOf(name, options[name]), adjust: adjustments[name] }))
    const none = [Number.NaN, Number.NaN]
    const step = { name: 'colorJitter', numbers: parts.flatMap(({ range }) => range ?? none) }
    return imageStep([step], (x, context) => {
      if (x.dtype === 'uint8') return runOnBytes(x, step, 2 * parts.length, context)
      channelsOf('colorJitter', x)
      const next = taker(uniform(2 * parts.length, context.generator))
      return parts
        .map(part => ({ ...part, share: next(), place: next() }))
        .sort((a, b) => a.place - b.place)
        .reduce((image, { range, adjust, share }) => (range ? adjust(image, between(share, ...range)) : image), x)
    })
  },
)

function rangeOf(name: string, given: FactorRange | undefined): readonly [number, number] | null {
  if (given === undefined) return null
  const isHue = name === 'hue'
  const middle = isHue ? 0 : 1
  if (typeof given === 'number' && !(given >= 0))
    throw badOption('colorJitter', `${name} must be at least 0, not ${given}`)
  const [low, high] = typeof given === 'number' ? [isHue ? -given : Math.max(0, middle - given), middle + given] : given
  const [least, most] = isHue ? [-0.5, 0.5] : [0, Number.MAX_VALUE]
  if (low >= least && low <= high && high <= most) return [low, high]
  throw badOption('colorJitter', `${name} must be a range in ${isHue ? '-0.5..0.5' : '0..'}, not [${low}, ${high}]`)
}

/** `factor` parts of `x` and 1 - factor of `other`, cut to 0..1. */
function blend(x: Tensor, other: Tensor, factor: number): Tensor {
  return x
    .mul(factor)
    .add(other.mul(1 - factor))
    .clamp(0, 1)
}

function planes(x: Tensor): [Tensor, Tensor, Tensor] {
  return [x.select(-3, 0), x.select(-3, 1), x.select(-3, 2)]
}
