/**
 * Garbage collection: a tensor made outside every scope is freed when its object is collected. Inside scopes and step windows,
 * which free what they made, nothing is noted: that would cost more than a matched op.
 */
import type { Tensor } from './tensor.ts'

/** Whether no scope or window is open. */
export let unscoped = true

/** Opens (false) or closes (true) the outermost scope. */
export function setUnscoped(on: boolean): void {
  unscoped = on
}

/** `made` in the place of the tensor that it was made from, which is freed if it is another. */
export function replaced(from: Tensor, made: Tensor): Tensor {
  if (made !== from) from.dispose()
  return made
}

/** Frees the tensors once their objects are collected: results of the outermost scope. */
export function trackAll(tensors: Iterable<Tensor>): void {
  for (const x of tensors) x.track()
}
