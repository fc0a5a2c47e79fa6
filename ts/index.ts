/**
 * wick: PyTorch-style training for TypeScript.
 *
 * ```ts
 * import { data, nn, optim, Trainer } from 'wick-ml'
 * ```
 */
export * as callbacks from './callbacks/index.ts'
export * from './callbacks/index.ts'
export * from './capture.ts'
export * as data from './data/index.ts'
export { type ErrorCode, type ErrorDetails, WickError, type WickErrorOptions } from './errors.ts'
export * as nn from './nn/index.ts'
export * as optim from './optim/index.ts'
export * from './tensor/index.ts'
export * from './trainer/index.ts'
