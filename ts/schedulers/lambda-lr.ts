/** `LambdaLR`: a factor that a function gives. */
import { badOption } from '../errors.ts'
import { checkSchedulerOptions, type ScheduledOptimizer, type SchedulerOptions, StatefulSchedulerBase } from './base.ts'

/** Factor of the initial value at step `n`. */
export type LrLambda = (n: number) => number

/** Options of `LambdaLR`. */
export interface LambdaLROptions extends SchedulerOptions {
  /** One function for all groups, or one for each. */
  lrLambda: LrLambda | readonly LrLambda[]
}

/** Multiplies the initial value by `lrLambda(n)`. */
export class LambdaLR extends StatefulSchedulerBase {
  readonly #lambda: LambdaLROptions['lrLambda']

  constructor(optimizer: ScheduledOptimizer, options: LambdaLROptions) {
    checkSchedulerOptions('LambdaLR', options, ['lrLambda'])
    super(optimizer, options)
    const { lrLambda } = options
    const groups = optimizer.paramGroups.length
    const list = typeof lrLambda === 'function' ? [] : lrLambda
    if (typeof lrLambda !== 'function' && (!Array.isArray(list) || list.length !== groups)) {
      throw badOption('LambdaLR', `lrLambda must be a function, or one for each of the ${groups} parameter groups`)
    }
    this.#lambda = lrLambda
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    const lambda = this.#lambda
    return this.baseValues.map((base, i) => base * (typeof lambda === 'function' ? lambda : lambda[i]!)(numUpdates))
  }
}
