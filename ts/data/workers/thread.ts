/** A loader's worker thread: makes the batches that it is asked for, one after the other. */
import { workerData } from 'node:worker_threads'
import { asyncScope } from '../../tensor/memory.ts'
import type { Dataset } from '../dataset.ts'
import { ItemRandom } from '../item-random.ts'
import { isPromise } from '../reader.ts'
import { type IterableDataset, isIterable } from '../stream.ts'
import { errorParts, ItemFailure } from './failure.ts'
import { setWorkerInfo } from './info.ts'
import type { Answer, End, Request, WorkerSetup } from './messages.ts'
import { importDataset } from './module.ts'
import { Packed } from './packing.ts'
import { Ring } from './ring.ts'
import { Share } from './share.ts'

const setup: WorkerSetup = workerData
const { port } = setup
// Of no use to the dataset's module.
Reflect.deleteProperty(workerData, 'port')
setWorkerInfo(setup.id, setup.numWorkers)
const opened = importDataset(setup)
const ring = new Ring()
let sentRing = ring.buffer
/** What passes over an iterable dataset have open, by the pass's number. */
const shares = new Map<number, Share>()
let work = opened.then(
  () => {},
  error => send({ kind: 'broken', error: errorParts(error) }),
)

port.on('message', (message: Request | End) => {
  if (message.kind === 'batch') ring.release(message.released)
  work = work.then(() => (message.kind === 'batch' ? answer(message) : end(message)))
})

function end({ pass }: End): void {
  shares.get(pass.id)?.close()
  shares.delete(pass.id)
}

function send(message: Answer): void {
  port.postMessage(message)
}

/** Makes a batch in a scope of its own: what it leaves behind is freed, but for what the dataset keeps. */
async function answer(request: Request): Promise<void> {
  const { id } = request
  if (hasEnded(request)) return
  setWorkerInfo(setup.id, setup.numWorkers, request.pass)
  try {
    await asyncScope(async () => {
      const { dataset, collate } = await opened
      const isShared = isIterable(dataset)
      const items = isShared ? await readShare(dataset, request) : await makeItems(dataset, request)
      if (hasEnded(request)) return
      if (request.skips || (isShared && items.length === 0)) {
        send({ kind: 'passed', id, items: items.length })
        return
      }
      Atomics.store(setup.making, 0, 0)
      const random = new ItemRandom(request.pass.epoch, request.pass.seed)
      const packed = new Packed(random.duringBatch(request.batch, () => collate(items)))
      const { id: region, start } = ring.place(packed.bytes)
      packed.write(ring.buffer, start)
      const grown = ring.buffer === sentRing ? {} : { ring: ring.buffer }
      sentRing = ring.buffer
      send({ kind: 'batch', id, form: packed.form, items: items.length, region, start, ...grown })
    })
  } catch (failure) {
    if (failure instanceof ItemFailure)
      send({ kind: 'failed', id, item: failure.item, error: errorParts(failure.error) })
    else send({ kind: 'failed', id, error: errorParts(failure) })
  } finally {
    Atomics.store(setup.making, 0, 0)
  }
}

/** The next items of the worker's share in the request's pass. */
function readShare(dataset: IterableDataset<unknown>, request: Request): Promise<unknown[]> {
  const { pass, indices } = request
  let share = shares.get(pass.id)
  if (!share) {
    share = new Share(dataset, pass, setup)
    shares.set(pass.id, share)
  }
  return share.read(indices, () => hasEnded(request))
}

/** The items at the request's indices; some of them, if the pass has ended. */
async function makeItems(dataset: Dataset<unknown>, request: Request): Promise<unknown[]> {
  const { pass, indices } = request
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
    if (hasEnded(request)) return []
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
  return Promise.all(loading)
}

function hasEnded({ pass }: Request): boolean {
  return Atomics.load(pass.ended, 0) === 1
}
