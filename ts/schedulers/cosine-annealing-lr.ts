/** `CosineAnnealingLR`: half a cosine down, and up again. */
import { checkCount } from '../data/sampler.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { ChainableScheduler } from './chainable.ts'

/** Options of `CosineAnnealingLR`. */
export interface CosineAnnealingLROptions extends SchedulerOptions {
  /** Steps down. */
  tMax: number
  /** The lowest value. Default 0. */
  etaMin?: number | undefined
}

/** Goes from the initial value to `etaMin` in `tMax` steps, and back in as many, along a cosine. */
export class CosineAnnealingLR extends ChainableScheduler {
  readonly #tMax: number
  readonly #etaMin: number

  constructor(optimizer: ScheduledOptimizer, options: CosineAnnealingLROptions) {
    checkSchedulerOptions('CosineAnnealingLR', options, ['tMax', 'etaMin'])
    super(optimizer, options)
    this.#tMax = checkCount(options.tMax, 'tMax', 'CosineAnnealingLR')
    this.#etaMin = options.etaMin ?? 0
    this.start()
  }

  protected next(value: number, base: number, n: number): number {
    const [tMax, etaMin] = [this.#tMax, this.#etaMin]
    if (n === 0) return value
    const at = (k: number) => 1 + Math.cos((Math.PI * k) / tMax)
    // From the lowest point there is no ratio to go on with.
    if ((n - 1 - tMax) % (2 * tMax) === 0) return value + ((base - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2
    return (at(n) / at(n - 1)) * (value - etaMin) + etaMin
  }
}
