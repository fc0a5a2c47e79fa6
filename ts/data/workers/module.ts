/**
 * Modules that make a dataset in a worker thread. A function can't be sent to another thread, so each worker imports a module.
 *
 * ```ts
 * // digits.ts
 * export default (args: { dir: string }) => new Digits(args.dir)
 *
 * // train.ts
 * import makeDigits from './digits.ts'
 * const args = { dir: 'data' }
 * const worker = { url: new URL('./digits.ts', import.meta.url), args }
 * const loader = new data.DataLoader(makeDigits(args), { batchSize: 32, numWorkers: 2, worker })
 * ```
 */
import { badOption, checkOptions } from '../../errors.ts'
import { tensorsIn } from '../../tensor/tree.ts'
import { type Collate, createCollate } from '../collate.ts'
import { checkDataset, type Dataset, Subset } from '../dataset.ts'
import { type IterableDataset, isIterable } from '../stream.ts'
import type { ModuleSetup } from './messages.ts'
import { packedFields } from './packing.ts'

/**
 * A module that makes the loader's dataset: its default export is the dataset, or a function that gives it (or a promise of it) from
 * `args`. For a loader with a `collate` function it also exports that, as `collate`.
 */
export interface WorkerModule {
  /** Where the module is, such as `new URL('./dataset.ts', import.meta.url)`. */
  url: URL
  /** What its default export is called with; each worker gets a structured clone. */
  args?: unknown
}

/** Checks the option `worker`; gives what all workers of a loader of `dataset` need. */
export function checkWorkerModule(
  given: URL | WorkerModule,
  dataset: Dataset<unknown> | IterableDataset<unknown>,
  collates: boolean,
): Omit<ModuleSetup, 'dropLast'> {
  const { url, args }: Partial<WorkerModule> = given instanceof URL ? { url: given } : given
  if (!(url instanceof URL)) {
    throw badOption(
      'DataLoader',
      `worker must be a URL or { url, args }, such as new URL('./data.ts', import.meta.url)`,
    )
  }
  if (!(given instanceof URL)) checkOptions('DataLoader', given, ['url', 'args'])
  if (tensorsIn(args).length > 0) throw badOption('DataLoader', `the worker's args hold a tensor; use a typed array`)
  try {
    structuredClone(args)
  } catch (cause) {
    throw badOption('DataLoader', `the worker's args can't be cloned: ${String(cause)}`)
  }
  if (isIterable(dataset)) return { url: url.href, args, length: null, indices: null, collates }
  const { base, indices } = withoutSubsets(dataset)
  return { url: url.href, args, length: base.length, indices, collates }
}

/** What lies below a dataset's `Subset`s, and the indices that they pick there. */
function withoutSubsets(dataset: Dataset<unknown>): { base: Dataset<unknown>; indices: Uint32Array | null } {
  if (!(dataset instanceof Subset) || dataset.get !== Subset.prototype.get) return { base: dataset, indices: null }
  const { base, indices } = withoutSubsets(dataset.dataset)
  return { base, indices: indices ? dataset.indices.map(i => indices[i] ?? 0) : dataset.indices }
}

/** The dataset and the collate function of a worker's module; errors say how it differs from what the loader was given. */
export async function importDataset(
  setup: ModuleSetup,
): Promise<{ dataset: Dataset<unknown> | IterableDataset<unknown>; collate: Collate<unknown, unknown> }> {
  const { url, args, length, indices, collates } = setup
  const module: { default?: unknown; collate?: unknown } = await import(url)
  const made: unknown = typeof module.default === 'function' ? await module.default(args) : module.default
  const dataset = length === null ? asIterable(made, url) : asIndexed(made, url, length, indices)
  const { collate } = module
  if (!collates && collate === undefined) {
    return { dataset, collate: createCollate(packedFields) }
  }
  if (collates && typeof collate === 'function') return { dataset, collate: collate as Collate<unknown, unknown> }
  throw badOption(
    'DataLoader',
    collates
      ? `the loader has a collate function, so ${url} has to export it as collate`
      : `${url} exports collate; give it to the loader too`,
  )
}

function asIterable(made: unknown, url: string): IterableDataset<unknown> {
  const dataset = made as IterableDataset<unknown>
  if (isIterable(dataset)) return dataset
  throw badOption('DataLoader', `the loader's dataset is iterable, the default export of ${url} isn't`)
}

function asIndexed(made: unknown, url: string, length: number, indices: Uint32Array | null): Dataset<unknown> {
  const base = made as Dataset<unknown>
  checkDataset(base, `the default export of ${url}`)
  if (base.length === length) return indices ? new Subset(base, indices) : base
  throw badOption('DataLoader', `the dataset of ${url} has ${base.length} items, the loader's has ${length}`)
}
