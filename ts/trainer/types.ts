/** The types that flow through a Trainer: from the model and its batches to every callback. */

import type { Callback } from '../callbacks/callback.ts'
import type { CallbackHandler } from '../callbacks/handler.ts'
import type { CaptureMode } from '../capture.ts'
import type { BatchLoader } from '../data/batches.ts'
import type { Collate, Collated, Dataset, IterableDataset, LoaderOptions } from '../data/index.ts'
import type { Logger } from '../loggers/index.ts'
import type { Tensor } from '../tensor/index.ts'
import type { MetricName, RunHistory } from './run-history.ts'

/** What the Trainer needs of a model; every `nn.Module` has it. */
export interface TrainableModule {
  forward(...inputs: unknown[]): unknown
  train(): unknown
  eval(): unknown
}

/** What a model's `forward` takes first. */
export type InputOf<Model extends TrainableModule> = unknown extends Parameters<Model['forward']>[0]
  ? Tensor
  : Parameters<Model['forward']>[0]

/** What a model's `forward` gives. */
export type OutputOf<Model extends TrainableModule> =
  unknown extends ReturnType<Model['forward']> ? Tensor : ReturnType<Model['forward']>

/** The batch of the default step: an input for the model and a target for the loss. */
export type DefaultBatch<Model extends TrainableModule> = [input: InputOf<Model>, target: Tensor]

/** A loss as a function, or as a module such as `nn.CrossEntropyLoss`. */
export type LossFunction<Output> =
  | ((output: Output, target: Tensor) => Tensor)
  | { forward(output: Output, target: Tensor): Tensor }

/** What the Trainer needs of an optimizer; every one in `optim` has it. */
export interface TrainableOptimizer {
  readonly paramGroups: readonly { readonly params: readonly Tensor[] }[]
  step(options?: { skip?: Tensor }): unknown
  zeroGrad(): unknown
}

/** A schedule: those of `schedulers`, or anything with a `step()`. */
export interface TrainableScheduler {
  /** When it is stepped: after each update that was made (default), or after each epoch with its evaluation. */
  readonly interval?: 'update' | 'epoch' | undefined
  /** The metric whose latest value a step after an epoch gets. Default: the epoch's evaluation loss, else its training loss. */
  readonly metric?: MetricName | undefined
  step(metric?: number): unknown
}

/** What `createScheduler` is told about the run. */
export interface ScheduleContext<Optimizer = TrainableOptimizer> {
  optimizer: Optimizer
  numEpochs: number
  /** Optimizer steps of the whole job in an epoch. */
  numUpdateStepsPerEpoch: number
  /** Optimizer steps of the whole run. */
  maxNumTrainSteps: number
  trainDataLoaderLength: number
  /** 0 without an evaluation dataset. */
  evalDataLoaderLength: number
}

/** What `calculateTrainBatchLoss` and its twin for evaluation give; further keys reach the callbacks. */
export interface BatchOutput<Output> {
  /** Mean over the batch, one element. */
  loss: Tensor
  modelOutputs: Output
  /** Samples in the batch: the loss's weight in the epoch's mean and in an accumulation window. */
  batchSize: number
  /** Items (tokens, say) that the loss is a mean over: their number is the weight in an accumulation window instead. */
  numItemsInBatch?: number | undefined
}

/** Mixed precision of a Trainer. */
export type Precision = 'no' | 'bf16' | 'fp16'

/** Options of the Trainer's constructor. */
export interface TrainerOptions<Model extends TrainableModule, Output, Self> {
  model: Model
  /** null if a subclass computes the loss in `calculateTrainBatchLoss`. */
  loss: LossFunction<Output> | null
  optimizer: TrainableOptimizer
  /** Replaces the default callbacks. */
  callbacks?: readonly Callback<Self>[] | undefined
  /** Default: an `InMemoryRunHistory`. */
  runHistory?: RunHistory | undefined
  /** Where the model and the batches go: 'cpu', 'cuda' or 'cuda:N'. Default: where tensors are made. */
  device?: string | undefined
  /** Autocast of the forward pass and the loss; 'fp16' also scales the loss. Default 'no'. */
  precision?: Precision | undefined
  /** Seeds the global generator at each run's start, so that a run doesn't depend on what was drawn before. */
  seed?: number | undefined
  /** Where metrics go, such as `new loggers.RunDirectory('runs/1')`. They get what `LoggingCallback` says. */
  loggers?: readonly Logger[] | undefined
  /** A single logger, the same as `loggers: [logger]`. */
  logger?: Logger | undefined
  /** Default 'auto'. */
  capture?: CaptureMode | undefined
  /** Steps in one native call of `capture: 'full'`. Default 16. */
  stepsPerCall?: number | undefined
}

/** `collate`, which may be left out if the default one makes the Trainer's batches of the dataset's items. */
export type CollateOption<Item, Batch> = [Collated<Item>] extends [Batch]
  ? { collate?: Collate<Item, Batch> | undefined }
  : { collate: Collate<Item, Batch> }

/** Options of `train`, without `collate`. */
export interface TrainOptions<Item> {
  /** One without a length needs `maxNumTrainSteps`. */
  trainDataset: Dataset<Item> | IterableDataset<Item>
  numEpochs: number
  evalDataset?: Dataset<Item> | IterableDataset<Item> | undefined
  /** Default 8. */
  perDeviceBatchSize?: number | undefined
  /** The run ends at exactly this update, or with its epochs if they hold fewer. */
  maxNumTrainSteps?: number | undefined
  /** Micro-batches that make an update. Default 1. */
  gradientAccumulationSteps?: number | undefined
  /** Clips each element of the gradient, once an update. */
  gradientClipValue?: number | undefined
  /** Clips the gradient's L2 norm, once an update. */
  gradientClipNorm?: number | undefined
  /** Makes the scheduler, which is stepped once an update or once an epoch, as its `interval` says. */
  createScheduler?: ((context: ScheduleContext) => TrainableScheduler | null) | undefined
  trainDataLoaderOptions?: LoaderOptions | undefined
  evalDataLoaderOptions?: LoaderOptions | undefined
  /** Default true. */
  resetRunHistory?: boolean | undefined
  /**
   * Whether a run that finds no memory begins again from where it began, with batches of half the size. It says so, and the
   * sizes are recorded as metric `per_device_batch_size`. Default false.
   */
  autoBatchSize?: boolean | undefined
  /**
   * A training state, or a folder of them of which the latest complete one is taken: the run goes on where that one stood, as if it
   * had never stopped. `numEpochs` and `maxNumTrainSteps` are the totals; `resetRunHistory` doesn't apply.
   */
  resumeFrom?: string | undefined
}

/** Options of `evaluate` and `predict`, without `collate`. */
export interface EvaluateOptions<Item> {
  dataset: Dataset<Item> | IterableDataset<Item>
  /** Default 8. */
  perDeviceBatchSize?: number | undefined
  dataLoaderOptions?: LoaderOptions | undefined
}

/** Options of `evaluateInRun`. */
export interface EvaluateInRunOptions<Batch> {
  /** Whether it happens inside a training epoch: the loss is `intermediate_eval_loss`, gone after the events. Default false. */
  isIntermediate?: boolean | undefined
  /** Default: the run's evaluation loader. */
  loader?: BatchLoader<Batch> | undefined
  /** Default: the Trainer's own. */
  callbackHandler?: CallbackHandler | undefined
}
