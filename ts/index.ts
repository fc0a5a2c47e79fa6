/**
 * wick: PyTorch-style training for TypeScript.
 *
 * ```ts
 * import { data, nn, optim, Trainer } from 'wick-ml'
 * ```
 */
export * as amp from './amp/index.ts'
export { type AutocastOptions, autocast, GradScaler, type GradScalerOptions } from './amp/index.ts'
export * as callbacks from './callbacks/index.ts'
export * from './callbacks/index.ts'
export * from './capture.ts'
export * as cuda from './cuda/index.ts'
export * as data from './data/index.ts'
export { type ErrorCode, type ErrorDetails, WickError, type WickErrorOptions } from './errors.ts'
export type { Logger } from './loggers/index.ts'
export * as loggers from './loggers/index.ts'
export * as metrics from './metrics/index.ts'
export * as models from './models/index.ts'
export * as nn from './nn/index.ts'
export * as optim from './optim/index.ts'
export * from './profiler/index.ts'
export * as schedulers from './schedulers/index.ts'
export * from './tensor/index.ts'
export * from './trainer/index.ts'
