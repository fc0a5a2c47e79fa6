/** `MultiStepLR`: a factor at given steps. */
import { badOption } from '../errors.ts'
import { checkSchedulerOptions, isNumbers, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `MultiStepLR`. */
export interface MultiStepLROptions extends SchedulerOptions {
  /** Steps at which the value changes. */
  milestones: readonly number[]
  /** Default 0.1. */
  gamma?: number | undefined
}

/** Multiplies by `gamma` at each of the `milestones`; one that is listed twice counts twice. */
export class MultiStepLR extends ChainableScheduler {
  readonly #milestones: readonly number[]
  readonly #gamma: number

  constructor(optimizer: ScheduledOptimizer, options: MultiStepLROptions) {
    checkSchedulerOptions('MultiStepLR', options, ['milestones', 'gamma'])
    if (!isNumbers(options.milestones)) throw badOption('MultiStepLR', 'milestones must be a list of numbers')
    super(optimizer, options)
    this.#milestones = options.milestones
    this.#gamma = options.gamma ?? 0.1
    this.start()
  }

  protected next(value: number, _base: number, n: number): number {
    return value * this.#gamma ** this.#milestones.filter(milestone => milestone === n).length
  }
}
