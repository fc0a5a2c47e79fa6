/**
 * `DataLoader`: batches of a dataset.
 *
 * ```ts
 * const loader = new data.DataLoader(dataset, { batchSize: 32, shuffle: true })
 * for await (const [images, labels] of loader) { ... }
 * ```
 */
import { availableParallelism } from 'node:os'
import { badOption, checkOptions } from '../errors.ts'
import { deviceCode } from '../tensor/dtype.ts'
import type { Generator, Tensor } from '../tensor/index.ts'
import { onDevice } from '../tensor/tree.ts'
import { type Collate, type Collated, createCollate, numberFields } from './collate.ts'
import { checkDataset, type Dataset, rowsOf } from './dataset.ts'
import { nativeFolder } from './image-folder/folder.ts'
import { imageReader } from './image-folder/reader.ts'
import { globalSeed } from './item-random.ts'
import { type BatchReader, itemReader, iterate } from './reader.ts'
import { copyIfSmall, handleOn } from './resident.ts'
import { rowReader } from './row-reader.ts'
import {
  BatchSampler,
  checkCount,
  type IndexBatches,
  RandomSampler,
  type Sampler,
  SequentialSampler,
} from './sampler.ts'
import { type IterableDataset, isIterable, lengthOf, streamBatches, streamReader } from './stream.ts'
import { checkWorkerModule, type WorkerModule } from './workers/module.ts'
import { unpack } from './workers/packing.ts'
import { WorkerPool } from './workers/pool.ts'
import { workerReader } from './workers/reader.ts'
import { indexTurns, shareTurns, type Turns } from './workers/turns.ts'

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
  /**
   * Threads that make the batches; they need `worker`. Default 0: batches are made in the loop. Of an `ImageFolder` with a native
   * transform, the decoding threads, without `worker`; 0 means one for each core.
   */
  numWorkers?: number | undefined
  /**
   * The module that makes the dataset in each worker thread: its default export is the dataset, or a function that gives it. With
   * `numWorkers` 0 it isn't used.
   */
  worker?: URL | WorkerModule | undefined
  /**
   * Batches asked for ahead: for each worker, of images, or if items come asynchronously and hold no tensors. Default 2. Batches of
   * in-memory data are gathered ahead by a native thread, a MiB or two of them, unless it is 0.
   */
  prefetch?: number | undefined
  /**
   * Milliseconds that a batch of the workers is waited for. One that takes longer is a `WORKER_FAILED` error and ends the workers; the
   * next pass starts them again. Default 0: for ever. The first batch's time includes the start of its worker.
   */
  timeout?: number | undefined
  /** Accepted for PyTorch's sake: what goes to a GPU always goes through pinned memory, and large batches beside the work. */
  pinMemory?: boolean | undefined
  /** Where batches are made: `'cpu'`, `'cuda'`, `'cuda:1'`. Default: where the data is; a Trainer passes its own device. */
  device?: string | undefined
  /**
   * Whether the rows of a `TensorDataset` (also through `Subset`) are copied to the GPU that `device` names, once for all
   * loaders, and batches gathered there. `'auto'`, the default, does so if they take at most a quarter of its free memory. The
   * batches are the same either way. A write to the dataset's tensors is seen by the next batch.
   */
  resident?: boolean | 'auto' | undefined
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
  'worker',
  'prefetch',
  'timeout',
  'pinMemory',
  'generator',
  'device',
  'resident',
] as const

/** Options of a loader without what depends on its items' type. */
export type LoaderOptions = Omit<DataLoaderOptions<never, never>, 'collate'>

/**
 * Batches of `dataset`; every iteration is a pass over it. `length` is the number of batches, Infinity if the dataset is iterable
 * and has no length. An empty dataset or an option out of range is a `BAD_OPTION` error.
 *
 * With `numWorkers`, threads run the dataset's `get` and the collate function; each makes the dataset itself from the module that
 * `worker` names, since a function can't be sent to a thread:
 *
 * ```ts
 * const args = { dir: 'data' }
 * const worker = { url: new URL('./digits.ts', import.meta.url), args } // export default (args) => new Digits(args.dir)
 * const loader = new data.DataLoader(makeDigits(args), { batchSize: 32, shuffle: true, numWorkers: 2, worker })
 * ```
 *
 * Batches, their order and an item's random numbers are those of `numWorkers` 0; tensors come without a graph. Bare random numbers
 * in a collate function are keyed by seed, epoch and batch there. Tensors made for a batch are freed with it, so a dataset needs
 * `keep` for those that it holds on to. What goes wrong in a worker is a `WORKER_FAILED` error; `details` has `sample` (the index of
 * the item), `samples` (those of the batch), `worker` and `workerStack`, and `cause` is the error as it was thrown.
 *
 * Of an iterable dataset each worker iterates its own share, as `getWorkerInfo` tells it; workers take turns with batches of it, and
 * those without more are left out. Items are numbered in the worker's share there.
 */
export class DataLoader<Item, Batch = Collated<Item>> {
  readonly dataset: Dataset<Item> | IterableDataset<Item>
  readonly batchSampler: IndexBatches
  /** Items in a full batch; undefined if a `batchSampler` without one decides. */
  readonly batchSize: number | undefined
  readonly #open: (batches: IndexBatches, epoch: number, first: number) => BatchReader<Batch>
  readonly #pool: WorkerPool | undefined
  #passes = 0

  constructor(dataset: Dataset<Item> | IterableDataset<Item>, options: DataLoaderOptions<Item, Batch> = {}) {
    checkOptions('DataLoader', options, optionNames)
    const timeout = checkTimeout(options)
    const numWorkers = checkCount(options.numWorkers ?? 0, 'numWorkers', 'DataLoader', 0)
    const prefetch = checkCount(options.prefetch ?? 2, 'prefetch', 'DataLoader', 0)
    if (isIterable(dataset)) {
      const { device, dropLast = false } = options
      const code = device === undefined ? -1 : deviceCode('DataLoader', device)
      checkResident(options.resident ?? 'auto', code, null)
      this.dataset = dataset
      this.batchSize = checkCount(options.batchSize ?? 1, 'batchSize', 'DataLoader')
      this.batchSampler = streamBatches(dataset, this.batchSize, options)
      if (numWorkers > 0) {
        const size = this.batchSize
        const pool = poolOf(dataset, numWorkers, options)
        this.#pool = pool
        const read = passesWithWorkers<Batch>(pool, prefetch, timeout, code, lengthOf(dataset))
        this.#open = (_, epoch, skip) => read(shareTurns(size, numWorkers, skip), epoch, skip)
        return
      }
      const collate = collateOf(options)
      this.#open = (order, epoch) => streamReader(dataset, order, { collate, prefetch, epoch, dropLast })
      return
    }
    checkDataset(dataset, 'DataLoader')
    if (dataset.length === 0) throw badOption('DataLoader', 'the dataset is empty')
    const batches = batchesOf(dataset, options)
    this.dataset = dataset
    this.batchSampler = batches
    this.batchSize = batches.batchSize
    const rows = options.collate || numWorkers > 0 ? null : rowsOf(dataset)
    const { device } = options
    const code = device === undefined ? -1 : deviceCode('DataLoader', device)
    const resident = checkResident(options.resident ?? 'auto', code, rows)
    if (rows) {
      const sources = sourcesOn(code, resident)
      // A batch sampler of one's own may draw as it goes, which must not happen before its batch's turn.
      const ahead = prefetch > 0 && code < 1 && batches.constructor === BatchSampler && availableParallelism() > 1
      this.#open = order => rowReader(rows, order, { device: code, sources: sources(rows.tensors), ahead })
      return
    }
    const images = options.collate || options.worker ? null : nativeFolder(dataset)
    if (images) {
      const { folder, indices } = images
      const common = { indices, threads: numWorkers, prefetch, device, deviceCode: code }
      this.#open = (order, epoch) => imageReader(folder, order, { ...common, epoch })
      return
    }
    if (numWorkers > 0) {
      const pool = poolOf(dataset, numWorkers, options)
      this.#pool = pool
      const read = passesWithWorkers<Batch>(pool, prefetch, timeout, code, Number.POSITIVE_INFINITY)
      this.#open = (order, epoch, first) => read(indexTurns(order, numWorkers, first), epoch, 0)
      return
    }
    const collate = collateOf(options)
    this.#open = (order, epoch) => itemReader(dataset, order, collate, prefetch, epoch)
  }

  /** Batches in a pass. */
  get length(): number {
    return this.batchSampler.length
  }

  /**
   * Begins a pass that its reader steps through; the Trainer's way of iterating, without a promise for in-memory data. The first
   * `skip` batches are left out without loading their items. Random numbers in the dataset's `get` are those of `epoch`, by default
   * the number of the pass.
   */
  open(skip = 0, epoch = ++this.#passes): BatchReader<Batch> {
    return this.#open(skip === 0 ? this.batchSampler : afterFirst(this.batchSampler, skip), epoch, skip)
  }

  /** Ends the worker threads, which otherwise live as long as the loader; a pass that is open fails. A new pass starts them again. */
  close(): void {
    this.#pool?.close()
  }

  [Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    return iterate(() => this.open())
  }
}

/** What makes batches of items, on the device that the options name. */
function collateOf<Item, Batch>({ collate, device }: DataLoaderOptions<Item, Batch>): Collate<Item, Batch> {
  // Without `collate`, Batch is Collated<Item>, as its default says.
  const made = collate ?? (createCollate<Item>() as Collate<Item, unknown> as Collate<Item, Batch>)
  return device === undefined ? made : items => onDevice(made(items), device)
}

/** The workers that the options ask for. */
function poolOf(
  dataset: Dataset<unknown> | IterableDataset<unknown>,
  numWorkers: number,
  { worker, collate, dropLast = false }: DataLoaderOptions<never, unknown>,
): WorkerPool {
  if (worker === undefined) throw withoutModule(dataset, numWorkers)
  return new WorkerPool(numWorkers, { ...checkWorkerModule(worker, dataset, collate !== undefined), dropLast })
}

/** What begins a pass over a pool's batches, which are made on `device`, or the CPU if that is -1. */
function passesWithWorkers<Batch>(pool: WorkerPool, prefetch: number, timeout: number, device: number, most: number) {
  const numbers = numberFields()
  return (turns: Turns, epoch: number, skip: number): BatchReader<Batch> =>
    workerReader(pool, turns, {
      prefetch,
      timeout,
      seed: globalSeed(),
      epoch,
      skip,
      most,
      unpack: ({ form, buffer, start }) => unpack(form, buffer, start, numbers, Math.max(device, 0)) as Batch,
    })
}

/** The option `timeout`, which only workers keep to. */
function checkTimeout({
  timeout = 0,
  numWorkers = 0,
}: {
  timeout?: number | undefined
  numWorkers?: number | undefined
}): number {
  const most = 2 ** 31 - 1
  if (!(timeout >= 0 && timeout <= most)) {
    throw badOption('DataLoader', `timeout must be a number of milliseconds from 0 to ${most}, not ${String(timeout)}`)
  }
  if (timeout > 0 && numWorkers === 0)
    throw badOption('DataLoader', 'timeout is for batches of workers; it needs numWorkers')
  return timeout
}

/** The batches of one pass after the first `skip`, whose order is drawn at once. */
function afterFirst(batches: IndexBatches, skip: number): IndexBatches {
  const iterator = batches[Symbol.iterator]()
  for (let i = 0; i < skip; i++) iterator.next()
  const { length, batchSize } = batches
  return { length: length - skip, ...(batchSize && { batchSize }), [Symbol.iterator]: () => iterator }
}

/** Checks `resident` against the device and the dataset, whose rows `rows` are if it has any. */
function checkResident(resident: unknown, device: number, rows: object | null): boolean | 'auto' {
  if (resident !== 'auto' && typeof resident !== 'boolean') {
    throw badOption('DataLoader', `resident must be true, false or 'auto', not ${String(resident)}`)
  }
  if (resident === true && device < 1) throw badOption('DataLoader', 'resident data needs a GPU as device')
  if (resident === true && rows === null) {
    throw badOption('DataLoader', 'only a TensorDataset with the default collate can be resident')
  }
  return resident
}

/** For each pass, what gives the handles of the tensors that rows are read from; where these are is decided by the first. */
function sourcesOn(device: number, wanted: boolean | 'auto') {
  const asTheyAre = (tensors: readonly Tensor[]) => tensors.map(t => t.handle)
  const copied = (tensors: readonly Tensor[]) => tensors.map(t => handleOn(device, t))
  let chosen = device < 1 || wanted === false ? asTheyAre : wanted === true ? copied : undefined
  return (tensors: readonly Tensor[]) => {
    chosen ??= copyIfSmall(tensors, device) ? copied : asTheyAre
    return chosen
  }
}

function withoutModule(dataset: Dataset<unknown> | IterableDataset<unknown>, numWorkers: number) {
  return badOption(
    'DataLoader',
    !isIterable(dataset) && rowsOf(dataset)
      ? `batches of a TensorDataset are gathered natively, without workers; leave numWorkers out`
      : `numWorkers ${numWorkers} needs the option worker, the URL of a module that makes the dataset: ` +
          "a dataset's functions can't be sent to a thread",
  )
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
