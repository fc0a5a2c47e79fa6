/** `CosineLrScheduler`: warmup, one cosine, cooldown, by epochs. */
import { checkCount } from '../data/sampler.ts'
import { badOption } from '../errors.ts'
import type { ScheduleContext } from '../trainer/types.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions, StatefulSchedulerBase } from './base.ts'

/** Options of `CosineLrScheduler`. */
export interface CosineLrSchedulerOptions extends SchedulerOptions {
  totalNumEpochs: number
  numUpdateStepsPerEpoch: number
  /** Power that bends the cosine (k-decay, arXiv 2004.05909). Default 1. */
  kDecay?: number | undefined
  /** The lowest value. Default 1e-6. */
  lrMin?: number | undefined
  /** The lowest value as a share of each group's initial one, instead of `lrMin`. */
  minLrRatio?: number | undefined
  /** Epochs in which the value rises from the starting one to the initial one. Default 0. */
  numWarmupEpochs?: number | undefined
  /** Default 1e-6. */
  warmupStartingLr?: number | undefined
  /** The starting value as a share of each group's initial one, instead of `warmupStartingLr`. */
  warmupStartingLrRatio?: number | undefined
  /** Epochs at the end with the lowest value. Default 0. */
  numCooldownEpochs?: number | undefined
}

const names = [
  'totalNumEpochs',
  'numUpdateStepsPerEpoch',
  'kDecay',
  'lrMin',
  'minLrRatio',
  'numWarmupEpochs',
  'warmupStartingLr',
  'warmupStartingLrRatio',
  'numCooldownEpochs',
]

/**
 * A cosine without restarts (SGDR, arXiv 1608.03983), after a linear warmup and before a cooldown at the lowest value. It is
 * stepped once an update; after the last epoch the value stays at the lowest.
 *
 * ```ts
 * await trainer.train({ ..., createScheduler: schedulers.CosineLrScheduler.createSchedulerFn({ numWarmupEpochs: 5 }) })
 * ```
 */
export class CosineLrScheduler extends StatefulSchedulerBase {
  readonly #warmup: number
  readonly #cosine: number
  readonly #kDecay: number
  readonly #lowest: (base: number) => number
  readonly #starting: (base: number) => number

  constructor(optimizer: ScheduledOptimizer, options: CosineLrSchedulerOptions) {
    const op = 'CosineLrScheduler'
    checkSchedulerOptions(op, options, names)
    super(optimizer, options)
    const { kDecay = 1, lrMin = 1e-6, minLrRatio, warmupStartingLr = 1e-6, warmupStartingLrRatio } = options
    const { numWarmupEpochs = 0, numCooldownEpochs = 0 } = options
    const perEpoch = checkCount(options.numUpdateStepsPerEpoch, 'numUpdateStepsPerEpoch', op)
    const epochs = checkCount(options.totalNumEpochs, 'totalNumEpochs', op)
    if (!(lrMin >= 0)) throw badOption(op, `lrMin must not be negative, got ${lrMin}`)
    if (!(kDecay > 0)) throw badOption(op, `kDecay must be above 0, got ${kDecay}`)
    if (!(numWarmupEpochs >= 0 && numCooldownEpochs >= 0 && numWarmupEpochs + numCooldownEpochs <= epochs)) {
      throw badOption(
        op,
        `${numWarmupEpochs} epochs of warmup and ${numCooldownEpochs} of cooldown in ${epochs} epochs`,
      )
    }
    this.#kDecay = kDecay
    this.#warmup = Math.round(numWarmupEpochs * perEpoch)
    this.#cosine = epochs * perEpoch - this.#warmup - Math.round(numCooldownEpochs * perEpoch)
    this.#lowest = base => (minLrRatio === undefined ? lrMin : minLrRatio * base)
    this.#starting = base => (warmupStartingLrRatio === undefined ? warmupStartingLr : warmupStartingLrRatio * base)
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    const [warmup, length] = [this.#warmup, this.#cosine]
    return this.baseValues.map(base => {
      if (numUpdates < warmup) {
        const start = this.#starting(base)
        return start + (numUpdates * (base - start)) / warmup
      }
      const lowest = this.#lowest(base)
      if (numUpdates >= warmup + length) return lowest
      const share = (numUpdates - warmup) ** this.#kDecay / length ** this.#kDecay
      return lowest + 0.5 * (base - lowest) * (1 + Math.cos(Math.PI * share))
    })
  }

  /** A `createScheduler` for `train`: epochs and steps are the run's unless they are given. */
  static createSchedulerFn(
    options: Partial<CosineLrSchedulerOptions> = {},
  ): (context: ScheduleContext) => CosineLrScheduler {
    return ({ optimizer, numEpochs, numUpdateStepsPerEpoch }) =>
      new CosineLrScheduler(optimizer, { totalNumEpochs: numEpochs, numUpdateStepsPerEpoch, ...options })
  }
}
