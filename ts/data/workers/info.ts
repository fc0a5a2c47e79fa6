/** Which worker a thread is. */
import { unrelatedSeed } from '../item-random.ts'
import type { Pass } from './messages.ts'

/** What `getWorkerInfo` tells a loader's worker. */
export interface WorkerInfo {
  /** The worker's number, from 0. */
  readonly id: number
  readonly numWorkers: number
  /** A seed of this worker's own in this pass over the data. Before the first pass, while the module is imported, it is 0. */
  readonly seed: number
}

let info: WorkerInfo | null = null

/**
 * Which of the loader's workers runs this code, or null outside of workers. An iterable dataset uses it to give its share of the items
 * only:
 *
 * ```ts
 * export default {
 *   *[Symbol.iterator]() {
 *     const { id, numWorkers } = data.getWorkerInfo() ?? { id: 0, numWorkers: 1 }
 *     for (let i = id; i < 1000; i += numWorkers) yield load(i)
 *   },
 * }
 * ```
 */
export function getWorkerInfo(): WorkerInfo | null {
  return info
}

/** Tells this thread that it is worker `id` of `numWorkers`, at work on `pass`. */
export function setWorkerInfo(id: number, numWorkers: number, pass?: Pass): void {
  info = Object.freeze({ id, numWorkers, seed: pass ? unrelatedSeed(pass.seed, pass.epoch, id) : 0 })
}
