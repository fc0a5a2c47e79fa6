/** Batches of data that lies in tensors: native gathers of whole rows. */
import { native } from '../native/index.ts'
import { dtypeBytes } from '../tensor/dtype.ts'
import { Tensor } from '../tensor/index.ts'
import type { Rows } from './dataset.ts'
import type { BatchReader } from './reader.ts'
import type { IndexBatches } from './sampler.ts'

/** Batches asked for in one call, so that waking the thread that gathers them costs little a batch; large ones come in fewer. */
const GROUP = 8
const GROUP_BYTES = 1 << 20

/** How rows are read. */
interface RowOptions {
  /** Where batches are made: the CPU (0), a GPU, or where the rows are (-1). */
  device: number
  /** The handles of the rows' tensors, or of their copies on the device. */
  sources: (tensors: readonly Tensor[]) => number[]
  /** Whether a thread gathers batches of the CPU ahead; their order must have been drawn at once. */
  ahead: boolean
}

/** A batch that has been asked for: its rows, and its number if a thread gathers it. */
interface Asked {
  at: Uint32Array
  number: number
}

/** One pass over `rows` in the order of `batches`. */
export function rowReader<Batch>(
  rows: Rows,
  batches: IndexBatches,
  { device, sources, ahead }: RowOptions,
): BatchReader<Batch> {
  const { tensors, indices } = rows
  const iterator = batches[Symbol.iterator]()
  const size = batches.batchSize ?? 1
  const group = ahead ? groupOf(tensors, size) : 1
  const queue: Asked[] = []
  let ended = false
  let current: Asked | undefined

  const drop = (asked: readonly Asked[]) => {
    const numbers = asked.map(({ number }) => number).filter(number => number > 0)
    if (numbers.length > 0) native.dropRows(Uint32Array.from(numbers))
  }
  const ask = () => {
    const parts: Uint32Array[] = []
    while (parts.length < group && !ended) {
      const { done, value } = iterator.next()
      if (done) ended = true
      else parts.push(rowsAt(value, indices))
    }
    const first = ahead && parts.length > 0 ? native.prefetchRows(sources(tensors), joined(parts), size) : 0
    for (const [i, at] of parts.entries()) queue.push({ at, number: first && first + i })
  }
  return {
    copies: true,
    next() {
      if (current) drop([current])
      if (!ended && queue.length <= (ahead ? group : 0)) ask()
      current = queue.shift()
      return current !== undefined
    },
    take() {
      const { at, number } = current ?? { at: new Uint32Array(), number: 0 }
      current = undefined
      const handles = number > 0 ? native.takeRows(number) : native.gatherRows(sources(tensors), at, device)
      return handles.map(handle => new Tensor(handle)) as Batch
    },
    close() {
      iterator.return?.()
      ended = true
      drop(current ? [current, ...queue.splice(0)] : queue.splice(0))
      current = undefined
    },
  }
}

/** How many batches of `size` rows are asked for at a time. */
function groupOf(tensors: readonly Tensor[], size: number): number {
  const bytes = tensors.reduce((sum, t) => sum + (t.numel / (t.shape[0] || 1)) * dtypeBytes(t.dtype), 0) * size
  return Math.min(Math.max(Math.floor(GROUP_BYTES / bytes), 1), GROUP)
}

/** The rows that a batch's `indices` into a subset stand for. */
function rowsAt(batch: ArrayLike<number>, indices: Uint32Array | null): Uint32Array {
  const at = batch instanceof Uint32Array ? batch : Uint32Array.from(batch)
  return indices ? at.map(i => indices[i] ?? 0) : at
}

function joined(parts: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
