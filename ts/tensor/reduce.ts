/** Reductions, running sums, softmax and sorting. `dim` may be negative; without it a reduction is over all dimensions. */
import { badOption, checkOptions } from '../errors.ts'
import { native, reduceCode } from '../native/index.ts'
import type { DType } from './dtype.ts'
import { gather } from './indexing.ts'
import { handle } from './operand.ts'
import { maximum, minimum, where } from './pointwise.ts'
import { type Dims, dimOf, dimsOf, list, numelOf, whole } from './sizes.ts'
import { Tensor } from './tensor.ts'

const SUM = reduceCode('sum')
const MEAN = reduceCode('mean')
const PROD = reduceCode('prod')
const AMAX = reduceCode('amax')
const AMIN = reduceCode('amin')
const ARGMAX = reduceCode('argmax')
const ARGMIN = reduceCode('argmin')
const ANY = reduceCode('any')
const ALL = reduceCode('all')

/** Options of a reduction. */
export interface ReduceOptions {
  /** What to reduce over. Default: all dimensions. */
  dim?: Dims
  /** Whether reduced dimensions stay, with size 1. Default false. */
  keepdim?: boolean
}

/** Options of `sum`, `mean` and `prod`: `dtype` is that of the result. */
export interface SumOptions extends ReduceOptions {
  dtype?: DType
}

/** Options of functions that work along one dimension. */
export interface DimOptions {
  dim?: number
  keepdim?: boolean
}

const reduceKeys = ['dim', 'keepdim']
const sumKeys = ['dim', 'keepdim', 'dtype']

function reduced(op: string, code: number, x: Tensor, o: Dims | SumOptions | undefined, keys = reduceKeys): Tensor {
  if (o === undefined) return new Tensor(native.reduceAll(code, handle(op, x)))
  if (typeof o === 'number') return new Tensor(native.reduceDim(code, handle(op, x), whole(op, 'dim', o), false))
  if (isList(o)) return new Tensor(native.reduce(code, handle(op, x), wholes(op, o), false))
  checkOptions(op, o, keys)
  const { dim = [], keepdim = false, dtype } = o
  const from = dtype === undefined ? x : x.to(dtype)
  if (typeof dim === 'number') return new Tensor(native.reduceDim(code, from.handle, whole(op, 'dim', dim), keepdim))
  return new Tensor(native.reduce(code, from.handle, wholes(op, dim), keepdim))
}

function wholes(op: string, dims: readonly number[]): readonly number[] {
  for (const d of list(op, 'dim', dims)) whole(op, 'dim', d)
  return dims
}

function isList(o: Dims | ReduceOptions): o is readonly number[] {
  return Array.isArray(o)
}

/** The sum; integers and bool give int64. */
export function sum(x: Tensor, o?: Dims | SumOptions): Tensor {
  return reduced('sum', SUM, x, o, sumKeys)
}
/** The mean of a floating tensor. */
export function mean(x: Tensor, o?: Dims | SumOptions): Tensor {
  return reduced('mean', MEAN, x, o, sumKeys)
}
/** The product; integers give int64. */
export function prod(x: Tensor, o?: Dims | SumOptions): Tensor {
  return reduced('prod', PROD, x, o, sumKeys)
}
/** The largest element; equal ones share the gradient. */
export function amax(x: Tensor, o?: Dims | ReduceOptions): Tensor {
  return reduced('amax', AMAX, x, o)
}
/** The smallest element; equal ones share the gradient. */
export function amin(x: Tensor, o?: Dims | ReduceOptions): Tensor {
  return reduced('amin', AMIN, x, o)
}
/** The index of the largest element (the first of equals), along one dimension or in the flattened tensor; int64. */
export function argmax(x: Tensor, o?: number | DimOptions): Tensor {
  return reduced('argmax', ARGMAX, x, o)
}
/** The index of the smallest element (the first of equals), along one dimension or in the flattened tensor; int64. */
export function argmin(x: Tensor, o?: number | DimOptions): Tensor {
  return reduced('argmin', ARGMIN, x, o)
}
/** Whether any element is not 0; bool. */
export function any(x: Tensor, o?: Dims | ReduceOptions): Tensor {
  return reduced('any', ANY, x, o)
}
/** Whether no element is 0; bool. */
export function all(x: Tensor, o?: Dims | ReduceOptions): Tensor {
  return reduced('all', ALL, x, o)
}

/** What `max` and `min` take: nothing for the one extreme, a dimension for `[values, indices]`, a tensor for the pairwise one. */
type ExtremeArgument = Tensor | number | DimOptions

function extreme(op: 'max' | 'min', x: Tensor, o: ExtremeArgument | undefined): Tensor | [Tensor, Tensor] {
  if (o === undefined) return op === 'max' ? amax(x) : amin(x)
  if (o instanceof Tensor) return op === 'max' ? maximum(x, o) : minimum(x, o)
  const options = typeof o === 'number' ? { dim: o } : o
  checkOptions(op, options, reduceKeys)
  const { dim, keepdim = false } = options
  if (dim === undefined) return op === 'max' ? amax(x, { keepdim }) : amin(x, { keepdim })
  const indices = op === 'max' ? argmax(x, { dim, keepdim: true }) : argmin(x, { dim, keepdim: true })
  const values = gather(x, dim, indices)
  return keepdim ? [values, indices] : [values.squeeze(dim), indices.squeeze(dim)]
}

/** The largest element; along a dimension `[values, indices]`; with another tensor the pairwise maximum. */
export function max(x: Tensor): Tensor
export function max(x: Tensor, other: Tensor): Tensor
export function max(x: Tensor, dim: number | (DimOptions & { dim: number })): [values: Tensor, indices: Tensor]
export function max(x: Tensor, o?: ExtremeArgument): Tensor | [Tensor, Tensor] {
  return extreme('max', x, o)
}
/** The smallest element; along a dimension `[values, indices]`; with another tensor the pairwise minimum. */
export function min(x: Tensor): Tensor
export function min(x: Tensor, other: Tensor): Tensor
export function min(x: Tensor, dim: number | (DimOptions & { dim: number })): [values: Tensor, indices: Tensor]
export function min(x: Tensor, o?: ExtremeArgument): Tensor | [Tensor, Tensor] {
  return extreme('min', x, o)
}

/** Options of `var` and `std`. */
export interface VarOptions extends ReduceOptions {
  /** Taken from the number of elements that the squares are divided by. Default 1 (Bessel). */
  correction?: number
}

function options<O extends ReduceOptions>(op: string, o: Dims | O | undefined, keys: readonly string[]): Partial<O> {
  if (o === undefined) return {}
  if (typeof o === 'number' || isList(o)) return { dim: o } as Partial<O>
  checkOptions(op, o, keys)
  return o
}

/** The variance; unbiased unless `correction` says otherwise. */
export function variance(x: Tensor, o?: Dims | VarOptions): Tensor {
  const { dim, keepdim = false, correction = 1 } = options<VarOptions>('var', o, [...reduceKeys, 'correction'])
  const dims = dimsOf('var', x.ndim, dim)
  const n = numelOf(dims.map(d => x.shape[d]!))
  const centred = x.sub(mean(x, { dim: dims, keepdim: true }))
  return sum(centred.square(), { dim: dims, keepdim }).div(Math.max(0, n - correction))
}
/** The standard deviation; unbiased unless `correction` says otherwise. */
export function std(x: Tensor, o?: Dims | VarOptions): Tensor {
  return variance(x, o).sqrt()
}

/** Options of `norm`. */
export interface NormOptions extends ReduceOptions {
  /** The exponent; `Infinity` is the largest absolute value, 0 counts what isn't 0. Default 2. */
  p?: number
}

/** The p-norm of the elements; its gradient at 0 is 0. */
export function norm(x: Tensor, o: NormOptions = {}): Tensor {
  checkOptions('norm', o, [...reduceKeys, 'p'])
  const { p = 2, dim = [], keepdim = false } = o
  const over = { dim, keepdim }
  if (p === Number.POSITIVE_INFINITY) return amax(x.abs(), over)
  if (p === Number.NEGATIVE_INFINITY) return amin(x.abs(), over)
  if (p === 0) return sum(x.ne(0).to(x.dtype), over)
  if (p === 1) return sum(x.abs(), over)
  const total = sum(p === 2 ? x.square() : x.abs().pow(p), over)
  // The root's slope at 0 is infinite: there the result is taken from a constant instead.
  const isZero = total.eq(0)
  const root = where(isZero, 1, total)
  return where(isZero, 0, p === 2 ? root.sqrt() : root.pow(1 / p))
}

/** `log(sum(exp(x)))` without overflow. */
export function logsumexp(x: Tensor, o?: Dims | ReduceOptions): Tensor {
  const { dim = [], keepdim = false } = options<ReduceOptions>('logsumexp', o, reduceKeys)
  const largest = amax(x, { dim, keepdim: true }).detach()
  const shift = where(largest.isfinite(), largest, 0)
  const kept = sum(x.sub(shift).exp(), { dim, keepdim: true }).log().add(shift)
  if (keepdim) return kept
  const dims = dimsOf('logsumexp', x.ndim, typeof dim === 'object' && dim.length === 0 ? undefined : dim)
  return kept.reshape(x.shape.filter((_, d) => !dims.includes(d)))
}

/** Calls `f` on `x` with dimension `dim` last, and puts its result's back. */
function withLast(op: string, x: Tensor, dim: number, f: (x: Tensor) => Tensor): Tensor {
  if (dim === -1) return f(x)
  const at = dimOf(op, x.ndim, dim)
  if (at === x.ndim - 1) return f(x)
  return f(x.transpose(at, -1)).transpose(at, -1)
}

/** Along `dim`, `exp(x)` divided by its sum. */
export function softmax(x: Tensor, dim: number): Tensor {
  if (dim === -1) return new Tensor(native.softmax(handle('softmax', x), false))
  return withLast('softmax', x, dim, y => new Tensor(native.softmax(y.handle, false)))
}
/** The logarithm of `softmax`, exact for small probabilities. */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  if (dim === -1) return new Tensor(native.softmax(handle('logSoftmax', x), true))
  return withLast('logSoftmax', x, dim, y => new Tensor(native.softmax(y.handle, true)))
}
/** The running sum along `dim`; integers give int64. */
export function cumsum(x: Tensor, dim: number): Tensor {
  return new Tensor(native.cumsum(handle('cumsum', x), whole('cumsum', 'dim', dim)))
}

/** Options of `sort` and `argsort`. */
export interface SortOptions {
  /** Default -1. */
  dim?: number
  descending?: boolean
  /** Sorting is always stable. */
  stable?: boolean
}

/** `[values, indices]` in order along a dimension; stable. */
export function sort(x: Tensor, o: number | SortOptions = {}): [values: Tensor, indices: Tensor] {
  const given = typeof o === 'number' ? { dim: o } : o
  checkOptions('sort', given, ['dim', 'descending', 'stable'])
  const { dim = -1, descending = false } = given
  if (x.ndim === 0) return [x, argmax(x)]
  const at = dimOf('sort', x.ndim, dim)
  const last = at === x.ndim - 1
  const [values, indices] = native.sort((last ? x : x.transpose(at, -1)).handle, descending)
  const out: [Tensor, Tensor] = [new Tensor(values!), new Tensor(indices!)]
  return last ? out : [out[0].transpose(at, -1), out[1].transpose(at, -1)]
}
/** The indices that sort `x` along a dimension; stable; int64. */
export function argsort(x: Tensor, o: number | SortOptions = {}): Tensor {
  return sort(x, o)[1]
}

/** Options of `topk`. */
export interface TopkOptions {
  /** Default -1. */
  dim?: number
  /** Whether the largest are wanted. Default true. */
  largest?: boolean
  /** The result is always sorted. */
  sorted?: boolean
}

/** `[values, indices]` of the `k` largest elements along a dimension, the largest first. */
export function topk(x: Tensor, k: number, o: TopkOptions = {}): [values: Tensor, indices: Tensor] {
  checkOptions('topk', o, ['dim', 'largest', 'sorted'])
  const { dim = -1, largest = true } = o
  whole('topk', 'k', k)
  const [values, indices] = sort(x, { dim, descending: largest })
  return [values.narrow(dim, 0, k), indices.narrow(dim, 0, k)]
}

/** `[values, indices]` of the `k`-th smallest element (from 1) along a dimension. */
export function kthvalue(x: Tensor, k: number, o: DimOptions = {}): [values: Tensor, indices: Tensor] {
  checkOptions('kthvalue', o, reduceKeys)
  const { dim = -1, keepdim = false } = o
  if (!(Number.isInteger(k) && k >= 1)) throw badOption('kthvalue', `k counts from 1, not ${k}`)
  const [values, indices] = sort(x, { dim })
  const [v, i] = [values.narrow(dim, k - 1, 1), indices.narrow(dim, k - 1, 1)]
  return keepdim ? [v, i] : [v.squeeze(dim), i.squeeze(dim)]
}
