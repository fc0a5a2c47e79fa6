/** Transforms one after the other. */
import { badOption } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import type { Randomness } from './image.ts'

/** A step of `compose`; `context` is a dataset's, or anything else with a generator. */
export type Transform = (x: Tensor, context: Randomness) => Tensor

/** One transform that runs `steps` in order and hands each the context, so that they draw from one generator. */
export function compose(...steps: Transform[]): (x: Tensor, context?: Randomness) => Tensor {
  const odd = steps.findIndex(step => typeof step !== 'function')
  if (odd !== -1) throw badOption('compose', `step ${odd} is not a function`)
  return (x, context = {}) => steps.reduce((image, step) => step(image, context), x)
}
