/** How a loss is brought to one number: the option that all losses share. */
import { badOption } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'

/** `'mean'` of the elements' losses, their `'sum'`, or `'none'`: a loss for each. */
export type Reduction = 'none' | 'mean' | 'sum'

/** Options of a loss that has no others. */
export interface LossOptions {
  /** `'mean'` unless given. */
  reduction?: Reduction
}

/** Reduces the losses of `op`'s elements. */
export function reduceLoss(op: string, loss: Tensor, reduction: Reduction = 'mean'): Tensor {
  checkReduction(op, reduction)
  return reduction === 'none' ? loss : reduction === 'sum' ? loss.sum() : loss.mean()
}

/** Throws `BAD_OPTION` for an unknown reduction. */
export function checkReduction(op: string, reduction: string): void {
  if (reduction === 'none' || reduction === 'mean' || reduction === 'sum') return
  throw badOption(op, `reduction must be 'none', 'mean' or 'sum', not '${reduction}'`)
}
