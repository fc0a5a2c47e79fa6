/**
 * Map-style datasets: something with a `length` and a `get(index)`.
 *
 * ```ts
 * const dataset = new data.TensorDataset(images, labels)
 * const [train, test] = data.randomSplit(dataset, [0.9, 0.1])
 * ```
 */
import { badOption, WickError } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import type { ItemContext } from './item-random.ts'

/** A collection of items by index; `get` may return a promise. */
export interface Dataset<Item> {
  /** Number of items. */
  readonly length: number
  /**
   * The item at `index`, 0 <= index < length. Random numbers drawn in it depend on the seed, the epoch and the item only, where a
   * loader asks; after an `await` that needs the generator of `context`.
   */
  get(index: number, context?: ItemContext): Item | Promise<Item>
}

/** Throws `INDEX_OUT_OF_RANGE` unless `index` is a whole number from 0 to `length` - 1. */
export function checkIndex(index: number, length: number, where: string): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return
  throw new WickError('INDEX_OUT_OF_RANGE', `index ${index} is not in 0..${length - 1}`, { op: where })
}

/** Throws `BAD_OPTION` unless `dataset` has a `length` and a `get`. */
export function checkDataset(dataset: Dataset<unknown>, where: string): void {
  if (typeof dataset?.get === 'function' && Number.isInteger(dataset.length)) return
  throw badOption(where, `a dataset has a whole-numbered length and a get(index) method`)
}

/**
 * Items are rows of tensors: item i is `[t0[i], t1[i], ...]`. A loader with the default collate makes its batches natively.
 * The tensors have one first dimension; `SHAPE_MISMATCH` otherwise.
 */
export class TensorDataset<Tensors extends Tensor[]> implements Dataset<Tensors> {
  readonly tensors: Tensors
  readonly length: number

  constructor(...tensors: Tensors) {
    const [first] = tensors
    if (first === undefined) throw badOption('TensorDataset', 'needs at least one tensor')
    for (const t of tensors) {
      if (t.shape.length === 0) throw new WickError('SHAPE_MISMATCH', 'a scalar has no rows', { op: 'TensorDataset' })
    }
    const rows = tensors.map(t => t.shape[0])
    if (rows.some(n => n !== rows[0])) {
      throw new WickError('SHAPE_MISMATCH', `the tensors differ in their first dimension: ${rows.join(', ')}`, {
        op: 'TensorDataset',
      })
    }
    this.tensors = tensors
    this.length = first.shape[0] ?? 0
  }

  get(index: number): Tensors {
    checkIndex(index, this.length, 'TensorDataset')
    return this.tensors.map(t => t.select(0, index)) as Tensors
  }
}

/** The items of `dataset` at `indices`, in that order. */
export class Subset<Item> implements Dataset<Item> {
  readonly dataset: Dataset<Item>
  readonly indices: Uint32Array
  readonly length: number

  constructor(dataset: Dataset<Item>, indices: ArrayLike<number>) {
    checkDataset(dataset, 'Subset')
    for (let i = 0; i < indices.length; i++) checkIndex(indices[i] ?? Number.NaN, dataset.length, 'Subset')
    this.dataset = dataset
    this.indices = Uint32Array.from(indices)
    this.length = indices.length
  }

  get(index: number, context?: ItemContext): Item | Promise<Item> {
    checkIndex(index, this.length, 'Subset')
    return this.dataset.get(this.indices[index] ?? 0, context)
  }
}

/** Several datasets one after the other. */
export class ConcatDataset<Item> implements Dataset<Item> {
  readonly datasets: readonly Dataset<Item>[]
  readonly length: number
  readonly #ends: number[]

  constructor(datasets: readonly Dataset<Item>[]) {
    if (datasets.length === 0) throw badOption('ConcatDataset', 'needs at least one dataset')
    let end = 0
    this.#ends = datasets.map(dataset => {
      checkDataset(dataset, 'ConcatDataset')
      end += dataset.length
      return end
    })
    this.datasets = datasets
    this.length = end
  }

  get(index: number, context?: ItemContext): Item | Promise<Item> {
    checkIndex(index, this.length, 'ConcatDataset')
    const which = this.#ends.findIndex(end => index < end)
    const dataset = this.datasets[which]
    if (dataset === undefined) throw new WickError('INDEX_OUT_OF_RANGE', `no item ${index}`, { op: 'ConcatDataset' })
    return dataset.get(index - (this.#ends[which - 1] ?? 0), context)
  }
}

/** The items of `dataset` after `transform(item, index, context)`, which may be async. */
export class MapDataset<Item, Out> implements Dataset<Out> {
  readonly dataset: Dataset<Item>
  readonly transform: (item: Item, index: number, context?: ItemContext) => Out | Promise<Out>

  constructor(
    dataset: Dataset<Item>,
    transform: (item: Item, index: number, context?: ItemContext) => Out | Promise<Out>,
  ) {
    checkDataset(dataset, 'MapDataset')
    if (typeof transform !== 'function') throw badOption('MapDataset', 'transform must be a function')
    this.dataset = dataset
    this.transform = transform
  }

  get length(): number {
    return this.dataset.length
  }

  get(index: number, context?: ItemContext): Out | Promise<Out> {
    const item = this.dataset.get(index, context)
    const transformed = (value: Item) => this.transform(value, index, context)
    return item instanceof Promise ? item.then(transformed) : transformed(item)
  }
}

/** A dataset and the items of it that another one stands for; `indices` null means all items in order. */
export interface Selection {
  readonly dataset: Dataset<unknown>
  readonly indices: Uint32Array | null
}

/** What stands behind `Subset`s. A subclass with its own `get` computes its items, and is itself what stands there. */
export function behindSubsets(dataset: Dataset<unknown>): Selection {
  if (!(dataset instanceof Subset) || dataset.get !== Subset.prototype.get) return { dataset, indices: null }
  const below = behindSubsets(dataset.dataset)
  const { indices } = below
  return { dataset: below.dataset, indices: indices ? dataset.indices.map(i => indices[i] ?? 0) : dataset.indices }
}

/** The rows of stored tensors that a dataset stands for; `indices` null means all rows in order. */
export interface Rows {
  readonly tensors: readonly Tensor[]
  readonly indices: Uint32Array | null
}

/**
 * The rows behind a `TensorDataset`, also through `Subset`s; null if the dataset computes its items. A subclass with its own
 * `get` computes them, and tensors that require grad have to pass the tape.
 */
export function rowsOf(given: Dataset<unknown>): Rows | null {
  const { dataset, indices } = behindSubsets(given)
  if (!(dataset instanceof TensorDataset) || dataset.get !== TensorDataset.prototype.get) return null
  const tensors: readonly Tensor[] = dataset.tensors
  return tensors.some(t => t.requiresGrad) ? null : { tensors, indices }
}
