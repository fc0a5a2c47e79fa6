/**
 * The garbage collector as a backstop: a tensor made outside every scope is freed when its object has been collected.
 * Inside scopes and step windows, which free what they made, nothing is registered: that would cost more than a matched op.
 */
import { native } from '../native/index.ts'
import type { Tensor } from './tensor.ts'

/** Whether no scope or window is open. */
export let unscoped = true

/** Opens (false) or closes (true) the outermost scope. */
export function setUnscoped(on: boolean): void {
  unscoped = on
}

// A handle carries a generation, so one that was disposed of meanwhile can't free another tensor.
const collected = new FinalizationRegistry<number>(handle => native.release(handle))

/** `made` in the place of the tensor that it was made from, which is freed if it is another. */
export function replaced(from: Tensor, made: Tensor): Tensor {
  if (made !== from) from.dispose()
  return made
}

/** Frees `handle` once `owner` has been collected. */
export function track(owner: object, handle: number): void {
  collected.register(owner, handle)
}
