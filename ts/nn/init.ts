/**
 * `nn.init`: fills tensors with starting values, in place and without a tape. Every function returns the tensor it was given.
 * Formulas and defaults are PyTorch's.
 *
 * ```ts
 * nn.init.kaimingNormal_(layer.weight, { nonlinearity: 'relu' })
 * nn.init.zeros_(layer.bias)
 * ```
 */
import { checkOptions, WickError } from '../errors.ts'
import { fromTypedArray, full, type Generator, noGrad, rand, randn, scope, type Tensor } from '../tensor/index.ts'
import { normalQuantile } from './quantile.ts'

/** Which fan a Kaiming initialisation keeps the variance by. */
export type FanMode = 'fan_in' | 'fan_out'
/** The nonlinearities that `calculateGain` knows. */
export type Nonlinearity =
  | 'linear'
  | 'conv1d'
  | 'conv2d'
  | 'conv3d'
  | 'sigmoid'
  | 'tanh'
  | 'relu'
  | 'leaky_relu'
  | 'selu'

/** Options of the random initialisers: where the numbers come from. */
export interface RandomOptions {
  generator?: Generator
}

/** Overwrites `t` with the result of `make`, freeing what is made on the way. */
function fill<T extends Tensor>(t: T, make: () => Tensor): T {
  scope(() => {
    noGrad(() => t.copy_(make().to(t.device)))
  })
  return t
}

// Half-precision tensors get numbers that were computed in float32.
const wide = (t: Tensor) => (t.dtype === 'float64' ? 'float64' : 'float32')

/** Fills with numbers from the uniform distribution on `[low, high)`. */
export function uniform_<T extends Tensor>(t: T, low = 0, high = 1, options: RandomOptions = {}): T {
  checkOptions('uniform_', options, ['generator'])
  return fill(t, () =>
    rand(t.shape, { dtype: wide(t), ...options })
      .mul(high - low)
      .add(low),
  )
}

/** Fills with numbers from the normal distribution. */
export function normal_<T extends Tensor>(t: T, mean = 0, std = 1, options: RandomOptions = {}): T {
  checkOptions('normal_', options, ['generator'])
  return fill(t, () =>
    randn(t.shape, { dtype: wide(t), ...options })
      .mul(std)
      .add(mean),
  )
}

/** Fills with one value. */
export function constant_<T extends Tensor>(t: T, value: number): T {
  return fill(t, () => full([], value, { dtype: t.dtype }))
}

/** Fills with zeros. */
export function zeros_<T extends Tensor>(t: T): T {
  return constant_(t, 0)
}

/** Fills with ones. */
export function ones_<T extends Tensor>(t: T): T {
  return constant_(t, 1)
}

/**
 * Fills with numbers from the normal distribution, cut at `a` and `b`: by inverting the distribution function on the cut
 * interval.
 */
export function truncNormal_<T extends Tensor>(
  t: T,
  options: RandomOptions & { mean?: number; std?: number; a?: number; b?: number } = {},
): T {
  checkOptions('truncNormal_', options, ['mean', 'std', 'a', 'b', 'generator'])
  const { mean = 0, std = 1, a = -2, b = 2, ...random } = options
  if (a >= b) throw new WickError('BAD_OPTION', `truncNormal_: a = ${a} must be below b = ${b}`)
  return fill(t, () => {
    const below = (x: number) =>
      (1 +
        full([], (x - mean) / std / Math.SQRT2, { dtype: 'float64' })
          .erf()
          .itemSync()) /
      2
    const [low, high] = [below(a), below(b)]
    const values = Float64Array.from(rand(t.shape, { dtype: 'float64', ...random }).dataSync(), Number)
    for (const [i, p] of values.entries()) {
      values[i] = Math.min(Math.max(mean + std * normalQuantile(low + p * (high - low)), a), b)
    }
    return fromTypedArray(values, t.shape)
  })
}

/** Glorot's uniform initialisation: the variance is `2 gain^2 / (fanIn + fanOut)`. */
export function xavierUniform_<T extends Tensor>(t: T, options: RandomOptions & { gain?: number } = {}): T {
  checkOptions('xavierUniform_', options, ['gain', 'generator'])
  const { gain = 1, ...random } = options
  const { fanIn, fanOut } = fans(t)
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut))
  return uniform_(t, -bound, bound, random)
}

/** Glorot's normal initialisation: the variance is `2 gain^2 / (fanIn + fanOut)`. */
export function xavierNormal_<T extends Tensor>(t: T, options: RandomOptions & { gain?: number } = {}): T {
  checkOptions('xavierNormal_', options, ['gain', 'generator'])
  const { gain = 1, ...random } = options
  const { fanIn, fanOut } = fans(t)
  return normal_(t, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), random)
}

/** Options of the Kaiming initialisers; `a` is the negative slope for `'leaky_relu'`. */
export interface KaimingOptions extends RandomOptions {
  a?: number
  mode?: FanMode
  nonlinearity?: Nonlinearity
}
const kaimingOptions = ['a', 'mode', 'nonlinearity', 'generator'] as const

/** He's uniform initialisation: the variance is `gain^2 / fan`. */
export function kaimingUniform_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  checkOptions('kaimingUniform_', options, kaimingOptions)
  if (t.numel === 0) return t
  const bound = Math.sqrt(3) * kaimingStd(t, options)
  return uniform_(t, -bound, bound, randomOf(options))
}

/** He's normal initialisation: the variance is `gain^2 / fan`. */
export function kaimingNormal_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  checkOptions('kaimingNormal_', options, kaimingOptions)
  if (t.numel === 0) return t
  return normal_(t, 0, kaimingStd(t, options), randomOf(options))
}

function kaimingStd(t: Tensor, { a = 0, mode = 'fan_in', nonlinearity = 'leaky_relu' }: KaimingOptions): number {
  const { fanIn, fanOut } = fans(t)
  if (mode !== 'fan_in' && mode !== 'fan_out') {
    throw new WickError('BAD_OPTION', `mode must be 'fan_in' or 'fan_out', not '${String(mode)}'`)
  }
  return calculateGain(nonlinearity, a) / Math.sqrt(mode === 'fan_in' ? fanIn : fanOut)
}

function randomOf({ generator }: RandomOptions): RandomOptions {
  return generator === undefined ? {} : { generator }
}

/** Fills with a (semi-)orthogonal matrix, times `gain`; dimensions after the first are taken together. */
export function orthogonal_<T extends Tensor>(t: T, options: RandomOptions & { gain?: number } = {}): T {
  checkOptions('orthogonal_', options, ['gain', 'generator'])
  const { gain = 1, ...random } = options
  if (t.ndim < 2)
    throw new WickError('SHAPE_MISMATCH', `orthogonal_ needs at least 2 dimensions, got [${t.shape.join(', ')}]`)
  if (t.numel === 0) return t
  const rows = t.shape[0]!
  const columns = t.numel / rows
  return fill(t, () => {
    const [count, size] = [Math.min(rows, columns), Math.max(rows, columns)]
    const vectors = Float64Array.from(randn([count, size], { dtype: 'float64', ...random }).dataSync(), Number)
    orthonormalize(vectors, count, size)
    const q = fromTypedArray(vectors, [count, size])
    return (rows > columns ? q.transpose(0, 1) : q).mul(gain).reshape(t.shape)
  })
}

/** Gram-Schmidt on the rows of a `[count, size]` matrix, run twice over each row, which keeps it exact to rounding. */
function orthonormalize(vectors: Float64Array, count: number, size: number): void {
  const row = (i: number) => vectors.subarray(i * size, (i + 1) * size)
  for (let i = 0; i < count; i++) {
    const v = row(i)
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) addScaled(v, row(j), -dot(v, row(j)))
    }
    const length = Math.sqrt(dot(v, v))
    for (let k = 0; k < size; k++) v[k]! /= length
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!
  return sum
}

function addScaled(a: Float64Array, b: Float64Array, factor: number): void {
  for (let k = 0; k < a.length; k++) a[k]! += factor * b[k]!
}

/** The gain that PyTorch recommends for a nonlinearity; `param` is the slope of `'leaky_relu'` (0.01). */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'conv1d':
    case 'conv2d':
    case 'conv3d':
    case 'sigmoid':
      return 1
    case 'tanh':
      return 5 / 3
    case 'relu':
      return Math.SQRT2
    case 'leaky_relu':
      return Math.sqrt(2 / (1 + param ** 2))
    case 'selu':
      return 3 / 4
    default:
      throw new WickError('BAD_OPTION', `unknown nonlinearity '${String(nonlinearity)}'`)
  }
}

/** How many inputs an output has and how many outputs an input has, by a weight's shape `[out, in, ...kernel]`. */
export function fans(t: Tensor): { fanIn: number; fanOut: number } {
  const [out, inside, ...kernel] = t.shape
  if (out === undefined || inside === undefined) {
    throw new WickError('SHAPE_MISMATCH', `fans need at least 2 dimensions, got [${t.shape.join(', ')}]`)
  }
  const field = kernel.reduce((a, b) => a * b, 1)
  return { fanIn: inside * field, fanOut: out * field }
}
