/** A pass over the images of a folder, in batches that native threads make. */
import { onDevice } from '../../tensor/tree.ts'
import { createCollate } from '../collate.ts'
import { ItemRandom } from '../item-random.ts'
import type { BatchReader } from '../reader.ts'
import type { IndexBatches } from '../sampler.ts'
import { type ImageArrival, ImageDecoder } from './decoder.ts'
import type { ImageFolder } from './folder.ts'

/** What a pass over a folder's images needs. */
export interface ImagePassOptions {
  /** The items of the folder that the dataset's stand for; null means all in order. */
  indices: Uint32Array | null
  /** Decoding threads; 0 means one for each core. */
  threads: number
  /** Batches asked for ahead. */
  prefetch: number
  epoch: number
  /** Where batches are made. */
  device: string | undefined
  /** The device's number. */
  deviceCode: number
}

/** A batch on its way, with the numbers of its items in the folder. */
interface Coming {
  readonly arriving: Promise<ImageArrival>
  readonly items: readonly number[]
}

/** Batches `[images, labels]` in the order of `batches`. No more are asked for than the next one and `prefetch`. */
export function imageReader<Batch>(
  folder: ImageFolder<unknown, unknown>,
  batches: IndexBatches,
  { indices, threads, prefetch, epoch, device, deviceCode }: ImagePassOptions,
): BatchReader<Batch> {
  const decoder = new ImageDecoder(folder.nativeSteps ?? [], threads)
  const random = new ItemRandom(epoch)
  const collate = createCollate<unknown>()
  const iterator = batches[Symbol.iterator]()
  const queue: Coming[] = []
  let current: { arrival: ImageArrival; items: readonly number[] } | undefined
  let isClosed = false

  const fill = () => {
    while (queue.length <= prefetch) {
      const { done, value } = iterator.next()
      if (done) return
      const asked = Array.from(value, index => ({ item: indices?.[index] ?? index, seed: random.generatorSeed(index) }))
      const requests = asked.map(({ item, seed }) => ({ sample: item, path: folder.samples[item]?.[0] ?? '', seed }))
      const arriving = decoder.request(requests)
      // An error belongs to whoever waits for this batch; until then it is not unhandled.
      arriving.catch(() => {})
      queue.push({ arriving, items: asked.map(({ item }) => item) })
    }
  }
  return {
    next() {
      if (isClosed) return false
      fill()
      const coming = queue.shift()
      if (!coming) return false
      const accept = (arrival: ImageArrival) => {
        if (isClosed) arrival.drop()
        else current = { arrival, items: coming.items }
        return !isClosed
      }
      return coming.arriving.then(accept, error => {
        if (isClosed) return false
        throw error
      })
    },
    take() {
      const { arrival, items } = current as NonNullable<typeof current>
      current = undefined
      const images = arrival.take(Math.max(deviceCode, 0))
      const labels = collate(items.map(item => folder.target(item)))
      return [images, device === undefined ? labels : onDevice(labels, device)] as Batch
    },
    close() {
      isClosed = true
      decoder.cancel()
      current?.arrival.drop()
      current = undefined
      for (const { arriving } of queue.splice(0)) {
        arriving.then(
          arrival => arrival.drop(),
          () => {},
        )
      }
      iterator.return?.()
    },
  }
}
