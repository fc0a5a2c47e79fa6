/** Samplers: in which order a loader asks for items, and how they are grouped into batches. */
import { badOption, checkOptions } from '../errors.ts'
import type { Generator } from '../tensor/index.ts'
import { permutation, uniform } from './permutation.ts'

/** An order of indices; each iteration is one epoch's. */
export interface Sampler extends Iterable<number> {
  /** How many indices an iteration gives. */
  readonly length: number
}

/** Groups of indices; each iteration is one epoch's batches. */
export interface IndexBatches extends Iterable<ArrayLike<number>> {
  /** How many batches an iteration gives. */
  readonly length: number
  /** Indices in a full batch, where that is fixed. */
  readonly batchSize?: number
}

/** Something with a length (a dataset), or the length itself. */
export type Sized = number | { readonly length: number }

/** Throws `BAD_OPTION` unless `value` is a whole number of at least `least`. */
export function checkCount(value: number, name: string, where: string, least = 1): number {
  if (Number.isInteger(value) && value >= least) return value
  throw badOption(where, `${name} must be a whole number of at least ${least}, not ${String(value)}`)
}

const lengthOf = (source: Sized, where: string) =>
  checkCount(typeof source === 'number' ? source : source.length, 'the length of the data', where, 0)

/** 0, 1, 2, ... */
export class SequentialSampler implements Sampler {
  readonly length: number

  constructor(source: Sized) {
    this.length = lengthOf(source, 'SequentialSampler')
  }

  [Symbol.iterator](): Iterator<number> {
    return Uint32Array.from({ length: this.length }, (_, i) => i).values()
  }
}

/** Options of `RandomSampler`. */
export interface RandomSamplerOptions {
  /** Draw each index anew, so that it may come twice. Default false. */
  replacement?: boolean | undefined
  /** Indices in an epoch. Default: as many as items. */
  numSamples?: number | undefined
  /** Source of randomness. Default: the global one. */
  generator?: Generator | undefined
}

/** A new random order in each iteration. An empty source is a `BAD_OPTION` error. */
export class RandomSampler implements Sampler {
  readonly length: number
  readonly #items: number
  readonly #replacement: boolean
  /** Where its numbers come from; undefined for the global generator. */
  readonly generator: Generator | undefined

  constructor(source: Sized, options: RandomSamplerOptions = {}) {
    checkOptions('RandomSampler', options, ['replacement', 'numSamples', 'generator'])
    this.#items = lengthOf(source, 'RandomSampler')
    if (this.#items === 0) throw badOption('RandomSampler', 'there is nothing to sample, the dataset is empty')
    this.length = checkCount(options.numSamples ?? this.#items, 'numSamples', 'RandomSampler')
    this.#replacement = options.replacement ?? false
    this.generator = options.generator
  }

  [Symbol.iterator](): Iterator<number> {
    const n = this.#items
    if (this.#replacement) {
      return Uint32Array.from(uniform(this.length, this.generator), u => Math.min(Math.floor(u * n), n - 1)).values()
    }
    if (this.length === n) return permutation(n, this.generator).values()
    // More samples than items: whole permutations one after the other.
    const order = new Uint32Array(this.length)
    for (let at = 0; at < this.length; at += n) {
      order.set(permutation(n, this.generator).subarray(0, this.length - at), at)
    }
    return order.values()
  }
}

/** Options of `WeightedRandomSampler`. */
export interface WeightedRandomSamplerOptions {
  /** Whether an index may come twice. Default true. */
  replacement?: boolean | undefined
  /** Source of randomness. Default: the global one. */
  generator?: Generator | undefined
}

/** `numSamples` indices, each drawn in proportion to its weight (weights need not add up to 1). */
export class WeightedRandomSampler implements Sampler {
  readonly length: number
  readonly #weights: Float64Array
  readonly #replacement: boolean
  /** Where its numbers come from; undefined for the global generator. */
  readonly generator: Generator | undefined

  constructor(weights: ArrayLike<number>, numSamples: number, options: WeightedRandomSamplerOptions = {}) {
    const where = 'WeightedRandomSampler'
    checkOptions(where, options, ['replacement', 'generator'])
    this.#weights = Float64Array.from(weights)
    this.length = checkCount(numSamples, 'numSamples', where)
    this.#replacement = options.replacement ?? true
    this.generator = options.generator
    if (!this.#weights.every(w => w >= 0 && Number.isFinite(w))) {
      throw badOption(where, `weights must be finite numbers of at least 0`)
    }
    const positive = this.#weights.reduce((count, w) => count + (w > 0 ? 1 : 0), 0)
    if (positive === 0 || (!this.#replacement && positive < numSamples)) {
      throw badOption(where, `${positive} weights above 0 are too few for ${numSamples} samples`)
    }
  }

  [Symbol.iterator](): Iterator<number> {
    return (this.#replacement ? this.#draw() : this.#drawDistinct()).values()
  }

  #draw(): Uint32Array {
    let sum = 0
    const ends = this.#weights.map(w => {
      sum += w
      return sum
    })
    return Uint32Array.from(uniform(this.length, this.generator), u => firstAbove(ends, u * sum))
  }

  /** The smallest of independent exponential waiting times are a weighted draw without replacement. */
  #drawDistinct(): Uint32Array {
    const u = uniform(this.#weights.length, this.generator)
    const waits = this.#weights.map((w, i) => (w > 0 ? -Math.log1p(-(u[i] ?? 0)) / w : Number.POSITIVE_INFINITY))
    const order = Uint32Array.from(waits, (_, i) => i).sort((a, b) => (waits[a] ?? 0) - (waits[b] ?? 0))
    return order.subarray(0, this.length)
  }
}

/** Index of the first of the rising `ends` that is above `x`. */
function firstAbove(ends: Float64Array, x: number): number {
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ends[middle] ?? 0) > x) high = middle
    else low = middle + 1
  }
  return low
}

/** Groups a sampler's indices into batches of `batchSize`; the last one may be shorter unless `dropLast` leaves it out. */
export class BatchSampler implements IndexBatches {
  readonly sampler: Sampler
  readonly batchSize: number
  readonly dropLast: boolean

  constructor(sampler: Sampler, batchSize: number, options: { dropLast?: boolean | undefined } = {}) {
    checkOptions('BatchSampler', options, ['dropLast'])
    this.sampler = sampler
    this.batchSize = checkCount(batchSize, 'batchSize', 'BatchSampler')
    this.dropLast = options.dropLast ?? false
  }

  get length(): number {
    const batches = this.sampler.length / this.batchSize
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches)
  }

  *[Symbol.iterator](): Iterator<Uint32Array> {
    const order = Uint32Array.from(this.sampler)
    const end = this.dropLast ? order.length - (order.length % this.batchSize) : order.length
    for (let at = 0; at < end; at += this.batchSize) yield order.subarray(at, Math.min(at + this.batchSize, end))
  }
}
