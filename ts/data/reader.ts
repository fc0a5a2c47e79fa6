/**
 * A pass over the data, in two steps a batch: `next` loads (and may be async), `take` makes the tensors. A step window opens
 * between the two, so that it owns the tensors and nothing that other tasks do while the data loads falls into it.
 */
import { tensorsIn } from '../tensor/tree.ts'
import { Breath } from './breath.ts'
import type { Collate } from './collate.ts'
import type { Dataset } from './dataset.ts'
import { ItemRandom } from './item-random.ts'
import type { IndexBatches } from './sampler.ts'

/** A value now or later. */
export type MaybePromise<T> = T | Promise<T>

/** Whether `value` has to be awaited. */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** One pass over a loader's batches. */
export interface BatchReader<Batch> {
  /** Whether batches are only copied out of memory, so that making one runs no code of the dataset and draws no random numbers. */
  readonly copies?: boolean
  /** Whether there is another batch. */
  next(): MaybePromise<boolean>
  /** Makes the batch that `next` announced. */
  take(): MaybePromise<Batch>
  /** Ends the pass early. */
  close(): void
}

/** The batches of the pass that `open` begins, for a loop of the user's; the event loop turns now and then. */
export async function* iterate<Batch>(open: () => MaybePromise<BatchReader<Batch>>): AsyncGenerator<Batch, void, void> {
  const reader = await open()
  const breath = new Breath()
  try {
    while (await reader.next()) {
      await breath.pause()
      yield await reader.take()
    }
  } finally {
    reader.close()
  }
}

/**
 * Batches of collated items. Items of a dataset whose `get` is synchronous are made in `take`; those of an asynchronous one
 * are asked for `prefetch` batches ahead, unless those of the first batch hold tensors: what `get` makes after an `await` would
 * belong to the step that runs meanwhile, and end with it. Random numbers in `get` are those of `epoch`.
 */
export function itemReader<Item, Batch>(
  dataset: Dataset<Item>,
  batches: IndexBatches,
  collate: Collate<Item, Batch>,
  prefetch: number,
  epoch: number,
): BatchReader<Batch> {
  const iterator = batches[Symbol.iterator]()
  const random = new ItemRandom(epoch)
  const load = (indices: ArrayLike<number>) => Array.from(indices, i => random.get(dataset, i))
  const queue: Promise<Item[]>[] = []
  let isAsync: boolean | undefined
  let readsAhead: boolean | undefined
  let take: () => MaybePromise<Batch>

  /** Asks for one more batch of an asynchronous dataset. */
  const request = (items: MaybePromise<Item>[]) => {
    const loading = Promise.all(items)
    // An error belongs to whoever waits for this batch; until then it is not unhandled.
    loading.catch(() => {})
    queue.push(loading)
  }
  /** Asks for batches until `count` are asked for. */
  const fill = (count: number) => {
    while (queue.length < count) {
      const { done, value } = iterator.next()
      if (done) return
      request(load(value))
    }
  }
  const takeQueued = (): MaybePromise<boolean> => {
    fill(readsAhead ? prefetch + 1 : 1)
    return (
      queue.shift()?.then(items => {
        readsAhead ??= tensorsIn(items).length === 0
        if (readsAhead) fill(prefetch)
        take = () => collate(items)
        return true
      }) ?? false
    )
  }
  return {
    next() {
      if (isAsync) return takeQueued()
      const { done, value } = iterator.next()
      if (done) return false
      if (isAsync === undefined) {
        // The first item shows of which kind the dataset is.
        const [start = 0, ...rest] = Array.from(value)
        const first = random.get(dataset, start)
        isAsync = isPromise(first)
        if (isAsync) {
          request([first, ...load(rest)])
          return takeQueued()
        }
        take = () => collateAny([first, ...load(rest)], collate)
      } else {
        take = () => collateAny(load(value), collate)
      }
      return true
    },
    take: () => take(),
    close() {
      iterator.return?.()
    },
  }
}

/** Collates at once, or after the items of a dataset that is asynchronous now and then. */
function collateAny<Item, Batch>(items: MaybePromise<Item>[], collate: Collate<Item, Batch>): MaybePromise<Batch> {
  if (items.some(isPromise)) return Promise.all(items).then(collate)
  return collate(items as Item[])
}

/** `reader`, which adds the time that it takes to `clock`. */
export function timed<Batch>(reader: BatchReader<Batch>, clock: { ms: number }): BatchReader<Batch> {
  const measured = <T>(work: () => MaybePromise<T>): MaybePromise<T> => {
    const start = performance.now()
    const result = work()
    clock.ms += performance.now() - start
    if (!isPromise(result)) return result
    const waiting = performance.now()
    return result.finally(() => {
      clock.ms += performance.now() - waiting
    })
  }
  const next = () => reader.next()
  const take = () => reader.take()
  return { next: () => measured(next), take: () => measured(take), close: () => reader.close() }
}
