/**
 * `DataLoader`: batches of a dataset.
 *
 * ```ts
 * const loader = new data.DataLoader(dataset, { batchSize: 32, shuffle: true })
 * for await (const [images, labels] of loader) { ... }
 * ```
 */
import { badOption, checkOptions, WickError } from '../errors.ts'
import type { Generator } from '../tensor/index.ts'
import { type Collate, type Collated, createCollate } from './collate.ts'
import { checkDataset, type Dataset, rowsOf } from './dataset.ts'
import { type BatchReader, itemReader, rowReader } from './reader.ts'
import {
  BatchSampler,
  checkCount,
  type IndexBatches,
  RandomSampler,
  type Sampler,
  SequentialSampler,
} from './sampler.ts'

/** Options of `DataLoader`. */
export interface DataLoaderOptions<Item, Batch> {
  /** Items in a batch. Default 1. */
  batchSize?: number | undefined
  /** A new random order in each pass. Default false. */
  shuffle?: boolean | undefined
  /** The order of items; excludes `shuffle`. */
  sampler?: Sampler | undefined
  /** The indices of each batch; excludes `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  batchSampler?: IndexBatches | undefined
  /** Leaves out a last batch that is shorter than the others. Default false. */
  dropLast?: boolean | undefined
  /** Makes a batch of items. Default: `defaultCollate`, native if the dataset holds its rows in tensors. */
  collate?: Collate<Item, Batch> | undefined
  /** Worker threads. Only 0 so far; others are a `NOT_SUPPORTED` error. */
  numWorkers?: number | undefined
  /** Batches asked for ahead if `get` is asynchronous. Default 2. In-memory data needs none. */
  prefetch?: number | undefined
  /** Pinned host memory serves copies to a GPU: on the CPU, where all data is, it changes nothing. */
  pinMemory?: boolean | undefined
  /** Source of randomness for `shuffle`. Default: the global one. */
  generator?: Generator | undefined
}

const optionNames = [
  'batchSize',
  'shuffle',
  'sampler',
  'batchSampler',
  'dropLast',
  'collate',
  'numWorkers',
  'prefetch',
  'pinMemory',
  'generator',
] as const

/** Options of a loader without what depends on its items' type. */
export type LoaderOptions = Omit<DataLoaderOptions<never, never>, 'collate'>

/**
 * Batches of `dataset`; every iteration is a pass over it. `length` is the number of batches. An empty dataset or an option
 * out of range is a `BAD_OPTION` error.
 */
export class DataLoader<Item, Batch = Collated<Item>> {
  readonly dataset: Dataset<Item>
  readonly batchSampler: IndexBatches
  /** Items in a full batch; undefined if a `batchSampler` without one decides. */
  readonly batchSize: number | undefined
  readonly #open: (batches: IndexBatches) => BatchReader<Batch>

  constructor(dataset: Dataset<Item>, options: DataLoaderOptions<Item, Batch> = {}) {
    checkOptions('DataLoader', options, optionNames)
    checkDataset(dataset, 'DataLoader')
    if (dataset.length === 0) throw badOption('DataLoader', 'the dataset is empty')
    checkWorkers(options.numWorkers ?? 0)
    const prefetch = checkCount(options.prefetch ?? 2, 'prefetch', 'DataLoader', 0)
    const batches = batchesOf(dataset, options)
    this.dataset = dataset
    this.batchSampler = batches
    this.batchSize = batches.batchSize
    const rows = options.collate ? null : rowsOf(dataset)
    // Without `collate`, Batch is Collated<Item>, as its default says.
    const collate = options.collate ?? (createCollate<Item>() as Collate<Item, unknown> as Collate<Item, Batch>)
    this.#open = order => (rows ? rowReader(rows, order) : itemReader(dataset, order, collate, prefetch))
  }

  /** Batches in a pass. */
  get length(): number {
    return this.batchSampler.length
  }

  /**
   * Begins a pass that its reader steps through; the Trainer's way of iterating, without a promise for in-memory data. The first
   * `skip` batches are left out without loading their items.
   */
  open(skip = 0): BatchReader<Batch> {
    return this.#open(skip === 0 ? this.batchSampler : afterFirst(this.batchSampler, skip))
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const reader = this.open()
    try {
      while (await reader.next()) yield await reader.take()
    } finally {
      reader.close()
    }
  }
}

/** The batches of one pass after the first `skip`, whose order is drawn at once. */
function afterFirst(batches: IndexBatches, skip: number): IndexBatches {
  const iterator = batches[Symbol.iterator]()
  for (let i = 0; i < skip; i++) iterator.next()
  return { length: batches.length - skip, [Symbol.iterator]: () => iterator }
}

function checkWorkers(count: number): void {
  checkCount(count, 'numWorkers', 'DataLoader', 0)
  if (count === 0) return
  throw new WickError('NOT_SUPPORTED', `numWorkers ${count}: loading in worker threads isn't built yet, use 0`, {
    op: 'DataLoader',
  })
}

function batchesOf<Item, Batch>(dataset: Dataset<Item>, options: DataLoaderOptions<Item, Batch>): IndexBatches {
  const { batchSize, shuffle, sampler, batchSampler, dropLast, generator } = options
  if (batchSampler) {
    const also = Object.entries({ batchSize, shuffle, sampler, dropLast }).find(([, value]) => value !== undefined)
    if (also) throw badOption('DataLoader', `batchSampler decides about ${also[0]}; give one of the two`)
    return batchSampler
  }
  if (sampler && shuffle) throw badOption('DataLoader', 'a sampler decides the order; give it or shuffle')
  const size = checkCount(batchSize ?? 1, 'batchSize', 'DataLoader')
  const order = sampler ?? (shuffle ? new RandomSampler(dataset, { generator }) : new SequentialSampler(dataset))
  return new BatchSampler(order, size, { dropLast })
}
