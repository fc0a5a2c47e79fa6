/**
 * Callbacks: what happens around the training loop.
 *
 * ```ts
 * class Accuracy implements Callback<Trainer<Net>> {
 *   onEvalStepEnd(trainer: Trainer<Net>, { batch, batchOutput }: StepEvent<Trainer<Net>>) { ... }
 * }
 * ```
 */

import type { GradScaler } from '../amp/index.ts'
import type { StateTree } from '../checkpoint/index.ts'
import type { DataLoaderSlice } from '../data/batches.ts'
import type { MaybePromise } from '../data/reader.ts'
import type { Loggers } from '../loggers/index.ts'
import type { Tensor } from '../tensor/index.ts'
import type { LossTracker } from '../trainer/loss-tracker.ts'
import type { TrainerRunConfig } from '../trainer/run-config.ts'
import type { RunHistory } from '../trainer/run-history.ts'
import type { SettleOptions } from '../trainer/settling.ts'
import type {
  LoadCheckpointOptions,
  LoadedCheckpoint,
  LoadedTrainingState,
  SaveCheckpointOptions,
  SaveTrainingStateOptions,
} from '../trainer/training-state.ts'
import type { CallbackHandler } from './handler.ts'

/** What every Trainer has, whatever its model and batches: enough for callbacks that don't look into these. */
export interface AnyTrainer {
  readonly model: object
  readonly optimizer: { readonly paramGroups: readonly { readonly params: readonly Tensor[] }[] }
  readonly scheduler: object | null
  readonly scaler: GradScaler | null
  readonly device: string
  readonly runHistory: RunHistory
  readonly runConfig: TrainerRunConfig | null
  readonly callbackHandler: CallbackHandler
  readonly lossTracker: LossTracker
  trainDataLoader: ConstructorParameters<typeof DataLoaderSlice>[0] | null
  evalDataLoader: ConstructorParameters<typeof DataLoaderSlice>[0] | null
  /** Batches that an evaluation takes at most; null for all. */
  maxNumEvalSteps: number | null
  /** Set by `TerminateOnNaNCallback`: the optimizer skips updates once a loss wasn't finite. */
  skipNonFiniteUpdates: boolean
  print(...values: unknown[]): void
  /** An evaluation within a run; see `Trainer.evaluateInRun`. */
  evaluateInRun(options?: {
    isIntermediate?: boolean | undefined
    callbackHandler?: CallbackHandler | undefined
  }): Promise<void>
  /** All loggers as one. */
  readonly logger: Loggers
  /** Whether `train` is running. */
  readonly isTraining: boolean
  /** Complete micro-batches, over all epochs and resumes. */
  readonly globalStep: number
  /** Complete micro-batches of the running epoch. */
  readonly epochStep: number
  /** Milliseconds that the trainer has spent on getting batches, over all its runs. */
  readonly dataWaitMs: number
  /** Runs `action` where the run can be saved and resumed exactly. */
  whenSettled(action: () => MaybePromise<void>, options?: SettleOptions): void
  saveCheckpoint(path: string, options?: SaveCheckpointOptions): Promise<void>
  loadCheckpoint(path: string, options?: LoadCheckpointOptions): Promise<LoadedCheckpoint>
  saveTrainingState(dir: string, options?: SaveTrainingStateOptions): Promise<void>
  loadTrainingState(dir: string): Promise<LoadedTrainingState>
}

/** The batches of a Trainer. */
export type BatchOf<T> = T extends { calculateTrainBatchLoss(batch: infer Batch): unknown } ? Batch : unknown
type TrainOutputOf<T> = T extends { calculateTrainBatchLoss(batch: never): infer Out } ? Awaited<Out> : unknown
type EvalOutputOf<T> = T extends { calculateEvalBatchLoss(batch: never): infer Out } ? Awaited<Out> : unknown

/** Event of `onTrainStepEnd`, before the backward pass. */
export interface TrainStepEvent<T> {
  batch: BatchOf<T>
  /** What `calculateTrainBatchLoss` gave. */
  batchOutput: TrainOutputOf<T>
  /** Micro-batch in the epoch, from 0. */
  step: number
}

/** Event of `onEvalStepEnd`. */
export interface EvalStepEvent<T> {
  batch: BatchOf<T>
  /** What `calculateEvalBatchLoss` gave. */
  batchOutput: EvalOutputOf<T>
}

/** Event of the evaluation epoch's events. */
export interface EvalEpochEvent {
  /** Whether the evaluation happens in the middle of a training epoch. */
  isIntermediate: boolean
}

/**
 * Events of one's own: their names, and what they carry. Adding to it types them in callbacks and in `callEvent`.
 *
 * ```ts
 * declare module 'wick-ml' {
 *   interface CustomEvents {
 *     onVerifyTrainBatch: { batch: [Tensor, Tensor] }
 *   }
 * }
 * await trainer.callbackHandler.callEvent('onVerifyTrainBatch', { batch })
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: programs add to it
export interface CustomEvents {}

/** The methods for `CustomEvents`; methods, so that a callback of a Trainer's subclass is one of the Trainer too. */
export type CustomCallback<T> = {
  [Name in keyof CustomEvents]?: { call(trainer: T, event: CustomEvents[Name]): MaybePromise<void> }['call']
}

/**
 * Events of a Trainer, all optional; each may be async. Callbacks are called in the order of their list, each event after the
 * Trainer's method of the same name. In a step, `event.batch` and its outputs live until the step's end: `keep` or `clone` what
 * has to live on.
 */
export interface Callback<T = AnyTrainer> extends CustomCallback<T> {
  /** The Trainer has been constructed. A promise is awaited when a run starts. */
  onInitEnd?(trainer: T): MaybePromise<void>
  /** The loaders of a run or an evaluation are made, nothing has counted their batches: the place to replace them. */
  onDataLoadersCreated?(trainer: T): MaybePromise<void>
  /** Everything is prepared, `runConfig` is set, no epoch has begun. */
  onTrainingRunStart?(trainer: T): MaybePromise<void>
  /** The model is in training mode and the loss tracker empty. */
  onTrainEpochStart?(trainer: T): MaybePromise<void>
  /** Before the loss of a batch is computed. */
  onTrainStepStart?(trainer: T): MaybePromise<void>
  /** After the loss was computed and tracked, before the backward pass. */
  onTrainStepEnd?(trainer: T, event: TrainStepEvent<T>): MaybePromise<void>
  /** The gradients of an update are complete, not yet clipped (in fp16: not yet unscaled); a part of the step. */
  onGradientsReady?(trainer: T): MaybePromise<void>
  /** After the update that closes an accumulation window, `update` of the run; still a part of the step. */
  onTrainUpdateEnd?(trainer: T, event: { update: number }): MaybePromise<void>
  /**
   * Between two steps, after micro-batch `step` (from 0) and its update: the place to evaluate, to save or to wait. `steps` are
   * complete since the last such event: 1, or more that ran without JavaScript.
   */
  onTrainBatchEnd?(trainer: T, event: { step: number; steps: number }): MaybePromise<void>
  /** After `steps` steps that ran without JavaScript (`capture: 'full'`). */
  onTrainStepsReplayed?(trainer: T, event: { steps: number }): MaybePromise<void>
  /** `train_loss_epoch` has been recorded. */
  onTrainEpochEnd?(trainer: T): MaybePromise<void>
  /** The model is in evaluation mode and the loss tracker empty. */
  onEvalEpochStart?(trainer: T, event: EvalEpochEvent): MaybePromise<void>
  /** Before the loss of an evaluation batch is computed. */
  onEvalStepStart?(trainer: T): MaybePromise<void>
  /** After the loss of an evaluation batch was tracked. */
  onEvalStepEnd?(trainer: T, event: EvalStepEvent<T>): MaybePromise<void>
  /** `eval_loss_epoch` (in `evaluate`: `evaluation_loss`) has been recorded. */
  onEvalEpochEnd?(trainer: T, event: EvalEpochEvent): MaybePromise<void>
  /** An epoch is done, its evaluation included; `currentEpoch` is still its number. */
  onTrainingRunEpochEnd?(trainer: T): MaybePromise<void>
  /** The run is over, also after a stop. */
  onTrainingRunEnd?(trainer: T): MaybePromise<void>
  /** `evaluate` is prepared. */
  onEvaluationRunStart?(trainer: T): MaybePromise<void>
  /** `evaluate` is over. */
  onEvaluationRunEnd?(trainer: T): MaybePromise<void>
  /** The run failed with an error, after its start; `onTrainingRunEnd` isn't called. Let go of what the run held. */
  onTrainingRunFailed?(trainer: T, event: { error: unknown }): MaybePromise<void>
  /** The callback's state, for training states: plain data and tensors. May be async. */
  stateDict?(): StateTree | Promise<StateTree>
  /** Goes on from a state of `stateDict`; its tensors live until this returns, so copy them. Called after `onTrainingRunStart`. */
  loadStateDict?(state: never): MaybePromise<void>
  /** Throws what `loadStateDict` would, and changes nothing: a training state is loaded once all of it fits. */
  checkStateDict?(state: unknown): void
  /** Something threw a `StopTrainingError`. */
  onStopTrainingError?(trainer: T, event: { error: StopTrainingError }): MaybePromise<void>
}

/** Names of the built-in events. */
export type EventName = Exclude<keyof Callback, 'stateDict' | 'loadStateDict' | 'checkStateDict' | keyof CustomEvents>

/**
 * Thrown in a run by a callback or an overridden method: ends the run in an orderly way; `train` resolves. What is complete by then,
 * a micro-batch, say, or an evaluation that a callback began, still gets its events on every callback.
 */
export class StopTrainingError extends Error {
  override readonly name = 'StopTrainingError'
  /** Whether a training state of this moment is saved: what is not logged yet is left to the run that goes on from it. */
  readonly isSaved: boolean

  constructor(message?: string, options: ErrorOptions & { isSaved?: boolean } = {}) {
    super(message, options)
    this.isSaved = options.isSaved ?? false
  }
}
