/** `PolynomialLR`: to zero along a power. */
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `PolynomialLR`. */
export interface PolynomialLROptions extends SchedulerOptions {
  /** Steps until 0. Default 5. */
  totalIters?: number | undefined
  /** Default 1. */
  power?: number | undefined
}

/** `base * (1 - n / totalIters) ^ power`. */
export class PolynomialLR extends ChainableScheduler {
  readonly #totalIters: number
  readonly #power: number

  constructor(optimizer: ScheduledOptimizer, options: PolynomialLROptions = {}) {
    checkSchedulerOptions('PolynomialLR', options, ['totalIters', 'power'])
    super(optimizer, options)
    this.#totalIters = options.totalIters ?? 5
    this.#power = options.power ?? 1
    this.start()
  }

  protected next(value: number, _base: number, n: number): number {
    const total = this.#totalIters
    if (n === 0 || n > total) return value
    return value * ((1 - n / total) / (1 - (n - 1) / total)) ** this.#power
  }
}
