/** Adam with decoupled weight decay. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { Optimizer, type Params } from './optimizer.ts'

/** Options of `AdamW`, each of which a parameter group may override. */
export interface AdamWOptions {
  /** Learning rate; 0.001. */
  lr: number
  /** Decay of the means of gradients and of squared gradients; `[0.9, 0.999]`. */
  betas: readonly [number, number]
  /** Added to the root of the squares' mean; 1e-8. */
  eps: number
  /** Share of the parameters, times `lr`, that each step takes off; 0.01. */
  weightDecay: number
  /** Whether to climb; false. */
  maximize: boolean
}
const defaults: AdamWOptions = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maximize: false }

/**
 * AdamW (Loshchilov and Hutter, 2017): `p = p * (1 - lr * weightDecay) - lr * m / (sqrt(v) + eps)` with bias-corrected means `m` of the
 * gradients and `v` of their squares.
 *
 * ```ts
 * const optimizer = new optim.AdamW(
 *   [{ params: backbone.parameters(), lr: 1e-5 }, { params: head.parameters() }],
 *   { lr: 1e-3, weightDecay: 0.05 },
 * )
 * ```
 */
export class AdamW extends Optimizer<AdamWOptions> {
  constructor(params: Params<AdamWOptions>, options: Partial<AdamWOptions> = {}) {
    checkOptions('AdamW', options, Object.keys(defaults))
    super(params, { ...defaults, ...options }, ['exp_avg', 'exp_avg_sq'])
  }

  protected validate(options: AdamWOptions & { amsgrad?: boolean }): void {
    const { lr, betas, eps, weightDecay, amsgrad = false } = options
    if (amsgrad) throw new WickError('NOT_SUPPORTED', 'AdamW: amsgrad')
    if (!(lr >= 0)) throw badOption('AdamW', `lr must not be negative, got ${lr}`)
    if (!(eps >= 0)) throw badOption('AdamW', `eps must not be negative, got ${eps}`)
    for (const [i, beta] of betas.entries()) {
      if (!(beta >= 0 && beta < 1)) throw badOption('AdamW', `betas[${i}] must be at least 0 and below 1, got ${beta}`)
    }
    if (!(weightDecay >= 0)) throw badOption('AdamW', `weightDecay must not be negative, got ${weightDecay}`)
  }

  protected update(group: number, o: AdamWOptions, skip: number): void {
    native.adamwStep(group, o.lr, o.betas[0], o.betas[1], o.eps, o.weightDecay, o.maximize, skip)
  }
}
