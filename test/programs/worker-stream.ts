/** An iterable dataset that loader workers share. */
import { isMainThread } from 'node:worker_threads'
import { data, rand } from '../../ts/index.ts'

/** Which dataset; its items do what they are told for some numbers. */
export interface StreamArgs {
  /** Items in all. */
  length: number
  async?: boolean
  /** How many items each worker has; by default every n-th is its own. */
  shares?: number[]
  /** The number where it throws. */
  throwAt?: number
  /** The number where a worker ends. */
  exitAt?: number
  /** Counts the items that were made. */
  made?: Int32Array<SharedArrayBuffer>
  /** Counts the iterators that ended. */
  closed?: Int32Array<SharedArrayBuffer>
}

/** An item: its number, a random number that is drawn for it, and the worker that makes it. */
export interface StreamItem {
  i: number
  drawn: number
  worker: number
  seed: bigint
}

function* numbers({ length, shares }: StreamArgs): Generator<number> {
  const { id, numWorkers } = data.getWorkerInfo() ?? { id: 0, numWorkers: 1 }
  if (shares) for (let k = 0; k < (shares[id] ?? 0); k++) yield id * 100 + k
  else for (let i = id; i < length; i += numWorkers) yield i
}

function make(i: number, args: StreamArgs): StreamItem {
  if (args.made) Atomics.add(args.made, 0, 1)
  if (i === args.throwAt) throw new RangeError(`no item ${i} in here`)
  if (i === args.exitAt && !isMainThread) process.exit(3)
  const info = data.getWorkerInfo()
  return { i, drawn: rand([1]).itemSync(), worker: info?.id ?? -1, seed: BigInt(info?.seed ?? 0) }
}

function* now(args: StreamArgs): Generator<StreamItem> {
  try {
    for (const i of numbers(args)) yield make(i, args)
  } finally {
    if (args.closed) Atomics.add(args.closed, 0, 1)
    if (args.closed) Atomics.notify(args.closed, 0)
  }
}

async function* later(args: StreamArgs): AsyncGenerator<StreamItem> {
  for (const i of numbers(args)) {
    const item = make(i, args)
    await Promise.resolve()
    yield item
  }
}

export default (args: StreamArgs): data.IterableDataset<StreamItem> =>
  args.async ? { [Symbol.asyncIterator]: () => later(args) } : { [Symbol.iterator]: () => now(args) }
