/** `ConstantLR`: a smaller value at first. */
import { badOption } from '../errors.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `ConstantLR`. */
export interface ConstantLROptions extends SchedulerOptions {
  /** From 0 to 1. Default 1/3. */
  factor?: number | undefined
  /** Steps with the factor. Default 5. */
  totalIters?: number | undefined
}

/** Multiplies by `factor` for the first `totalIters` steps. */
export class ConstantLR extends ChainableScheduler {
  readonly #factor: number
  readonly #totalIters: number

  constructor(optimizer: ScheduledOptimizer, options: ConstantLROptions = {}) {
    checkSchedulerOptions('ConstantLR', options, ['factor', 'totalIters'])
    const { factor = 1 / 3, totalIters = 5 } = options
    if (!(factor >= 0 && factor <= 1)) throw badOption('ConstantLR', `factor must be from 0 to 1, not ${factor}`)
    super(optimizer, options)
    this.#factor = factor
    this.#totalIters = totalIters
    this.start()
  }

  protected next(value: number, base: number, n: number): number {
    if (n === 0) return value * this.#factor
    if (n !== this.#totalIters) return value
    return this.#factor === 0 ? base : value * (1 / this.#factor)
  }
}
