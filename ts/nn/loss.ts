/** Losses between tensors of one shape: of regression, and between probabilities. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { logOnePlusExp } from '../tensor/activation.ts'
import { type Tensor, where } from '../tensor/index.ts'
import { type LossOptions, type Reduction, reduceLoss } from './reduction.ts'

/** `(input - target)^2`. */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions('mseLoss', options, ['reduction'])
  const d = input.sub(target)
  return reduceLoss('mseLoss', d.mul(d), options.reduction)
}

/** `|input - target|`. */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions('l1Loss', options, ['reduction'])
  return reduceLoss('l1Loss', input.sub(target).abs(), options.reduction)
}

/** `|d| - beta / 2`, and `d^2 / (2 beta)` where `|d|` is below `beta`, for `d = input - target`. */
export function smoothL1Loss(input: Tensor, target: Tensor, options: LossOptions & { beta?: number } = {}): Tensor {
  checkOptions('smoothL1Loss', options, ['reduction', 'beta'])
  const { beta = 1, reduction = 'mean' } = options
  if (!(beta >= 0)) throw badOption('smoothL1Loss', `beta must not be negative, got ${beta}`)
  if (beta === 0) return l1Loss(input, target, { reduction })
  const d = input.sub(target)
  const size = d.abs()
  return reduceLoss('smoothL1Loss', where(size.lt(beta), d.mul(d).mul(0.5 / beta), size.sub(0.5 * beta)), reduction)
}

/** `delta * (|d| - delta / 2)`, and `d^2 / 2` where `|d|` is at most `delta`, for `d = input - target`. */
export function huberLoss(input: Tensor, target: Tensor, options: LossOptions & { delta?: number } = {}): Tensor {
  checkOptions('huberLoss', options, ['reduction', 'delta'])
  const { delta = 1, reduction = 'mean' } = options
  if (!(delta > 0)) throw badOption('huberLoss', `delta must be above 0, got ${delta}`)
  const d = input.sub(target)
  const size = d.abs()
  return reduceLoss('huberLoss', where(size.le(delta), d.mul(d).mul(0.5), size.sub(0.5 * delta).mul(delta)), reduction)
}

/** Options of `bceLoss`. */
export interface BCELossOptions extends LossOptions {
  /** A factor for each element, broadcast. */
  weight?: Tensor | null
}

/** Binary cross entropy of probabilities with targets in [0, 1]. Logarithms end at -100, as in PyTorch. */
export function binaryCrossEntropy(input: Tensor, target: Tensor, options: BCELossOptions = {}): Tensor {
  checkOptions('binaryCrossEntropy', options, ['weight', 'reduction'])
  expectSame('binaryCrossEntropy', input, target)
  const hit = target.mul(boundedLog(input))
  const miss = target
    .neg()
    .add(1)
    .mul(boundedLog(input.neg().add(1)))
  const loss = hit.add(miss).neg()
  return reduceLoss('binaryCrossEntropy', options.weight ? loss.mul(options.weight) : loss, options.reduction)
}

/** The logarithm, at least -100; where it ends, the gradient is 0 and not NaN. */
function boundedLog(p: Tensor): Tensor {
  const least = p.dtype === 'float64' ? Math.exp(-100) : p.dtype === 'float16' ? 2 ** -24 : 2 ** -126
  return p.clamp({ min: least }).log().maskedFill(p.lt(least), -100)
}

/** Options of `binaryCrossEntropyWithLogits`. */
export interface BCEWithLogitsLossOptions extends BCELossOptions {
  /** A factor for positive targets, broadcast. */
  posWeight?: Tensor | null
}

/** Binary cross entropy of logits with targets in [0, 1], exact for large logits. */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: BCEWithLogitsLossOptions = {},
): Tensor {
  checkOptions('binaryCrossEntropyWithLogits', options, ['weight', 'posWeight', 'reduction'])
  expectSame('binaryCrossEntropyWithLogits', input, target)
  const { weight, posWeight, reduction } = options
  // -log(sigmoid(x)) = log(1 + exp(-x))
  const hit = logOnePlusExp(input.neg())
  const scaled = posWeight ? hit.mul(posWeight.sub(1).mul(target).add(1)) : hit
  const loss = target.neg().add(1).mul(input).add(scaled)
  return reduceLoss('binaryCrossEntropyWithLogits', weight ? loss.mul(weight) : loss, reduction)
}

/** Options of `klDiv`. */
export interface KLDivLossOptions {
  /** As for all losses, and `'batchmean'`: the sum divided by the batch size, which is the divergence proper. */
  reduction?: Reduction | 'batchmean'
  /** Whether the target is given as log-probabilities; false. */
  logTarget?: boolean
}

/** Kullback-Leibler divergence: `target * (log(target) - input)`, where `input` holds log-probabilities. */
export function klDiv(input: Tensor, target: Tensor, options: KLDivLossOptions = {}): Tensor {
  checkOptions('klDiv', options, ['reduction', 'logTarget'])
  const { reduction = 'mean', logTarget = false } = options
  const loss = logTarget ? target.exp().mul(target.sub(input)) : target.mul(logOrZero(target).sub(input))
  return reduction === 'batchmean' ? loss.sum().div(input.shape[0] ?? 1) : reduceLoss('klDiv', loss, reduction)
}

/** The logarithm of positive elements; 0 for others, which are multiplied by 0. */
function logOrZero(t: Tensor): Tensor {
  return t.maskedFill(t.le(0), 1).log()
}

/** Negative log-likelihood of a Poisson distribution whose mean is `exp(input)`, or `input` without `logInput`. */
export function poissonNllLoss(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { logInput?: boolean; full?: boolean; eps?: number } = {},
): Tensor {
  checkOptions('poissonNllLoss', options, ['logInput', 'full', 'eps', 'reduction'])
  const { logInput = true, full = false, eps = 1e-8, reduction } = options
  let loss = logInput ? input.exp().sub(target.mul(input)) : input.sub(target.mul(input.add(eps).log()))
  if (full) {
    const above = target.maskedFill(target.le(1), 1)
    const stirling = above
      .mul(above.log())
      .sub(above)
      .add(
        above
          .mul(2 * Math.PI)
          .log()
          .mul(0.5),
      )
    loss = loss.add(stirling.maskedFill(target.le(1), 0))
  }
  return reduceLoss('poissonNllLoss', loss, reduction)
}

/** Negative log-likelihood of a normal distribution with mean `input` and variance `variance`, which is at least `eps`. */
export function gaussianNllLoss(
  input: Tensor,
  target: Tensor,
  variance: Tensor,
  options: LossOptions & { full?: boolean; eps?: number } = {},
): Tensor {
  checkOptions('gaussianNllLoss', options, ['full', 'eps', 'reduction'])
  const { full = false, eps = 1e-6, reduction } = options
  // The bound is not differentiated, as in PyTorch.
  const bounded = variance.add(variance.clamp({ min: eps }).sub(variance).detach())
  const d = input.sub(target)
  const loss = bounded.log().add(d.mul(d).div(bounded)).mul(0.5)
  return reduceLoss('gaussianNllLoss', full ? loss.add(0.5 * Math.log(2 * Math.PI)) : loss, reduction)
}

/** Mean over the classes of binary cross entropies with logits `[.., classes]`. */
export function multiLabelSoftMarginLoss(input: Tensor, target: Tensor, options: BCELossOptions = {}): Tensor {
  checkOptions('multiLabelSoftMarginLoss', options, ['weight', 'reduction'])
  expectSame('multiLabelSoftMarginLoss', input, target)
  const each = logOnePlusExp(input.neg()).add(target.neg().add(1).mul(input))
  const loss = options.weight ? each.mul(options.weight) : each
  return reduceLoss('multiLabelSoftMarginLoss', loss.mean(-1), options.reduction)
}

/** `log(1 + exp(-target * input))` for targets 1 and -1. */
export function softMarginLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions('softMarginLoss', options, ['reduction'])
  return reduceLoss('softMarginLoss', logOnePlusExp(target.mul(input).neg()), options.reduction)
}

function expectSame(op: string, input: Tensor, target: Tensor): void {
  if (String(input.shape) === String(target.shape)) return
  const shapes = `input [${input.shape.join(', ')}] and target [${target.shape.join(', ')}]`
  throw new WickError('SHAPE_MISMATCH', `${shapes} must have one shape`, { op })
}
