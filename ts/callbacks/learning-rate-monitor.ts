/** `LearningRateMonitorCallback`: records what the schedules set. */
import { badOption, checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Options of `LearningRateMonitorCallback`. */
export interface LearningRateMonitorOptions {
  /** Fields of the parameter groups. Default `['lr']`. */
  fields?: readonly string[] | undefined
  /** Whether values are recorded at each `'epoch'`'s end (default) or for each `'update'`. */
  interval?: 'epoch' | 'update' | undefined
}

/**
 * Records the learning rate, or other fields of the optimizer's groups, as metrics: `lr` with one group, `lr_group_0`, ... with
 * several. Fields that aren't numbers (`betas`) are an error.
 */
export class LearningRateMonitorCallback implements Callback {
  readonly #fields: readonly string[]
  readonly #interval: 'epoch' | 'update'
  #current: (readonly [name: string, value: number])[] = []

  constructor(options: LearningRateMonitorOptions = {}) {
    checkOptions('LearningRateMonitorCallback', options, ['fields', 'interval'])
    const { fields = ['lr'], interval = 'epoch' } = options
    if (interval !== 'epoch' && interval !== 'update') {
      throw badOption('LearningRateMonitorCallback', `interval must be 'epoch' or 'update', not '${String(interval)}'`)
    }
    this.#fields = fields
    this.#interval = interval
  }

  // What the update that follows will use; after it the scheduler has moved on.
  onTrainStepStart(trainer: AnyTrainer): void {
    this.#current = this.#interval === 'update' ? this.#read(trainer) : []
  }

  onTrainUpdateEnd({ runHistory }: AnyTrainer): void {
    if (this.#current.length > 0) native.needsJavascript()
    for (const [name, value] of this.#current) runHistory.updateMetric(name, value)
  }

  onTrainEpochEnd(trainer: AnyTrainer): void {
    if (this.#interval === 'update') return
    for (const [name, value] of this.#read(trainer)) trainer.runHistory.updateMetric(name, value)
  }

  #read({ optimizer }: AnyTrainer): (readonly [name: string, value: number])[] {
    const groups = optimizer.paramGroups
    return this.#fields.flatMap(field =>
      groups.map((group, i) => {
        const value: unknown = Reflect.get(group, field)
        if (typeof value !== 'number') {
          throw badOption('LearningRateMonitorCallback', `the optimizer's groups have no number '${field}'`)
        }
        return [groups.length === 1 ? field : `${field}_group_${i}`, value] as const
      }),
    )
  }
}
