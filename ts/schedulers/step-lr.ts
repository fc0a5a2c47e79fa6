/** `StepLR`: a factor every so many steps. */
import { checkCount } from '../data/sampler.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `StepLR`. */
export interface StepLROptions extends SchedulerOptions {
  /** Steps between two changes. */
  stepSize: number
  /** Default 0.1. */
  gamma?: number | undefined
}

/** Multiplies by `gamma` every `stepSize` steps. */
export class StepLR extends ChainableScheduler {
  readonly #stepSize: number
  readonly #gamma: number

  constructor(optimizer: ScheduledOptimizer, options: StepLROptions) {
    checkSchedulerOptions('StepLR', options, ['stepSize', 'gamma'])
    super(optimizer, options)
    this.#stepSize = checkCount(options.stepSize, 'stepSize', 'StepLR')
    this.#gamma = options.gamma ?? 0.1
    this.start()
  }

  protected next(value: number, _base: number, n: number): number {
    return n === 0 || n % this.#stepSize !== 0 ? value : value * this.#gamma
  }
}
