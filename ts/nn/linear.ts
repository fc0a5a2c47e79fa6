/** Linear maps: `y = x W^T + b`, and the bilinear form `y = x1^T A x2 + b`. */
import { checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { Tensor } from '../tensor/index.ts'
import { kaimingUniform_, uniform_ } from './init.ts'
import { Module } from './module.ts'
import { type FactoryOptions, factory, factoryOptions, newParameter, type Parameter } from './parameter.ts'
import { python } from './repr.ts'

/** `x W^T + b`: `x` is `[.., in]`, `weight` `[out, in]`, `bias` `[out]`. Throws `SHAPE_MISMATCH`. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return new Tensor(native.linear(x.handle, weight.handle, bias === null ? -1 : bias.handle))
}

/** `y[.., o] = x1 A[o] x2 + b[o]`: `x1` is `[.., in1]`, `x2` `[.., in2]`, `weight` `[out, in1, in2]`. */
export function bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const [out = 0, in1 = 0, in2 = 0] = weight.shape
  // [.., in1] x [in1, out * in2] -> [.., out, in2], then a dot product with x2 for each output.
  const flat = weight.transpose(0, 1).reshape([in1, out * in2])
  const rows = x1
    .reshape([-1, x1.shape.at(-1) ?? 0])
    .matmul(flat)
    .reshape([...x1.shape.slice(0, -1), out, in2])
  const y = rows.mul(x2.unsqueeze(-2)).sum(-1)
  return bias === null ? y : y.add(bias)
}

/**
 * A fully connected layer: `[.., inFeatures]` to `[.., outFeatures]`.
 *
 * ```ts
 * new nn.Linear(784, 10).forward(randn([32, 784])).shape // [32, 10]
 * ```
 */
export class Linear extends Module<[Tensor], Tensor> {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly weight: Parameter
  readonly bias: Parameter | null

  constructor(inFeatures: number, outFeatures: number, options: FactoryOptions & { bias?: boolean } = {}) {
    super()
    checkOptions('Linear', options, ['bias', ...factoryOptions])
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    this.weight = newParameter([outFeatures, inFeatures], factory(options))
    this.bias = (options.bias ?? true) ? newParameter([outFeatures], factory(options)) : null
    this.resetParameters()
  }

  /** Draws new starting values, uniform within `1 / sqrt(inFeatures)`. */
  resetParameters(): void {
    kaimingUniform_(this.weight, { a: Math.sqrt(5) })
    const bound = this.inFeatures > 0 ? 1 / Math.sqrt(this.inFeatures) : 0
    if (this.bias !== null) uniform_(this.bias, -bound, bound)
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias)
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${python(this.bias !== null)}`
  }
}

/** A bilinear layer: `[.., in1Features]` and `[.., in2Features]` to `[.., outFeatures]`. */
export class Bilinear extends Module<[Tensor, Tensor], Tensor> {
  readonly in1Features: number
  readonly in2Features: number
  readonly outFeatures: number
  readonly weight: Parameter
  readonly bias: Parameter | null

  constructor(
    in1Features: number,
    in2Features: number,
    outFeatures: number,
    options: FactoryOptions & { bias?: boolean } = {},
  ) {
    super()
    checkOptions('Bilinear', options, ['bias', ...factoryOptions])
    this.in1Features = in1Features
    this.in2Features = in2Features
    this.outFeatures = outFeatures
    this.weight = newParameter([outFeatures, in1Features, in2Features], factory(options))
    this.bias = (options.bias ?? true) ? newParameter([outFeatures], factory(options)) : null
    this.resetParameters()
  }

  /** Draws new starting values, uniform within `1 / sqrt(in1Features)`. */
  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.in1Features)
    uniform_(this.weight, -bound, bound)
    if (this.bias !== null) uniform_(this.bias, -bound, bound)
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    return bilinear(x1, x2, this.weight, this.bias)
  }

  override extraRepr(): string {
    const features = `in1_features=${this.in1Features}, in2_features=${this.in2Features}, out_features=${this.outFeatures}`
    return `${features}, bias=${python(this.bias !== null)}`
  }
}
