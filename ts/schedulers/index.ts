/**
 * `wick-ml/schedulers`: schedules of the learning rate, or of any other field of the parameter groups.
 *
 * ```ts
 * await trainer.train({
 *   trainDataset,
 *   numEpochs: 8,
 *   createScheduler: ctx => new schedulers.StepLR(ctx.optimizer, { stepSize: 7 * ctx.numUpdateStepsPerEpoch }),
 * })
 * ```
 */
export {
  type ScheduledOptimizer,
  SchedulerBase,
  type SchedulerInterval,
  type SchedulerOptions,
  type SchedulerState,
  StatefulSchedulerBase,
} from './base.ts'
export { ChainableScheduler } from './chainable.ts'
export { ChainedScheduler } from './chained-scheduler.ts'
export { ConstantLR, type ConstantLROptions } from './constant-lr.ts'
export { CosineAnnealingLR, type CosineAnnealingLROptions } from './cosine-annealing-lr.ts'
export {
  CosineAnnealingWarmRestarts,
  type CosineAnnealingWarmRestartsOptions,
} from './cosine-annealing-warm-restarts.ts'
export { CosineLrScheduler, type CosineLrSchedulerOptions } from './cosine-lr-scheduler.ts'
export { CyclicLR, type CyclicLROptions } from './cyclic-lr.ts'
export { ExponentialLR, type ExponentialLROptions } from './exponential-lr.ts'
export { LambdaLR, type LambdaLROptions, type LrLambda } from './lambda-lr.ts'
export { LinearLR, type LinearLROptions } from './linear-lr.ts'
export { MultiStepLR, type MultiStepLROptions } from './multi-step-lr.ts'
export { OneCycleLR, type OneCycleLROptions } from './one-cycle-lr.ts'
export { PolynomialLR, type PolynomialLROptions } from './polynomial-lr.ts'
export { ReduceLROnPlateau, type ReduceLROnPlateauOptions } from './reduce-lr-on-plateau.ts'
export { SequentialLR, type SequentialLROptions } from './sequential-lr.ts'
export { StepLR, type StepLROptions } from './step-lr.ts'
export {
  type CosineWithWarmupOptions,
  cosineWithWarmup,
  type LinearWarmupOptions,
  linearWarmup,
} from './warmup.ts'
export {
  estimateCheckpointSteps,
  WSDLrScheduler,
  type WSDLrSchedulerOptions,
  type WSDPhaseInfo,
  type WSDSchedulerFnOptions,
} from './wsd-lr-scheduler.ts'
