/** `ModelEmaCallback`: a moving average of the model, evaluated and saved beside it. */
import type { StateRecord } from '../checkpoint/index.ts'
import { badOption, checkOptions } from '../errors.ts'
import { Module } from '../nn/index.ts'
import { type AveragedModel, type AverageState, EMA } from '../optim/index.ts'
import type { MetricName } from '../trainer/run-history.ts'
import type { AnyTrainer, Callback, EvalEpochEvent } from './callback.ts'
import { CallbackHandler } from './handler.ts'
import { SaveBestModelCallback } from './save-best-model.ts'

/** Options of `ModelEmaCallback`. */
export interface ModelEmaOptions {
  /** Share of the average that stays at each update. Default 0.99. */
  decay?: number | undefined
  /** Whether to evaluate the average after each evaluation of the model; otherwise it is saved after every epoch. Default true. */
  evaluateDuringTraining?: boolean | undefined
  /** Default 'ema_model.safetensors'. */
  savePath?: string | undefined
  /** Default `ema_model_eval_loss_epoch`. */
  watchMetric?: MetricName | undefined
  /** Default false. */
  greaterIsBetter?: boolean | undefined
  /** The kind of average. Default `optim.EMA`. */
  modelEma?: (new (model: Module, options: { decay: number }) => AveragedModel) | undefined
  /** Called in evaluations of the average, in place of the Trainer's: callbacks of metrics, say. */
  callbacks?: readonly Callback<never>[] | undefined
}

const optionNames = [
  'decay',
  'evaluateDuringTraining',
  'savePath',
  'watchMetric',
  'greaterIsBetter',
  'modelEma',
  'callbacks',
]

/** Put before the names of metrics in evaluations of the average. */
const PREFIX = 'ema_model_'

/**
 * Averages the model after every update. The average is evaluated after each evaluation of the model, its metrics have the
 * prefix `ema_model_`, and the best one is saved; the model itself is never changed. It belongs after callbacks that record metrics
 * and before those that log them.
 */
export class ModelEmaCallback extends SaveBestModelCallback {
  readonly #decay: number
  readonly #evaluates: boolean
  readonly #make: NonNullable<ModelEmaOptions['modelEma']>
  readonly #callbacks: readonly Callback<never>[]
  #ema: AveragedModel | undefined

  constructor(options: ModelEmaOptions = {}) {
    checkOptions('ModelEmaCallback', options, optionNames)
    const { decay = 0.99, evaluateDuringTraining = true, savePath = 'ema_model.safetensors' } = options
    const {
      watchMetric = `${PREFIX}eval_loss_epoch`,
      greaterIsBetter = false,
      modelEma = EMA,
      callbacks = [],
    } = options
    if (!(decay >= 0 && decay <= 1)) throw badOption('ModelEmaCallback', `decay must be from 0 to 1, not ${decay}`)
    super({ savePath, watchMetric, greaterIsBetter, resetOnTrain: false, saveOptimizer: false, saveScheduler: false })
    this.#decay = decay
    this.#evaluates = evaluateDuringTraining
    this.#make = modelEma
    this.#callbacks = callbacks
  }

  /** The averaged module, null before the first run. */
  get emaModel(): Module | null {
    return this.#ema?.module ?? null
  }

  override onTrainingRunStart({ model }: AnyTrainer): void {
    if (!(model instanceof Module)) throw badOption('ModelEmaCallback', 'the model must be an nn.Module')
    this.#ema?.dispose()
    this.#ema = new this.#make(model, { decay: this.#decay })
  }

  onTrainUpdateEnd(): void {
    this.#ema?.update()
  }

  onTrainStepsReplayed(_trainer: AnyTrainer, { steps }: { steps: number }): void {
    this.#ema?.countReplayed(steps)
  }

  async onEvalEpochEnd(trainer: AnyTrainer, { isIntermediate }: EvalEpochEvent): Promise<void> {
    const { runHistory } = trainer
    if (!this.#evaluates || !this.#ema || isIntermediate || !trainer.isTraining) return
    trainer.print('Running evaluation on EMA model')
    const prefix = runHistory.metricNamePrefix
    runHistory.setMetricNamePrefix(PREFIX)
    try {
      const callbackHandler = new CallbackHandler(trainer, this.#callbacks)
      await this.#ema.using(() => trainer.evaluateInRun({ callbackHandler }))
    } finally {
      runHistory.setMetricNamePrefix(prefix)
    }
  }

  override async onTrainingRunEpochEnd(trainer: AnyTrainer): Promise<void> {
    if (this.#evaluates) await super.onTrainingRunEpochEnd(trainer)
    else await this.save(trainer, { epoch: trainer.runHistory.currentEpoch })
  }

  protected override async save(trainer: AnyTrainer, extra: StateRecord): Promise<void> {
    await this.#ema?.using(() => super.save(trainer, extra))
  }

  override async onTrainingRunEnd(): Promise<void> {
    // The average is never loaded into the model.
  }

  override async stateDict(): Promise<StateRecord> {
    const average = this.#ema?.stateDict()
    return { ...(await super.stateDict()), ...(average && { ema: { ...average } }) }
  }

  override loadStateDict(state: StateRecord): void {
    this.checkStateDict(state)
    super.loadStateDict(state)
    if (this.#ema && state.ema) this.#ema.loadStateDict(state.ema as unknown as AverageState)
  }

  override checkStateDict(state: unknown): void {
    super.checkStateDict(state)
    const { ema } = state as StateRecord
    if (ema) this.#ema?.checkStateDict(ema)
  }
}
