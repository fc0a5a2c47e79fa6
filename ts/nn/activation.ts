/**
 * Activation functions: each as a function (`nn.functional.gelu(x)`) and as a layer (`new nn.GELU()`). They keep shape and dtype, and
 * have PyTorch's derivative at the points where there is a choice.
 */
import { checkOptions, WickError } from '../errors.ts'
import {
  elu,
  type GeluOptions,
  gelu,
  leakyRelu,
  logSigmoid,
  mish,
  type SoftplusOptions,
  silu,
  softplus,
  type Tensor,
  where,
} from '../tensor/index.ts'
import { constant_ } from './init.ts'
import { Module } from './module.ts'
import { type FactoryOptions, factory, factoryOptions, newParameter, type Parameter } from './parameter.ts'
import { float, python } from './repr.ts'

// Those that users chain are methods of tensors too.
export { elu, gelu, leakyRelu, logSigmoid, mish, silu, softplus } from '../tensor/index.ts'

/** `max(x, 0)`. */
export function relu(x: Tensor): Tensor {
  return x.relu()
}

/** `x` above 0, else `weight * x`; `weight` is one number, or one per channel (dimension 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  const perChannel = weight.numel > 1 && x.ndim > 2
  const slope = perChannel ? weight.reshape([weight.numel, ...Array<number>(x.ndim - 2).fill(1)]) : weight
  return where(x.gt(0), x, x.mul(slope))
}

/** Self-normalising ELU: `scale * elu(x, alpha)` with the constants of its paper. */
export function selu(x: Tensor): Tensor {
  return elu(x, 1.6732632423543772).mul(1.0507009873554805)
}

/** Continuously differentiable ELU: `x` above 0, else `alpha * (exp(x / alpha) - 1)`. */
export function celu(x: Tensor, alpha = 1): Tensor {
  return where(x.gt(0), x, negativePart(x).div(alpha).expm1().mul(alpha))
}

// Both branches of `where` are computed, so the one that isn't taken must not overflow: 0 * inf is NaN in the backward pass.
const negativePart = (x: Tensor) => x.clamp({ max: 0 })

/** `x` cut to `[minVal, maxVal]`; the gradient is 0 at and beyond the bounds. */
export function hardtanh(x: Tensor, options: { minVal?: number; maxVal?: number } = {}): Tensor {
  checkOptions('hardtanh', options, ['minVal', 'maxVal'])
  const { minVal = -1, maxVal = 1 } = options
  return where(x.gt(minVal).logicalAnd(x.lt(maxVal)), x, x.detach().clamp(minVal, maxVal))
}

/** `min(max(x, 0), 6)`. */
export function relu6(x: Tensor): Tensor {
  return hardtanh(x, { minVal: 0, maxVal: 6 })
}

/** `relu6(x + 3) / 6`. */
export function hardsigmoid(x: Tensor): Tensor {
  return relu6(x.add(3)).div(6)
}

/** `x * hardsigmoid(x)`. */
export function hardswish(x: Tensor): Tensor {
  return x.mul(hardsigmoid(x))
}

/** `1 / (1 + exp(-x))`. */
export function sigmoid(x: Tensor): Tensor {
  return x.sigmoid()
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return x.tanh()
}

/** `x / (1 + |x|)`. */
export function softsign(x: Tensor): Tensor {
  return x.div(x.abs().add(1))
}

/** Exponentials along `dim`, scaled to sum 1. */
export function softmax(x: Tensor, dim: number): Tensor {
  return x.softmax(dim)
}

/** The logarithm of `softmax`. */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  return x.logSoftmax(dim)
}

/** Gated linear unit: the first half along `dim` times the sigmoid of the second. */
export function glu(x: Tensor, dim = -1): Tensor {
  const [values, gates] = halves(x, dim)
  return values.mul(gates.sigmoid())
}

function halves(x: Tensor, dim: number): [Tensor, Tensor] {
  const size = x.shape.at(dim) ?? 0
  if (size % 2 !== 0) {
    throw new WickError('SHAPE_MISMATCH', `dim ${dim} of [${x.shape.join(', ')}] can't be halved`, { op: 'glu' })
  }
  return [x.narrow(dim, 0, size / 2), x.narrow(dim, size / 2, size / 2)]
}

/** `relu` as a layer. */
export class ReLU extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return x.relu()
  }
}

/** `leakyRelu` as a layer. */
export class LeakyReLU extends Module<[Tensor], Tensor> {
  readonly negativeSlope: number

  constructor(negativeSlope = 0.01) {
    super()
    this.negativeSlope = negativeSlope
  }

  forward(x: Tensor): Tensor {
    return leakyRelu(x, this.negativeSlope)
  }

  override extraRepr(): string {
    return `negative_slope=${python(this.negativeSlope)}`
  }
}

/** `prelu` with a trained slope: one, or one per channel. */
export class PReLU extends Module<[Tensor], Tensor> {
  readonly weight: Parameter

  constructor(numParameters = 1, options: FactoryOptions & { init?: number } = {}) {
    super()
    checkOptions('PReLU', options, ['init', ...factoryOptions])
    this.weight = constant_(newParameter([numParameters], factory(options)), options.init ?? 0.25)
  }

  forward(x: Tensor): Tensor {
    return prelu(x, this.weight)
  }

  override extraRepr(): string {
    return `num_parameters=${this.weight.numel}`
  }
}

/** `elu` as a layer. */
export class ELU extends Module<[Tensor], Tensor> {
  readonly alpha: number

  constructor(alpha = 1) {
    super()
    this.alpha = alpha
  }

  forward(x: Tensor): Tensor {
    return elu(x, this.alpha)
  }

  override extraRepr(): string {
    return `alpha=${float(this.alpha)}`
  }
}

/** `selu` as a layer. */
export class SELU extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return selu(x)
  }
}

/** `celu` as a layer. */
export class CELU extends Module<[Tensor], Tensor> {
  readonly alpha: number

  constructor(alpha = 1) {
    super()
    this.alpha = alpha
  }

  forward(x: Tensor): Tensor {
    return celu(x, this.alpha)
  }

  override extraRepr(): string {
    return `alpha=${float(this.alpha)}`
  }
}

/** `gelu` as a layer. */
export class GELU extends Module<[Tensor], Tensor> {
  readonly approximate: 'none' | 'tanh'

  constructor(options: GeluOptions = {}) {
    super()
    checkOptions('GELU', options, ['approximate'])
    this.approximate = options.approximate ?? 'none'
  }

  forward(x: Tensor): Tensor {
    return gelu(x, { approximate: this.approximate })
  }

  override extraRepr(): string {
    return `approximate=${python(this.approximate)}`
  }
}

/** `silu` as a layer. */
export class SiLU extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return silu(x)
  }
}

/** `mish` as a layer. */
export class Mish extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return mish(x)
  }
}

/** `hardswish` as a layer. */
export class Hardswish extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return hardswish(x)
  }
}

/** `hardsigmoid` as a layer. */
export class Hardsigmoid extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return hardsigmoid(x)
  }
}

/** `hardtanh` as a layer. */
export class Hardtanh extends Module<[Tensor], Tensor> {
  readonly minVal: number
  readonly maxVal: number

  constructor(options: { minVal?: number; maxVal?: number } = {}) {
    super()
    checkOptions('Hardtanh', options, ['minVal', 'maxVal'])
    this.minVal = options.minVal ?? -1
    this.maxVal = options.maxVal ?? 1
  }

  forward(x: Tensor): Tensor {
    return hardtanh(x, { minVal: this.minVal, maxVal: this.maxVal })
  }

  override extraRepr(): string {
    return `min_val=${float(this.minVal)}, max_val=${float(this.maxVal)}`
  }
}

/** `relu6` as a layer. */
export class ReLU6 extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return relu6(x)
  }
}

/** `sigmoid` as a layer. */
export class Sigmoid extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return x.sigmoid()
  }
}

/** `logSigmoid` as a layer. */
export class LogSigmoid extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return logSigmoid(x)
  }
}

/** `tanh` as a layer. */
export class Tanh extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return x.tanh()
  }
}

/** `softplus` as a layer. */
export class Softplus extends Module<[Tensor], Tensor> {
  readonly beta: number
  readonly threshold: number

  constructor(options: SoftplusOptions = {}) {
    super()
    checkOptions('Softplus', options, ['beta', 'threshold'])
    this.beta = options.beta ?? 1
    this.threshold = options.threshold ?? 20
  }

  forward(x: Tensor): Tensor {
    return softplus(x, { beta: this.beta, threshold: this.threshold })
  }

  override extraRepr(): string {
    return `beta=${float(this.beta)}, threshold=${float(this.threshold)}`
  }
}

/** `softsign` as a layer. */
export class Softsign extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return softsign(x)
  }
}

/** `softmax` as a layer. */
export class Softmax extends Module<[Tensor], Tensor> {
  readonly dim: number

  constructor(dim: number) {
    super()
    this.dim = dim
  }

  forward(x: Tensor): Tensor {
    return x.softmax(this.dim)
  }

  override extraRepr(): string {
    return `dim=${this.dim}`
  }
}

/** `logSoftmax` as a layer. */
export class LogSoftmax extends Module<[Tensor], Tensor> {
  readonly dim: number

  constructor(dim: number) {
    super()
    this.dim = dim
  }

  forward(x: Tensor): Tensor {
    return x.logSoftmax(this.dim)
  }

  override extraRepr(): string {
    return `dim=${this.dim}`
  }
}

/** `glu` as a layer. */
export class GLU extends Module<[Tensor], Tensor> {
  readonly dim: number

  constructor(dim = -1) {
    super()
    this.dim = dim
  }

  forward(x: Tensor): Tensor {
    return glu(x, this.dim)
  }

  override extraRepr(): string {
    return `dim=${this.dim}`
  }
}
