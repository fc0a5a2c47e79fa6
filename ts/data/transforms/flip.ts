/** Images mirrored. */
import { checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { checkProbability, imageSizes, type Randomness } from './image.ts'
import { imageStep, type TwoUses, twoUses } from './step.ts'

/** Options of `randomHorizontalFlip` and `randomVerticalFlip`. */
export interface FlipOptions extends Randomness {
  /** How often it happens. Default 0.5. */
  p?: number | undefined
}

/** Left and right exchanged. */
export function horizontalFlip(x: Tensor): Tensor {
  imageSizes('horizontalFlip', x)
  return x.flip(-1)
}

/** Top and bottom exchanged. */
export function verticalFlip(x: Tensor): Tensor {
  imageSizes('verticalFlip', x)
  return x.flip(-2)
}

/** `horizontalFlip` with probability `p`, else `x` itself. */
export const randomHorizontalFlip: TwoUses<[options?: FlipOptions]> = randomly('randomHorizontalFlip', horizontalFlip)

/** `verticalFlip` with probability `p`, else `x` itself. */
export const randomVerticalFlip: TwoUses<[options?: FlipOptions]> = randomly('randomVerticalFlip', verticalFlip)

function randomly(op: string, flip: (x: Tensor) => Tensor): TwoUses<[options?: FlipOptions]> {
  return twoUses(op, (options: FlipOptions = {}) => {
    checkOptions(op, options, ['p', 'generator'])
    const p = checkProbability(op, options.p ?? 0.5)
    return imageStep([{ name: op, numbers: [p] }], (x, { generator }) =>
      (uniform(1, generator)[0] ?? 0) < p ? flip(x) : x,
    )
  })
}
