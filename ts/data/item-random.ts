/**
 * Random numbers for making items: what `Dataset.get` draws, from its generator or bare, depends on the seed, the epoch and the
 * item, and not on what was drawn before, in which order items are made, how far ahead, or where a run was resumed.
 */
import { native } from '../native/index.ts'
import type { Generator } from '../tensor/index.ts'
import { unlistedGenerator } from '../tensor/random.ts'
import type { Dataset } from './dataset.ts'
import type { MaybePromise } from './reader.ts'

/** What `Dataset.get` may use. */
export interface ItemContext {
  /** A stream of the item's own, for this call: also after an `await`, where numbers drawn without it are the run's. */
  readonly generator: Generator
}

/** The global generator's number. */
const GLOBAL = -1

/** Generators that no item uses at the moment. */
const idle: Generator[] = []

/** Makes items of one pass over a dataset. */
export class ItemRandom {
  readonly #seed: number
  readonly #epoch: number

  /** The pass is that of `epoch`; the seed by default that of the global generator. */
  constructor(epoch: number, seed = globalSeed()) {
    this.#seed = seed
    this.#epoch = epoch
  }

  /** Runs `fn` with the bare random numbers of batch number `batch`, which no item has. */
  duringBatch<T>(batch: number, fn: () => T): T {
    return seeded(itemSeed(this.#seed, this.#epoch, -1 - batch), fn)
  }

  /** The seed of an item's generator. */
  generatorSeed(index: number): number {
    return ofGenerator(itemSeed(this.#seed, this.#epoch, index))
  }

  /** Item `index` of `dataset`. */
  get<Item>(dataset: Dataset<Item>, index: number): MaybePromise<Item> {
    const seed = itemSeed(this.#seed, this.#epoch, index)
    const lent: Generator[] = []
    const context: ItemContext = {
      get generator() {
        const generator = lent[0] ?? (idle.pop() ?? unlistedGenerator()).manualSeed(ofGenerator(seed))
        lent[0] = generator
        return generator
      },
    }
    const item = seeded(seed, () => dataset.get(index, context))
    if (item instanceof Promise) return item.finally(() => idle.push(...lent))
    idle.push(...lent)
    return item
  }
}

/** The seed of an item's generator: not the same numbers as those that are drawn bare. */
const ofGenerator = (seed: number) => (seed + 1) % 2 ** 53

/** The seed of the global generator. */
export function globalSeed(): number {
  return native.generatorState(GLOBAL)[0]
}

/** Runs `fn` with the global generator at the start of a seed's stream, and then puts it back. */
function seeded<T>(seed: number, fn: () => T): T {
  const before = native.generatorState(GLOBAL)
  native.setGeneratorState(GLOBAL, seed, 0)
  try {
    return fn()
  } finally {
    native.setGeneratorState(GLOBAL, ...before)
  }
}

/** A seed for `which` in an epoch, for numbers that are no item's. */
export function unrelatedSeed(seed: number, epoch: number, which: number): number {
  return itemSeed(itemSeed(seed, epoch, 0), epoch, which)
}

/** A seed for each item of each epoch. */
function itemSeed(seed: number, epoch: number, index: number): number {
  const low = mixed(mixed(mixed(seed % 2 ** 32) ^ epoch) ^ index)
  const high = mixed(mixed(low ^ Math.floor(seed / 2 ** 32)) ^ epoch)
  return low + (high % 2 ** 21) * 2 ** 32
}

/** The last steps of MurmurHash3: every bit of `n` changes half of the bits. */
function mixed(n: number): number {
  let h = (n + 0x9e3779b9) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
