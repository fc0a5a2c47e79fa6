/**
 * `SchedulerBase`: the base of all schedules of a field of an optimizer's parameter groups, such as `lr` or `weightDecay`.
 *
 * ```ts
 * class Halving extends schedulers.StatefulSchedulerBase {
 *   getUpdatedValues(numUpdates: number) {
 *     return this.baseValues.map(value => value / 2 ** Math.floor(numUpdates / 100))
 *   }
 * }
 * ```
 */
import { badOption, checkOptions, nearest, WickError } from '../errors.ts'
import { type Form, isNumber, listOf, withFields } from '../forms.ts'

/** What a scheduler needs of an optimizer; every one in `optim` has it. */
export interface ScheduledOptimizer {
  readonly paramGroups: readonly object[]
}

/** When a Trainer steps a scheduler: after each update, or after each epoch with its evaluation. */
export type SchedulerInterval = 'update' | 'epoch'

/** Options that every scheduler takes. */
export interface SchedulerOptions {
  /** The field of the parameter groups that is scheduled. Default `'lr'`. */
  paramGroupField?: string | undefined
  /** When a Trainer steps the scheduler. Default `'update'`. */
  interval?: SchedulerInterval | undefined
}

/** A scheduler's state: plain data. */
export interface SchedulerState {
  [name: string]: number | boolean | string | null | readonly number[] | readonly SchedulerState[]
}

/** Checks a scheduler's options: those of its own in `names`, and those that all take. */
export function checkSchedulerOptions(op: string, given: object | undefined, names: readonly string[]): void {
  checkOptions(op, given, [...names, 'paramGroupField', 'interval'])
}

/** Schedules a field of all parameter groups by the number of updates done; keeps no count of its own. */
export abstract class SchedulerBase {
  readonly optimizer: ScheduledOptimizer
  readonly paramGroupField: string
  /** When a Trainer steps the scheduler. */
  readonly interval: SchedulerInterval
  readonly #initialField: string

  /** Notes each group's value as its initial one, unless an earlier scheduler did; a group without the field is `BAD_OPTION`. */
  constructor(optimizer: ScheduledOptimizer, options: SchedulerOptions = {}) {
    const { paramGroupField = 'lr', interval = 'update' } = options
    const op = new.target.name
    if (typeof optimizer !== 'object' || optimizer === null || !Array.isArray(optimizer.paramGroups)) {
      throw badOption(op, 'takes an optimizer first')
    }
    if (interval !== 'update' && interval !== 'epoch') {
      throw badOption(op, `interval must be 'update' or 'epoch', not '${String(interval)}'`)
    }
    this.optimizer = optimizer
    this.paramGroupField = paramGroupField
    this.interval = interval
    this.#initialField = `initial${paramGroupField.charAt(0).toUpperCase()}${paramGroupField.slice(1)}`
    for (const [i, group] of optimizer.paramGroups.entries()) {
      if (typeof Reflect.get(group, paramGroupField) === 'number') continue
      const near = nearest(paramGroupField, Object.keys(group))
      const hint = near && near !== paramGroupField ? `; did you mean '${near}'?` : ''
      throw badOption(op, `paramGroups[${i}] has no number '${paramGroupField}'${hint}`)
    }
    this.setBaseValues(this.baseValues)
  }

  /** The initial value of each group. A group that was added later starts with the value that it had then. */
  get baseValues(): number[] {
    return this.optimizer.paramGroups.map(group => {
      const value = Number(Reflect.get(group, this.paramGroupField))
      if (!(this.#initialField in group)) Reflect.set(group, this.#initialField, value)
      return Number(Reflect.get(group, this.#initialField))
    })
  }

  /** The value of each group now. */
  get values(): number[] {
    return this.optimizer.paramGroups.map(group => Number(Reflect.get(group, this.paramGroupField)))
  }

  /** The values of update `numUpdates` (from 0): one for all groups, one for each, or null to leave them alone. */
  abstract getUpdatedValues(numUpdates: number): number | readonly number[] | null

  /** Sets the values of update `numUpdates`. */
  stepUpdate(numUpdates: number): void {
    const values = this.getUpdatedValues(numUpdates)
    if (values !== null) this.setValues(values)
  }

  /** Sets the groups' values: one for all, or one for each. */
  protected setValues(values: number | readonly number[]): void {
    const { paramGroups } = this.optimizer
    if (typeof values !== 'number' && values.length !== paramGroups.length) {
      throw badOption(this.constructor.name, `${values.length} values for ${paramGroups.length} parameter groups`)
    }
    for (const [i, group] of paramGroups.entries()) {
      Reflect.set(group, this.paramGroupField, typeof values === 'number' ? values : values[i])
    }
  }

  /** Sets the groups' initial values. */
  protected setBaseValues(values: readonly number[]): void {
    for (const [i, group] of this.optimizer.paramGroups.entries()) Reflect.set(group, this.#initialField, values[i])
  }
}

/**
 * A scheduler that counts updates itself: update 0 runs at its value 0, and each `step()`, after an update, sets the next
 * update's. Those of wick set value 0 when they are made; a subclass of your own calls `start()` in its constructor, or the
 * Trainer does.
 */
export abstract class StatefulSchedulerBase extends SchedulerBase {
  #numUpdates = -1

  /** Steps done: the number of the update that runs next. */
  get numUpdates(): number {
    return Math.max(this.#numUpdates, 0)
  }

  /** Sets the values of update 0, once. */
  start(): void {
    if (this.#numUpdates < 0) this.advance()
  }

  /** Sets the values of the next update. */
  step(): void {
    this.start()
    this.advance()
  }

  /** @internal Counts one more and sets its values. */
  advance(): void {
    this.#numUpdates++
    this.stepUpdate(this.#numUpdates)
  }

  /** @internal Goes back to before update 0; the values stay. */
  rewind(): void {
    this.#numUpdates = -1
  }

  /** @internal Begins anew from the initial values. */
  restart(): void {
    this.setValues(this.baseValues)
    this.#numUpdates = 0
    this.stepUpdate(0)
  }

  /** The values that were set last. */
  getLastLr(): number[] {
    return this.values
  }

  /** The count and the values, as plain data. */
  stateDict(): SchedulerState {
    return { num_updates: this.#numUpdates, values: this.values, base_values: this.baseValues }
  }

  /** Goes on from a state of `stateDict()`. Throws `STATE_DICT_MISMATCH` if it doesn't fit. */
  loadStateDict(state: SchedulerState): void {
    this.checkStateDict(state)
    this.#numUpdates = state.num_updates as number
    this.setBaseValues(state.base_values as number[])
    this.setValues(state.values as number[])
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    const groups = this.optimizer.paramGroups.length
    const fits = isStatefulState(state) && state.values.length === groups && state.base_values.length === groups
    if (!fits) throw stateMismatch(this, `it is not a state of a scheduler of ${groups} parameter groups`)
  }
}

/** Whether a value of a state is a list of numbers. */
export const isNumbers: Form<number[]> = listOf(isNumber)
const isStatefulState = withFields({
  num_updates: (value): value is number => Number.isSafeInteger(value) && (value as number) >= -1,
  values: isNumbers,
  base_values: isNumbers,
})

/** The error for a state that isn't this scheduler's. */
export function stateMismatch(scheduler: object, message: string): WickError {
  return new WickError('STATE_DICT_MISMATCH', `the state doesn't fit this ${scheduler.constructor.name}: ${message}`)
}

/** `value` for each group of `optimizer`, or the list that it already is. */
export function perGroup(
  op: string,
  name: string,
  optimizer: ScheduledOptimizer,
  value: number | readonly number[],
): readonly number[] {
  const groups = optimizer.paramGroups.length
  const values = typeof value === 'number' ? new Array<number>(groups).fill(value) : value
  if (!isNumbers(values) || values.length !== groups) {
    throw badOption(op, `${name} must be a number, or one for each of the ${groups} parameter groups`)
  }
  return values
}
