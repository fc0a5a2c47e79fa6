/** `ChainedScheduler`: several schedules at once. */
import { checkOptions } from '../errors.ts'
import { type SchedulerOptions, type SchedulerState, StatefulSchedulerBase } from './base.ts'
import { checkParts, loadParts } from './parts.ts'

/**
 * Steps all of `schedulers`, in order: their factors multiply where they compute a value from the one before (all but
 * `LambdaLR`, `CyclicLR`, `OneCycleLR` and the cosine schedules with restarts or warmup), or they schedule different fields.
 */
export class ChainedScheduler extends StatefulSchedulerBase {
  readonly #schedulers: readonly StatefulSchedulerBase[]

  constructor(schedulers: readonly StatefulSchedulerBase[], options: Pick<SchedulerOptions, 'interval'> = {}) {
    checkOptions('ChainedScheduler', options, ['interval'])
    checkParts('ChainedScheduler', schedulers)
    const first = schedulers[0]!
    super(first.optimizer, { ...options, paramGroupField: first.paramGroupField })
    this.#schedulers = schedulers
    // Its parts have set the values of update 0.
    this.advance()
  }

  getUpdatedValues(numUpdates: number): null {
    for (const scheduler of this.#schedulers) {
      if (numUpdates === 0) scheduler.start()
      else scheduler.advance()
    }
    return null
  }

  override rewind(): void {
    super.rewind()
    for (const scheduler of this.#schedulers) scheduler.rewind()
  }

  override restart(): void {
    for (const scheduler of this.#schedulers) scheduler.rewind()
    super.restart()
  }

  override stateDict(): SchedulerState {
    return { ...super.stateDict(), schedulers: this.#schedulers.map(scheduler => scheduler.stateDict()) }
  }

  override loadStateDict(state: SchedulerState): void {
    loadParts(this, this.#schedulers, state)
    super.loadStateDict(state)
  }
}
