/** A pass over batches that worker threads make. */
import type { BatchReader } from '../reader.ts'
import type { IndexBatches } from '../sampler.ts'
import type { Arrived, Asked, WorkerPool } from './pool.ts'

/** What a pass over a pool's batches needs. */
export interface WorkerPassOptions<Batch> {
  /** Batches asked for ahead, for each worker. */
  prefetch: number
  /** Milliseconds that a batch is waited for; 0 is for ever. */
  timeout: number
  seed: number
  epoch: number
  /** The number of the first batch. */
  first: number
  /** Makes a batch, of which nothing is read afterwards. */
  unpack(arrived: Arrived): Batch
}

/**
 * The batches in the order of `batches`: the workers take turns. No more are asked for than the next one and `prefetch` for each
 * worker; the next is asked for when one is taken.
 */
export function workerReader<Batch>(
  pool: WorkerPool,
  batches: IndexBatches,
  { prefetch, timeout, seed, epoch, first, unpack }: WorkerPassOptions<Batch>,
): BatchReader<Batch> {
  const lanes = pool.lanes()
  const iterator = batches[Symbol.iterator]()
  const pass = { seed, epoch, ended: new Int32Array(new SharedArrayBuffer(4)) }
  const queue: Asked[] = []
  let count = 0
  let current: Arrived | undefined

  const isClosed = () => Atomics.load(pass.ended, 0) === 1
  const fill = () => {
    // The pool lives as long as its readers: this is the reference.
    while (queue.length <= prefetch * pool.size) {
      const { done, value } = iterator.next()
      const lane = lanes[count % pool.size]
      if (done || !lane) return
      queue.push(lane.request(pass, first + count, Uint32Array.from(value)))
      count++
    }
  }
  /** The batch, or the error that it took too long, which ends all workers. */
  const inTime = ({ arriving, expire }: Asked): Promise<Arrived> => {
    if (timeout === 0) return arriving
    let isWaiting = true
    const expired = () => {
      if (!isWaiting) return
      expire(timeout)
      pool.close()
    }
    // Where the main thread was busy, a batch that came meanwhile is received before the immediate runs.
    const timer = setTimeout(() => setImmediate(expired), timeout)
    return arriving.finally(() => {
      isWaiting = false
      clearTimeout(timer)
    })
  }
  return {
    next() {
      if (isClosed()) return false
      fill()
      const asked = queue.shift()
      if (!asked) return false
      const accept = (arrived: Arrived) => {
        if (isClosed()) arrived.release()
        else current = arrived
        return !isClosed()
      }
      return inTime(asked).then(accept, error => {
        if (isClosed()) return false
        throw error
      })
    },
    take() {
      const arrived = current as Arrived
      current = undefined
      try {
        return unpack(arrived)
      } finally {
        arrived.release()
      }
    },
    close() {
      Atomics.store(pass.ended, 0, 1)
      for (const lane of lanes) lane.forget(pass)
      // Those that came but were not taken.
      current?.release()
      current = undefined
      for (const { arriving } of queue.splice(0)) {
        arriving.then(
          arrived => arrived.release(),
          () => {},
        )
      }
      iterator.return?.()
    },
  }
}
