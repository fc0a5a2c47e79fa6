/** Callbacks: the interface, the handler and the ones that come with wick. */
export {
  type AnyTrainer,
  type BatchOf,
  type Callback,
  type CustomCallback,
  type CustomEvents,
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
export { EarlyStoppingCallback, type EarlyStoppingOptions } from './early-stopping.ts'
export { FastDevRunCallback } from './fast-dev-run.ts'
export { GradientNormMonitorCallback } from './gradient-norm-monitor.ts'
export { CallbackHandler } from './handler.ts'
export { LambdaCallback } from './lambda.ts'
export { LearningRateMonitorCallback, type LearningRateMonitorOptions } from './learning-rate-monitor.ts'
export { LimitBatchesCallback, limitBatches } from './limit-batches.ts'
export { LoggingCallback, type LoggingCallbackOptions } from './logging.ts'
export { MemoryMonitorCallback } from './memory-monitor.ts'
export { ModelCheckpointCallback, type ModelCheckpointOptions } from './model-checkpoint.ts'
export { ModelEmaCallback, type ModelEmaOptions } from './model-ema.ts'
export { OverfitBatchesCallback } from './overfit-batches.ts'
export { ProfilerCallback, type ProfilerOptions } from './profiler.ts'
export { ProgressBarCallback } from './progress-bar.ts'
export { SaveBestModelCallback, type SaveBestModelOptions } from './save-best-model.ts'
export { SaveTrainingStateCallback, type SaveTrainingStateCallbackOptions } from './save-training-state.ts'
export { LimitEvalStepsCallback, StepBasedEvaluationCallback } from './step-based-evaluation.ts'
export {
  StochasticWeightAveragingCallback,
  type StochasticWeightAveragingOptions,
} from './stochastic-weight-averaging.ts'
export { ThroughputMonitorCallback } from './throughput-monitor.ts'
export type { WatchOptions } from './watched-metric.ts'
export { WSDCheckpointCallback, type WSDCheckpointOptions } from './wsd-checkpoint.ts'
