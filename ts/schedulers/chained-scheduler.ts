/** `ChainedScheduler`: several schedules at once. */
import { checkOptions } from '../errors.ts'
import type { SchedulerOptions, StatefulSchedulerBase } from './base.ts'
import { CompositeScheduler, checkParts } from './parts.ts'

/**
 * Steps all of `schedulers`, in order: their factors multiply where they compute a value from the one before (all but
 * `LambdaLR`, `CyclicLR`, `OneCycleLR` and the cosine schedules with restarts or warmup), or they schedule different fields.
 */
export class ChainedScheduler extends CompositeScheduler {
  constructor(schedulers: readonly StatefulSchedulerBase[], options: Pick<SchedulerOptions, 'interval'> = {}) {
    checkOptions('ChainedScheduler', options, ['interval'])
    checkParts('ChainedScheduler', schedulers)
    const first = schedulers[0]!
    super(schedulers, first.optimizer, { ...options, paramGroupField: first.paramGroupField })
    // Its parts have set the values of update 0.
    this.advance()
  }

  getUpdatedValues(numUpdates: number): null {
    for (const part of this.parts) {
      if (numUpdates === 0) part.start()
      else part.advance()
    }
    return null
  }
}
