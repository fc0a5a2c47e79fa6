/** Transforms one after the other. */
import { badOption } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import type { Randomness } from './image.ts'
import { type ImageStep, imageStep, type NativeStep } from './step.ts'

/** A step of `compose`; `context` is a dataset's, or anything else with a generator. */
export type Transform = (x: Tensor, context: Randomness) => Tensor

/**
 * One transform that runs `steps` in order and hands each the context, so that they draw from one generator. If all of them are native,
 * it is too.
 */
export function compose(...steps: Transform[]): ImageStep {
  const odd = steps.findIndex(step => typeof step !== 'function')
  if (odd !== -1) throw badOption('compose', `step ${odd} is not a function`)
  const all = steps.map(nativeSteps)
  const known = all.every(list => list !== null) ? all.flat() : null
  return imageStep(known, (x, context) => steps.reduce((image, step) => step(image, context), x))
}

/** What `transform` is natively, or null. */
export function nativeSteps(transform: unknown): readonly NativeStep[] | null {
  if (typeof transform !== 'function' || !('native' in transform)) return null
  return transform.native as readonly NativeStep[] | null
}
