/** A pass over batches that worker threads make. */
import { badOption } from '../../errors.ts'
import type { BatchReader } from '../reader.ts'
import type { Arrived, Asked, Passed, WorkerPool } from './pool.ts'
import type { Turns } from './turns.ts'

/** What a pass over a pool's batches needs. */
export interface WorkerPassOptions<Batch> {
  /** Batches asked for ahead, for each worker. */
  prefetch: number
  /** Milliseconds that a batch is waited for; 0 is for ever. */
  timeout: number
  seed: number
  epoch: number
  /** Batches to leave out. */
  skip: number
  /** The most items that there may be. */
  most: number
  /** Makes a batch, of which nothing is read afterwards. */
  unpack(arrived: Arrived): Batch
}

let passes = 0

/**
 * The batches in the order of `turns`. No more are asked for than the next one and `prefetch` for each worker; the next is asked
 * for when one is taken.
 */
export function workerReader<Batch>(
  pool: WorkerPool,
  turns: Turns,
  { prefetch, timeout, seed, epoch, skip, most, unpack }: WorkerPassOptions<Batch>,
): BatchReader<Batch> {
  const lanes = pool.lanes()
  const pass = { id: passes++, seed, epoch, ended: new Int32Array(new SharedArrayBuffer(4)) }
  const queue: Asked[] = []
  let left = skip
  let items = 0
  let current: Arrived | undefined

  const isClosed = () => Atomics.load(pass.ended, 0) === 1
  const fill = () => {
    // The pool lives as long as its readers: this is the reference.
    while (queue.length <= prefetch * turns.workers) {
      const turn = turns.next()
      const lane = turn && lanes[turn.worker]
      if (!lane) return
      queue.push(lane.request(pass, turn))
    }
  }
  /** The batch, or the error that it took too long, which ends all workers. */
  const inTime = ({ arriving, expire }: Asked): Promise<Arrived | Passed> => {
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
  /** Waits for the next batch that is not left out. */
  const advance = async (): Promise<boolean> => {
    for (;;) {
      fill()
      const asked = queue.shift()
      if (!asked) return false
      const reply = await inTime(asked)
      if (isClosed()) {
        releaseBatch(reply)
        return false
      }
      if (reply.items === 0) {
        turns.end(asked.worker)
        continue
      }
      items += reply.items
      if (items > most) {
        releaseBatch(reply)
        throw badOption('DataLoader', `the workers' datasets have more items than the loader's length of ${most}`)
      }
      if (left > 0) {
        left--
        releaseBatch(reply)
      } else if (reply.form) {
        current = reply
        return true
      }
    }
  }
  return {
    async next() {
      if (isClosed()) return false
      try {
        return await advance()
      } catch (error) {
        if (isClosed()) return false
        throw error
      }
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
      for (const lane of lanes) lane.end(pass)
      // Those that came but were not taken.
      current?.release()
      current = undefined
      for (const { arriving } of queue.splice(0)) {
        arriving.then(releaseBatch, () => {})
      }
      turns.close()
    },
  }
}

function releaseBatch(reply: Arrived | Passed): void {
  if (reply.form) reply.release()
}
