/** `CosineAnnealingWarmRestarts`: half a cosine down, again and again. */
import { checkCount } from '../data/sampler.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions, StatefulSchedulerBase } from './base.ts'

/** Options of `CosineAnnealingWarmRestarts`. */
export interface CosineAnnealingWarmRestartsOptions extends SchedulerOptions {
  /** Steps until the first restart. */
  t0: number
  /** How many times longer each cycle is than the one before. Default 1. */
  tMult?: number | undefined
  /** The lowest value. Default 0. */
  etaMin?: number | undefined
}

/** Goes from the initial value to `etaMin` along half a cosine in each cycle (SGDR, arXiv 1608.03983). */
export class CosineAnnealingWarmRestarts extends StatefulSchedulerBase {
  readonly #t0: number
  readonly #tMult: number
  readonly #etaMin: number

  constructor(optimizer: ScheduledOptimizer, options: CosineAnnealingWarmRestartsOptions) {
    const op = 'CosineAnnealingWarmRestarts'
    checkSchedulerOptions(op, options, ['t0', 'tMult', 'etaMin'])
    super(optimizer, options)
    this.#t0 = checkCount(options.t0, 't0', op)
    this.#tMult = checkCount(options.tMult ?? 1, 'tMult', op)
    this.#etaMin = options.etaMin ?? 0
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    let length = this.#t0
    let n = this.#tMult === 1 ? numUpdates % length : numUpdates
    while (n >= length) {
      n -= length
      length *= this.#tMult
    }
    const share = (1 + Math.cos((Math.PI * n) / length)) / 2
    return this.baseValues.map(base => this.#etaMin + (base - this.#etaMin) * share)
  }
}
