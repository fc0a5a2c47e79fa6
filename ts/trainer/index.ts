/** The Trainer and what belongs to it. */
export type { StateRecord, StateTree } from '../checkpoint/index.ts'
export type { BatchLoader } from '../data/batches.ts'
export { DataLoaderSlice } from '../data/batches.ts'
export { latestTrainingState } from './checkpoints.ts'
export { LossTracker, type TrackedLoss } from './loss-tracker.ts'
export { type LrFinderOptions, type LrFinderResult, lrFinder } from './lr-finder.ts'
export { type FreezerLayer, ModelFreezer, type UnfrozenGroups } from './model-freezer.ts'
export type { FitOneCycleOptions } from './one-cycle.ts'
export type { RunConfigFields, TrainerRunConfig } from './run-config.ts'
export { InMemoryRunHistory, type MetricName, type RunHistory, type RunHistoryState } from './run-history.ts'
export type { SettleOptions, SettlePlace } from './settling.ts'
export type { StepReport } from './step-runner.ts'
export { Trainer } from './trainer.ts'
export type {
  LoadCheckpointOptions,
  LoadedCheckpoint,
  LoadedTrainingState,
  SaveCheckpointOptions,
  SaveTrainingStateOptions,
} from './training-state.ts'
export type {
  BatchOutput,
  CollateOption,
  DefaultBatch,
  EvaluateInRunOptions,
  EvaluateOptions,
  InputOf,
  LossFunction,
  OutputOf,
  ScheduleContext,
  TrainableModule,
  TrainableOptimizer,
  TrainableScheduler,
  TrainerOptions,
  TrainOptions,
} from './types.ts'
export {
  type VerifiedTrainer,
  type VerifyCheck,
  type VerifyOptions,
  type VerifyOverrides,
  type VerifyReport,
  verify,
} from './verify.ts'
