/** Layers that normalise by a group's mean and variance, or its root mean square. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import { ones_ } from './init.ts'
import { Module } from './module.ts'
import { type FactoryOptions, factory, factoryOptions, newParameter, type Parameter } from './parameter.ts'
import { float, python } from './repr.ts'

/** Statistics of half-precision tensors are computed in float32. */
function widened(x: Tensor, compute: (x: Tensor) => Tensor): Tensor {
  return x.dtype === 'float16' || x.dtype === 'bfloat16' ? compute(x.float()).to({ dtype: x.dtype }) : compute(x)
}

/** The last dimensions, as many as `shape` has. */
const lastDims = (shape: readonly number[]) => shape.map((_, i) => i - shape.length)

function standardized(x: Tensor, dims: readonly number[], eps: number): Tensor {
  const centred = x.sub(x.mean({ dim: dims, keepdim: true }))
  return centred.mul(centred.mul(centred).mean({ dim: dims, keepdim: true }).add(eps).rsqrt())
}

function affine(x: Tensor, weight: Tensor | null | undefined, bias: Tensor | null | undefined): Tensor {
  const scaled = weight ? x.mul(weight) : x
  return bias ? scaled.add(bias) : scaled
}

function expectLast(op: string, x: Tensor, shape: readonly number[]): void {
  const last = x.shape.slice(-shape.length)
  if (shape.length === 0 || last.length !== shape.length || last.some((n, i) => n !== shape[i])) {
    throw new WickError(
      'SHAPE_MISMATCH',
      `the last dimensions must be [${shape.join(', ')}], got [${x.shape.join(', ')}]`,
      { op },
    )
  }
}

/** Normalises over the last dimensions, which have shape `normalizedShape`, then scales by `weight` and adds `bias`. */
export function layerNorm(
  x: Tensor,
  normalizedShape: readonly number[],
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor {
  checkOptions('layerNorm', options, ['weight', 'bias', 'eps'])
  expectLast('layerNorm', x, normalizedShape)
  const { weight, bias, eps = 1e-5 } = options
  return widened(x, wide => affine(standardized(wide, lastDims(normalizedShape), eps), weight, bias))
}

/** Divides by the root mean square over the last dimensions, then scales by `weight`; `eps` is the dtype's smallest step. */
export function rmsNorm(
  x: Tensor,
  normalizedShape: readonly number[],
  options: { weight?: Tensor | null; eps?: number | null } = {},
): Tensor {
  checkOptions('rmsNorm', options, ['weight', 'eps'])
  expectLast('rmsNorm', x, normalizedShape)
  const eps = options.eps ?? EPSILON[x.dtype] ?? 0
  return widened(x, wide => {
    const square = wide.mul(wide).mean({ dim: lastDims(normalizedShape), keepdim: true })
    return affine(wide.mul(square.add(eps).rsqrt()), options.weight, null)
  })
}
// As PyTorch, which takes float32's for the half types too.
const EPSILON: Partial<Record<string, number>> = {
  float64: 2 ** -52,
  float32: 2 ** -23,
  float16: 2 ** -23,
  bfloat16: 2 ** -23,
}

/** Normalises each of `numGroups` groups of channels of `x` `[n, channels, ..]`, then scales and shifts each channel. */
export function groupNorm(
  x: Tensor,
  numGroups: number,
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor {
  checkOptions('groupNorm', options, ['weight', 'bias', 'eps'])
  const { weight, bias, eps = 1e-5 } = options
  const [n = 0, channels = 0] = x.shape
  if (x.ndim < 2 || channels % numGroups !== 0) {
    throw new WickError('SHAPE_MISMATCH', `${numGroups} groups don't divide the channels of [${x.shape.join(', ')}]`, {
      op: 'groupNorm',
    })
  }
  const perChannel = (t: Tensor | null | undefined) => t?.reshape([channels, ...Array<number>(x.ndim - 2).fill(1)])
  return widened(x, wide => {
    const groups = standardized(wide.reshape([n, numGroups, -1]), [-1], eps)
    return affine(groups.reshape(x.shape), perChannel(weight), perChannel(bias))
  })
}

/** Normalises over the last dimensions, with a trained scale and shift for each element. */
export class LayerNorm extends Module<[Tensor], Tensor> {
  readonly normalizedShape: readonly number[]
  readonly eps: number
  readonly weight: Parameter | null
  readonly bias: Parameter | null

  constructor(
    normalizedShape: number | readonly number[],
    options: FactoryOptions & { eps?: number; elementwiseAffine?: boolean; bias?: boolean } = {},
  ) {
    super()
    checkOptions('LayerNorm', options, ['eps', 'elementwiseAffine', 'bias', ...factoryOptions])
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape]
    this.eps = eps
    this.weight = elementwiseAffine ? newParameter(this.normalizedShape, factory(options)) : null
    this.bias = elementwiseAffine && bias ? newParameter(this.normalizedShape, factory(options)) : null
    if (this.weight !== null) ones_(this.weight)
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.normalizedShape, { weight: this.weight, bias: this.bias, eps: this.eps })
  }

  override extraRepr(): string {
    return `${python(this.normalizedShape)}, eps=${float(this.eps)}, elementwise_affine=${python(this.weight !== null)}`
  }
}

/** Divides by the root mean square over the last dimensions, with a trained scale for each element. */
export class RMSNorm extends Module<[Tensor], Tensor> {
  readonly normalizedShape: readonly number[]
  readonly eps: number | null
  readonly weight: Parameter | null

  constructor(
    normalizedShape: number | readonly number[],
    options: FactoryOptions & { eps?: number | null; elementwiseAffine?: boolean } = {},
  ) {
    super()
    checkOptions('RMSNorm', options, ['eps', 'elementwiseAffine', ...factoryOptions])
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape]
    this.eps = options.eps ?? null
    const { elementwiseAffine = true } = options
    this.weight = elementwiseAffine ? ones_(newParameter(this.normalizedShape, factory(options))) : null
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, { weight: this.weight, eps: this.eps })
  }

  override extraRepr(): string {
    const eps = this.eps === null ? 'None' : float(this.eps)
    return `${python(this.normalizedShape)}, eps=${eps}, elementwise_affine=${python(this.weight !== null)}`
  }
}

/** Normalises groups of channels of `[n, numChannels, ..]`, with a trained scale and shift for each channel. */
export class GroupNorm extends Module<[Tensor], Tensor> {
  readonly numGroups: number
  readonly numChannels: number
  readonly eps: number
  readonly weight: Parameter | null
  readonly bias: Parameter | null

  constructor(
    numGroups: number,
    numChannels: number,
    options: FactoryOptions & { eps?: number; affine?: boolean } = {},
  ) {
    super()
    checkOptions('GroupNorm', options, ['eps', 'affine', ...factoryOptions])
    if (numChannels % numGroups !== 0) {
      throw badOption('GroupNorm', `numGroups = ${numGroups} must divide numChannels = ${numChannels}`)
    }
    const { eps = 1e-5, affine = true } = options
    this.numGroups = numGroups
    this.numChannels = numChannels
    this.eps = eps
    this.weight = affine ? ones_(newParameter([numChannels], factory(options))) : null
    this.bias = affine ? newParameter([numChannels], factory(options)) : null
  }

  forward(x: Tensor): Tensor {
    return groupNorm(x, this.numGroups, { weight: this.weight, bias: this.bias, eps: this.eps })
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${float(this.eps)}, affine=${python(this.weight !== null)}`
  }
}
