/** Losses of classification: `crossEntropy` on logits, `nllLoss` on log-probabilities. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { Tensor, where, zerosLike } from '../tensor/index.ts'
import { Module } from './module.ts'
import { Buffer } from './parameter.ts'
import { checkReduction, type LossOptions, type Reduction, reduceLoss } from './reduction.ts'

/** Options of `nllLoss`. */
export interface NLLLossOptions extends LossOptions {
  /** A factor for each class, `[classes]`. */
  weight?: Tensor | null
  /** Targets that count for nothing; -100. */
  ignoreIndex?: number
}
const nllOptions = ['weight', 'ignoreIndex', 'reduction'] as const

/** Options of `crossEntropy`. */
export interface CrossEntropyLossOptions extends NLLLossOptions {
  /** Share of the target that is spread evenly over all classes; 0. */
  labelSmoothing?: number
}
const crossEntropyOptions = [...nllOptions, 'labelSmoothing'] as const
const reductionCodes: Readonly<Record<Reduction, number>> = { none: 0, mean: 1, sum: 2 }

/**
 * Cross entropy of logits `[n, classes, ..]` (or `[classes]`) with targets: class indices, int64 `[n, ..]`, or probabilities of the
 * logits' shape. The mean is over targets that aren't ignored, by weight. An index that is no class throws `INDEX_OUT_OF_RANGE`, on a
 * GPU at the next read.
 *
 * ```ts
 * F.crossEntropy(randn([32, 10]), randint(0, 10, [32])) // a scalar
 * ```
 */
export function crossEntropy(input: Tensor, target: Tensor, options: CrossEntropyLossOptions = {}): Tensor {
  checkOptions('crossEntropy', options, crossEntropyOptions)
  const { weight = null, ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean' } = options
  checkReduction('crossEntropy', reduction)
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw badOption('crossEntropy', `labelSmoothing must be between 0 and 1, not ${labelSmoothing}`)
  }
  const floating = target.dtype.includes('float')
  if (floating) {
    if (String(input.shape) !== String(target.shape)) throw mismatch('crossEntropy', input, target)
    return softTargets(input, target, weight, labelSmoothing, reduction)
  }
  const { logits, labels, restore } = rows('crossEntropy', input, target)
  if (weight === null) {
    const code = reductionCodes[reduction]
    return restore(new Tensor(native.crossEntropy(logits.handle, labels.handle, ignoreIndex, labelSmoothing, code)))
  }
  return restore(weighted(logits.logSoftmax(1), labels, { weight, ignoreIndex, labelSmoothing, reduction }))
}

/** Negative log-likelihood of log-probabilities `[n, classes, ..]` (or `[classes]`) at class indices, int64 `[n, ..]`. */
export function nllLoss(input: Tensor, target: Tensor, options: NLLLossOptions = {}): Tensor {
  checkOptions('nllLoss', options, nllOptions)
  const { weight = null, ignoreIndex = -100, reduction = 'mean' } = options
  checkReduction('nllLoss', reduction)
  const { logits, labels, restore } = rows('nllLoss', input, target)
  return restore(weighted(logits, labels, { weight, ignoreIndex, labelSmoothing: 0, reduction }))
}

/** Brings input and target to `[rows, classes]` and `[rows]`; `restore` gives losses by row the target's shape. */
function rows(op: string, input: Tensor, target: Tensor) {
  const shape = target.shape
  const restore = (loss: Tensor) => (loss.ndim === 0 || shape.length === 1 ? loss : loss.reshape(shape))
  const [n, classes, ...rest] = input.shape
  if (input.ndim === 1 && target.ndim === 0) return { logits: input.unsqueeze(0), labels: target.reshape([1]), restore }
  if (classes === undefined || String(shape) !== String([n, ...rest])) throw mismatch(op, input, target)
  if (rest.length === 0) return { logits: input, labels: target, restore }
  return { logits: input.movedim(1, -1).reshape([-1, classes]), labels: target.reshape([-1]), restore }
}

/** The loss of each row by its class's log-probability, with everything that the fused kernel leaves out. */
function weighted(logProbs: Tensor, target: Tensor, options: Required<CrossEntropyLossOptions>): Tensor {
  const { weight, ignoreIndex, labelSmoothing, reduction } = options
  const ignored = target.eq(ignoreIndex)
  const safe = target.maskedFill(ignored, 0)
  const zero = zerosLike(logProbs.select(1, 0))
  const picked = logProbs.gather(1, safe.unsqueeze(1)).squeeze(1).neg()
  const rowWeight = weight === null ? zero.add(1) : weight.indexSelect(0, safe)
  let loss = picked.mul(rowWeight)
  if (labelSmoothing > 0) {
    const spread = (weight === null ? logProbs : logProbs.mul(weight)).sum(1).neg()
    loss = loss.mul(1 - labelSmoothing).add(spread.mul(labelSmoothing / (logProbs.shape[1] ?? 1)))
  }
  loss = where(ignored, zero, loss)
  if (reduction === 'none') return loss
  if (reduction === 'sum') return loss.sum()
  return loss.sum().div(where(ignored, zero, rowWeight).sum())
}

/** Cross entropy with a distribution as the target; the mean is over the batch and the other dimensions, but not the classes. */
function softTargets(
  input: Tensor,
  target: Tensor,
  weight: Tensor | null,
  labelSmoothing: number,
  reduction: Reduction,
): Tensor {
  const dim = input.ndim === 1 ? 0 : 1
  const classes = input.shape[dim] ?? 1
  const soft = labelSmoothing > 0 ? target.mul(1 - labelSmoothing).add(labelSmoothing / classes) : target
  let logProbs = input.logSoftmax(dim)
  if (weight !== null) logProbs = logProbs.mul(weight.reshape([classes, ...input.shape.slice(dim + 1).map(() => 1)]))
  return reduceLoss('crossEntropy', soft.mul(logProbs).sum(dim).neg(), reduction)
}

function mismatch(op: string, input: Tensor, target: Tensor): WickError {
  const shapes = `input [${input.shape.join(', ')}] and target [${target.shape.join(', ')}]`
  return new WickError('SHAPE_MISMATCH', `${shapes} don't match`, { op })
}

/**
 * `crossEntropy` with fixed options.
 *
 * ```ts
 * const criterion = new nn.CrossEntropyLoss({ labelSmoothing: 0.1 })
 * const loss = criterion.forward(logits, labels)
 * ```
 */
export class CrossEntropyLoss extends Module<[Tensor, Tensor], Tensor> {
  readonly ignoreIndex: number
  readonly labelSmoothing: number
  readonly reduction: Reduction
  readonly weight: Buffer | null

  constructor(options: CrossEntropyLossOptions = {}) {
    super()
    checkOptions('CrossEntropyLoss', options, crossEntropyOptions)
    this.ignoreIndex = options.ignoreIndex ?? -100
    this.labelSmoothing = options.labelSmoothing ?? 0
    this.reduction = options.reduction ?? 'mean'
    this.weight = options.weight ? new Buffer(options.weight) : null
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, labelSmoothing, reduction } = this
    return crossEntropy(input, target, { weight, ignoreIndex, labelSmoothing, reduction })
  }
}

/** `nllLoss` with fixed options. */
export class NLLLoss extends Module<[Tensor, Tensor], Tensor> {
  readonly ignoreIndex: number
  readonly reduction: Reduction
  readonly weight: Buffer | null

  constructor(options: NLLLossOptions = {}) {
    super()
    checkOptions('NLLLoss', options, nllOptions)
    this.ignoreIndex = options.ignoreIndex ?? -100
    this.reduction = options.reduction ?? 'mean'
    this.weight = options.weight ? new Buffer(options.weight) : null
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, reduction } = this
    return nllLoss(input, target, { weight, ignoreIndex, reduction })
  }
}
