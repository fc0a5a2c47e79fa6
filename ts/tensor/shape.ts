/** Views and rearrangements. Views share memory; where strides can't say it, the elements are copied. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { arange, full } from './creation.ts'
import { bytesOf, dtypeCode } from './dtype.ts'
import { handle } from './operand.ts'
import { where } from './pointwise.ts'
import { type Dims, dimOf, dimsOf, list, listOf, type Numbers, numelOf, whole } from './sizes.ts'
import { Tensor } from './tensor.ts'

/** The same elements under another shape; one size may be -1. */
export function reshape(x: Tensor, ...shape: Numbers): Tensor {
  const s = listOf('reshape', shape)
  if (s.length > 4) return new Tensor(native.reshapeList(handle('reshape', x), s))
  return new Tensor(native.reshape(handle('reshape', x), s.length, s[0] ?? 0, s[1] ?? 0, s[2] ?? 0, s[3] ?? 0))
}
/** Repeats dimensions of size 1 without copying; -1 keeps a size, new dimensions come first. */
export function expand(x: Tensor, ...shape: Numbers): Tensor {
  const s = listOf('expand', shape)
  if (s.length > 4) return new Tensor(native.expandList(handle('expand', x), s))
  return new Tensor(native.expand(handle('expand', x), s.length, s[0] ?? 0, s[1] ?? 0, s[2] ?? 0, s[3] ?? 0))
}
/** Dimension `i` of the result is dimension `dims[i]` of `x`. */
export function permute(x: Tensor, ...dims: Numbers): Tensor {
  const places = listOf('permute', dims)
  let order = 0
  for (let i = 0; i < places.length; i++) order += dimOf('permute', places.length, places[i]!) * 8 ** i
  return new Tensor(native.permute(handle('permute', x), places.length, order))
}
/** Two dimensions exchanged. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  return new Tensor(
    native.transpose(handle('transpose', x), whole('transpose', 'dim0', dim0), whole('transpose', 'dim1', dim1)),
  )
}
/** A matrix transposed; a vector or scalar stays. */
export function t(x: Tensor): Tensor {
  if (x.ndim > 2) throw new WickError('SHAPE_MISMATCH', `needs at most 2 dimensions, not [${x.shape}]`, { op: 't' })
  return x.ndim < 2 ? x : transpose(x, 0, 1)
}
/** `length` elements of a dimension from `start`. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  return new Tensor(
    native.narrow(
      handle('narrow', x),
      whole('narrow', 'dim', dim),
      whole('narrow', 'start', start),
      whole('narrow', 'length', length),
      1,
    ),
  )
}
/** The slice at `index` of a dimension, which goes. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  return new Tensor(native.select(handle('select', x), whole('select', 'dim', dim), whole('select', 'index', index)))
}
/** Dimensions `start` to `end` (included) joined to one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.ndim === 0) return reshape(x, 1)
  const [from, to] = [dimOf('flatten', x.ndim, start), dimOf('flatten', x.ndim, end)]
  if (from > to) throw badOption('flatten', `start ${start} comes after end ${end}`)
  const s = x.shape
  return reshape(x, [...s.slice(0, from), numelOf(s.slice(from, to + 1)), ...s.slice(to + 1)])
}
/** A dimension cut into several; one size may be -1. */
export function unflatten(x: Tensor, dim: number, sizes: readonly number[]): Tensor {
  const at = dimOf('unflatten', x.ndim, dim)
  list('unflatten', 'sizes', sizes)
  const known = numelOf(sizes.filter(n => n !== -1))
  const full = sizes.map(n => (n === -1 ? x.shape[at]! / known : n))
  return reshape(x, [...x.shape.slice(0, at), ...full, ...x.shape.slice(at + 1)])
}
/** Without dimensions of size 1: all of them, or those named (other sizes stay). */
export function squeeze(x: Tensor, dim?: Dims): Tensor {
  const dims = new Set(dimsOf('squeeze', x.ndim, dim))
  return reshape(
    x,
    x.shape.filter((n, d) => n !== 1 || !dims.has(d)),
  )
}
/** With a new dimension of size 1 at `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const at = dimOf('unsqueeze', x.ndim + 1, dim)
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)])
}
/** Dimensions moved from the places `source` to the places `destination`. */
export function movedim(x: Tensor, source: Dims, destination: Dims): Tensor {
  const from = dimsOf('movedim', x.ndim, source)
  const to = dimsOf('movedim', x.ndim, destination)
  if (from.length !== to.length) throw badOption('movedim', 'source and destination must be of equal length')
  const order: number[] = Array.from({ length: x.ndim }, () => -1)
  to.forEach((place, i) => {
    order[place] = from[i]!
  })
  const rest = Array.from({ length: x.ndim }, (_, d) => d).filter(d => !from.includes(d))
  return permute(
    x,
    order.map(d => (d === -1 ? rest.shift()! : d)),
  )
}
/** `x` tiled: `repeat(2, 1)` doubles the first dimension. New dimensions come first. */
export function repeat(x: Tensor, ...times: Numbers): Tensor {
  const counts = listOf('repeat', times)
  if (counts.length < x.ndim) throw badOption('repeat', `needs a number for each of the ${x.ndim} dimensions`)
  let out = reshape(x, [...Array.from({ length: counts.length - x.ndim }, () => 1), ...x.shape])
  counts.forEach((n, d) => {
    if (n === 1) return
    const s = out.shape
    out = expand(unsqueeze(out, d), [...s.slice(0, d), n, ...s.slice(d)])
    out = reshape(out, [...s.slice(0, d), n * s[d]!, ...s.slice(d + 1)])
  })
  return out
}
/** Each element repeated `times` (a number, or one for each element) along `dim`, or in the flattened tensor. */
export function repeatInterleave(x: Tensor, times: number | readonly number[], o: { dim?: number } = {}): Tensor {
  checkOptions('repeatInterleave', o, ['dim'])
  if (o.dim === undefined && x.ndim !== 1) return repeatInterleave(reshape(x, -1), times, { dim: 0 })
  const dim = dimOf('repeatInterleave', x.ndim, o.dim ?? 0)
  const s = x.shape
  if (typeof times === 'number') {
    whole('repeatInterleave', 'times', times, 0)
    const spread = expand(unsqueeze(x, dim + 1), [...s.slice(0, dim + 1), times, ...s.slice(dim + 1)])
    return reshape(spread, [...s.slice(0, dim), s[dim]! * times, ...s.slice(dim + 1)])
  }
  if (list('repeatInterleave', 'times', times).length !== s[dim]) {
    const message = `${times.length} repeats for a dimension of size ${s[dim]}`
    throw new WickError('SHAPE_MISMATCH', message, { op: 'repeatInterleave' })
  }
  for (const n of times) whole('repeatInterleave', 'times', n, 0)
  const places = times.flatMap((n, i) => Array.from({ length: n }, () => BigInt(i)))
  return x.indexSelect(dim, indexTensor(x, places))
}
/** Places as an int64 index for a tensor like `x`. */
export function indexTensor(x: Tensor, places: readonly bigint[]): Tensor {
  const array = BigInt64Array.from(places)
  return new Tensor(
    native.fromHost(bytesOf(array), [array.length], dtypeCode('int64'), native.deviceOf(handle('indexTensor', x))),
  )
}

/** Tensors joined along a dimension; other sizes must agree. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return new Tensor(
    native.cat(
      list('cat', 'tensors', tensors).map(x => handle('cat', x)),
      whole('cat', 'dim', dim),
    ),
  )
}
/** Tensors of one shape joined along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return cat(
    tensors.map(x => unsqueeze(x, dim)),
    tensors[0] && dim < 0 ? dim + tensors[0].ndim + 1 : dim,
  )
}
/** Pieces of `size` (the last may be smaller), or of the sizes given, along a dimension; views. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const at = dimOf('split', x.ndim, dim)
  const n = x.shape[at]!
  if (typeof size === 'number' && !(Number.isInteger(size) && size > 0))
    throw badOption('split', `size ${size} isn't above 0`)
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.max(1, Math.ceil(n / size)) }, (_, i) => Math.min(size, n - i * size))
      : list('split', 'sizes', size)
  if (sizes.reduce((a, b) => a + b, 0) !== n) {
    throw new WickError('SHAPE_MISMATCH', `sizes [${sizes}] don't add up to ${n}`, { op: 'split' })
  }
  let start = 0
  return sizes.map(length => {
    const piece = narrow(x, at, start, length)
    start += length
    return piece
  })
}
/** At most `n` pieces of equal size along a dimension; views. */
export function chunk(x: Tensor, n: number, dim = 0): Tensor[] {
  if (!(Number.isInteger(n) && n > 0)) throw badOption('chunk', `needs a number of pieces above 0, not ${n}`)
  return split(x, Math.max(1, Math.ceil(x.shape[dimOf('chunk', x.ndim, dim)]! / n)), dim)
}
/** The slices along a dimension; views. */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  const n = x.shape[dimOf('unbind', x.ndim, dim)]!
  return Array.from({ length: n }, (_, i) => select(x, dim, i))
}
/** The order of elements reversed along the dimensions. */
export function flip(x: Tensor, ...dims: Numbers): Tensor {
  let out = x
  for (const d of dimsOf('flip', x.ndim, listOf('flip', dims))) {
    const n = x.shape[d]!
    if (n > 1) out = out.indexSelect(d, arange(n - 1, -1, -1, { device: x.device }))
  }
  return out === x ? x.clone() : out
}
/** Elements shifted, those that fall off coming in at the other end; without `dims` in the flattened tensor. */
export function roll(x: Tensor, shifts: Dims, dims?: Dims): Tensor {
  if (dims === undefined) return reshape(roll(reshape(x, -1), shifts, 0), x.shape)
  const steps = typeof shifts === 'number' ? [shifts] : list('roll', 'shifts', shifts)
  const places = dimsOf('roll', x.ndim, dims)
  if (steps.length !== places.length) throw badOption('roll', 'shifts and dims must be of equal length')
  let out = x
  places.forEach((d, i) => {
    const n = x.shape[d]!
    const by = n === 0 ? 0 : ((whole('roll', 'shifts', steps[i]!) % n) + n) % n
    if (by !== 0) out = cat([narrow(out, d, n - by, by), narrow(out, d, 0, n - by)], d)
  })
  return out === x ? x.clone() : out
}

/** Options of `pad`. */
export interface PadOptions {
  /** What stands outside: a constant, the mirrored or nearest elements, or the other end. Default `'constant'`. */
  mode?: 'constant' | 'reflect' | 'replicate' | 'circular'
  /** The constant. Default 0. */
  value?: number
}

/** `x` with room around it: `[left, right, top, bottom, …]`, the last dimension first. Negative numbers crop. */
export function pad(x: Tensor, padding: readonly number[], o: PadOptions = {}): Tensor {
  checkOptions('pad', o, ['mode', 'value'])
  const { mode = 'constant', value = 0 } = o
  if (list('pad', 'padding', padding).length % 2 === 1 || padding.length / 2 > x.ndim) {
    throw badOption('pad', `needs two numbers a dimension for at most ${x.ndim} dimensions, not ${padding.length}`)
  }
  let out = x
  for (let i = 0; i < padding.length; i += 2) {
    const [before, after] = [whole('pad', 'padding', padding[i]!), whole('pad', 'padding', padding[i + 1]!)]
    if (before !== 0 || after !== 0) out = padDim(out, x.ndim - 1 - i / 2, before, after, mode, value)
  }
  return out
}
function padDim(x: Tensor, dim: number, before: number, after: number, mode: string, value: number): Tensor {
  const crop = narrow(x, dim, Math.max(0, -before), x.shape[dim]! + Math.min(0, before) + Math.min(0, after))
  if (mode === 'constant') {
    const block = (n: number) =>
      full(
        x.shape.map((s, d) => (d === dim ? n : s)),
        value,
        { dtype: x.dtype, device: x.device },
      )
    const parts = [...(before > 0 ? [block(before)] : []), crop, ...(after > 0 ? [block(after)] : [])]
    return parts.length === 1 ? crop : cat(parts, dim)
  }
  const n = crop.shape[dim]!
  if (n === 0) throw new WickError('SHAPE_MISMATCH', `${mode} padding needs elements to repeat`, { op: 'pad' })
  const places = Array.from({ length: n + Math.max(0, before) + Math.max(0, after) }, (_, i) => {
    const at = i - Math.max(0, before)
    if (mode === 'replicate') return Math.min(n - 1, Math.max(0, at))
    if (mode === 'circular') return ((at % n) + n) % n
    if (mode === 'reflect') return at < 0 ? -at : at >= n ? 2 * n - 2 - at : at
    throw badOption('pad', `unknown mode '${mode}'`)
  })
  if (places.some(p => p < 0 || p >= n)) {
    throw new WickError('SHAPE_MISMATCH', `${mode} padding is too large for a dimension of size ${n}`, { op: 'pad' })
  }
  return crop.indexSelect(dim, indexTensor(x, places.map(BigInt)))
}

function triangle(op: string, x: Tensor, keep: (offset: Tensor) => Tensor): Tensor {
  if (x.ndim < 2) throw new WickError('SHAPE_MISMATCH', `needs a matrix, not [${x.shape}]`, { op })
  const [rows, columns] = x.shape.slice(-2)
  return where(keep(arange(columns!, { device: x.device }).sub(arange(rows!, { device: x.device }).unsqueeze(1))), x, 0)
}
/** The lower triangle of matrices, up to the `diagonal`-th diagonal; 0 elsewhere. */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return triangle('tril', x, offset => offset.le(diagonal))
}
/** The upper triangle of matrices, from the `diagonal`-th diagonal; 0 elsewhere. */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return triangle('triu', x, offset => offset.ge(diagonal))
}
/** A row-major copy, tracked by autograd. */
export function clone(x: Tensor): Tensor {
  return new Tensor(native.contiguous(handle('clone', x)))
}
/** `x` with its elements in row-major order. */
export function contiguous(x: Tensor): Tensor {
  return native.isContiguous(handle('contiguous', x)) ? x : new Tensor(native.contiguous(handle('contiguous', x)))
}
/** A view of the same memory without a history for gradients. */
export function detach(x: Tensor): Tensor {
  return new Tensor(native.detach(handle('detach', x)))
}
