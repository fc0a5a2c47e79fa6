/** The threads that decode images and run native steps on them. */
import { availableParallelism } from 'node:os'
import { type ErrorCode, WickError } from '../../errors.ts'
import { native } from '../../native/index.ts'
import { Tensor } from '../../tensor/index.ts'
import type { NativeStep } from '../transforms/step.ts'

type ImageLoader = ReturnType<typeof native.newImageLoader>
type ImageBatch = NonNullable<Awaited<ReturnType<typeof native.requestImages>>['batch']>

/** An image to be made: its number in the dataset, its file, and the seed of its random numbers. */
export interface ImageRequest {
  readonly sample: number
  readonly path: string
  readonly seed: number
}

/** A batch that came; it has to be taken or dropped. */
export interface ImageArrival {
  /** The images as a tensor [n, 3, height, width] on a device, by its number. */
  take(device: number): Tensor
  drop(): void
}

/** Decodes files and runs `steps` on them, on `threads` threads (0: one for each core), which begin with the first request. */
export class ImageDecoder {
  readonly #loader: ImageLoader

  constructor(steps: readonly NativeStep[], threads = 0) {
    this.#loader = native.newImageLoader(
      steps.map(step => step.name),
      steps.map(step => [...step.numbers]),
      threads || availableParallelism(),
    )
  }

  /** Asks for a batch. Random numbers begin at `offset` of each item's stream. */
  async request(items: readonly ImageRequest[], offset = 0): Promise<ImageArrival> {
    const paths = items.map(item => item.path)
    const seeds = Float64Array.from(items, item => item.seed)
    const { batch, failure } = await native.requestImages(this.#loader, paths, seeds, offset)
    if (batch) return arrival(batch)
    const item = items[failure?.position ?? 0]
    const message = failure?.message ?? 'no images came'
    throw new WickError((failure?.code ?? 'INTERNAL') as ErrorCode, `sample ${item?.sample}: ${message}`, {
      op: 'ImageFolder',
      details: { sample: item?.sample, path: item?.path },
    })
  }

  /** Gives up what was asked for. */
  cancel(): void {
    native.cancelImages(this.#loader)
  }
}

function arrival(batch: ImageBatch): ImageArrival {
  return {
    take: device => new Tensor(native.takeImages(batch, device)),
    drop: () => native.dropImages(batch),
  }
}
