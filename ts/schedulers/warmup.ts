/** Schedules with a warmup, as `transformers` has them. */
import { checkCount } from '../data/sampler.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions } from './base.ts'
import { LambdaLR } from './lambda-lr.ts'

/** Options of `linearWarmup`. */
export interface LinearWarmupOptions extends SchedulerOptions {
  numWarmupSteps: number
  /** If given, the value falls to 0 in a line from the warmup's end to this step; otherwise it stays. */
  numTrainingSteps?: number | undefined
}

/** From 0 to the initial value in `numWarmupSteps` steps; then constant, or down to 0 at `numTrainingSteps`. */
export function linearWarmup(optimizer: ScheduledOptimizer, options: LinearWarmupOptions): LambdaLR {
  const op = 'linearWarmup'
  checkSchedulerOptions(op, options, ['numWarmupSteps', 'numTrainingSteps'])
  const { numWarmupSteps, numTrainingSteps, ...rest } = options
  const warmup = checkCount(numWarmupSteps, 'numWarmupSteps', op, 0)
  const total = numTrainingSteps === undefined ? undefined : checkCount(numTrainingSteps, 'numTrainingSteps', op)
  const lrLambda = (n: number) => {
    if (n < warmup) return n / Math.max(1, warmup)
    return total === undefined ? 1 : Math.max(0, (total - n) / Math.max(1, total - warmup))
  }
  return new LambdaLR(optimizer, { lrLambda, ...rest })
}

/** Options of `cosineWithWarmup`. */
export interface CosineWithWarmupOptions extends SchedulerOptions {
  numWarmupSteps: number
  numTrainingSteps: number
  /** Waves of the cosine. Default 0.5, which goes down to 0 once. */
  numCycles?: number | undefined
}

/** From 0 to the initial value in `numWarmupSteps` steps, then along a cosine to 0 at `numTrainingSteps`. */
export function cosineWithWarmup(optimizer: ScheduledOptimizer, options: CosineWithWarmupOptions): LambdaLR {
  const op = 'cosineWithWarmup'
  checkSchedulerOptions(op, options, ['numWarmupSteps', 'numTrainingSteps', 'numCycles'])
  const { numWarmupSteps, numTrainingSteps, numCycles = 0.5, ...rest } = options
  const warmup = checkCount(numWarmupSteps, 'numWarmupSteps', op, 0)
  const total = checkCount(numTrainingSteps, 'numTrainingSteps', op)
  const lrLambda = (n: number) => {
    if (n < warmup) return n / Math.max(1, warmup)
    const progress = (n - warmup) / Math.max(1, total - warmup)
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * numCycles * 2 * progress)))
  }
  return new LambdaLR(optimizer, { lrLambda, ...rest })
}
