/** Pooling over images `[n, channels, height, width]`, or `[channels, height, width]`. */
import { checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { fromTypedArray, Tensor } from '../tensor/index.ts'
import { Module } from './module.ts'
import { type Pair, pair } from './pair.ts'
import { python } from './repr.ts'

/** How a pooling window moves. */
export interface AvgPoolOptions {
  /** Steps of the window; the window's size. */
  stride?: Pair
  /** Rows and columns around the image: zeros for the mean, minus infinity for the maximum; 0. */
  padding?: Pair
  /** Whether a window that reaches over the edge counts; false. */
  ceilMode?: boolean
}
/** As `AvgPoolOptions`, with `dilation`, the distance between a window's points. */
export interface MaxPoolOptions extends AvgPoolOptions {
  dilation?: Pair
}
const avgOptions = ['stride', 'padding', 'ceilMode'] as const
const maxOptions = [...avgOptions, 'dilation'] as const

interface Window {
  kernel: [number, number]
  stride: [number, number]
  padding: [number, number]
  dilation: [number, number]
  ceil: boolean
}

function resolve(op: string, kernelSize: Pair, options: MaxPoolOptions): Window {
  return {
    kernel: pair(op, 'kernelSize', kernelSize, 1),
    stride: pair(op, 'stride', options.stride ?? kernelSize, 1),
    padding: pair(op, 'padding', options.padding ?? 0, 0),
    dilation: pair(op, 'dilation', options.dilation ?? 1, 1),
    ceil: options.ceilMode ?? false,
  }
}

function maximum(x: Tensor, w: Window): Tensor {
  if (x.ndim === 3) return maximum(x.unsqueeze(0), w).squeeze(0)
  const [kh, kw] = w.kernel
  const [values, indices] = native.maxPool2d(
    x.handle,
    kh,
    kw,
    w.stride[0],
    w.stride[1],
    w.padding[0],
    w.padding[1],
    w.dilation[0],
    w.dilation[1],
    w.ceil,
  )
  native.dispose(indices!)
  return new Tensor(values!)
}

function mean(x: Tensor, w: Window): Tensor {
  if (x.ndim === 3) return mean(x.unsqueeze(0), w).squeeze(0)
  const [kh, kw] = w.kernel
  return new Tensor(native.avgPool2d(x.handle, kh, kw, w.stride[0], w.stride[1], w.padding[0], w.padding[1], w.ceil))
}

/** The maximum of each window. */
export function maxPool2d(x: Tensor, kernelSize: Pair, options: MaxPoolOptions = {}): Tensor {
  checkOptions('maxPool2d', options, maxOptions)
  return maximum(x, resolve('maxPool2d', kernelSize, options))
}

/** The mean of each window, zeros of the padding included. */
export function avgPool2d(x: Tensor, kernelSize: Pair, options: AvgPoolOptions = {}): Tensor {
  checkOptions('avgPool2d', options, avgOptions)
  return mean(x, resolve('avgPool2d', kernelSize, options))
}

/** The means of `outputSize` windows that cover the image evenly; `null` keeps a size. */
export function adaptiveAvgPool2d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  const [height = 0, width = 0] = x.shape.slice(-2)
  const [outHeight, outWidth] = adaptiveSizes(outputSize, height, width)
  if (outHeight === 1 && outWidth === 1) return x.mean({ dim: [-2, -1], keepdim: true })
  if (height % outHeight === 0 && width % outWidth === 0) return avgPool2d(x, [height / outHeight, width / outWidth])
  return averageAlong(averageAlong(x, outWidth).transpose(-2, -1), outHeight).transpose(-2, -1)
}

/** Both output sizes, or one for both; `null` keeps the input's. */
export type AdaptiveSize = number | readonly [number | null, number | null]

function adaptiveSizes(size: AdaptiveSize, height: number, width: number): [number, number] {
  return typeof size === 'number'
    ? pair('adaptiveAvgPool2d', 'outputSize', size, 1)
    : pair('adaptiveAvgPool2d', 'outputSize', [size[0] ?? height, size[1] ?? width], 1)
}

/** Most numbers of a matrix of windows' weights. */
const MOST_WEIGHTS = 2 ** 27

/** Averages the last dimension down to `out` windows, by a product with a matrix that holds the windows' weights. */
function averageAlong(x: Tensor, out: number): Tensor {
  const size = x.shape.at(-1) ?? 0
  if (size === out) return x
  if (size * out > MOST_WEIGHTS) {
    throw new WickError('NOT_SUPPORTED', `${out} windows over ${size} pixels are too many`, { op: 'adaptiveAvgPool2d' })
  }
  const weights = new Float64Array(size * out)
  for (let o = 0; o < out; o++) {
    const [start, end] = [Math.floor((o * size) / out), Math.ceil(((o + 1) * size) / out)]
    for (let i = start; i < end; i++) weights[i * out + o] = 1 / (end - start)
  }
  return x.matmul(fromTypedArray(weights, [size, out], { dtype: x.dtype }))
}

/**
 * The maximum of each window, as a layer.
 *
 * ```ts
 * new nn.MaxPool2d(2).forward(randn([1, 8, 28, 28])).shape // [1, 8, 14, 14]
 * ```
 */
export class MaxPool2d extends Module<[Tensor], Tensor> {
  readonly kernelSize: Pair
  readonly stride: Pair
  readonly padding: Pair
  readonly dilation: Pair
  readonly ceilMode: boolean
  readonly #window: Window

  constructor(kernelSize: Pair, options: MaxPoolOptions = {}) {
    super()
    checkOptions('MaxPool2d', options, maxOptions)
    this.kernelSize = kernelSize
    this.stride = options.stride ?? kernelSize
    this.padding = options.padding ?? 0
    this.dilation = options.dilation ?? 1
    this.ceilMode = options.ceilMode ?? false
    this.#window = resolve('MaxPool2d', kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return maximum(x, this.#window)
  }

  override extraRepr(): string {
    const window = `kernel_size=${python(this.kernelSize)}, stride=${python(this.stride)}, padding=${python(this.padding)}`
    return `${window}, dilation=${python(this.dilation)}, ceil_mode=${python(this.ceilMode)}`
  }
}

/** The mean of each window, zeros of the padding included, as a layer. */
export class AvgPool2d extends Module<[Tensor], Tensor> {
  readonly kernelSize: Pair
  readonly stride: Pair
  readonly padding: Pair
  readonly #window: Window

  constructor(kernelSize: Pair, options: AvgPoolOptions = {}) {
    super()
    checkOptions('AvgPool2d', options, avgOptions)
    this.kernelSize = kernelSize
    this.stride = options.stride ?? kernelSize
    this.padding = options.padding ?? 0
    this.#window = resolve('AvgPool2d', kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return mean(x, this.#window)
  }

  override extraRepr(): string {
    return `kernel_size=${python(this.kernelSize)}, stride=${python(this.stride)}, padding=${python(this.padding)}`
  }
}

/** The means of `outputSize` windows that cover the image evenly, as a layer. */
export class AdaptiveAvgPool2d extends Module<[Tensor], Tensor> {
  readonly outputSize: AdaptiveSize

  constructor(outputSize: AdaptiveSize) {
    super()
    this.outputSize = outputSize
  }

  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize)
  }

  override extraRepr(): string {
    return `output_size=${python(this.outputSize)}`
  }
}
