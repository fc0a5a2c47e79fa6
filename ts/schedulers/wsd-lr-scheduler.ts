/** `WSDLrScheduler`: warmup, a stable phase, and a decay before each checkpoint. */
import { checkCount } from '../data/sampler.ts'
import { badOption } from '../errors.ts'
import type { ScheduleContext } from '../trainer/types.ts'
import {
  checkSchedulerOptions,
  type ScheduledOptimizer,
  type SchedulerOptions,
  type SchedulerState,
  StatefulSchedulerBase,
} from './base.ts'

/** Options of `WSDLrScheduler`. */
export interface WSDLrSchedulerOptions extends SchedulerOptions {
  /** With `numUpdateStepsPerEpoch` instead of `totalSteps`. */
  numEpochs?: number | undefined
  numUpdateStepsPerEpoch?: number | undefined
  totalSteps?: number | undefined
  /** Steps of the warmup; null is a tenth of the total. Default 0. */
  numWarmupSteps?: number | null | undefined
  /** Share of each period that decays; at most 1/3 with several checkpoints. Default 0.1. */
  decayPhaseRatio?: number | undefined
  /** The lowest value as a share of the initial one. Default 1e-6. */
  lrMin?: number | undefined
  /** Default 1e-6. */
  warmupStartingLr?: number | undefined
  /** Whether to decay with `1 - sqrt(t)`, otherwise with `1 / (t / lrMin + 1 - t)`. Default true. */
  useInverseSqrtDecay?: boolean | undefined
  /** Checkpoints, each twice as far as the one before, the last at the end. Default 1. */
  numCheckpoints?: number | undefined
  /** Whether a state that is loaded is an earlier run's, which this schedule continues: no warmup, a new stable phase. */
  isContinuationFromCheckpoint?: boolean | undefined
}

const names = [
  'numEpochs',
  'numUpdateStepsPerEpoch',
  'totalSteps',
  'numWarmupSteps',
  'decayPhaseRatio',
  'lrMin',
  'warmupStartingLr',
  'useInverseSqrtDecay',
  'numCheckpoints',
  'isContinuationFromCheckpoint',
]

/** From one checkpoint to the next, in updates. */
export interface WSDPhaseInfo {
  periodStart: number
  /** The checkpoint. */
  periodEnd: number
  decaySteps: number
  /** Where the decay begins. */
  preDecayStep: number
}

/** Options of `WSDLrScheduler.createSchedulerFn`. */
export type WSDSchedulerFnOptions = Omit<WSDLrSchedulerOptions, 'numEpochs' | 'numWarmupSteps' | 'totalSteps'> & {
  /** Default: the run's. */
  totalNumEpochs?: number | undefined
  /** Default: a tenth of the run. */
  numWarmupEpochs?: number | undefined
}

/**
 * Warmup-stable-decay (arXiv 2410.05192): the initial value all the time, but for a warmup at the start and a decay before each
 * checkpoint, from which training can stop or go on.
 *
 * A schedule that continues another loads that one's state, and begins a stable phase of its own. From the checkpoint before the
 * decay it discards the decay (WSD), from the one after it keeps what was learned there (WSD-S).
 */
export class WSDLrScheduler extends StatefulSchedulerBase {
  readonly totalSteps: number
  readonly numWarmupSteps: number
  readonly decayPhaseRatio: number
  readonly isContinuationFromCheckpoint: boolean
  readonly #lrMin: number
  readonly #warmupStartingLr: number
  readonly #inverseSqrt: boolean
  readonly #phases: readonly WSDPhaseInfo[]

  constructor(optimizer: ScheduledOptimizer, options: WSDLrSchedulerOptions) {
    const op = 'WSDLrScheduler'
    checkSchedulerOptions(op, options, names)
    super(optimizer, options)
    const { numEpochs, numUpdateStepsPerEpoch, numWarmupSteps = 0, decayPhaseRatio = 0.1, lrMin = 1e-6 } = options
    const { warmupStartingLr = 1e-6, useInverseSqrtDecay = true, isContinuationFromCheckpoint = false } = options
    const byEpochs = numEpochs !== undefined && numUpdateStepsPerEpoch !== undefined
    if (byEpochs === (options.totalSteps !== undefined)) {
      throw badOption(op, 'give totalSteps, or numEpochs and numUpdateStepsPerEpoch')
    }
    const total = byEpochs ? numEpochs * numUpdateStepsPerEpoch : (options.totalSteps ?? 0)
    this.totalSteps = checkCount(total, 'totalSteps', op)
    const warmup = numWarmupSteps === null ? Math.floor(0.1 * total) : numWarmupSteps
    this.numWarmupSteps = checkCount(warmup, 'numWarmupSteps', op, 0)
    if (!(decayPhaseRatio >= 0 && decayPhaseRatio <= 1)) {
      throw badOption(op, `decayPhaseRatio must be from 0 to 1, not ${decayPhaseRatio}`)
    }
    if (!(lrMin >= 0)) throw badOption(op, `lrMin must not be negative, got ${lrMin}`)
    const count = checkCount(options.numCheckpoints ?? 1, 'numCheckpoints', op)
    if (warmupStartingLr > Math.max(...this.baseValues)) {
      throw badOption(op, `warmupStartingLr ${warmupStartingLr} is above the largest initial value`)
    }
    if (count > 1 && decayPhaseRatio > 1 / 3) {
      throw badOption(op, `decayPhaseRatio ${decayPhaseRatio} with several checkpoints: at most 1/3`)
    }
    this.decayPhaseRatio = decayPhaseRatio
    this.isContinuationFromCheckpoint = isContinuationFromCheckpoint
    this.#lrMin = lrMin
    this.#warmupStartingLr = warmupStartingLr
    this.#inverseSqrt = useInverseSqrtDecay
    this.#phases = phasesOf(estimateCheckpointSteps(total, count), decayPhaseRatio)
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    const warmup = this.isContinuationFromCheckpoint ? 0 : this.numWarmupSteps
    if (numUpdates < warmup) {
      const start = this.#warmupStartingLr
      return this.baseValues.map(base => start + (numUpdates / warmup) * (base - start))
    }
    if (numUpdates >= this.totalSteps) return this.baseValues.map(base => base * this.#lrMin)
    const { preDecayStep, decaySteps } = this.#phaseAt(numUpdates)
    if (numUpdates < preDecayStep) return this.baseValues
    const share = Math.min((numUpdates - preDecayStep) / decaySteps, 1)
    return this.baseValues.map(base => base * this.#decayed(share))
  }

  #decayed(t: number): number {
    const lowest = this.#lrMin
    if (this.#inverseSqrt) return lowest + (1 - lowest) * (1 - Math.sqrt(t))
    return t === 0 ? 1 : 1 / (t / lowest + (1 - t))
  }

  /** The period in which update `numUpdates` runs. */
  #phaseAt(numUpdates: number): WSDPhaseInfo {
    return this.#phases.find(({ periodEnd }) => numUpdates < periodEnd) ?? this.#phases.at(-1)!
  }

  /** The updates after which there is a checkpoint. */
  getCheckpointSteps(): number[] {
    return this.#phases.map(({ periodEnd }) => periodEnd)
  }

  /** The period that `numUpdates` updates are in, its end included. */
  getPhaseInfo(numUpdates: number): WSDPhaseInfo {
    return { ...(this.#phases.find(({ periodEnd }) => periodEnd >= numUpdates) ?? this.#phases.at(-1)!) }
  }

  /** All periods. */
  getDecayInfo(): WSDPhaseInfo[] {
    return this.#phases.map(phase => ({ ...phase }))
  }

  /** Updates done. */
  getCurrentStep(): number {
    return this.numUpdates
  }

  /** The period that the schedule is in. */
  getCurrentPhaseInfo(): WSDPhaseInfo {
    return this.getPhaseInfo(this.numUpdates)
  }

  override stateDict(): SchedulerState {
    return { ...super.stateDict(), total_steps: this.totalSteps, is_continuation: this.isContinuationFromCheckpoint }
  }

  override loadStateDict(state: SchedulerState): void {
    super.loadStateDict(state)
    const isEarlierRun = state.is_continuation !== true || state.total_steps !== this.totalSteps
    if (this.isContinuationFromCheckpoint && isEarlierRun) this.restart()
  }

  /** A `createScheduler` for `train`: epochs and steps are the run's unless they are given. */
  static createSchedulerFn(options: WSDSchedulerFnOptions = {}): (context: ScheduleContext) => WSDLrScheduler {
    return context => {
      const { totalNumEpochs = context.numEpochs, numWarmupEpochs, ...rest } = options
      const numUpdateStepsPerEpoch = rest.numUpdateStepsPerEpoch ?? context.numUpdateStepsPerEpoch
      const numWarmupSteps = numWarmupEpochs === undefined ? null : Math.round(numWarmupEpochs * numUpdateStepsPerEpoch)
      return new WSDLrScheduler(context.optimizer, {
        ...rest,
        numEpochs: totalNumEpochs,
        numUpdateStepsPerEpoch,
        numWarmupSteps,
      })
    }
  }
}

/** `numCheckpoints` updates, each twice as far as the one before (4: an eighth, a quarter, a half, all of `totalSteps`). */
export function estimateCheckpointSteps(totalSteps: number, numCheckpoints = 3): number[] {
  const first = 2 ** (numCheckpoints - 1)
  if (first > totalSteps) {
    throw badOption('WSDLrScheduler', `${totalSteps} steps are too few for ${numCheckpoints} checkpoints`)
  }
  return Array.from({ length: numCheckpoints }, (_, i) => Math.floor((totalSteps * 2 ** i) / first))
}

function phasesOf(checkpoints: readonly number[], ratio: number): WSDPhaseInfo[] {
  return checkpoints.map((periodEnd, i) => {
    const periodStart = checkpoints[i - 1] ?? 0
    const decaySteps = Math.floor((periodEnd - periodStart) * ratio)
    return { periodStart, periodEnd, decaySteps, preDecayStep: periodEnd - decaySteps }
  })
}
