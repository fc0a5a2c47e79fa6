/** `LoggingCallback`: sends the metrics of a run to the trainer's loggers. */
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, isNumber, recordOf, withFields } from '../forms.ts'
import type { AnyTrainer, Callback, EvalEpochEvent, StopTrainingError } from './callback.ts'

/** Options of `LoggingCallback`. */
export interface LoggingCallbackOptions {
  /** Micro-batches between two entries of `train_loss` and the learning rate. Default 50. */
  logEveryNSteps?: number | undefined
}

const isState = withFields({ logged: recordOf(isNumber), earlier: isNumber, sinceLast: isNumber })

/**
 * Logs `train_loss` (of the latest batch) and `lr` every few steps, and every metric of the run history as soon as it is recorded.
 * A trainer with loggers has one at the end of its callbacks; give it yourself to set its options.
 */
export class LoggingCallback implements Callback {
  readonly #every: number
  #sinceLast = 0
  /** How many values of a metric have been logged. */
  #logged: Record<string, number> = {}
  /** Steps of runs before this one. */
  #earlier = 0
  #step = 0
  #started = false
  /** Whether the loggers have a run that isn't finished. */
  #isOpen = false
  /** Whether the run was stopped and its state saved. */
  #isSaved = false

  constructor(options: LoggingCallbackOptions = {}) {
    checkOptions('LoggingCallback', options, ['logEveryNSteps'])
    const { logEveryNSteps = 50 } = options
    if (!Number.isInteger(logEveryNSteps) || logEveryNSteps < 1) {
      throw badOption('LoggingCallback', `logEveryNSteps must be a whole number of at least 1, not ${logEveryNSteps}`)
    }
    this.#every = logEveryNSteps
  }

  /** The step to log now: later runs of a trainer go on where the one before ended. */
  stepOf(trainer: AnyTrainer): number {
    if (trainer.isTraining) this.#step = this.#earlier + trainer.globalStep
    return this.#step
  }

  onTrainingRunStart(trainer: AnyTrainer): Promise<void> {
    const resumed = trainer.globalStep > 0
    this.#earlier = resumed ? 0 : this.#step
    this.#sinceLast = 0
    return this.#start(trainer, resumed)
  }

  onEvaluationRunStart(trainer: AnyTrainer): Promise<void> {
    return this.#start(trainer, false)
  }

  onTrainBatchEnd(trainer: AnyTrainer, { steps }: { steps: number }): Promise<void> | undefined {
    this.#sinceLast += steps
    if (this.#sinceLast < this.#every) return undefined
    this.#sinceLast = 0
    return this.#logStep(trainer)
  }

  async #logStep(trainer: AnyTrainer): Promise<void> {
    const { last } = await trainer.lossTracker.read()
    await trainer.logger.logMetrics({ train_loss: last, ...learningRates(trainer) })
  }

  onTrainEpochEnd(trainer: AnyTrainer): Promise<void> {
    return this.#logNew(trainer)
  }

  async onEvalEpochEnd(trainer: AnyTrainer, { isIntermediate }: EvalEpochEvent): Promise<void> {
    if (!isIntermediate) return this.#logNew(trainer)
    // An intermediate evaluation's loss is in the history only now.
    const loss = trainer.runHistory.getMetricValues('intermediate_eval_loss').at(-1)
    if (loss !== undefined) await trainer.logger.logMetrics({ intermediate_eval_loss: loss })
  }

  onTrainingRunEpochEnd(trainer: AnyTrainer): Promise<void> {
    return this.#logNew(trainer)
  }

  onStopTrainingError(_trainer: AnyTrainer, { error }: { error: StopTrainingError }): void {
    this.#isSaved = error.isSaved
  }

  async onTrainingRunEnd(trainer: AnyTrainer): Promise<void> {
    // A run that goes on from the saved state logs what is new where it always does.
    if (!this.#isSaved) await this.#logNew(trainer)
    await this.#finish(trainer)
  }

  async onTrainingRunFailed(trainer: AnyTrainer): Promise<void> {
    if (this.#isOpen) await this.#finish(trainer)
  }

  async #finish(trainer: AnyTrainer): Promise<void> {
    this.#isOpen = false
    await trainer.logger.finish()
  }

  async onEvaluationRunEnd(trainer: AnyTrainer): Promise<void> {
    await this.#logNew(trainer)
    await this.#finish(trainer)
  }

  stateDict(): { logged: Record<string, number>; earlier: number; sinceLast: number } {
    return { logged: this.#logged, earlier: this.#earlier, sinceLast: this.#sinceLast }
  }

  loadStateDict(state: { logged: Record<string, number>; earlier: number; sinceLast: number }): void {
    checkForm(this, state, isState)
    this.#logged = { ...state.logged }
    this.#earlier = state.earlier
    this.#sinceLast = state.sinceLast
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }

  async #start(trainer: AnyTrainer, resumed: boolean): Promise<void> {
    const { runConfig, device, model } = trainer
    // A history that was reset begins to be logged from its start.
    this.#logged = {}
    this.#isSaved = false
    if (resumed || trainer.runHistory.getMetricNames().length > 0) this.#skipKnown(trainer)
    await trainer.logger.start({
      config: runConfig?.toJSON() ?? null,
      device,
      model: String(model),
      step: this.stepOf(trainer),
      resumed: resumed || this.#started,
    })
    this.#started = true
    this.#isOpen = true
  }

  #skipKnown({ runHistory }: AnyTrainer): void {
    for (const name of runHistory.getMetricNames()) this.#logged[name] = runHistory.getMetricValues(name).length
  }

  async #logNew(trainer: AnyTrainer): Promise<void> {
    const fresh: Record<string, number> = {}
    for (const name of trainer.runHistory.getMetricNames()) {
      const values = trainer.runHistory.getMetricValues(name)
      const value = values.at(-1)
      if (value !== undefined && values.length > (this.#logged[name] ?? 0)) fresh[name] = value
      this.#logged[name] = values.length
    }
    if (Object.keys(fresh).length > 0) await trainer.logger.logMetrics(fresh)
  }
}

/** `lr`, or `lr_group_0`, ... if the groups have different ones. */
function learningRates({ optimizer }: AnyTrainer): Record<string, number> {
  const rates = optimizer.paramGroups.map(group => Reflect.get(group, 'lr')).filter(rate => typeof rate === 'number')
  if (new Set(rates).size === 1) return { lr: rates[0] ?? 0 }
  return Object.fromEntries(rates.map((rate, i) => [`lr_group_${i}`, rate]))
}
