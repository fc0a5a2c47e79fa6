/**
 * Iterable datasets: data that comes one item after the other, of a length that may not be known.
 *
 * ```ts
 * async function* lines() { ... }
 * const loader = new data.DataLoader({ [Symbol.asyncIterator]: lines }, { batchSize: 32 })
 * ```
 */
import { badOption } from '../errors.ts'
import { tensorsIn } from '../tensor/tree.ts'
import type { Collate } from './collate.ts'
import type { Dataset } from './dataset.ts'
import { ItemRandom } from './item-random.ts'
import { type BatchReader, isPromise, type MaybePromise } from './reader.ts'
import type { IndexBatches } from './sampler.ts'

/**
 * Items in an order of their own; every iteration is a pass. Bare random numbers drawn while an item is made, before an `await`,
 * depend on the seed, the epoch and the item's place only. A resumed pass goes through the items that were had before without
 * making batches of them, so a source that gives the same items again resumes exactly.
 */
export type IterableDataset<Item> = (Iterable<Item> | AsyncIterable<Item>) & {
  /** Number of items in a pass, where it is known. A pass that has more is a `BAD_OPTION` error. */
  readonly length?: number
}

/** Whether `dataset` is iterated: what has a `get` is asked by index. */
export function isIterable<Item>(dataset: Dataset<Item> | IterableDataset<Item>): dataset is IterableDataset<Item> {
  if (typeof dataset !== 'object' || dataset === null || 'get' in dataset) return false
  return Symbol.asyncIterator in dataset || Symbol.iterator in dataset
}

/** Options that an iterable dataset's loader has no use for. */
const orderOptions = ['shuffle', 'sampler', 'batchSampler'] as const

/** The places of each batch's items in an iterable dataset, with no end: the dataset decides it. */
export function streamBatches(
  dataset: IterableDataset<unknown>,
  batchSize: number,
  options: { readonly [name in 'dropLast' | (typeof orderOptions)[number]]?: unknown },
): IndexBatches {
  const odd = orderOptions.find(name => options[name])
  if (odd) throw badOption('DataLoader', `an iterable dataset has its own order; leave ${odd} out`)
  const batches = lengthOf(dataset) / batchSize
  return {
    length: options.dropLast ? Math.floor(batches) : Math.ceil(batches),
    batchSize,
    *[Symbol.iterator]() {
      for (let at = 0; ; at += batchSize) yield Array.from({ length: batchSize }, (_, i) => at + i)
    },
  }
}

/** Items in a pass over `dataset`, Infinity if that isn't known. */
export function lengthOf({ length = Number.POSITIVE_INFINITY }: IterableDataset<unknown>): number {
  if (length === Number.POSITIVE_INFINITY || (Number.isInteger(length) && length > 0)) return length
  if (length === 0) throw badOption('DataLoader', 'the dataset is empty')
  throw badOption(
    'DataLoader',
    `the length of an iterable dataset must be a whole number or left out, not ${String(length)}`,
  )
}

/** One iteration of `dataset`, whose items come in turn whichever is asked for. What iterating itself draws belongs to the first. */
export function iterated<Item>(dataset: IterableDataset<Item>) {
  let iterator: Iterator<Item> | AsyncIterator<Item> | undefined
  return {
    length: Number.POSITIVE_INFINITY,
    get(): MaybePromise<IteratorResult<Item>> {
      iterator ??= Symbol.asyncIterator in dataset ? dataset[Symbol.asyncIterator]() : dataset[Symbol.iterator]()
      return iterator.next()
    },
    /** Ends it early. */
    close() {
      iterator?.return?.()
    },
  }
}

/** How a pass over an iterable dataset makes its batches. */
interface StreamOptions<Item, Batch> {
  collate: Collate<Item, Batch>
  /** Batches read ahead if the dataset is asynchronous and its items hold no tensors. */
  prefetch: number
  epoch: number
  dropLast: boolean
}

/** One pass over `dataset`, whose items before the first of `batches` are left out. */
export function streamReader<Item, Batch>(
  dataset: IterableDataset<Item>,
  batches: IndexBatches,
  { collate, prefetch, epoch, dropLast }: StreamOptions<Item, Batch>,
): BatchReader<Batch> {
  const groups = batches[Symbol.iterator]()
  const random = new ItemRandom(epoch)
  const source = iterated(dataset)
  const most = lengthOf(dataset)
  let index = 0
  let ended = false
  let readsAhead: boolean | undefined
  const queue: MaybePromise<Item[]>[] = []
  let last: MaybePromise<unknown>
  let take: () => MaybePromise<Batch>

  const load = (group: ArrayLike<number>): MaybePromise<Item[]> => {
    const items: Item[] = []
    const first = group[0] ?? index
    const end = first + group.length
    const accept = (result: IteratorResult<Item>): boolean => {
      ended ||= result.done === true
      if (ended || result.done) return false
      if (index >= most) throw badOption('DataLoader', `the dataset has more items than its length of ${most}`)
      if (index++ >= first) items.push(result.value)
      return index < end
    }
    const rest = async (pending: Promise<IteratorResult<Item>>): Promise<Item[]> => {
      let result = await pending
      while (accept(result)) result = await random.get(source, index)
      return items
    }
    while (!ended) {
      const result = random.get(source, index)
      if (isPromise(result)) return rest(result)
      if (!accept(result)) break
    }
    return items
  }
  /** Reads one more batch, after those that are being read. */
  const request = () => {
    const { done, value } = groups.next()
    if (done) return
    last = isPromise(last) ? last.then(() => load(value)) : load(value)
    // An error belongs to whoever waits for this batch; until then it is not unhandled.
    if (isPromise(last)) last.catch(() => {})
    queue.push(last as MaybePromise<Item[]>)
  }
  /** Reads ahead what holds no tensors: those that are made while a step runs would end with it. */
  const fill = () => {
    while (readsAhead && queue.length < prefetch && !ended) request()
  }
  const ready = (items: Item[]): boolean => {
    if (items.length === 0 || (dropLast && items.length < (batches.batchSize ?? 1))) return false
    take = () => collate(items)
    return true
  }
  return {
    next() {
      if (queue.length === 0) request()
      const loading = queue.shift() ?? []
      if (!isPromise(loading)) return ready(loading)
      fill()
      return loading.then(items => {
        readsAhead ??= tensorsIn(items).length === 0
        const isReady = ready(items)
        fill()
        return isReady
      })
    },
    take: () => take(),
    close() {
      ended = true
      groups.return?.()
      source.close()
    },
  }
}
