/** `ExponentialLR`: a factor at every step. */
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `ExponentialLR`. */
export interface ExponentialLROptions extends SchedulerOptions {
  gamma: number
}

/** Multiplies by `gamma` at every step. */
export class ExponentialLR extends ChainableScheduler {
  readonly #gamma: number

  constructor(optimizer: ScheduledOptimizer, options: ExponentialLROptions) {
    checkSchedulerOptions('ExponentialLR', options, ['gamma'])
    super(optimizer, options)
    this.#gamma = options.gamma
    this.start()
  }

  protected next(value: number, _base: number, n: number): number {
    return n === 0 ? value : value * this.#gamma
  }
}
