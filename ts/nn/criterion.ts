/**
 * Losses as modules: each holds the options of the function that it calls.
 *
 * ```ts
 * const criterion = new nn.HuberLoss({ delta: 0.5 })
 * criterion.forward(prediction, target).backward()
 * ```
 */
import { checkOptions } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import * as distance from './distance.ts'
import * as loss from './loss.ts'
import { Module } from './module.ts'
import { Buffer } from './parameter.ts'
import type { LossOptions } from './reduction.ts'

/** What losses without tensors of their own have in common. */
abstract class Loss<Options extends object, Args extends unknown[] = [input: Tensor, target: Tensor]> extends Module<
  Args,
  Tensor
> {
  readonly options: Readonly<Options>

  constructor(options: Options, known: readonly (keyof Options & string)[]) {
    super()
    checkOptions(new.target.name, options, known)
    this.options = { ...options }
  }
}

/** `mseLoss` with fixed options. */
export class MSELoss extends Loss<LossOptions> {
  constructor(options: LossOptions = {}) {
    super(options, ['reduction'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.mseLoss(input, target, this.options)
  }
}

/** `l1Loss` with fixed options. */
export class L1Loss extends Loss<LossOptions> {
  constructor(options: LossOptions = {}) {
    super(options, ['reduction'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.l1Loss(input, target, this.options)
  }
}

/** `smoothL1Loss` with fixed options. */
export class SmoothL1Loss extends Loss<LossOptions & { beta?: number }> {
  constructor(options: LossOptions & { beta?: number } = {}) {
    super(options, ['reduction', 'beta'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.smoothL1Loss(input, target, this.options)
  }
}

/** `huberLoss` with fixed options. */
export class HuberLoss extends Loss<LossOptions & { delta?: number }> {
  constructor(options: LossOptions & { delta?: number } = {}) {
    super(options, ['reduction', 'delta'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.huberLoss(input, target, this.options)
  }
}

/** `klDiv` with fixed options. */
export class KLDivLoss extends Loss<loss.KLDivLossOptions> {
  constructor(options: loss.KLDivLossOptions = {}) {
    super(options, ['reduction', 'logTarget'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.klDiv(input, target, this.options)
  }
}

/** `poissonNllLoss` with fixed options. */
export class PoissonNLLLoss extends Loss<LossOptions & { logInput?: boolean; full?: boolean; eps?: number }> {
  constructor(options: LossOptions & { logInput?: boolean; full?: boolean; eps?: number } = {}) {
    super(options, ['reduction', 'logInput', 'full', 'eps'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.poissonNllLoss(input, target, this.options)
  }
}

/** `gaussianNllLoss` with fixed options. */
export class GaussianNLLLoss extends Loss<
  LossOptions & { full?: boolean; eps?: number },
  [input: Tensor, target: Tensor, variance: Tensor]
> {
  constructor(options: LossOptions & { full?: boolean; eps?: number } = {}) {
    super(options, ['reduction', 'full', 'eps'])
  }

  forward(input: Tensor, target: Tensor, variance: Tensor): Tensor {
    return loss.gaussianNllLoss(input, target, variance, this.options)
  }
}

/** `softMarginLoss` with fixed options. */
export class SoftMarginLoss extends Loss<LossOptions> {
  constructor(options: LossOptions = {}) {
    super(options, ['reduction'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.softMarginLoss(input, target, this.options)
  }
}

/** `cosineEmbeddingLoss` with fixed options. */
export class CosineEmbeddingLoss extends Loss<distance.MarginLossOptions, [x1: Tensor, x2: Tensor, target: Tensor]> {
  constructor(options: distance.MarginLossOptions = {}) {
    super(options, ['reduction', 'margin'])
  }

  forward(x1: Tensor, x2: Tensor, target: Tensor): Tensor {
    return distance.cosineEmbeddingLoss(x1, x2, target, this.options)
  }
}

/** `marginRankingLoss` with fixed options. */
export class MarginRankingLoss extends Loss<distance.MarginLossOptions, [x1: Tensor, x2: Tensor, target: Tensor]> {
  constructor(options: distance.MarginLossOptions = {}) {
    super(options, ['reduction', 'margin'])
  }

  forward(x1: Tensor, x2: Tensor, target: Tensor): Tensor {
    return distance.marginRankingLoss(x1, x2, target, this.options)
  }
}

/** `hingeEmbeddingLoss` with fixed options. */
export class HingeEmbeddingLoss extends Loss<distance.MarginLossOptions> {
  constructor(options: distance.MarginLossOptions = {}) {
    super(options, ['reduction', 'margin'])
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return distance.hingeEmbeddingLoss(input, target, this.options)
  }
}

/** `tripletMarginLoss` with fixed options. */
export class TripletMarginLoss extends Loss<
  distance.TripletMarginLossOptions,
  [anchor: Tensor, positive: Tensor, negative: Tensor]
> {
  constructor(options: distance.TripletMarginLossOptions = {}) {
    super(options, ['reduction', 'margin', 'p', 'eps', 'swap'])
  }

  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    return distance.tripletMarginLoss(anchor, positive, negative, this.options)
  }
}

/** What losses with a weight have in common: the weight is a buffer, as in PyTorch. */
abstract class WeightedLoss extends Loss<LossOptions> {
  readonly weight: Buffer | null

  constructor({ weight, ...options }: loss.BCELossOptions) {
    super(options, ['reduction'])
    this.weight = weight ? new Buffer(weight) : null
  }
}

/** `binaryCrossEntropy` with fixed options. */
export class BCELoss extends WeightedLoss {
  constructor(options: loss.BCELossOptions = {}) {
    super(options)
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.binaryCrossEntropy(input, target, { ...this.options, weight: this.weight })
  }
}

/** `binaryCrossEntropyWithLogits` with fixed options. */
export class BCEWithLogitsLoss extends WeightedLoss {
  static override readonly stateKeys: Readonly<Record<string, string>> = { posWeight: 'pos_weight' }
  readonly posWeight: Buffer | null

  constructor({ posWeight, ...options }: loss.BCEWithLogitsLossOptions = {}) {
    super(options)
    this.posWeight = posWeight ? new Buffer(posWeight) : null
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, posWeight } = this
    return loss.binaryCrossEntropyWithLogits(input, target, { ...this.options, weight, posWeight })
  }
}

/** `multiLabelSoftMarginLoss` with fixed options. */
export class MultiLabelSoftMarginLoss extends WeightedLoss {
  constructor(options: loss.BCELossOptions = {}) {
    super(options)
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return loss.multiLabelSoftMarginLoss(input, target, { ...this.options, weight: this.weight })
  }
}
