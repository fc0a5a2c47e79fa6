/** What schedulers that are made of others have in common. */
import { badOption } from '../errors.ts'
import { type ScheduledOptimizer, type SchedulerState, StatefulSchedulerBase, stateMismatch } from './base.ts'

/** Checks the schedulers that another one is made of: at least one, all of one optimizer, none that needs a metric. */
export function checkParts(
  op: string,
  schedulers: readonly StatefulSchedulerBase[],
  optimizer: ScheduledOptimizer | undefined = schedulers?.[0]?.optimizer,
): void {
  if (!Array.isArray(schedulers) || schedulers.length === 0) throw badOption(op, 'needs at least one scheduler')
  for (const [i, scheduler] of schedulers.entries()) {
    if (!(scheduler instanceof StatefulSchedulerBase)) {
      throw badOption(op, `schedulers[${i}] can't be stepped without a metric, or is no scheduler`)
    }
    if (scheduler.optimizer !== optimizer) throw badOption(op, `schedulers[${i}] has another optimizer`)
  }
}

/** Loads the states of a scheduler's parts. */
export function loadParts(
  owner: object,
  parts: readonly StatefulSchedulerBase[],
  { schedulers }: SchedulerState,
): void {
  if (!Array.isArray(schedulers) || schedulers.length !== parts.length) {
    throw stateMismatch(owner, `it is not made of ${parts.length} schedulers`)
  }
  for (const [i, part] of parts.entries()) part.loadStateDict(schedulers[i] as SchedulerState)
}
