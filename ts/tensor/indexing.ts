/** Reading and writing by index. Indices are int64 tensors; negative ones count from the end only in `index` and `take`. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { arange, full, onesLike, zerosLike } from './creation.ts'
import { handle, type Operand, tensorOf } from './operand.ts'
import { where } from './pointwise.ts'
import { indexTensor } from './shape.ts'
import { broadcastOf, dimOf, list, numelOf, whole } from './sizes.ts'
import { Tensor } from './tensor.ts'

/** `out[i][j] = x[index[i][j]][j]` for `dim` 0, and so on. */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  return new Tensor(native.gather(handle('gather', x), whole('gather', 'dim', dim), handle('gather', index)))
}
/** `x` with `src` added: `out[index[i][j]][j] += src[i][j]` for `dim` 0, and so on. */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, src: Tensor): Tensor {
  return new Tensor(
    native.scatterAdd(
      handle('scatterAdd', x),
      whole('scatterAdd', 'dim', dim),
      handle('scatterAdd', index),
      handle('scatterAdd', src),
    ),
  )
}
/** `x` with `src` written: `out[index[i][j]][j] = src[i][j]` for `dim` 0. A place named several times gets their mean. */
export function scatter(x: Tensor, dim: number, index: Tensor, src: Operand): Tensor {
  handle('scatter', index)
  const source = typeof src === 'number' ? full(index.shape, src, { dtype: x.dtype, device: x.device }) : src
  const counts = scatterAdd(zerosLike(x), dim, index, onesLike(index).to(x.dtype))
  const sums = scatterAdd(zerosLike(x), dim, index, cut(source, index))
  const written = sums.div(counts.maximum(1)).to(x.dtype)
  return where(counts.gt(0), written, x)
}
/** The leading part of `source` that an index covers. */
function cut(source: Tensor, index: Tensor): Tensor {
  return index.shape.reduce((s, n, d) => (s.shape[d] === n ? s : s.narrow(d, 0, n)), source)
}
/** The slices along `dim` that a vector of indices names. */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  return new Tensor(
    native.indexSelect(handle('indexSelect', x), whole('indexSelect', 'dim', dim), handle('indexSelect', index)),
  )
}
/** `x` with the slices of `source`, times `alpha`, added at `index` along `dim`. */
export function indexAdd(x: Tensor, dim: number, index: Tensor, source: Tensor, o: { alpha?: number } = {}): Tensor {
  checkOptions('indexAdd', o, ['alpha'])
  const { alpha = 1 } = o
  const s = alpha === 1 ? source : source.mul(alpha)
  return new Tensor(
    native.indexAdd(
      handle('indexAdd', x),
      whole('indexAdd', 'dim', dim),
      handle('indexAdd', index),
      handle('indexAdd', s),
    ),
  )
}
/** `x` with `value` where `mask` (bool, broadcast) is true. */
export function maskedFill(x: Tensor, mask: Tensor, value: Operand): Tensor {
  if (typeof value !== 'number') handle('maskedFill', value)
  return where(mask, tensorOf(value, x).to(x.dtype), x)
}
/** The elements of `x` where `mask` (bool, broadcast) is true, as a vector. Reads the mask on the host. */
export function maskedSelect(x: Tensor, mask: Tensor): Tensor {
  handle('maskedSelect', mask)
  const shape = broadcastOf('maskedSelect', x.shape, mask.shape)
  const places = truePlaces(mask.expand(shape))
  return x.expand(shape).reshape(-1).indexSelect(0, indexTensor(x, places))
}
function truePlaces(mask: Tensor): bigint[] {
  const data = mask.ne(0).dataSync()
  const places: bigint[] = []
  for (let i = 0; i < data.length; i++) if (data[i]) places.push(BigInt(i))
  return places
}
/** The indices of elements that aren't 0, a row each; int64 `[n, rank]`. Reads `x` on the host. */
export function nonzero(x: Tensor): Tensor {
  const shape = x.shape
  const places = truePlaces(x)
  const flat = indexTensor(x, places)
  let below = numelOf(shape)
  const columns = shape.map(n => {
    below /= n
    return flat.div(below, { roundingMode: 'floor' }).remainder(n).unsqueeze(1)
  })
  return columns.length === 0 ? flat.reshape(places.length, 0) : cat1(columns)
}
function cat1(columns: readonly Tensor[]): Tensor {
  return new Tensor(
    native.cat(
      columns.map(c => c.handle),
      1,
    ),
  )
}
/** The elements of the flattened tensor that an index of any shape names; negative indices count from the end. */
export function take(x: Tensor, index: Tensor): Tensor {
  handle('take', index)
  return x.reshape(-1).indexSelect(0, wrapped(index, x.numel).reshape(-1)).reshape(index.shape)
}
/** Negative indices counted from the end of `n`. */
function wrapped(index: Tensor, n: number): Tensor {
  return where(index.lt(0), index.add(n), index)
}
/** A last dimension of size `numClasses` with a 1 at the class and 0 elsewhere; int64. */
export function oneHot(x: Tensor, numClasses?: number): Tensor {
  const classes = whole('oneHot', 'numClasses', numClasses ?? x.amax().itemSync() + 1, 0)
  return x
    .unsqueeze(-1)
    .eq(arange(classes, { device: x.device }))
    .to('int64')
}

/**
 * One place of `index`: a number selects, an array is a slice (`[]` all, `[1]` from 1, `[undefined, -1]`, `[0, 10, 2]`),
 * `null` is a new dimension, `'...'` as many whole dimensions as it takes, a tensor picks (int64) or masks (bool).
 */
export type Index =
  | number
  | null
  | '...'
  | readonly []
  | readonly [(number | undefined)?, (number | undefined)?, number?]
  | Tensor

/** What Python writes as `x[...]`: `x.index(0, [1, 3], null, [undefined, undefined, 2])`. */
export function index(x: Tensor, ...places: readonly Index[]): Tensor {
  const taken = places.reduce<number>((n, p) => n + (p === null || p === '...' ? 0 : isMask(p) ? p.ndim : 1), 0)
  if (taken > x.ndim) {
    const message = `${taken} indices for a tensor of rank ${x.ndim}`
    throw new WickError('INDEX_OUT_OF_RANGE', message, { op: 'index' })
  }
  let out = x
  let dim = 0
  const picks: Pick[] = []
  for (const place of places) {
    if (place === null) out = out.unsqueeze(dim++)
    else if (place === '...') dim += x.ndim - taken
    else if (typeof place === 'number') out = out.select(dim, whole('index', 'a place', place))
    else if (place instanceof Tensor) {
      if (isMask(place)) {
        const rows = nonzero(place)
        for (let d = 0; d < place.ndim; d++) picks.push({ dim: dim++, at: rows.select(1, d) })
      } else {
        picks.push({ dim, at: wrapped(place, out.shape[dimOf('index', out.ndim, dim)]!) })
        dim += 1
      }
    } else out = sliced(out, dim++, place)
  }
  return picks.length === 0 ? out : picked(out, picks)
}

/** An index tensor and the dimension that it picks from. */
interface Pick {
  dim: number
  at: Tensor
}

function isMask(place: Index): place is Tensor {
  return place instanceof Tensor && place.dtype === 'bool'
}

function sliced(x: Tensor, dim: number, slice: readonly (number | undefined)[]): Tensor {
  if (list('index', 'a place', slice).length > 3) throw badOption('index', 'a slice is [start, stop, step]')
  const n = x.shape[dim]!
  const step = slice[2] ?? 1
  if (!(Number.isInteger(step) && step > 0)) throw badOption('index', `a slice's step must be above 0, not ${step}`)
  const start = bound(whole('index', 'a start', slice[0] ?? 0), n)
  const stop = bound(whole('index', 'a stop', slice[1] ?? n), n)
  if (start === 0 && stop === n && step === 1) return x
  return new Tensor(native.narrow(x.handle, dim, start, Math.max(0, Math.ceil((stop - start) / step)), step))
}
/** A slice's end, held inside the dimension as in Python. */
function bound(at: number, n: number): number {
  return Math.min(n, Math.max(0, at < 0 ? at + n : at))
}

/** Picks by several index tensors at once: their dimensions are joined, and one flat index picks from the join. */
function picked(x: Tensor, picks: readonly Pick[]): Tensor {
  const dims = picks.map(p => p.dim)
  const first = dims[0]!
  const adjacent = dims.every((d, i) => d === first + i)
  const front = adjacent ? first : 0
  const rest = Array.from({ length: x.ndim }, (_, d) => d).filter(d => !dims.includes(d))
  const moved = adjacent ? x : x.permute([...dims, ...rest])
  const s = moved.shape
  const sizes = s.slice(front, front + picks.length)
  const joined = moved.reshape([...s.slice(0, front), numelOf(sizes), ...s.slice(front + picks.length)])
  const flat = picks.slice(1).reduce((sum, p, i) => sum.mul(sizes[i + 1]!).add(p.at), picks[0]!.at)
  const out = joined.indexSelect(front, flat.reshape(-1))
  return out.reshape([...s.slice(0, front), ...flat.shape, ...s.slice(front + picks.length)])
}
