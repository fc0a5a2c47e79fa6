/** What schedulers that are made of others have in common. */
import { badOption } from '../errors.ts'
import {
  type ScheduledOptimizer,
  type SchedulerOptions,
  type SchedulerState,
  StatefulSchedulerBase,
  stateMismatch,
} from './base.ts'

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

/** A scheduler that is made of others: they go back, begin anew, are saved and loaded with it. */
export abstract class CompositeScheduler extends StatefulSchedulerBase {
  protected readonly parts: readonly StatefulSchedulerBase[]

  constructor(
    parts: readonly StatefulSchedulerBase[],
    optimizer: ScheduledOptimizer,
    options: Pick<SchedulerOptions, 'interval' | 'paramGroupField'>,
  ) {
    super(optimizer, options)
    this.parts = parts
  }

  override rewind(): void {
    super.rewind()
    for (const part of this.parts) part.rewind()
  }

  override restart(): void {
    for (const part of this.parts) part.rewind()
    super.restart()
  }

  override stateDict(): SchedulerState {
    return { ...super.stateDict(), schedulers: this.parts.map(part => part.stateDict()) }
  }

  override loadStateDict(state: SchedulerState): void {
    this.checkStateDict(state)
    const schedulers = state.schedulers as SchedulerState[]
    for (const [i, part] of this.parts.entries()) part.loadStateDict(schedulers[i]!)
    super.loadStateDict(state)
  }

  override checkStateDict(state: unknown): void {
    super.checkStateDict(state)
    const { schedulers } = state as SchedulerState
    if (!Array.isArray(schedulers) || schedulers.length !== this.parts.length) {
      throw stateMismatch(this, `it is not made of ${this.parts.length} schedulers`)
    }
    for (const [i, part] of this.parts.entries()) part.checkStateDict(schedulers[i])
  }
}
