/** `LinearLR`: from one factor to another in a line. */
import { badOption } from '../errors.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `LinearLR`. */
export interface LinearLROptions extends SchedulerOptions {
  /** Above 0, at most 1. Default 1/3. */
  startFactor?: number | undefined
  /** From 0 to 1. Default 1. */
  endFactor?: number | undefined
  /** Steps from one factor to the other. Default 5. */
  totalIters?: number | undefined
}

/** Multiplies by a factor that goes from `startFactor` to `endFactor` within `totalIters` steps. */
export class LinearLR extends ChainableScheduler {
  readonly #start: number
  readonly #end: number
  readonly #totalIters: number

  constructor(optimizer: ScheduledOptimizer, options: LinearLROptions = {}) {
    checkSchedulerOptions('LinearLR', options, ['startFactor', 'endFactor', 'totalIters'])
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options
    if (!(startFactor > 0 && startFactor <= 1)) {
      throw badOption('LinearLR', `startFactor must be above 0 and at most 1, not ${startFactor}`)
    }
    if (!(endFactor >= 0 && endFactor <= 1)) {
      throw badOption('LinearLR', `endFactor must be from 0 to 1, not ${endFactor}`)
    }
    super(optimizer, options)
    this.#start = startFactor
    this.#end = endFactor
    this.#totalIters = totalIters
    this.start()
  }

  protected next(value: number, _base: number, n: number): number {
    if (n === 0) return value * this.#start
    if (n > this.#totalIters) return value
    const change = this.#end - this.#start
    return value * (1 + change / (this.#totalIters * this.#start + (n - 1) * change))
  }
}
