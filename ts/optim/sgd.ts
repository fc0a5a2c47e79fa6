/** Stochastic gradient descent with momentum. */
import { badOption, checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { Optimizer, type Params } from './optimizer.ts'

/** Options of `SGD`, each of which a parameter group may override. */
export interface SGDOptions {
  /** Learning rate; 0.001. */
  lr: number
  /** Share of the last step that goes into the next; 0. */
  momentum: number
  /** Share of the gradient that does not go into the momentum; 0. */
  dampening: number
  /** Factor of the parameters that is added to the gradients; 0. */
  weightDecay: number
  /** Whether to look ahead by a step's momentum; false. */
  nesterov: boolean
  /** Whether to climb; false. */
  maximize: boolean
}
const defaults: SGDOptions = {
  lr: 1e-3,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
}

/**
 * Stochastic gradient descent: `b = momentum * b + (1 - dampening) * g`, `p = p - lr * b`, where `g` is the gradient plus
 * `weightDecay * p`. With `nesterov`, `p = p - lr * (g + momentum * b)`.
 *
 * ```ts
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
 * ```
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> = {}) {
    checkOptions('SGD', options, Object.keys(defaults))
    super(params, { ...defaults, ...options }, ['momentum_buffer'])
  }

  protected validate({ lr, momentum, dampening, weightDecay, nesterov }: SGDOptions): void {
    if (!(lr >= 0)) throw badOption('SGD', `lr must not be negative, got ${lr}`)
    if (!(momentum >= 0)) throw badOption('SGD', `momentum must not be negative, got ${momentum}`)
    if (!(weightDecay >= 0)) throw badOption('SGD', `weightDecay must not be negative, got ${weightDecay}`)
    if (nesterov && (momentum <= 0 || dampening !== 0)) {
      throw badOption('SGD', 'nesterov needs a momentum above 0 and no dampening')
    }
  }

  protected override hasMoments({ momentum }: SGDOptions): boolean {
    return momentum !== 0
  }

  protected update(group: number, o: SGDOptions, skip: number): void {
    native.sgdStep(group, o.lr, o.momentum, o.dampening, o.weightDecay, o.nesterov, o.maximize, skip)
  }
}
