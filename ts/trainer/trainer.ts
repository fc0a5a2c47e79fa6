/**
 * `Trainer`: the training loop, with a method for each of its stages and events for everything around it.
 *
 * ```ts
 * const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer })
 * await trainer.train({ trainDataset, evalDataset, numEpochs: 8, perDeviceBatchSize: 32 })
 * ```
 */
import { autocast, GradScaler } from '../amp/index.ts'
import { CallbackHandler, getDefaultCallbacks, StopTrainingError } from '../callbacks/index.ts'
import { LimitBatchesCallback, limitFromEnvironment } from '../callbacks/limit-batches.ts'
import { LoggingCallback } from '../callbacks/logging.ts'
import { BackgroundWriter, dropImages, type StateRecord } from '../checkpoint/index.ts'
import { type BatchLoader, openBatches } from '../data/batches.ts'
import { Breath } from '../data/breath.ts'
import { type Collate, DataLoader, type Dataset, type IterableDataset, type LoaderOptions } from '../data/index.ts'
import { type BatchReader, isPromise, type MaybePromise, timed } from '../data/reader.ts'
import { isIterable } from '../data/stream.ts'
import { badOption, checkOptions, WickError } from '../errors.ts'
import { Loggers, type LogPosition } from '../loggers/index.ts'
import { native } from '../native/index.ts'
import { clipGradNorm_, clipGradValue_ } from '../nn/utils.ts'
import { StatefulSchedulerBase } from '../schedulers/index.ts'
import { region } from '../tensor/context.ts'
import { getDefaultDevice, keep, manualSeed, type Tensor } from '../tensor/index.ts'
import { asyncScope } from '../tensor/memory.ts'
import { onDevice, tensorsIn } from '../tensor/tree.ts'
import { Accumulation } from './accumulation.ts'
import { withSmallerBatches } from './auto-batch-size.ts'
import {
  readCheckpoint,
  readTrainingState,
  resolveTrainingState,
  snapshotCheckpoint,
  snapshotTrainingState,
} from './checkpoints.ts'
import { inputTargetLoss } from './default-step.ts'
import { LossTracker } from './loss-tracker.ts'
import { type LrFinderOptions, type LrFinderResult, lrFinder } from './lr-finder.ts'
import { type FitOneCycleOptions, oneCycleOf } from './one-cycle.ts'
import { withScheduler } from './own-scheduler.ts'
import { removePadding } from './padding.ts'
import { predictAll } from './predictions.ts'
import { runConfigOf, type TrainerRunConfig } from './run-config.ts'
import { InMemoryRunHistory, type RunHistory } from './run-history.ts'
import { type Position, RunState, restoreEpoch, restoreRandom } from './run-state.ts'
import {
  checkTrainerOptions,
  evaluateSettings,
  mergeLoaderOptions,
  type RunSettings,
  trainSettings,
} from './settings.ts'
import { type SettleOptions, Settling } from './settling.ts'
import { finish, type StepReport, StepRunner, type Work } from './step-runner.ts'
import { surroundings } from './surroundings.ts'
import {
  type LoadCheckpointOptions,
  type LoadedCheckpoint,
  type LoadedTrainingState,
  loadAll,
  modelTensors,
  partsState,
  type SaveCheckpointOptions,
  type SaveTrainingStateOptions,
  savedCallbacks,
  savedParts,
  setHistory,
  stateOf,
} from './training-state.ts'
import type {
  BatchOutput,
  CollateOption,
  DefaultBatch,
  EvaluateInRunOptions,
  EvaluateOptions,
  LossFunction,
  OutputOf,
  Precision,
  ScheduleContext,
  TrainableModule,
  TrainableOptimizer,
  TrainableScheduler,
  TrainerOptions,
  TrainOptions,
} from './types.ts'

/** Trains, evaluates and applies `Model` on batches of type `Batch`; `Output` is what the model's `forward` gives. */
export class Trainer<
  Model extends TrainableModule = TrainableModule,
  Batch = DefaultBatch<Model>,
  Output = OutputOf<Model>,
> {
  model: Model
  loss: LossFunction<Output> | null
  optimizer: TrainableOptimizer
  /** The scheduler of the current or last run, null if it has none. */
  scheduler: TrainableScheduler | null = null
  readonly runHistory: RunHistory
  /** Calls the callbacks. Set for a while to evaluate with others. */
  callbackHandler: CallbackHandler
  readonly device: string
  /** `'no'`, `'bf16'` or `'fp16'`: what the forward pass and the loss are autocast to. */
  readonly precision: Precision
  /** Scales the loss of `fp16`; `null` otherwise. */
  readonly scaler: GradScaler | null
  readonly seed: number | undefined
  /** All loggers as one: for metrics, images and histograms of one's own. */
  readonly logger: Loggers
  /** What the current or last run was started with. */
  runConfig: TrainerRunConfig | null = null
  /** The loss of the running epoch, on the device. */
  lossTracker: LossTracker
  protected trainDataset: Dataset<unknown> | IterableDataset<unknown> | null = null
  protected evalDataset: Dataset<unknown> | IterableDataset<unknown> | null = null
  trainDataLoader: BatchLoader<Batch> | null = null
  evalDataLoader: BatchLoader<Batch> | null = null
  /** Batches that an evaluation takes at most; null for all. `LimitEvalStepsCallback` sets it. */
  maxNumEvalSteps: number | null = null
  /** Whether the optimizer skips its updates once a loss wasn't finite; `TerminateOnNaNCallback` turns it on. */
  skipNonFiniteUpdates = false

  #settings: RunSettings = evaluateSettings('Trainer', { dataset: { length: 0, get: () => null } })
  #collate: Collate<unknown, Batch> | undefined
  /** Where the run stands. */
  readonly #run = new RunState()
  /** The position and the callbacks' states that `loadTrainingState` found in this run. */
  #loaded: { position: Position; callbacks: StateRecord } | null = null
  /** Whether `train` is running. */
  #inRun = false
  /** Whether a callback evaluates, maybe with other weights: no place to save or to stop at. */
  #nested = false
  /** The loss of an evaluation that a callback begins. */
  #innerLossTracker: LossTracker | undefined
  /** Whether a batch counts as done and some of its events are still to come. */
  #completing = false
  readonly #settling = new Settling()
  readonly #writer = new BackgroundWriter()
  readonly #initialized: MaybePromise<void>
  /** Those that the Trainer made itself for the run. */
  readonly #loaders: DataLoader<unknown, Batch>[] = []
  readonly #breath = new Breath()
  readonly #dataClock = { ms: 0 }
  readonly #updateSteps: StepRunner
  readonly #microSteps: StepRunner
  readonly #evalSteps: StepRunner

  constructor(
    options: TrainerOptions<Model, NoInfer<Output>, Trainer<NoInfer<Model>, NoInfer<Batch>, NoInfer<Output>>>,
  ) {
    checkTrainerOptions(options)
    const { model, loss, optimizer, callbacks = getDefaultCallbacks(), capture = 'auto', stepsPerCall = 16 } = options
    this.model = model
    this.loss = loss
    this.optimizer = optimizer
    this.runHistory = options.runHistory ?? new InMemoryRunHistory()
    this.device = options.device ?? getDefaultDevice()
    this.precision = options.precision ?? 'no'
    this.lossTracker = new LossTracker(this.device)
    this.scaler = this.precision === 'fp16' ? new GradScaler({ device: this.device }) : null
    this.seed = options.seed
    this.#updateSteps = new StepRunner('training step', capture, this.device, stepsPerCall, () =>
      surroundings(this, [this.model, this.loss, this.optimizer]),
    )
    this.#microSteps = new StepRunner('training step without update', capture, this.device)
    this.#evalSteps = new StepRunner('evaluation step', capture, this.device)
    const limit = callbacks.some(callback => callback instanceof LimitBatchesCallback) ? null : limitFromEnvironment()
    const list = [...(options.loggers ?? []), ...(options.logger ? [options.logger] : [])]
    const logging = callbacks.find(callback => callback instanceof LoggingCallback) ?? new LoggingCallback()
    this.logger = new Loggers(list, () => this.#logPosition(logging))
    const added = list.length > 0 && !callbacks.includes(logging) ? [logging] : []
    this.callbackHandler = new CallbackHandler(this, [...(limit ? [limit] : []), ...callbacks, ...added])
    this.#initialized = this.callbackHandler.callEvent('onInitEnd')
  }

  // Runs

  /** Trains the model; results are in `runHistory`. Rejects with `NAN_LOSS` if `TerminateOnNaNCallback` ended the run. */
  async train<Item>(options: TrainOptions<Item> & CollateOption<Item, Batch>): Promise<void> {
    if (!options?.autoBatchSize) return this.#train(options)
    return withSmallerBatches(this, options, smaller => this.#train(smaller))
  }

  async #train<Item>(options: TrainOptions<Item> & CollateOption<Item, Batch>): Promise<void> {
    const settings = trainSettings<Item>(options)
    this.#begin(settings, options)
    await this.#initialized
    this.trainDataset = options.trainDataset
    this.evalDataset = options.evalDataset ?? null
    if (options.resumeFrom === undefined && (options.resetRunHistory ?? true)) this.runHistory.reset()
    const { perDeviceBatchSize, trainDataLoaderOptions, evalDataLoaderOptions } = settings
    this.trainDataLoader = this.createTrainDataLoader(perDeviceBatchSize, trainDataLoaderOptions ?? undefined)
    if (this.evalDataset) {
      this.evalDataLoader = this.createEvalDataLoader(perDeviceBatchSize, evalDataLoaderOptions ?? undefined)
    }
    const { maxNumTrainSteps } = await this.#prepare()
    if (maxNumTrainSteps === Number.POSITIVE_INFINITY) {
      throw badOption('Trainer.train', 'training data without a length needs maxNumTrainSteps')
    }
    const isOverridden = Object.getPrototypeOf(this).createScheduler !== Trainer.prototype.createScheduler
    if (settings.createScheduler || isOverridden) this.scheduler = this.createScheduler()
    // One of a user's own sets the values of update 0 only now.
    if (this.scheduler instanceof StatefulSchedulerBase) this.scheduler.start()
    this.#inRun = true
    try {
      if (options.resumeFrom !== undefined) await this.#resume(options.resumeFrom)
      await this.runTraining()
    } finally {
      this.#inRun = false
      this.#hold(null)
      this.#endWorkers()
      await this.#flush()
    }
  }

  /** Goes on from a training state. */
  async #resume(resumeFrom: string): Promise<void> {
    const dir = await resolveTrainingState(resumeFrom)
    const { currentEpoch } = await this.loadTrainingState(dir)
    this.#run.begin(this.#loaded?.position ?? null)
    this.print(`Resumed training state from ${dir} (epoch ${currentEpoch})`)
  }

  /**
   * Trains with the 1cycle policy: the learning rate of each group rises to `maxLr` (default: the group's own) and falls to almost 0
   * over the whole run, momentum the other way.
   */
  async fitOneCycle<Item>(options: FitOneCycleOptions<Item> & CollateOption<Item, Batch>): Promise<void> {
    const { maxLr, oneCycle, ...rest } = options
    const createScheduler = oneCycleOf(maxLr, oneCycle)
    const run = () => this.train({ ...rest, createScheduler } as typeof options)
    await withScheduler(this, () => createScheduler(this.scheduleContext()), run)
  }

  /** Looks for a learning rate: trains on with a rising one, then puts everything back; see `lrFinder`. */
  lrFinder<Item>(options: LrFinderOptions<Item> & CollateOption<Item, Batch>): Promise<LrFinderResult> {
    return lrFinder(this, options)
  }

  /** Evaluates the model on `dataset`: resets the run history and records `evaluation_loss`. */
  async evaluate<Item>(options: EvaluateOptions<Item> & CollateOption<Item, Batch>): Promise<void> {
    const settings = evaluateSettings('Trainer.evaluate', options)
    this.#begin(settings, options)
    await this.#initialized
    this.evalDataset = options.dataset
    this.runHistory.reset()
    this.evalDataLoader = this.createEvalDataLoader(settings.perDeviceBatchSize, options.dataLoaderOptions)
    await this.#prepare()
    try {
      await this.runEvaluation()
    } finally {
      this.#endWorkers()
    }
  }

  /** The model's outputs for all of `dataset`, in its order, joined along the first dimension. No event is called. */
  async predict<Item>(options: EvaluateOptions<Item> & CollateOption<Item, Batch>): Promise<Output> {
    const settings = evaluateSettings('Trainer.predict', options)
    this.#begin(settings, options)
    this.evalDataset = options.dataset
    const loader = this.createEvalDataLoader(settings.perDeviceBatchSize, options.dataLoaderOptions)
    this.model.eval()
    try {
      return await predictAll(await openBatches(loader), batch =>
        this.#cast(() => this.calculatePredictions(onDevice(batch, this.device))),
      )
    } finally {
      this.#endWorkers()
    }
  }

  #begin(settings: RunSettings, { collate }: { collate?: unknown }): void {
    this.#settings = settings
    this.#collate = collate as Collate<unknown, Batch> | undefined
    this.#run.begin(null)
    this.#settling.clear()
    this.#endWorkers()
    this.skipNonFiniteUpdates = false
    this.maxNumEvalSteps = null
    this.scheduler = null
    this.trainDataLoader = null
    this.evalDataLoader = null
  }

  /** Makes a run or an evaluation ready, once its loaders are made. */
  async #prepare(): Promise<TrainerRunConfig> {
    await this.prepareModelOptimizerAndDataLoaders()
    await this.callbackHandler.callEvent('onDataLoadersCreated')
    const runConfig = this.createRunConfig()
    this.runConfig = runConfig
    this.checkEvalBatchSize()
    return runConfig
  }

  /** The epochs of `train`. */
  protected async runTraining(): Promise<void> {
    let failure: WickError | null
    try {
      failure = await this.#runEpochs()
    } catch (error) {
      await this.callbackHandler.callFailed(error)
      throw error
    }
    if (failure) throw failure
  }

  /** The epochs with all that is around them; gives the error to reject with after an orderly end, if any. */
  async #runEpochs(): Promise<WickError | null> {
    const events = this.callbackHandler
    const { numEpochs, maxNumTrainSteps } = this.#settings
    const { progress } = this.#run
    const failure = await this.#untilStopped(async () => {
      await this.trainingRunStart()
      await events.toItsEnd(async () => {
        await events.callEvent('onTrainingRunStart')
        await this.#restoreStreams()
      })
      while (progress.epoch < numEpochs && (progress.updates < maxNumTrainSteps || !progress.betweenEpochs)) {
        if (!this.trainDataLoader) throw new WickError('INTERNAL', 'there is no training data loader')
        if (progress.phase === 'train') {
          await this.runTrainEpoch(this.trainDataLoader)
          await this.#settle()
        }
        if (progress.phase === 'evaluate') {
          if (this.evalDataLoader) await this.runEvalEpoch(this.evalDataLoader)
          progress.phase = 'close'
          await this.#settle()
        }
        if (progress.phase === 'close') {
          if (this.scheduler?.interval === 'epoch') await this.schedulerStep()
          await this.trainingRunEpochEnd()
          progress.phase = 'next'
          await events.toItsEnd(() => events.callEvent('onTrainingRunEpochEnd'))
        }
        const ended = this.runHistory.currentEpoch
        this.runHistory.incrementEpoch()
        progress.nextEpoch()
        await this.#settle()
        if (progress.updates < maxNumTrainSteps) continue
        this.print(`Reached max number of training steps ${maxNumTrainSteps} in epoch ${ended}`)
      }
    })
    if (!failure) await this.#settling.run('run')
    await this.trainingRunEnd()
    await events.callEvent('onTrainingRunEnd')
    // What an unfinished accumulation window left must not reach the next run's first update.
    this.optimizer.zeroGrad()
    return failure
  }

  /** The epoch of `evaluate`. */
  protected async runEvaluation(): Promise<void> {
    const events = this.callbackHandler
    await this.evaluationRunStart()
    await events.callEvent('onEvaluationRunStart')
    const failure = await this.#untilStopped(async () => {
      if (this.evalDataLoader) await this.runEvalEpoch(this.evalDataLoader, { isTraining: false })
    })
    await this.evaluationRunEnd()
    await events.callEvent('onEvaluationRunEnd')
    if (failure) throw failure
  }

  /** Runs epochs until they end or something stops them; gives the error to reject with after the run's end, if any. */
  async #untilStopped(epochs: () => Promise<void>): Promise<WickError | null> {
    try {
      await epochs()
      return null
    } catch (error) {
      this.#completing = false
      this.callbackHandler.forgetStops()
      if (error instanceof WickError && error.code === 'NAN_LOSS') return error
      if (!(error instanceof StopTrainingError)) {
        this.optimizer.zeroGrad()
        throw error
      }
      this.print(error.message)
      await this.callbackHandler.callEvent('onStopTrainingError', { error })
      return null
    }
  }

  // Epochs and steps

  /** One pass over the training data, or what is left of it in a resumed run. */
  protected async runTrainEpoch(loader: BatchLoader<Batch>): Promise<void> {
    const events = this.callbackHandler
    const { progress } = this.#run
    const resumed = this.#run.resumedEpoch
    await this.trainEpochStart()
    this.lossTracker.reset()
    await events.callEvent('onTrainEpochStart')
    const { gradientAccumulationSteps, maxNumTrainSteps } = this.#settings
    this.#run.startEpoch(loader, gradientAccumulationSteps, this.lossTracker, resumed)
    const accumulation = new Accumulation(gradientAccumulationSteps, loader.length, resumed?.accumulation ?? undefined)
    this.#run.accumulation = accumulation
    const eachStepIsTheSame = this.scheduler === null || this.scheduler.interval === 'epoch'
    this.#updateSteps.startEpoch(eachStepIsTheSame && gradientAccumulationSteps === 1)
    const epoch = this.runHistory.currentEpoch
    const opened = resumed ? await this.#reopen(loader, resumed) : await openBatches(loader, 0, epoch)
    const reader = timed(opened, this.#dataClock)
    try {
      while (progress.updates < maxNumTrainSteps) {
        if (!opened.copies) this.#run.makingBatch(true, loader)
        const more = reader.next()
        if (!(isPromise(more) ? await more : more)) {
          // The loader's length is unknown, or more than it gives.
          if (progress.windowOpen) {
            await asyncScope(async () => finish(this.#update(accumulation, 0)))
            this.#completed()
          }
          break
        }
        const runner = accumulation.closesAt(progress.step) ? this.#updateSteps : this.#microSteps
        const body = (batch: Batch) => this.#trainStep(batch, progress.step, accumulation)
        const before = progress.step
        // A turn for microtasks, also after a step that waited for nothing.
        const replayed = await runner.run(reader, maxNumTrainSteps - progress.updates, body)
        if (!opened.copies) this.#run.makingBatch(false, loader)
        this.#complete()
        if (replayed > 0) {
          progress.advance(replayed, replayed)
          await events.callEvent('onTrainStepsReplayed', { steps: replayed })
        }
        const completed = events.callEvent('onTrainBatchEnd', {
          step: progress.step - 1,
          steps: progress.step - before,
        })
        if (completed) await completed
        this.#completed()
        if (this.#settling.pending) await this.#settle()
        const pause = this.#breath.pause()
        if (pause) await pause
      }
    } finally {
      reader.close()
    }
    await this.trainEpochEnd()
    this.runHistory.updateMetric('train_loss_epoch', (await this.lossTracker.read()).average)
    progress.phase = 'evaluate'
    await events.toItsEnd(() => events.callEvent('onTrainEpochEnd'))
  }

  /** The batch counts as done: whoever stops the run from now on stops it after the batch's last event. */
  #complete(): void {
    if (this.#completing) return
    this.#completing = true
    this.callbackHandler.holdStops()
  }

  /** All events of the batch have been. */
  #completed(): void {
    this.#completing = false
    this.callbackHandler.releaseStops()
  }

  /** The batches of an epoch that was left in the middle, and everything else as it was there. */
  async #reopen(loader: BatchLoader<Batch>, position: Position): Promise<BatchReader<Batch>> {
    restoreEpoch(position, this.lossTracker, this.optimizer)
    await loadAll(savedCallbacks(this, this.#loaded?.callbacks ?? {}))
    // The epoch's order is drawn again from where it was drawn.
    if (position.epochRandom) restoreRandom(position.epochRandom, loader)
    const reader = await openBatches(loader, position.progress.step, this.runHistory.currentEpoch)
    restoreRandom(position.random, loader)
    return reader
  }

  /** In a resumed run: undoes what the run's start did to random streams and callbacks. */
  async #restoreStreams(): Promise<void> {
    if (!this.#loaded) return
    await loadAll(savedCallbacks(this, this.#loaded.callbacks))
    restoreRandom(this.#loaded.position.random, this.trainDataLoader)
  }

  /** Keeps what a resumed run needs later, with its tensors; frees what was kept before. */
  #hold(loaded: { position: Position; callbacks: StateRecord } | null): void {
    for (const { handle } of tensorsIn(this.#loaded)) native.release(handle)
    for (const x of tensorsIn(loaded)) keep(x)
    this.#loaded = loaded
  }

  /** Runs the actions that wait for the place where the run is now. */
  async #settle(): Promise<void> {
    if (!this.#settling.pending || this.#nested) return
    await (this.#run.progress.windowOpen ? this.#settling.run('batch') : this.#settling.run('batch', 'update'))
  }

  /** One micro-batch. It waits for nothing but promises, so a step without any runs in one go. */
  *#trainStep(batch: Batch, step: number, accumulation: Accumulation): Work<void> {
    const events = this.callbackHandler
    const started = events.callEvent('onTrainStepStart')
    if (started) yield started
    const result = this.#cast(() => this.calculateTrainBatchLoss(batch))
    const batchOutput = isPromise(result) ? ((yield result) as BatchOutput<Output>) : result
    const { loss, batchSize, numItemsInBatch = batchSize } = batchOutput
    const scaled = accumulation.scale(loss, step, numItemsInBatch)
    const tracked = this.updateLossTracker(loss, batchSize)
    if (isPromise(tracked)) yield tracked
    const ended = events.callEvent('onTrainStepEnd', { batch, batchOutput, step })
    if (ended) yield ended

    const differentiated = this.backwardStep(scaled)
    if (isPromise(differentiated)) yield differentiated
    if (!accumulation.closesAt(step)) return this.#run.progress.advance(1, 0)
    yield* this.#update(accumulation, 1)
  }

  /** The update that closes a window, which `steps` micro-batches complete. */
  *#update(accumulation: Accumulation, steps: number): Work<void> {
    const events = this.callbackHandler
    accumulation.finish(() => this.#parameters())
    const ready = events.callEvent('onGradientsReady')
    if (ready) yield ready
    if (this.#settings.gradientClipValue !== null || this.#settings.gradientClipNorm !== null) {
      const clipped = this.clipGradients()
      if (isPromise(clipped)) yield clipped
    }
    const updated = this.optimizerStep()
    if (isPromise(updated)) yield updated
    if (
      this.scheduler &&
      this.scheduler.interval !== 'epoch' &&
      !(this.scaler && (yield this.scaler.stepWasSkipped()))
    ) {
      const scheduled = this.schedulerStep()
      if (isPromise(scheduled)) yield scheduled
    }
    const cleared = this.optimizerZeroGrad()
    if (isPromise(cleared)) yield cleared
    this.#run.progress.advance(steps, 1)
    this.#complete()
    const updateEnded = events.callEvent('onTrainUpdateEnd', { update: this.#run.progress.updates })
    if (updateEnded) yield updateEnded
  }

  /**
   * One pass over the evaluation data. An intermediate one happens inside a training epoch; it has a loss tracker of its own, as one
   * that a callback begins at another's end.
   */
  protected async runEvalEpoch(
    loader: BatchLoader<Batch>,
    { isTraining = true, isIntermediate = false }: { isTraining?: boolean; isIntermediate?: boolean } = {},
  ): Promise<void> {
    const events = this.callbackHandler
    const outer = this.lossTracker
    if (isIntermediate || this.#nested) {
      this.#innerLossTracker ??= new LossTracker(this.device)
      this.lossTracker = this.#innerLossTracker
    }
    const random = native.generatorState(GLOBAL)
    if (!this.#nested) this.#run.evaluating(true, this.trainDataLoader)
    try {
      await this.evalEpochStart()
      this.lossTracker.reset()
      await events.callEvent('onEvalEpochStart', { isIntermediate })
      await this.#evaluateBatches(loader)
      await this.evalEpochEnd()
      const name = isIntermediate ? 'intermediate_eval_loss' : isTraining ? 'eval_loss_epoch' : 'evaluation_loss'
      this.runHistory.updateMetric(name, (await this.lossTracker.read()).average)
      if (!isIntermediate && !this.#nested) this.#run.progress.phase = 'close'
      await events.toItsEnd(() => events.callEvent('onEvalEpochEnd', { isIntermediate }))
    } finally {
      if (isIntermediate) {
        this.runHistory.deleteMetric(`${this.runHistory.metricNamePrefix}intermediate_eval_loss`)
        this.model.train()
      }
      this.lossTracker = outer
      // Evaluation never shifts training's random numbers.
      native.setGeneratorState(GLOBAL, ...random)
      if (!this.#nested) this.#run.evaluating(false, null)
    }
  }

  /**
   * Evaluates on the run's evaluation data within the run, for callbacks: an epoch of evaluation with all its hooks and events,
   * called between two steps (`isIntermediate`) or epochs. `loader` is in place of the run's, `callbackHandler` of the Trainer's.
   */
  async evaluateInRun(options: EvaluateInRunOptions<Batch> = {}): Promise<void> {
    checkOptions('Trainer.evaluateInRun', options, ['isIntermediate', 'loader', 'callbackHandler'])
    const { isIntermediate = false, loader = this.evalDataLoader, callbackHandler = this.callbackHandler } = options
    if (!loader) throw badOption('Trainer.evaluateInRun', 'the run has no evaluation dataset')
    const before = this.callbackHandler
    const outer = this.#nested
    this.callbackHandler = callbackHandler
    this.#nested = true
    try {
      // It isn't done again in a resumed run.
      await callbackHandler.toItsEnd(() => this.runEvalEpoch(loader, { isIntermediate }))
    } finally {
      this.callbackHandler = before
      this.#nested = outer
    }
  }

  async #evaluateBatches(loader: BatchLoader<Batch>): Promise<void> {
    const reader = timed(await openBatches(loader, 0, this.runHistory.currentEpoch), this.#dataClock)
    try {
      const limit = this.maxNumEvalSteps ?? Number.POSITIVE_INFINITY
      for (let step = 0; step < limit; step++) {
        const more = region({ grad: false }, () => reader.next())
        if (!(isPromise(more) ? await more : more)) break
        await this.#evalSteps.run(reader, 1, batch => this.#evalStep(batch), false)
        if (this.#settling.pending) await this.#settle()
        const pause = this.#breath.pause()
        if (pause) await pause
      }
    } finally {
      reader.close()
    }
  }

  *#evalStep(batch: Batch): Work<void> {
    const events = this.callbackHandler
    const started = events.callEvent('onEvalStepStart')
    if (started) yield started
    const result = this.#cast(() => this.calculateEvalBatchLoss(batch))
    const batchOutput = isPromise(result) ? ((yield result) as BatchOutput<Output>) : result
    const tracked = this.updateLossTracker(batchOutput.loss, batchOutput.batchSize)
    if (isPromise(tracked)) yield tracked
    const ended = events.callEvent('onEvalStepEnd', { batch, batchOutput })
    if (ended) yield ended
  }

  /** Runs `fn` under the Trainer's autocast. */
  #cast<T>(fn: () => T): T {
    if (this.precision === 'no') return fn()
    return autocast({ dtype: this.precision === 'bf16' ? 'bfloat16' : 'float16' }, fn)
  }

  #parameters() {
    return this.optimizer.paramGroups.flatMap(group => group.params)
  }

  // What a step consists of

  /** The loss of a training batch. Default: `loss(model.forward(input), target)` of a batch `[input, target]`. */
  calculateTrainBatchLoss(batch: Batch): MaybePromise<BatchOutput<Output>> {
    return inputTargetLoss(this.model, this.loss, batch)
  }

  /** The loss of an evaluation batch; as for training by default. Gradients are off. */
  calculateEvalBatchLoss(batch: Batch): MaybePromise<BatchOutput<Output>> {
    return inputTargetLoss(this.model, this.loss, batch)
  }

  /** The model's output for a batch of `predict`. Default: `model.forward` of the batch, or of its first element. */
  calculatePredictions(batch: Batch): MaybePromise<Output> {
    return this.model.forward(Array.isArray(batch) ? batch[0] : batch) as MaybePromise<Output>
  }

  /** Adds a batch's loss to the epoch's mean, on the device. */
  updateLossTracker(loss: Tensor, batchSize: number): MaybePromise<void> {
    this.lossTracker.update(loss, batchSize)
  }

  /** Differentiates a micro-batch's loss, weighted for its accumulation window. */
  backwardStep(loss: Tensor): MaybePromise<void> {
    const scaled = this.scaler ? this.scaler.scale(loss) : loss
    scaled.backward()
  }

  /** Clips the gradients as the run asks, by value and then by norm; called once an update. */
  clipGradients(): MaybePromise<void> {
    const { gradientClipValue, gradientClipNorm } = this.#settings
    this.scaler?.unscale_(this.optimizer)
    if (gradientClipValue !== null) clipGradValue_(this.#parameters(), gradientClipValue)
    if (gradientClipNorm !== null) clipGradNorm_(this.#parameters(), gradientClipNorm)
  }

  /** Updates the parameters; nothing happens on the device once a loss wasn't finite and `skipNonFiniteUpdates` is set. */
  optimizerStep(): MaybePromise<void> {
    const skip = this.skipNonFiniteUpdates ? this.lossTracker.notFinite : undefined
    if (this.scaler) {
      this.scaler.step(this.optimizer, skip ? { skip } : {})
      this.scaler.update()
    } else {
      this.optimizer.step(skip ? { skip } : {})
    }
  }

  /**
   * Steps the scheduler, if there is one: after each update unless the loss scaler left it out, or after each epoch with the
   * latest value of its metric, as the scheduler's `interval` says.
   */
  schedulerStep(): MaybePromise<void> {
    const { scheduler } = this
    if (scheduler?.interval !== 'epoch') {
      scheduler?.step()
      return
    }
    const metric = scheduler.metric ?? (this.evalDataLoader ? 'eval_loss_epoch' : 'train_loss_epoch')
    scheduler.step(this.runHistory.getLatestMetric(metric))
  }

  /** Clears the gradients. */
  optimizerZeroGrad(): MaybePromise<void> {
    this.optimizer.zeroGrad()
  }

  // What a run consists of

  /** Default options of the training loader: shuffled, unless its dataset is iterable. */
  getDefaultTrainDataLoaderOptions(batchSize: number): LoaderOptions {
    return { batchSize, shuffle: true }
  }

  /** Default options of the evaluation loader: in order. */
  getDefaultEvalDataLoaderOptions(batchSize: number): LoaderOptions {
    return { batchSize, shuffle: false }
  }

  /** The loader of `trainDataset`; `options` override the defaults. */
  createTrainDataLoader(batchSize: number, options?: LoaderOptions): BatchLoader<Batch> {
    return this.#createLoader(this.trainDataset, this.getDefaultTrainDataLoaderOptions(batchSize), options)
  }

  /** The loader of `evalDataset`; `options` override the defaults. */
  createEvalDataLoader(batchSize: number, options?: LoaderOptions): BatchLoader<Batch> {
    return this.#createLoader(this.evalDataset, this.getDefaultEvalDataLoaderOptions(batchSize), options)
  }

  #createLoader(
    dataset: Dataset<unknown> | IterableDataset<unknown> | null,
    defaults: LoaderOptions,
    options?: LoaderOptions,
  ): BatchLoader<Batch> {
    if (!dataset) throw badOption('Trainer', 'there is no dataset')
    const { shuffle, ...unordered } = { device: this.device, ...defaults }
    const usual = isIterable(dataset) ? unordered : { ...unordered, shuffle }
    const loader = new DataLoader<unknown, Batch>(dataset, mergeLoaderOptions(usual, options, this.#collate))
    this.#loaders.push(loader)
    return loader
  }

  /** Ends the threads of the loaders that the Trainer made itself; they start again if such a loader is used once more. */
  #endWorkers(): void {
    for (const loader of this.#loaders.splice(0)) loader.close()
  }

  /** Makes everything ready for a run; seeds the random numbers if the Trainer has a seed. */
  protected prepareModelOptimizerAndDataLoaders(): MaybePromise<void> {
    if (this.seed !== undefined) manualSeed(this.seed)
    const { model, optimizer } = this
    if (this.device !== 'cpu' && 'to' in model && typeof model.to === 'function') {
      model.to(this.device)
      if ('followParameters' in optimizer && typeof optimizer.followParameters === 'function')
        optimizer.followParameters()
    }
  }

  /** What the run was started with, as resolved. */
  protected createRunConfig(): TrainerRunConfig {
    return runConfigOf(this.#settings, this.trainDataLoader, this.evalDataLoader, this.precision)
  }

  /** With several processes: whether each gets evaluation batches. One process always does. */
  protected checkEvalBatchSize(): void {}

  /**
   * The run's scheduler: what the `createScheduler` option makes of `scheduleContext()`. Called if there is that option, or if a
   * subclass overrides it.
   */
  createScheduler(): TrainableScheduler | null {
    return this.#settings.createScheduler?.(this.scheduleContext()) ?? null
  }

  /** What a scheduler may depend on. */
  protected scheduleContext(): ScheduleContext {
    const { numUpdateStepsPerEpoch = 0, maxNumTrainSteps = 0 } = this.runConfig ?? {}
    return {
      optimizer: this.optimizer,
      numEpochs: this.#settings.numEpochs,
      // Data without a length is one epoch of the whole run.
      numUpdateStepsPerEpoch: Number.isFinite(numUpdateStepsPerEpoch) ? numUpdateStepsPerEpoch : maxNumTrainSteps,
      maxNumTrainSteps,
      trainDataLoaderLength: this.trainDataLoader?.length ?? 0,
      evalDataLoaderLength: this.evalDataLoader?.length ?? 0,
    }
  }

  /** Called when a training run starts. */
  trainingRunStart(): MaybePromise<void> {}

  /** Called when a training epoch starts: puts the model in training mode. */
  trainEpochStart(): MaybePromise<void> {
    this.model.train()
  }

  /** Called when a training epoch ends, before its loss is recorded. */
  trainEpochEnd(): MaybePromise<void> {}

  /** Called when an evaluation epoch starts: puts the model in evaluation mode. */
  evalEpochStart(): MaybePromise<void> {
    this.model.eval()
  }

  /** Called when an evaluation epoch ends, before its loss is recorded. */
  evalEpochEnd(): MaybePromise<void> {}

  /** Called when an epoch with its evaluation ends. */
  trainingRunEpochEnd(): MaybePromise<void> {}

  /** Called when a training run ends. */
  trainingRunEnd(): MaybePromise<void> {
    this.model = this.getModel()
  }

  /** Called when `evaluate` starts. */
  evaluationRunStart(): MaybePromise<void> {}

  /** Called when `evaluate` ends. */
  evaluationRunEnd(): MaybePromise<void> {
    this.model = this.getModel()
  }

  // Checkpoints

  /**
   * Saves the model, and with it the optimizer and the scheduler, to one safetensors file if `path` ends in `.safetensors`, else to
   * a folder. What was there before is replaced at once when all is written.
   */
  async saveCheckpoint(path: string, options: SaveCheckpointOptions = {}): Promise<void> {
    checkOptions('Trainer.saveCheckpoint', options, ['saveOptimizer', 'saveScheduler', 'extra'])
    const { saveOptimizer = true, saveScheduler = true, extra = {} } = options
    const write = await asyncScope(async () => {
      const optimizer = saveOptimizer ? await stateOf(this.optimizer) : null
      const scheduler = saveScheduler ? await stateOf(this.scheduler) : null
      return snapshotCheckpoint(path, { model: modelTensors(this.model), state: { optimizer, scheduler, extra } })
    })
    await this.#writer.start(write)
    await this.#flush()
  }

  /** Waits for all writes; outside a run there is no next one to keep memory for. */
  async #flush(): Promise<void> {
    await this.#writer.flush()
    if (!this.#inRun) dropImages()
  }

  /**
   * Loads what `saveCheckpoint` saved. A damaged file is `CHECKPOINT_CORRUPT`; state of an optimizer or a scheduler that the trainer
   * lacks is `STATE_DICT_MISMATCH`.
   */
  async loadCheckpoint(path: string, options: LoadCheckpointOptions = {}): Promise<LoadedCheckpoint> {
    checkOptions('Trainer.loadCheckpoint', options, ['loadOptimizer', 'loadScheduler'])
    const { loadOptimizer = true, loadScheduler = true } = options
    await this.#writer.flush()
    return asyncScope(async () => {
      const { model, state } = await readCheckpoint(path, this.device)
      const { optimizer, scheduler } = state
      await loadAll([
        ['model', this.model, model],
        ...(loadOptimizer ? [['optimizer', this.optimizer, optimizer] as const] : []),
        ...(loadScheduler ? [['scheduler', this.scheduler, scheduler] as const] : []),
      ])
      return { extra: (state.extra ?? {}) as StateRecord }
    })
  }

  /**
   * Saves everything that an exact resume needs into the folder `dir`: model, optimizer, scheduler, loss scaler, further modules of
   * the trainer, history, callbacks' states, random streams and the position, partial accumulation windows included. Call it in
   * `whenSettled` to have it at a place between two batches. Overwriting a state is safe against crashes at every moment.
   */
  async saveTrainingState(dir: string, options: SaveTrainingStateOptions = {}): Promise<void> {
    checkOptions('Trainer.saveTrainingState', options, ['extra', 'background', 'onSaved'])
    const { extra = {}, background = false, onSaved } = options
    // One save at a time bounds the memory that copies take.
    await this.#writer.flush()
    const write = await asyncScope(async () => {
      const position = await this.#run.position(this.trainDataLoader, this.optimizer)
      const scheduler = await stateOf(this.scheduler)
      // Before a resumed epoch's batches begin, callbacks may have begun the epoch.
      const callbacks = this.#run.resumedEpoch && this.#loaded ? { callbacks: this.#loaded.callbacks } : {}
      const state = { ...(await partsState(this)), ...callbacks, scheduler, position, extra }
      return snapshotTrainingState(dir, { model: modelTensors(this.model), state }, this.globalStep)
    })
    await this.#writer.start(async () => {
      await write()
      await onSaved?.()
    })
    if (!background) await this.#flush()
  }

  /**
   * Loads what `saveTrainingState` saved, or the latest complete state in a folder of them. Outside a run the scheduler's part is
   * left out, since a run makes its own; `train({ resumeFrom })` also goes on at the position. A damaged file is `CHECKPOINT_CORRUPT`.
   */
  async loadTrainingState(dir: string): Promise<LoadedTrainingState> {
    await this.#writer.flush()
    return asyncScope(async () => {
      const read = await readTrainingState(dir, this.device)
      const { model, state, position, history, callbacks, extra } = read
      await loadAll([
        ['model', this.model, model],
        ...(this.#inRun ? [['scheduler', this.scheduler, state.scheduler] as const] : []),
        ...savedParts(this, state, read.further),
        ...savedCallbacks(this, callbacks, true),
      ])
      setHistory(this.runHistory, history)
      restoreRandom(position.random, this.trainDataLoader)
      if (this.#inRun) this.#hold({ position, callbacks })
      const { currentEpoch } = this.runHistory
      return { currentEpoch, globalStep: position.progress.globalStep, extra }
    })
  }

  /** Whether `train` is running. */
  get isTraining(): boolean {
    return this.#inRun
  }

  /** Complete micro-batches, over all epochs and resumes. */
  get globalStep(): number {
    return this.#run.progress.globalStep
  }

  /** Complete micro-batches of the running epoch. */
  get epochStep(): number {
    return this.#run.progress.step
  }

  /** Milliseconds that the trainer has spent on getting batches, over all its runs. */
  get dataWaitMs(): number {
    return this.#dataClock.ms
  }

  /**
   * Runs `action` where the run is settled: after the running micro-batch, or, with `at: 'update'`, after its window's update. There
   * a training state holds exactly the batches before. `at: 'run'` waits for the run's end. It may throw a `StopTrainingError`.
   */
  whenSettled(action: () => MaybePromise<void>, options: SettleOptions = {}): void {
    checkOptions('Trainer.whenSettled', options, ['at'])
    this.#settling.add(action, options.at ?? 'batch')
  }

  #logPosition(logging: LoggingCallback): LogPosition {
    return { step: logging.stepOf(this), epoch: this.runHistory.currentEpoch, time: Date.now() }
  }

  // For callbacks and users

  /** The model without what a run wrapped around it. */
  getModel(): Model {
    return this.model
  }

  /**
   * The tensor of every process, joined along the first dimension: with one process the tensor itself. With `paddingValue` rows of
   * nothing but it are dropped.
   */
  gather(tensor: Tensor, options: { paddingValue?: number | undefined } = {}): Tensor {
    checkOptions('Trainer.gather', options, ['paddingValue'])
    return options.paddingValue === undefined ? tensor : removePadding(tensor, options.paddingValue)
  }

  /** Prints to stdout, once a machine. */
  print(...values: unknown[]): void {
    console.log(...values)
  }

  /** How steps ran so far: the shares that were matched, replayed and eager, and why. */
  captureReport(): { train: StepReport; evaluation: StepReport } {
    return { train: this.#updateSteps.report(), evaluation: this.#evalSteps.report() }
  }
}

/** The global generator's number. */
const GLOBAL = -1
