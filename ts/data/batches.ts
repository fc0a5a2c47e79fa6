/** Where the Trainer's batches come from: a `DataLoader`, or anything with a length that gives batches. */
import { type BatchReader, isPromise, iterate, type MaybePromise } from './reader.ts'

/**
 * A `DataLoader`, an array of batches, or an iterable of one's own. Its `length` is the number of batches, Infinity if that isn't
 * known.
 */
export type BatchLoader<Batch> = { readonly length: number } & (Iterable<Batch> | AsyncIterable<Batch>)

/** Begins a pass over `loader` after its first `skip` batches; `epoch` decides about random numbers in the dataset. */
export function openBatches<Batch>(
  loader: BatchLoader<Batch>,
  skip = 0,
  epoch?: number,
): MaybePromise<BatchReader<Batch>> {
  return hasOpen(loader) ? loader.open(skip, epoch) : skipped(iteratorReader(loader), skip)
}

/** `reader` after its next `count` batches: for loaders that can't leave them out without making them. */
function skipped<Batch>(reader: BatchReader<Batch>, count: number): MaybePromise<BatchReader<Batch>> {
  for (let left = count; left > 0; left--) {
    const more = reader.next()
    if (isPromise(more)) return more.then(() => skipped(reader, left - 1))
  }
  return reader
}

function hasOpen<Batch>(
  loader: BatchLoader<Batch>,
): loader is BatchLoader<Batch> & { open(skip: number, epoch?: number): MaybePromise<BatchReader<Batch>> } {
  return typeof (loader as { open?: unknown }).open === 'function'
}

function iteratorReader<Batch>(loader: BatchLoader<Batch>): BatchReader<Batch> {
  const iterator = Symbol.iterator in loader ? loader[Symbol.iterator]() : loader[Symbol.asyncIterator]()
  let current: Batch
  const accept = (result: IteratorResult<Batch>): boolean => {
    if (!result.done) current = result.value
    return result.done !== true
  }
  return {
    next(): MaybePromise<boolean> {
      const result = iterator.next()
      return result instanceof Promise ? result.then(accept) : accept(result)
    },
    take: () => current,
    close() {
      iterator.return?.()
    },
  }
}

/** The first `numBatches` batches of a loader, or all if it has fewer. */
export class DataLoaderSlice<Batch> {
  readonly loader: BatchLoader<Batch>
  readonly length: number
  /** The loader's, if it has one. */
  readonly batchSize: number | undefined

  constructor(loader: BatchLoader<Batch>, numBatches: number) {
    this.loader = loader
    const batchSize: unknown = Reflect.get(loader, 'batchSize')
    this.batchSize = typeof batchSize === 'number' ? batchSize : undefined
    this.length = Math.min(loader.length, numBatches)
  }

  /** Begins a pass after the first `skip` batches. */
  open(skip = 0, epoch?: number): MaybePromise<BatchReader<Batch>> {
    let left = this.length - skip
    const limited = (reader: BatchReader<Batch>) => ({ ...reader, next: () => (left-- > 0 ? reader.next() : false) })
    const reader = openBatches(this.loader, skip, epoch)
    return isPromise(reader) ? reader.then(limited) : limited(reader)
  }

  [Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    return iterate(() => this.open())
  }
}
