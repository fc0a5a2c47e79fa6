/** Images mirrored. */
import { checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { checkProbability, imageSizes, type Randomness } from './image.ts'

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
export function randomHorizontalFlip(x: Tensor, options: FlipOptions = {}): Tensor {
  return happens('randomHorizontalFlip', options) ? horizontalFlip(x) : x
}

/** `verticalFlip` with probability `p`, else `x` itself. */
export function randomVerticalFlip(x: Tensor, options: FlipOptions = {}): Tensor {
  return happens('randomVerticalFlip', options) ? verticalFlip(x) : x
}

function happens(op: string, options: FlipOptions): boolean {
  checkOptions(op, options, ['p', 'generator'])
  const p = checkProbability(op, options.p ?? 0.5)
  return (uniform(1, options.generator)[0] ?? 0) < p
}
