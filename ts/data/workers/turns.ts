/** In which order a pass asks its workers for batches. */
import type { IndexBatches } from '../sampler.ts'

/** A batch that one of the workers is to be asked for. */
export interface Turn {
  /** The worker's number. */
  readonly worker: number
  /** The batch's number, which no other of the pass has. */
  readonly batch: number
  /** Of its items in the dataset, or in the worker's share if that is iterable. */
  readonly indices: Uint32Array
  /** Whether its items are only gone through. */
  readonly skips: boolean
}

/** The turns of a pass. */
export interface Turns {
  /** Workers that have more batches. */
  readonly workers: number
  /** The next turn, if there is one. */
  next(): Turn | undefined
  /** Worker `worker` has no more batches. */
  end(worker: number): void
  close(): void
}

/** The batches of `batches`, of which the first has the number `first`: one worker after the other. */
export function indexTurns(batches: IndexBatches, workers: number, first: number): Turns {
  const iterator = batches[Symbol.iterator]()
  let count = 0
  return {
    workers,
    next() {
      const { done, value } = iterator.next()
      if (done) return undefined
      const worker = count % workers
      return { worker, batch: first + count++, indices: Uint32Array.from(value), skips: false }
    },
    end() {},
    close() {
      iterator.return?.()
    },
  }
}

/**
 * Batches of `batchSize` from each worker's share of an iterable dataset, as PyTorch takes them: one worker after the other, those
 * left out that have no more. The first `skip` are only gone through.
 */
export function shareTurns(batchSize: number, workers: number, skip: number): Turns {
  const active = Array.from({ length: workers }, (_, i) => i)
  const asked = new Array<number>(workers).fill(0)
  let at = 0
  let count = 0
  return {
    get workers() {
      return active.length
    },
    next() {
      const worker = active[at]
      if (worker === undefined) return undefined
      at = (at + 1) % active.length
      const place = asked[worker] ?? 0
      asked[worker] = place + 1
      const indices = Uint32Array.from({ length: batchSize }, (_, i) => place * batchSize + i)
      // A turn that gives no batch only makes the others earlier, so these are skipped in any case.
      return { worker, batch: place * workers + worker, indices, skips: count++ < skip }
    },
    end(worker) {
      const i = active.indexOf(worker)
      if (i < 0) return
      active.splice(i, 1)
      if (i < at) at--
      if (at >= active.length) at = 0
    },
    close() {
      active.length = 0
    },
  }
}
