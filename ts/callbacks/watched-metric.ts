/** What callbacks that watch a metric have in common. */
import { checkOptions } from '../errors.ts'
import type { MetricName } from '../trainer/run-history.ts'
import type { AnyTrainer } from './callback.ts'

/** Options of callbacks that watch a metric. */
export interface WatchOptions {
  /** Default `eval_loss_epoch`. */
  watchMetric?: MetricName | undefined
  /** Default false. */
  greaterIsBetter?: boolean | undefined
  /** Whether each run that isn't resumed begins without a best value. Default true. */
  resetOnTrain?: boolean | undefined
}

/** The best value of a metric so far. */
export class WatchedMetric {
  readonly name: MetricName
  readonly greaterIsBetter: boolean
  readonly #resetOnTrain: boolean
  best: number | null = null

  constructor({ watchMetric = 'eval_loss_epoch', greaterIsBetter = false, resetOnTrain = true }: WatchOptions) {
    this.name = watchMetric
    this.greaterIsBetter = greaterIsBetter
    this.#resetOnTrain = resetOnTrain
  }

  /** A run begins: true if what was seen before doesn't count. */
  begin(): boolean {
    if (this.#resetOnTrain) this.best = null
    return this.#resetOnTrain
  }

  /** The latest value; one that was never recorded is an error that names those that were. */
  latest({ runHistory }: AnyTrainer): number {
    return runHistory.getLatestMetric(this.name)
  }

  /** Whether `value` is strictly better than the best; the first one is, and anything is better than NaN. */
  isBetter(value: number): boolean {
    const { best } = this
    if (best === null || Number.isNaN(best)) return true
    return this.greaterIsBetter ? value > best : value < best
  }

  /** Takes over a best value from a state. */
  restore(best: number | null): void {
    this.best = best
  }
}

/** Checks the options of a callback that watches a metric, and `names` of its own. */
export function checkWatchOptions(op: string, options: object, names: readonly string[]): void {
  checkOptions(op, options, ['watchMetric', 'greaterIsBetter', 'resetOnTrain', ...names])
}
