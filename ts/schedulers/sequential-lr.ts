/** `SequentialLR`: one schedule after another. */
import { badOption } from '../errors.ts'
import {
  checkSchedulerOptions,
  isNumbers,
  type ScheduledOptimizer,
  type SchedulerOptions,
  type StatefulSchedulerBase,
} from './base.ts'
import { CompositeScheduler, checkParts } from './parts.ts'

/** Options of `SequentialLR`. */
export interface SequentialLROptions extends SchedulerOptions {
  /** Schedulers of the same optimizer. */
  schedulers: readonly StatefulSchedulerBase[]
  /** The steps at which the second and later ones begin, rising. */
  milestones: readonly number[]
}

/** Steps the first of `schedulers` until the first milestone, then the second, and so on; each begins anew. */
export class SequentialLR extends CompositeScheduler {
  readonly #milestones: readonly number[]

  constructor(optimizer: ScheduledOptimizer, options: SequentialLROptions) {
    const op = 'SequentialLR'
    checkSchedulerOptions(op, options, ['schedulers', 'milestones'])
    const { schedulers, milestones } = options
    checkParts(op, schedulers, optimizer)
    if (!isNumbers(milestones) || milestones.length !== schedulers.length - 1) {
      throw badOption(op, `${schedulers.length} schedulers need ${schedulers.length - 1} milestones`)
    }
    if (milestones.some((step, i) => step <= (milestones[i - 1] ?? 0))) throw badOption(op, 'milestones must rise')
    super(schedulers, optimizer, options)
    this.#milestones = milestones
    // What the parts did to the values when they were made is undone.
    this.setValues(this.baseValues)
    for (const scheduler of schedulers) scheduler.rewind()
    this.start()
  }

  getUpdatedValues(numUpdates: number): null {
    const passed = this.#milestones.filter(milestone => milestone <= numUpdates).length
    const scheduler = this.parts[passed]!
    if (passed > 0 && this.#milestones[passed - 1] === numUpdates) scheduler.restart()
    else scheduler.advance()
    return null
  }
}
