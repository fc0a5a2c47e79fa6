/** RandAugment (Cubuk et al.): a few operations of a fixed list, each with the same strength. */
import { badOption, checkOptions, WickError } from '../../errors.ts'
import { checkCount } from '../sampler.ts'
import type { Randomness } from './image.ts'
import { rgb } from './normalize.ts'
import { interpolationCode } from './resize.ts'
import { imageStep, runOnBytes, type TwoUses, twoUses } from './step.ts'

/** Options of `randAugment`. */
export interface RandAugmentOptions extends Randomness {
  /** Operations for an image. Default 2. */
  numOps?: number | undefined
  /** Their strength: a whole number below `numMagnitudeBins`. Default 9. */
  magnitude?: number | undefined
  /** Strengths that there are. Default 31. */
  numMagnitudeBins?: number | undefined
  /** How images are sheared, moved and turned. Default `'nearest'`. */
  interpolation?: 'nearest' | 'bilinear' | undefined
  /** What comes in from outside the image, 0 to 255: one number, or one for each channel. Default 0. */
  fill?: number | readonly [number, number, number] | undefined
}

/**
 * `numOps` random operations of torchvision's list on uint8 images: identity, shears, moves, turns, brightness, colour, contrast, sharpness,
 * posterize, solarize, autocontrast, equalize. Other dtypes are a `DTYPE_MISMATCH` error.
 */
export const randAugment: TwoUses<[options?: RandAugmentOptions]> = twoUses(
  'randAugment',
  (options: RandAugmentOptions = {}) => {
    const op = 'randAugment'
    checkOptions(op, options, ['numOps', 'magnitude', 'numMagnitudeBins', 'interpolation', 'fill', 'generator'])
    const { interpolation = 'nearest', fill = 0 } = options
    const numOps = checkCount(options.numOps ?? 2, 'numOps', op, 0)
    const bins = checkCount(options.numMagnitudeBins ?? 31, 'numMagnitudeBins', op)
    const magnitude = checkCount(options.magnitude ?? 9, 'magnitude', op, 0)
    if (magnitude >= bins) throw badOption(op, `magnitude must be below numMagnitudeBins, ${bins}, not ${magnitude}`)
    const code = interpolationCode(op, interpolation)
    if (code > 1) throw badOption(op, `interpolation must be 'nearest' or 'bilinear', not '${interpolation}'`)
    const channels = rgb(typeof fill === 'number' ? [fill] : fill)
    if (!channels?.every(v => v >= 0 && v <= 255)) {
      throw badOption(op, `fill must be a number from 0 to 255, or three of them, not ${String(fill)}`)
    }
    const step = { name: op, numbers: [numOps, magnitude, bins, code, ...channels] }
    return imageStep([step], (x, context) => {
      if (x.dtype !== 'uint8') throw new WickError('DTYPE_MISMATCH', `needs a uint8 tensor, not ${x.dtype}`, { op })
      return runOnBytes(x, step, 2 * numOps, context)
    })
  },
)
