/** Batch normalisation: each channel by its mean and variance over the batch, or by running ones in evaluation. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { noGrad, Tensor } from '../tensor/index.ts'
import { ones_, zeros_ } from './init.ts'
import { Module } from './module.ts'
import {
  type Buffer,
  type FactoryOptions,
  factory,
  factoryOptions,
  newBuffer,
  newParameter,
  type Parameter,
} from './parameter.ts'
import { float, python } from './repr.ts'

/** Options of `batchNorm`. */
export interface BatchNormFunctionOptions {
  /** Scale of each channel. */
  weight?: Tensor | null
  /** Shift of each channel; given if and only if `weight` is. */
  bias?: Tensor | null
  /** Whether to use, and note in the running statistics, those of the batch; false. */
  training?: boolean
  /** Share of the batch in the new running statistics; 0.1. */
  momentum?: number
  /** Added to variances; 1e-5. */
  eps?: number
}

/**
 * Normalises the channels (dimension 1) of `x` `[n, c, ..]`. In training the running statistics `[c]` are updated in place, with
 * the unbiased variance; without running statistics the batch's are used always.
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormFunctionOptions = {},
): Tensor {
  checkOptions('batchNorm', options, ['weight', 'bias', 'training', 'momentum', 'eps'])
  const { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options
  if ((weight === null) !== (bias === null)) throw badOption('batchNorm', 'weight and bias belong together')
  const handle = (t: Tensor | null) => (t === null ? -1 : t.handle)
  if (training) {
    if (x.numel === x.shape[1]) {
      throw new WickError(
        'SHAPE_MISMATCH',
        `training needs more than one value per channel, got [${x.shape.join(', ')}]`,
        {
          op: 'batchNorm',
        },
      )
    }
    const stats = [handle(runningMean), handle(runningVar)] as const
    return new Tensor(native.batchNorm(x.handle, handle(weight), handle(bias), ...stats, momentum, eps))
  }
  if (runningMean === null || runningVar === null) throw badOption('batchNorm', 'evaluation needs running statistics')
  const perChannel = (t: Tensor) => (x.ndim === 2 ? t : t.reshape([t.numel, ...Array<number>(x.ndim - 2).fill(1)]))
  const invStd = runningVar.add(eps).rsqrt()
  const scale = weight === null ? invStd : invStd.mul(weight)
  const shift = bias === null ? runningMean.mul(scale).neg() : bias.sub(runningMean.mul(scale))
  // float32 parameters would widen a half-precision input
  return x.mul(perChannel(scale)).add(perChannel(shift)).to(x.dtype)
}

/** Options of the batch norm layers. */
export interface BatchNormOptions extends FactoryOptions {
  /** Added to variances; 1e-5. */
  eps?: number
  /** Share of the batch in the new running statistics, or `null` for the mean over all batches; 0.1. */
  momentum?: number | null
  /** Whether to scale and shift each channel by trained numbers; true. */
  affine?: boolean
  /** Whether to keep running statistics, for evaluation; true. */
  trackRunningStats?: boolean
}

/** What the batch norm layers have in common; they differ in the rank that they accept. */
abstract class BatchNorm extends Module<[Tensor], Tensor> {
  static override readonly stateKeys: Readonly<Record<string, string>> = {
    runningMean: 'running_mean',
    runningVar: 'running_var',
    numBatchesTracked: 'num_batches_tracked',
  }

  readonly numFeatures: number
  readonly eps: number
  readonly momentum: number | null
  readonly weight: Parameter | null
  readonly bias: Parameter | null
  readonly runningMean: Buffer | null
  readonly runningVar: Buffer | null
  readonly numBatchesTracked: Buffer | null

  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super()
    checkOptions(new.target.name, options, ['eps', 'momentum', 'affine', 'trackRunningStats', ...factoryOptions])
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true } = options
    this.numFeatures = numFeatures
    this.eps = eps
    this.momentum = momentum
    this.weight = affine ? ones_(newParameter([numFeatures], factory(options))) : null
    this.bias = affine ? newParameter([numFeatures], factory(options)) : null
    this.runningMean = trackRunningStats ? newBuffer([numFeatures], factory(options)) : null
    this.runningVar = trackRunningStats ? ones_(newBuffer([numFeatures], factory(options))) : null
    this.numBatchesTracked = trackRunningStats ? newBuffer([], { dtype: 'int64' }) : null
  }

  /** The ranks of input that the layer takes. */
  protected abstract ranks(): readonly number[]

  /** Forgets the running statistics. */
  resetRunningStats(): void {
    if (this.runningMean !== null) zeros_(this.runningMean)
    if (this.runningVar !== null) ones_(this.runningVar)
    if (this.numBatchesTracked !== null) zeros_(this.numBatchesTracked)
  }

  /** `[n, numFeatures, ..]` to the same shape. */
  forward(x: Tensor): Tensor {
    const { weight, bias, eps, runningMean, runningVar } = this
    if (!this.ranks().includes(x.ndim) || x.shape[1] !== this.numFeatures) {
      const expected = `${this.ranks().join(' or ')} dimensions, the second of size ${this.numFeatures}`
      throw new WickError('SHAPE_MISMATCH', `expected ${expected}, got [${x.shape.join(', ')}]`, { op: 'batchNorm' })
    }
    const training = this.training || runningMean === null
    if (this.training && this.numBatchesTracked !== null) {
      this.numBatchesTracked.add_(1)
      if (this.momentum === null) this.#averageIn(x)
    }
    // A cumulative mean has been updated already.
    const [mean, variance] = training && this.momentum === null ? [null, null] : [runningMean, runningVar]
    return batchNorm(x, mean, variance, { weight, bias, eps, training, momentum: this.momentum ?? 0 })
  }

  /** Makes the running statistics the mean over all batches so far. */
  #averageIn(x: Tensor): void {
    const { runningMean, runningVar, numBatchesTracked } = this
    if (runningMean === null || runningVar === null || numBatchesTracked === null) return
    noGrad(() => {
      const dims = Array.from({ length: x.ndim }, (_, i) => i).filter(i => i !== 1)
      const share = numBatchesTracked.to({ dtype: runningMean.dtype }).reciprocal()
      runningMean.add_(x.mean({ dim: dims }).sub(runningMean).mul(share))
      runningVar.add_(x.var({ dim: dims }).sub(runningVar).mul(share))
    })
  }

  override extraRepr(): string {
    const { numFeatures, eps, momentum, weight, runningMean } = this
    const rate = momentum === null ? 'None' : python(momentum)
    const flags = `affine=${python(weight !== null)}, track_running_stats=${python(runningMean !== null)}`
    return `${numFeatures}, eps=${float(eps)}, momentum=${rate}, ${flags}`
  }
}

/** Batch normalisation of `[n, numFeatures]` or `[n, numFeatures, length]`. */
export class BatchNorm1d extends BatchNorm {
  protected ranks(): readonly number[] {
    return [2, 3]
  }
}

/**
 * Batch normalisation of images `[n, numFeatures, height, width]`.
 *
 * ```ts
 * new nn.BatchNorm2d(32).forward(randn([8, 32, 14, 14]))
 * ```
 */
export class BatchNorm2d extends BatchNorm {
  protected ranks(): readonly number[] {
    return [4]
  }
}
