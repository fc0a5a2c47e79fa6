/** Distances, similarities, and the losses that compare them. */
import { checkOptions } from '../errors.ts'
import { type Tensor, where } from '../tensor/index.ts'
import { type LossOptions, reduceLoss } from './reduction.ts'

/** `x` divided by its `p`-norm along `dim`, which counts as at least `eps`. */
export function normalize(x: Tensor, options: { p?: number; dim?: number; eps?: number } = {}): Tensor {
  checkOptions('normalize', options, ['p', 'dim', 'eps'])
  const { p = 2, dim = 1, eps = 1e-12 } = options
  return x.div(x.norm({ p, dim, keepdim: true }).clamp({ min: eps }))
}

/** The cosine of the angle between `x1` and `x2` along `dim`; each norm counts as at least `eps`. */
export function cosineSimilarity(x1: Tensor, x2: Tensor, options: { dim?: number; eps?: number } = {}): Tensor {
  checkOptions('cosineSimilarity', options, ['dim', 'eps'])
  const { dim = 1, eps = 1e-8 } = options
  const unit = (x: Tensor) => x.div(x.norm({ dim, keepdim: true }).clamp({ min: eps }))
  return unit(x1).mul(unit(x2)).sum(dim)
}

/** The `p`-norm of `x1 - x2 + eps` over the last dimension. */
export function pairwiseDistance(
  x1: Tensor,
  x2: Tensor,
  options: { p?: number; eps?: number; keepdim?: boolean } = {},
): Tensor {
  checkOptions('pairwiseDistance', options, ['p', 'eps', 'keepdim'])
  const { p = 2, eps = 1e-6, keepdim = false } = options
  return x1.sub(x2).add(eps).norm({ p, dim: -1, keepdim })
}

/** Options of the losses with a margin. */
export interface MarginLossOptions extends LossOptions {
  margin?: number
}

/** `1 - cos(x1, x2)` for target 1, `max(0, cos(x1, x2) - margin)` for target -1. */
export function cosineEmbeddingLoss(x1: Tensor, x2: Tensor, target: Tensor, options: MarginLossOptions = {}): Tensor {
  checkOptions('cosineEmbeddingLoss', options, ['margin', 'reduction'])
  const { margin = 0, reduction } = options
  const dim = x1.ndim - 1
  const EPSILON = 1e-12
  const product = x1.mul(x2).sum(dim)
  const squares = x1.mul(x1).sum(dim).add(EPSILON).mul(x2.mul(x2).sum(dim).add(EPSILON))
  const cos = product.div(squares.sqrt())
  const apart = cos.sub(margin).relu()
  const loss = where(target.eq(1), cos.neg().add(1), apart.maskedFill(target.ne(-1), 0))
  return reduceLoss('cosineEmbeddingLoss', loss, reduction)
}

/** `max(0, margin - target * (x1 - x2))`: `x1` should rank above `x2` for target 1, below for -1. */
export function marginRankingLoss(x1: Tensor, x2: Tensor, target: Tensor, options: MarginLossOptions = {}): Tensor {
  checkOptions('marginRankingLoss', options, ['margin', 'reduction'])
  const { margin = 0, reduction } = options
  return reduceLoss('marginRankingLoss', x1.sub(x2).mul(target.neg()).add(margin).relu(), reduction)
}

/** `input` for target 1, `max(0, margin - input)` for target -1. */
export function hingeEmbeddingLoss(input: Tensor, target: Tensor, options: MarginLossOptions = {}): Tensor {
  checkOptions('hingeEmbeddingLoss', options, ['margin', 'reduction'])
  const { margin = 1, reduction } = options
  const apart = input.neg().add(margin).relu()
  const loss = apart.maskedFill(target.eq(1), 0).add(input.maskedFill(target.eq(-1), 0))
  return reduceLoss('hingeEmbeddingLoss', loss, reduction)
}

/** Options of `tripletMarginLoss`. */
export interface TripletMarginLossOptions extends MarginLossOptions {
  p?: number
  eps?: number
  /** Whether to take the distance from positive to negative where it is smaller than the anchor's; false. */
  swap?: boolean
}

/** `max(0, d(anchor, positive) - d(anchor, negative) + margin)` with `pairwiseDistance`. */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: TripletMarginLossOptions = {},
): Tensor {
  checkOptions('tripletMarginLoss', options, ['margin', 'p', 'eps', 'swap', 'reduction'])
  const { margin = 1, p = 2, eps = 1e-6, swap = false, reduction } = options
  const near = pairwiseDistance(anchor, positive, { p, eps })
  const far = pairwiseDistance(anchor, negative, { p, eps })
  const least = swap ? far.minimum(pairwiseDistance(positive, negative, { p, eps })) : far
  return reduceLoss('tripletMarginLoss', near.sub(least).add(margin).relu(), reduction)
}
