/** Schedules that compute a value from the one before, as PyTorch's do, so that several can act on one optimizer. */
import { StatefulSchedulerBase } from './base.ts'

/** Base of the schedules whose next value follows from the current one. */
export abstract class ChainableScheduler extends StatefulSchedulerBase {
  /** The value of update `n`, where the update before had `value` and the group's initial value is `base`. */
  protected abstract next(value: number, base: number, n: number): number

  getUpdatedValues(numUpdates: number): number[] {
    const bases = this.baseValues
    return this.values.map((value, i) => this.next(value, bases[i]!, numUpdates))
  }
}
