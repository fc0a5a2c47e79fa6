/** `ReduceLROnPlateau`: a factor when a metric stops improving. */
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { isCount, isNumber, orNull, withFields } from '../forms.ts'
import type { MetricName } from '../trainer/run-history.ts'
import {
  isNumbers,
  perGroup,
  type ScheduledOptimizer,
  SchedulerBase,
  type SchedulerState,
  stateMismatch,
} from './base.ts'

/** Options of `ReduceLROnPlateau`. */
export interface ReduceLROnPlateauOptions {
  /** `'min'` (default): the metric should fall; `'max'`: it should rise. */
  mode?: 'min' | 'max' | undefined
  /** Below 1. Default 0.1. */
  factor?: number | undefined
  /** Steps without improvement that are tolerated. Default 10. */
  patience?: number | undefined
  /** What counts as improvement. Default 1e-4. */
  threshold?: number | undefined
  /** Whether `threshold` is a share of the best value (`'rel'`, default) or a difference (`'abs'`). */
  thresholdMode?: 'rel' | 'abs' | undefined
  /** Steps after a reduction in which nothing is counted. Default 0. */
  cooldown?: number | undefined
  /** The lowest value, for all groups or each. Default 0. */
  minLr?: number | readonly number[] | undefined
  /** Reductions smaller than this are left out. Default 1e-8. */
  eps?: number | undefined
  /** The metric of the run history that a Trainer passes on. Default `eval_loss_epoch`, without evaluation `train_loss_epoch`. */
  metric?: MetricName | undefined
  /** The field of the parameter groups that is scheduled. Default `'lr'`. */
  paramGroupField?: string | undefined
}

const names = [
  'mode',
  'factor',
  'patience',
  'threshold',
  'thresholdMode',
  'cooldown',
  'minLr',
  'eps',
  'metric',
  'paramGroupField',
]

const isPlateauState = withFields({
  num_steps: isCount,
  best: orNull(isNumber),
  cooldown_counter: isCount,
  num_bad_epochs: isCount,
  values: isNumbers,
})

/** Multiplies by `factor` when a metric has not improved for more than `patience` steps. A Trainer steps it once an epoch. */
export class ReduceLROnPlateau extends SchedulerBase {
  /** The metric that a Trainer passes to `step`. */
  readonly metric: MetricName | undefined
  readonly #options: { factor: number; patience: number; threshold: number; cooldown: number; eps: number }
  readonly #minLr: number | readonly number[]
  readonly #isBetter: (value: number, best: number) => boolean
  #best: number
  #cooldown = 0
  #bad = 0
  #steps = 0

  constructor(optimizer: ScheduledOptimizer, options: ReduceLROnPlateauOptions = {}) {
    const op = 'ReduceLROnPlateau'
    checkOptions(op, options, names)
    const { mode = 'min', thresholdMode = 'rel', minLr = 0, metric, paramGroupField } = options
    const { factor = 0.1, patience = 10, threshold = 1e-4, cooldown = 0, eps = 1e-8 } = options
    if (!(factor < 1)) throw badOption(op, `factor must be below 1, not ${factor}`)
    if (mode !== 'min' && mode !== 'max') throw badOption(op, `mode must be 'min' or 'max', not '${String(mode)}'`)
    if (thresholdMode !== 'rel' && thresholdMode !== 'abs') {
      throw badOption(op, `thresholdMode must be 'rel' or 'abs', not '${String(thresholdMode)}'`)
    }
    checkCount(patience, 'patience', op, 0)
    checkCount(cooldown, 'cooldown', op, 0)
    super(optimizer, { paramGroupField, interval: 'epoch' })
    perGroup(op, 'minLr', optimizer, minLr)
    this.metric = metric
    this.#minLr = minLr
    this.#options = { factor, patience, threshold, cooldown, eps }
    const sign = mode === 'min' ? -1 : 1
    this.#best = -sign * Number.POSITIVE_INFINITY
    this.#isBetter = (value, best) => {
      const bar = thresholdMode === 'rel' ? best * (1 + sign * threshold) : best + sign * threshold
      return mode === 'min' ? value < bar : value > bar
    }
  }

  /** Leaves the values alone: only `step(metric)` changes them. */
  getUpdatedValues(): null {
    return null
  }

  /** Looks at the metric's new value. */
  step(metric: number): void {
    if (typeof metric !== 'number') throw badOption('ReduceLROnPlateau.step', 'needs the value of the metric')
    const { factor, patience, cooldown, eps } = this.#options
    this.#steps++
    const better = this.#isBetter(metric, this.#best)
    if (better) this.#best = metric
    this.#bad = better ? 0 : this.#bad + 1
    if (this.#cooldown > 0) {
      this.#cooldown--
      this.#bad = 0
    }
    if (this.#bad <= patience) return
    const minimum = perGroup('ReduceLROnPlateau', 'minLr', this.optimizer, this.#minLr)
    this.setValues(
      this.values.map((value, i) => {
        const reduced = Math.max(value * factor, minimum[i]!)
        return value - reduced > eps ? reduced : value
      }),
    )
    this.#cooldown = cooldown
    this.#bad = 0
  }

  /** The values now. */
  getLastLr(): number[] {
    return this.values
  }

  /** The counts, the best value and the groups' values, as plain data. */
  stateDict(): SchedulerState {
    return {
      num_steps: this.#steps,
      best: Number.isFinite(this.#best) ? this.#best : null,
      cooldown_counter: this.#cooldown,
      num_bad_epochs: this.#bad,
      values: this.values,
    }
  }

  /** Goes on from a state of `stateDict()`. Throws `STATE_DICT_MISMATCH` if it doesn't fit. */
  loadStateDict(state: SchedulerState): void {
    this.checkStateDict(state)
    const { num_steps, best, cooldown_counter, num_bad_epochs, values } = state
    this.#steps = num_steps as number
    if (typeof best === 'number') this.#best = best
    this.#cooldown = cooldown_counter as number
    this.#bad = num_bad_epochs as number
    this.setValues(values as number[])
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    if (!isPlateauState(state) || state.values.length !== this.values.length) {
      throw stateMismatch(this, 'it is another scheduler’s')
    }
  }
}
