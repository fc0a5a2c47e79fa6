/** Callbacks: the interface, the handler and the ones that come with wick. */
export {
  type AnyTrainer,
  type BatchOf,
  type Callback,
  type EvalEpochEvent,
  type EvalStepEvent,
  type EventName,
  StopTrainingError,
  type TrainStepEvent,
} from './callback.ts'
export {
  getDefaultCallbacks,
  LogMetricsCallback,
  MoveModulesToDeviceCallback,
  PrintProgressCallback,
  TerminateOnNaNCallback,
} from './defaults.ts'
export { CallbackHandler } from './handler.ts'
export { LimitBatchesCallback, limitBatches } from './limit-batches.ts'
export { ProfilerCallback, type ProfilerOptions } from './profiler.ts'
export { ProgressBarCallback } from './progress-bar.ts'
export { SaveTrainingStateCallback, type SaveTrainingStateCallbackOptions } from './save-training-state.ts'
