/** What metrics of regressions have in common. */
import { checkCount } from '../../data/sampler.ts'
import { WickError } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { checkSameShape } from '../metric.ts'

/** Options of metrics with several outputs. */
export interface OutputOptions {
  /** Columns of `preds` and `target`, each with a value of its own. Default 1: all elements together. */
  numOutputs?: number | undefined
}

/** Checks `numOutputs`. */
export function checkOutputs(op: string, { numOutputs = 1 }: OutputOptions): number {
  return checkCount(numOutputs, 'numOutputs', op)
}

/** Predictions and targets as float64 `[n, numOutputs]`. */
export function outputRows(op: string, preds: Tensor, target: Tensor, numOutputs: number): [Tensor, Tensor] {
  checkSameShape(op, preds, target)
  if (numOutputs > 1 && preds.shape.at(-1) !== numOutputs) {
    throw new WickError('SHAPE_MISMATCH', `expected ${numOutputs} outputs, got [${preds.shape.join(', ')}]`, { op })
  }
  const rows = (t: Tensor) => t.to('float64').reshape([-1, numOutputs])
  return [rows(preds), rows(target)]
}
