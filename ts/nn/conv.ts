/** Two-dimensional convolution over images `[n, channels, height, width]`. */
import { badOption, checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { Tensor } from '../tensor/index.ts'
import { fans, kaimingUniform_, uniform_ } from './init.ts'
import { Module } from './module.ts'
import { type Pair, pair } from './pair.ts'
import { type FactoryOptions, factory, factoryOptions, newParameter, type Parameter } from './parameter.ts'
import { python } from './repr.ts'

/** Rows and columns of zeros around an image: a number, one for each direction, `'valid'` (none) or `'same'`. */
export type Padding = Pair | 'same' | 'valid'

/** How a convolution's window moves. */
export interface ConvGeometry {
  /** Steps of the window; 1. */
  stride?: Pair
  /** Zeros around the image; 0. `'same'` keeps the size and needs stride 1. */
  padding?: Padding
  /** Distance between the points of the window; 1. */
  dilation?: Pair
  /** Groups of channels that are convolved apart; 1. */
  groups?: number
}
const geometryOptions = ['stride', 'padding', 'dilation', 'groups'] as const

/**
 * Convolves `x` `[n, in, h, w]` (or `[in, h, w]`) with `weight` `[out, in / groups, kh, kw]` and adds `bias` `[out]`.
 * Throws `SHAPE_MISMATCH` and `BAD_OPTION`.
 */
export function conv2d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvGeometry = {}): Tensor {
  checkOptions('conv2d', options, geometryOptions)
  return convolve(x, weight, bias, resolve('conv2d', options, weight.shape.slice(2)))
}

/** A geometry in numbers: `before` and `after` are the zeros on the upper left and the lower right. */
interface Resolved {
  stride: [number, number]
  before: [number, number]
  after: [number, number]
  dilation: [number, number]
  groups: number
}

function resolve(op: string, options: ConvGeometry, kernel: readonly number[]): Resolved {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options
  const strides = pair(op, 'stride', stride, 1)
  const dilations = pair(op, 'dilation', dilation, 1)
  if (padding !== 'same') {
    const zeros = pair(op, 'padding', padding === 'valid' ? 0 : padding, 0)
    return { stride: strides, before: zeros, after: zeros, dilation: dilations, groups }
  }
  if (strides[0] !== 1 || strides[1] !== 1) throw badOption(op, "padding 'same' needs stride 1")
  const total = (i: 0 | 1) => dilations[i] * ((kernel[i] ?? 1) - 1)
  const before: [number, number] = [Math.floor(total(0) / 2), Math.floor(total(1) / 2)]
  const after: [number, number] = [total(0) - before[0], total(1) - before[1]]
  return { stride: strides, before, after, dilation: dilations, groups }
}

function convolve(x: Tensor, weight: Tensor, bias: Tensor | null, g: Resolved): Tensor {
  if (x.ndim === 3) return convolve(x.unsqueeze(0), weight, bias, g).squeeze(0)
  const [bottom, right] = [g.after[0] - g.before[0], g.after[1] - g.before[1]]
  const input = bottom > 0 || right > 0 ? x.pad([0, right, 0, bottom]) : x
  return new Tensor(
    native.conv2d(
      input.handle,
      weight.handle,
      bias === null ? -1 : bias.handle,
      g.stride[0],
      g.stride[1],
      g.before[0],
      g.before[1],
      g.dilation[0],
      g.dilation[1],
      g.groups,
    ),
  )
}

/** Options of `Conv2d`. */
export interface Conv2dOptions extends ConvGeometry, FactoryOptions {
  /** Height and width of the window. */
  kernelSize: Pair
  /** Whether to add a trained number per output channel; true. */
  bias?: boolean
  /** What is around the image: zeros, its mirrored or nearest points, or its other end; `'zeros'`. */
  paddingMode?: PaddingMode
}
/** What a convolution sees beyond an image's edge. */
export type PaddingMode = 'zeros' | 'reflect' | 'replicate' | 'circular'
const paddingModes: readonly PaddingMode[] = ['zeros', 'reflect', 'replicate', 'circular']

/**
 * A convolution layer: `[n, inChannels, h, w]` to `[n, outChannels, h', w']`.
 *
 * ```ts
 * new nn.Conv2d(3, 64, { kernelSize: 3, padding: 1, bias: false })
 * ```
 */
export class Conv2d extends Module<[Tensor], Tensor> {
  readonly inChannels: number
  readonly outChannels: number
  readonly kernelSize: readonly [number, number]
  readonly padding: Padding
  readonly paddingMode: PaddingMode
  readonly weight: Parameter
  readonly bias: Parameter | null
  readonly #geometry: Resolved

  constructor(inChannels: number, outChannels: number, options: Conv2dOptions) {
    super()
    checkOptions('Conv2d', options, [...geometryOptions, 'kernelSize', 'bias', 'paddingMode', ...factoryOptions])
    const { kernelSize, groups = 1, paddingMode = 'zeros' } = options
    if (!paddingModes.includes(paddingMode)) {
      throw badOption('Conv2d', `paddingMode must be one of ${paddingModes.join(', ')}, not '${String(paddingMode)}'`)
    }
    if (groups < 1 || inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw badOption(
        'Conv2d',
        `groups = ${groups} must divide inChannels = ${inChannels} and outChannels = ${outChannels}`,
      )
    }
    this.inChannels = inChannels
    this.outChannels = outChannels
    this.kernelSize = pair('Conv2d', 'kernelSize', kernelSize, 1)
    this.padding = options.padding ?? 0
    this.paddingMode = paddingMode
    this.#geometry = resolve('Conv2d', options, this.kernelSize)
    this.weight = newParameter([outChannels, inChannels / groups, ...this.kernelSize], factory(options))
    this.bias = (options.bias ?? true) ? newParameter([outChannels], factory(options)) : null
    this.resetParameters()
  }

  /** Draws new starting values, uniform within `1 / sqrt(inputs of a point)`. */
  resetParameters(): void {
    kaimingUniform_(this.weight, { a: Math.sqrt(5) })
    const { fanIn } = fans(this.weight)
    if (this.bias !== null && fanIn > 0) uniform_(this.bias, -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn))
  }

  get stride(): readonly [number, number] {
    return this.#geometry.stride
  }

  get dilation(): readonly [number, number] {
    return this.#geometry.dilation
  }

  get groups(): number {
    return this.#geometry.groups
  }

  forward(x: Tensor): Tensor {
    const g = this.#geometry
    if (this.paddingMode === 'zeros') return convolve(x, this.weight, this.bias, g)
    const padded = x.pad([g.before[1], g.after[1], g.before[0], g.after[0]], { mode: this.paddingMode })
    return convolve(padded, this.weight, this.bias, { ...g, before: [0, 0], after: [0, 0] })
  }

  override extraRepr(): string {
    const { stride, before, dilation, groups } = this.#geometry
    const parts = [
      `${this.inChannels}, ${this.outChannels}, kernel_size=${python(this.kernelSize)}, stride=${python(stride)}`,
    ]
    if (typeof this.padding === 'string') parts.push(`padding=${this.padding}`)
    else if (before.some(n => n !== 0)) parts.push(`padding=${python(before)}`)
    if (dilation.some(n => n !== 1)) parts.push(`dilation=${python(dilation)}`)
    if (groups !== 1) parts.push(`groups=${groups}`)
    if (this.bias === null) parts.push('bias=False')
    if (this.paddingMode !== 'zeros') parts.push(`padding_mode=${this.paddingMode}`)
    return parts.join(', ')
  }
}
