/** Random rectangles of images wiped out (Random Erasing, Zhong et al.). */
import { badOption, checkOptions } from '../../errors.ts'
import { noGrad, randn, type Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import {
  type Box,
  below,
  between,
  checkBox,
  checkFloat,
  checkProbability,
  checkRange,
  imageSizes,
  type Randomness,
  taker,
} from './image.ts'
import { byChannel, rgb } from './normalize.ts'
import { imageStep, type TwoUses, twoUses } from './step.ts'

/** What stands in an erased rectangle: a number, one for each channel, or normal noise. */
export type Fill = number | readonly number[] | 'random'

/** A copy of `x` in which `value` stands in `box`. */
export function erase(x: Tensor, box: Box, value: Fill = 0, { generator }: Randomness = {}): Tensor {
  checkFloat('erase', x)
  const { channels, height, width } = imageSizes('erase', x)
  checkBox('erase', box, height, width)
  return noGrad(() => {
    const out = x.clone()
    const part = out.narrow(-2, box.top, box.height).narrow(-1, box.left, box.width)
    if (value === 'random') {
      part.copy_(randn(part.shape, { dtype: x.dtype, device: x.device, ...(generator && { generator }) }))
    } else if (typeof value === 'number') part.fill_(value)
    else part.copy_(byChannel('erase', x, value, channels).expand(part.shape))
    return out
  })
}

/** Options of `randomErasing`. */
export interface ErasingOptions extends Randomness {
  /** How often it happens. Default 0.5. */
  p?: number | undefined
  /** Least and greatest share of the image that is erased. Default [0.02, 0.33]. */
  scale?: readonly [number, number] | undefined
  /** Least and greatest ratio of height to width. Default [0.3, 3.3]. */
  ratio?: readonly [number, number] | undefined
  /** Default 0. */
  value?: Fill | undefined
}

/** Places that are tried before an image stays as it is. */
const TRIES = 10

/** With probability `p`, `erase` in a random rectangle that is smaller than the image; else `x` itself. */
export const randomErasing: TwoUses<[options?: ErasingOptions]> = twoUses(
  'randomErasing',
  (options: ErasingOptions = {}) => {
    const op = 'randomErasing'
    checkOptions(op, options, ['p', 'scale', 'ratio', 'value', 'generator'])
    const p = checkProbability(op, options.p ?? 0.5)
    const { scale = [0.02, 0.33], ratio = [0.3, 3.3], value = 0 } = options
    checkRange(op, 'scale', scale, 1)
    checkRange(op, 'ratio', ratio)
    if (ratio[0] === 0) throw badOption(op, 'ratio must be above 0')
    const fill = value === 'random' ? [1] : nativeFill(typeof value === 'number' ? [value] : value)
    const steps = fill && [{ name: op, numbers: [p, ...scale, ...ratio, ...fill] }]
    return imageStep(steps, (x, { generator }) => {
      const { height, width } = imageSizes(op, x)
      const next = taker(uniform(1 + 4 * TRIES, generator))
      if (next() >= p) return x
      for (let i = 0; i < TRIES; i++) {
        const area = height * width * between(next(), ...scale)
        const aspect = Math.exp(between(next(), Math.log(ratio[0]), Math.log(ratio[1])))
        const [down, across] = [next(), next()]
        const h = Math.round(Math.sqrt(area * aspect))
        const w = Math.round(Math.sqrt(area / aspect))
        if (h >= height || w >= width) continue
        const box = { top: below(down, height - h + 1), left: below(across, width - w + 1), height: h, width: w }
        return erase(x, box, value, { generator })
      }
      return x
    })
  },
)

/** 0 for "values", and a value for each channel; null if they are for other channels than three. */
function nativeFill(values: readonly number[]): number[] | null {
  const channels = rgb(values)
  return channels && [0, ...channels]
}
