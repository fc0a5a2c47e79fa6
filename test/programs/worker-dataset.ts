/** A dataset that loader workers make. */
import { isMainThread, parentPort, threadId } from 'node:worker_threads'
import { type data, rand, type Tensor, tensor } from '../../ts/index.ts'

/** Which dataset; its items do what they are told for some indices. */
export interface Args {
  length: number
  /** Whether `get` gives promises. */
  async?: boolean
  /** Floats in an item. */
  width?: number
  /** The item whose `sometimesWhole` isn't. */
  oddAt?: number
  /** The item where a worker throws. */
  throwAt?: number
  /** The item where a worker ends. */
  exitAt?: number
  /** The item where a worker fails outside of `get`. */
  crashAt?: number
  /** The item where a worker's `get` never returns, or its promise never settles. */
  hangAt?: number
  /** Whether a worker posts this and that to its parent. */
  chats?: boolean
  /** Counts the calls of `get` in workers. */
  calls?: Int32Array<SharedArrayBuffer>
  /** Counts the threads that made a dataset. */
  threads?: Int32Array<SharedArrayBuffer>
}

/** An item. */
export interface Item {
  x: Tensor
  drawn: Tensor
  raw: Float32Array
  label: number
  half: number
  sometimesWhole: number
  pair: [bigint, boolean]
  name: string
}

/** A batch of the collate function. */
export interface Batch {
  ids: Int32Array
  sum: Tensor
  thread: number
  when: Date
}

export default (args: Args): data.Dataset<Item> => {
  if (args.threads) Atomics.add(args.threads, 0, 1)
  const { width = 3 } = args
  const make = (i: number, context?: data.ItemContext): Item => ({
    x: tensor([i, i + 0.5]),
    drawn: rand([2], context && i % 2 ? { generator: context.generator } : {}),
    raw: new Float32Array(width).fill(i),
    label: i,
    half: i + 0.5,
    // -0 is a whole number, but not as an int64.
    sometimesWhole: i === args.oddAt ? 0.25 : -0 * i,
    pair: [BigInt(i), i % 3 === 0],
    name: `item ${i}`,
  })
  const get = (i: number, context?: data.ItemContext) => {
    if (!isMainThread) {
      if (args.chats) for (const x of [null, 7, {}, { kind: 'batch', id: i, start: -1 }]) parentPort?.postMessage(x)
      if (args.calls) Atomics.add(args.calls, 0, 1)
      if (i === args.throwAt) throw new RangeError(`no item ${i} in here`)
      if (i === args.exitAt) process.exit(3)
      if (i === args.hangAt) {
        if (args.async) return new Promise<Item>(() => {})
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      }
      if (i === args.crashAt) {
        setTimeout(() => {
          throw new Error('a crash outside of get')
        })
        return new Promise<Item>(() => {})
      }
    }
    if (!args.async) return make(i, context)
    const item = make(i, context)
    return new Promise<Item>(resolve => setTimeout(() => resolve(item), i % 3))
  }
  return { length: args.length, get }
}

/** A collate function of the dataset's own. */
export const collate = (items: Item[]): Batch => ({
  ids: Int32Array.from(items, item => item.label),
  sum: items.map(item => item.x).reduce((a, b) => a.add(b)),
  thread: threadId,
  when: new Date(0),
})
