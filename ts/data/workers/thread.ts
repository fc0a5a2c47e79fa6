/** A loader's worker thread: makes the batches that it is asked for, one after the other. */
import { parentPort, workerData } from 'node:worker_threads'
import { WickError } from '../../errors.ts'
import { asyncScope } from '../../tensor/memory.ts'
import { ItemRandom } from '../item-random.ts'
import { isPromise } from '../reader.ts'
import type { Answer, ErrorParts, Request, WorkerSetup } from './messages.ts'
import { importDataset } from './module.ts'
import { Packed } from './packing.ts'
import { Ring } from './ring.ts'

/** An error in making an item. */
class ItemFailure {
  readonly item: number
  readonly error: unknown

  constructor(item: number, error: unknown) {
    this.item = item
    this.error = error
  }
}

const setup: WorkerSetup = workerData
const opened = importDataset(setup)
const ring = new Ring()
let sentRing = ring.buffer
let work = opened.then(
  () => {},
  error => send({ kind: 'broken', error: parts(error) }),
)

parentPort?.on('message', (request: Request) => {
  ring.release(request.released)
  work = work.then(() => answer(request))
})

function send(message: Answer): void {
  parentPort?.postMessage(message)
}

/** Makes a batch in a scope of its own: what it leaves behind is freed, but for what the dataset keeps. */
async function answer(request: Request): Promise<void> {
  const { id } = request
  if (hasEnded(request)) return
  try {
    await asyncScope(async () => {
      const batch = await make(request)
      if (hasEnded(request)) return
      const packed = new Packed(batch)
      const { id: region, start } = ring.place(packed.bytes)
      packed.write(ring.buffer, start)
      const grown = ring.buffer === sentRing ? {} : { ring: ring.buffer }
      sentRing = ring.buffer
      send({ kind: 'batch', id, form: packed.form, region, start, ...grown })
    })
  } catch (failure) {
    if (failure instanceof ItemFailure) send({ kind: 'failed', id, item: failure.item, error: parts(failure.error) })
    else send({ kind: 'failed', id, error: parts(failure) })
  } finally {
    Atomics.store(setup.making, 0, 0)
  }
}

async function make(request: Request): Promise<unknown> {
  const { dataset, collate } = await opened
  const { pass, batch, indices } = request
  const random = new ItemRandom(pass.epoch, pass.seed)
  const loading: unknown[] = []
  // Places of asynchronous items that have not come: while nothing else runs, the worker is at the first of them.
  const awaited = new Set<number>()
  const noteFirst = () => {
    for (const place of awaited) {
      Atomics.store(setup.making, 0, (indices[place] ?? 0) + 1)
      return
    }
  }
  for (const index of indices) {
    if (hasEnded(request)) return undefined
    Atomics.store(setup.making, 0, index + 1)
    const failed = (error: unknown) => {
      awaited.clear()
      throw new ItemFailure(index, error)
    }
    let item: unknown
    try {
      item = random.get(dataset, index)
    } catch (error) {
      failed(error)
    }
    if (isPromise(item)) {
      const place = loading.length
      awaited.add(place)
      const came = (value: unknown) => {
        awaited.delete(place)
        noteFirst()
        return value
      }
      item = item.then(came, failed)
      // The first error is the batch's; the others are not unhandled.
      ;(item as Promise<unknown>).catch(() => {})
    }
    loading.push(item)
  }
  noteFirst()
  const items = await Promise.all(loading)
  Atomics.store(setup.making, 0, 0)
  return random.duringBatch(batch, () => collate(items))
}

function hasEnded({ pass }: Request): boolean {
  return Atomics.load(pass.ended, 0) === 1
}

function parts(error: unknown): ErrorParts {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: String(error) }
  const { name, message, stack = `${name}: ${message}` } = error
  return error instanceof WickError ? { name, message, stack, code: error.code } : { name, message, stack }
}
