/** Tensors from numbers, arrays and rules. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import {
  arrayDtype,
  bytesOf,
  type DType,
  deviceCode,
  deviceName,
  dtypeCode,
  getDefaultDevice,
  type HostArray,
  hostArray,
  isFloating,
  type TypedArray,
} from './dtype.ts'
import { replaced } from './lifetime.ts'
import { type Generator, generatorId } from './random.ts'
import { type Dims, MAX_RANK, numelOf, shapeOf, whole } from './sizes.ts'
import { Tensor } from './tensor.ts'

/** Options of functions that make a tensor. */
export interface TensorOptions {
  /** Default: what the function says. */
  dtype?: DType
  /** Where it lives: `'cpu'`, `'cuda'`, `'cuda:1'`. Default: the device that `setDefaultDevice` set, at first the CPU. */
  device?: string
  /** Whether gradients are wanted. Default false. */
  requiresGrad?: boolean
}

/** Options of functions that draw random numbers. */
export interface RandomOptions extends TensorOptions {
  /** Where the numbers come from. Default: the generator that `manualSeed` seeds. */
  generator?: Generator
}

/** Numbers, bigints or booleans, nested as deep as the tensor has dimensions. */
export type NestedArray = number | bigint | boolean | readonly NestedArray[]

const known = ['dtype', 'device', 'requiresGrad']
const knownRandom = [...known, 'generator']

function checked<O extends TensorOptions>(op: string, options: O | undefined, names = known): O | undefined {
  if (options === undefined) return undefined
  checkOptions(op, options, names)
  deviceCode(op, options.device)
  return options
}
function made(handle: number, options: TensorOptions | undefined): Tensor {
  if (options?.requiresGrad) native.setRequiresGrad(handle, true)
  return new Tensor(handle)
}

/**
 * A tensor of the given data, copied. Whole numbers give int64, others float32, booleans bool, bigints int64, a typed array
 * its own dtype; `dtype` overrides. Ragged nesting is `SHAPE_MISMATCH`.
 *
 * ```ts
 * tensor([[1, 2], [3, 4.5]])                      // float32 [2, 2]
 * tensor([1, 0, 1], { dtype: 'bool' })
 * ```
 */
export function tensor(data: NestedArray | TypedArray, options?: TensorOptions): Tensor {
  const o = checked('tensor', options)
  if (ArrayBuffer.isView(data)) return fromTypedArray(data, [data.length], o)
  const shape: number[] = []
  for (let level: NestedArray | undefined = data; Array.isArray(level); level = level[0]) {
    // also the end of arrays that hold themselves
    if (shape.length === MAX_RANK)
      throw new WickError('NOT_SUPPORTED', `more than ${MAX_RANK} levels`, { op: 'tensor' })
    shape.push(level.length)
  }
  const flat: (number | bigint | boolean)[] = []
  flatten(data, shape, 0, flat)
  const dtype = o?.dtype ?? inferred(flat)
  return made(upload(flat, shape, dtype, deviceCode('tensor', o?.device)), o)
}

function flatten(data: NestedArray, shape: readonly number[], depth: number, out: (number | bigint | boolean)[]): void {
  if (Array.isArray(data)) {
    if (depth >= shape.length || data.length !== shape[depth]) {
      const found = `an array of ${data.length} where the shape [${shape}] has ${shape[depth] ?? 'a number'}`
      throw new WickError('SHAPE_MISMATCH', `nested arrays must be of equal length: ${found}`, { op: 'tensor' })
    }
    for (const item of data) flatten(item, shape, depth + 1, out)
    return
  }
  const kind = typeof data
  if (kind !== 'number' && kind !== 'bigint' && kind !== 'boolean') {
    throw badOption('tensor', `data must be numbers, bigints or booleans, not ${data === null ? 'null' : kind}`)
  }
  if (depth !== shape.length) {
    throw new WickError('SHAPE_MISMATCH', `a number where the shape [${shape}] has an array`, { op: 'tensor' })
  }
  out.push(data as number | bigint | boolean)
}

function inferred(flat: readonly (number | bigint | boolean)[]): DType {
  if (flat.length === 0) return 'float32'
  if (flat.every(v => typeof v === 'boolean')) return 'bool'
  return flat.every(v => typeof v !== 'number' || Number.isInteger(v)) ? 'int64' : 'float32'
}

/** Host numbers as a tensor of `dtype`; the half types go through float32. */
function upload(
  flat: readonly (number | bigint | boolean)[],
  shape: readonly number[],
  dtype: DType,
  device: number,
): number {
  const half = dtype === 'float16' || dtype === 'bfloat16'
  const array = hostArray(half ? 'float32' : dtype, flat.length)
  for (let i = 0; i < flat.length; i++) {
    const v = flat[i]!
    if (array instanceof BigInt64Array) array[i] = typeof v === 'bigint' ? v : BigInt(Math.trunc(Number(v)))
    else if (dtype === 'bool') array[i] = v ? 1 : 0
    else array[i] = Number(v)
  }
  const h = native.fromHost(bytesOf(array), shape, dtypeCode(half ? 'float32' : dtype), device)
  if (!half) return h
  const narrow = native.cast(h, dtypeCode(dtype))
  native.release(h)
  return narrow
}

/**
 * A tensor of `shape` with an array's elements, copied. The dtype follows the array; a Uint8Array with `dtype: 'bool'` is
 * taken as 0 and 1, a Uint16Array with `dtype: 'float16'` or `'bfloat16'` as bits.
 */
export function fromTypedArray(array: TypedArray, shape: Dims, options?: TensorOptions): Tensor {
  const o = checked('fromTypedArray', options)
  const sizes = shapeOf('fromTypedArray', shape)
  if (numelOf(sizes) !== array.length) {
    const message = `${array.length} elements don't fill the shape [${sizes}]`
    throw new WickError('SHAPE_MISMATCH', message, { op: 'fromTypedArray' })
  }
  const own = arrayDtype(array)
  const wanted = o?.dtype ?? own
  const device = deviceCode('fromTypedArray', o?.device)
  const bits = array instanceof Uint16Array && (wanted === 'float16' || wanted === 'bfloat16')
  const bool = array instanceof Uint8Array && wanted === 'bool'
  if (bits) return made(native.fromHost(bytesOf(array), sizes, dtypeCode(wanted), device), o)
  if (bool) {
    const truth = array.some(v => v > 1) ? array.map(v => (v ? 1 : 0)) : array
    return made(native.fromHost(bytesOf(truth), sizes, dtypeCode('bool'), device), o)
  }
  const h = native.fromHost(bytesOf(as(array, own)), sizes, dtypeCode(own), device)
  if (wanted === own) return made(h, o)
  const cast = native.cast(h, dtypeCode(wanted))
  native.release(h)
  return made(cast, o)
}

/** The array in the kind that holds `dtype`. */
function as(array: TypedArray, dtype: DType): HostArray {
  if (dtype === 'int32') return array instanceof Int32Array ? array : Int32Array.from(array as Int16Array)
  if (dtype === 'int64') {
    if (array instanceof BigInt64Array) return array
    if (array instanceof BigUint64Array) return BigInt64Array.from(array)
    return BigInt64Array.from(array as Uint32Array, v => BigInt(v))
  }
  if (array instanceof Uint8ClampedArray) return new Uint8Array(array.buffer, array.byteOffset, array.length)
  return array as HostArray
}

function filled(op: string, shape: Dims, value: number, dtype: DType, options: TensorOptions | undefined): Tensor {
  const o = checked(op, options)
  return made(native.full(shapeOf(op, shape), value, dtypeCode(o?.dtype ?? dtype), deviceCode(op, o?.device)), o)
}

/** A tensor full of `value`: float32, or int64 if the value is whole, as in PyTorch. */
export function full(shape: Dims, value: number, options?: TensorOptions): Tensor {
  return filled('full', shape, value, Number.isInteger(value) ? 'int64' : 'float32', options)
}
/** Zeros, float32. */
export function zeros(shape: Dims, options?: TensorOptions): Tensor {
  return filled('zeros', shape, 0, 'float32', options)
}
/** Ones, float32. */
export function ones(shape: Dims, options?: TensorOptions): Tensor {
  return filled('ones', shape, 1, 'float32', options)
}
/** A tensor whose values are to be overwritten; they are 0 for now. Float32. */
export function empty(shape: Dims, options?: TensorOptions): Tensor {
  return filled('empty', shape, 0, 'float32', options)
}
/** The options, with the device of `x` unless they name one. */
function beside<O extends TensorOptions>(x: Tensor, options: O | undefined): O | { device: string } {
  return { device: x.device, ...options }
}

/** Zeros of another tensor's shape, dtype and device. */
export function zerosLike(x: Tensor, options?: TensorOptions): Tensor {
  return filled('zerosLike', x.shape, 0, x.dtype, beside(x, options))
}
/** Ones of another tensor's shape, dtype and device. */
export function onesLike(x: Tensor, options?: TensorOptions): Tensor {
  return filled('onesLike', x.shape, 1, x.dtype, beside(x, options))
}
/** `value` in another tensor's shape, dtype and device. */
export function fullLike(x: Tensor, value: number, options?: TensorOptions): Tensor {
  return filled('fullLike', x.shape, value, x.dtype, beside(x, options))
}

/** `[start, start + step, …)` below `end`: `arange(end)`, `arange(start, end)`, `arange(start, end, step)`. int64 if all are whole. */
export function arange(end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, step: number, options?: TensorOptions): Tensor
export function arange(
  first: number,
  second?: number | TensorOptions,
  third?: number | TensorOptions,
  fourth?: TensorOptions,
): Tensor {
  const numbers = [first, second, third].filter(v => typeof v === 'number')
  const o = checked(
    'arange',
    [second, third, fourth].find(v => typeof v === 'object'),
  )
  const [start, end] = numbers.length === 1 ? [0, first] : [first, numbers[1]!]
  const step = numbers[2] ?? 1
  if (!(step !== 0 && Number.isFinite(step) && Number.isFinite(start) && Number.isFinite(end))) {
    throw badOption('arange', `can't count from ${start} to ${end} by ${step}`)
  }
  const integers = [start, end, step].every(Number.isInteger)
  const length = Math.max(0, Math.ceil((end - start) / step))
  whole('arange', 'the number of elements', length)
  return made(
    native.arange(
      length,
      start,
      step,
      dtypeCode(o?.dtype ?? (integers ? 'int64' : 'float32')),
      deviceCode('arange', o?.device),
    ),
    o,
  )
}

/** `steps` numbers from `start` to `end`, both included; float32. */
export function linspace(start: number, end: number, steps: number, options?: TensorOptions): Tensor {
  const o = checked('linspace', options)
  const dtype = dtypeCode(o?.dtype ?? 'float32')
  whole('linspace', 'steps', steps, 0)
  return made(
    native.arange(steps, start, steps > 1 ? (end - start) / (steps - 1) : 0, dtype, deviceCode('linspace', o?.device)),
    o,
  )
}

/** The `n` by `m` matrix with ones on its diagonal; float32. */
export function eye(n: number, m?: number | TensorOptions, options?: TensorOptions): Tensor {
  const o = checked('eye', typeof m === 'object' ? m : options)
  const columns = whole('eye', 'm', typeof m === 'number' ? m : n, 0)
  const device = { device: o?.device ?? getDefaultDevice() }
  const diagonal = arange(whole('eye', 'n', n, 0), device)
    .unsqueeze(1)
    .eq(arange(columns, device))
  return made(native.cast(diagonal.handle, dtypeCode(o?.dtype ?? 'float32')), o)
}

function drawn(op: string, kind: number, shape: Dims, dtype: DType, options: RandomOptions | undefined): Tensor {
  const o = checked(op, options, knownRandom)
  const sizes = shapeOf(op, shape)
  return made(
    native.random(kind, sizes, dtypeCode(o?.dtype ?? dtype), deviceCode(op, o?.device), generatorId(o?.generator)),
    o,
  )
}

/** Uniform numbers in [0, 1); float32. */
export function rand(shape: Dims, options?: RandomOptions): Tensor {
  return drawn('rand', 0, shape, 'float32', options)
}
/** Standard normal numbers; float32. */
export function randn(shape: Dims, options?: RandomOptions): Tensor {
  return drawn('randn', 1, shape, 'float32', options)
}
/** Uniform numbers in [0, 1) of another tensor's shape, dtype and device. */
export function randLike(x: Tensor, options?: RandomOptions): Tensor {
  return drawn('randLike', 0, x.shape, isFloating(x.dtype) ? x.dtype : 'float32', beside(x, options))
}
/** Standard normal numbers of another tensor's shape, dtype and device. */
export function randnLike(x: Tensor, options?: RandomOptions): Tensor {
  return drawn('randnLike', 1, x.shape, isFloating(x.dtype) ? x.dtype : 'float32', beside(x, options))
}

/** Whole numbers from `low` up to but not including `high`; int64. */
export function randint(low: number, high: number, shape: Dims, options?: RandomOptions): Tensor {
  const o = checked('randint', options, knownRandom)
  if (!(Number.isInteger(low) && Number.isInteger(high) && low < high)) {
    throw badOption('randint', `needs whole numbers low < high, not ${low} and ${high}`)
  }
  // float64 has bits enough for every range that float32 would round.
  const device = deviceCode('randint', o?.device)
  const u = new Tensor(
    native.random(0, shapeOf('randint', shape), dtypeCode('float64'), device, generatorId(o?.generator)),
  )
  const whole = u
    .mul(high - low)
    .floor()
    .clamp({ max: high - low - 1 })
    .add(low)
  return made(native.cast(whole.handle, dtypeCode(o?.dtype ?? 'int64')), o)
}

/** The whole numbers below `n` in random order; int64. */
export function randperm(n: number, options?: RandomOptions): Tensor {
  const o = checked('randperm', options, knownRandom)
  whole('randperm', 'n', n, 0)
  let order = new Tensor(native.randperm(n, generatorId(o?.generator)))
  if (o?.dtype !== undefined) order = replaced(order, order.to(o.dtype))
  const device = deviceCode('randperm', o?.device)
  if (device !== 0) order = replaced(order, order.to(deviceName(device)))
  if (o?.requiresGrad) order.requiresGrad_()
  return order
}

/** 1 with the probability that `p` holds, else 0; `p`'s dtype. */
export function bernoulli(p: Tensor, options: { generator?: Generator } = {}): Tensor {
  checkOptions('bernoulli', options, ['generator'])
  return randLike(p, options).lt(p).to(p.dtype)
}
