/**
 * `ImageFolder`: labelled images in a folder for each class, decoded natively.
 *
 * ```ts
 * const { compose, normalize, randomHorizontalFlip, randomResizedCrop, toTensor } = data.transforms
 * const transform = compose(
 *   randomResizedCrop(224),
 *   randomHorizontalFlip(),
 *   toTensor(),
 *   normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
 * )
 * const dataset = new data.ImageFolder('images/train', { transform })
 * ```
 */
import { badOption, checkOptions } from '../../errors.ts'
import { native } from '../../native/index.ts'
import type { Generator, Tensor } from '../../tensor/index.ts'
import { generatorId, getRngState } from '../../tensor/random.ts'
import { behindSubsets, checkIndex, type Dataset } from '../dataset.ts'
import type { ItemContext } from '../item-random.ts'
import { nativeSteps } from '../transforms/compose.ts'
import type { Randomness } from '../transforms/image.ts'
import type { NativeStep } from '../transforms/step.ts'
import { ImageDecoder } from './decoder.ts'
import { findClasses, findSamples, type ImageSample } from './files.ts'

/** Options of `ImageFolder`. */
export interface ImageFolderOptions<Image = Tensor, Target = number> {
  /**
   * What is done with an image, uint8 [3, height, width]. Steps of `data.transforms` (also composed) run on the decoding threads; any other
   * function runs in JavaScript. Default: nothing.
   */
  transform?: ((x: Tensor, context: Randomness) => Image) | undefined
  /** What is made of the number of a class. */
  targetTransform?: ((label: number) => Target) | undefined
  /** Endings of the files that count, in any case of letters. Default `.jpg`, `.jpeg` and `.png`. */
  extensions?: readonly string[] | undefined
  /** Which files count, in place of `extensions`. */
  isValidFile?: ((path: string) => boolean) | undefined
  /** Whether classes may have no images. Default false. */
  allowEmpty?: boolean | undefined
}

/** Offsets of a generator that an image has to itself: what the steps can draw fits into them. */
const STRETCH = 2 ** 20

/**
 * The images below the folder of each class in `dir`: item i is `[image, label]`. `classes` are the folders' names in order, and a
 * label is a place among them. JPEG and PNG files become RGB; what a file says about orientation is ignored, as in torchvision. Items are made
 * on other threads. A loader with the default collate reads the batches of a native transform natively, also through `Subset`: `numWorkers`
 * is then the number of decoding threads, by default one for each core, and needs no `worker`.
 *
 * A folder without images of a class, and a file that can't be decoded, are `BAD_FILE` errors; `details` has the `sample`'s index and its `path`.
 */
export class ImageFolder<Image = Tensor, Target = number> implements Dataset<[Image, Target]> {
  /** Names of the classes, in order. */
  readonly classes: readonly string[]
  /** The number of each class. */
  readonly classToIdx: Readonly<Record<string, number>>
  /** Each image's file, and the number of its class. */
  readonly samples: readonly ImageSample[]
  readonly #targetTransform: ((label: number) => Target) | undefined
  readonly #transform: ((x: Tensor, context: Randomness) => Image) | undefined
  readonly #steps: readonly NativeStep[] | null
  #decoder: ImageDecoder | undefined

  constructor(dir: string, options: ImageFolderOptions<Image, Target> = {}) {
    const op = 'ImageFolder'
    checkOptions(op, options, ['transform', 'targetTransform', 'extensions', 'isValidFile', 'allowEmpty'])
    if (typeof dir !== 'string') throw badOption(op, 'needs the folder of its classes')
    const { transform, targetTransform, extensions, isValidFile, allowEmpty = false } = options
    for (const [name, value] of Object.entries({ transform, targetTransform, isValidFile })) {
      if (value !== undefined && typeof value !== 'function') throw badOption(op, `${name} must be a function`)
    }
    if (extensions && isValidFile) throw badOption(op, 'isValidFile decides about files; give it or extensions')
    const endings = (extensions ?? ['.jpg', '.jpeg', '.png']).map(ending => ending.toLowerCase())
    const wanted = isValidFile ?? ((path: string) => endings.some(ending => path.toLowerCase().endsWith(ending)))
    this.classes = findClasses(dir)
    this.classToIdx = Object.fromEntries(this.classes.map((name, i) => [name, i]))
    this.samples = findSamples(dir, this.classes, wanted, allowEmpty)
    this.#steps = transform ? runnable(nativeSteps(transform)) : []
    this.#transform = transform
    this.#targetTransform = targetTransform
  }

  /** Number of images. */
  get length(): number {
    return this.samples.length
  }

  /** The native steps that make the images; null if a function in JavaScript does. */
  get nativeSteps(): readonly NativeStep[] | null {
    return this.#steps
  }

  /** What item `index` has as its label. */
  target(index: number): Target {
    const label = this.samples[index]?.[1] ?? 0
    // Without `targetTransform`, Target is number, as its default says.
    return this.#targetTransform ? this.#targetTransform(label) : (label as Target)
  }

  async get(index: number, context?: ItemContext): Promise<[Image, Target]> {
    checkIndex(index, this.length, 'ImageFolder')
    const path = this.samples[index]?.[0] ?? ''
    this.#decoder ??= new ImageDecoder(this.#steps ?? [])
    const { seed, offset } = this.#steps ? takeStretch(context?.generator) : { seed: 0, offset: 0 }
    const arrival = await this.#decoder.request([{ sample: index, path, seed }], offset)
    const batch = arrival.take(0)
    const image = batch.select(0, 0)
    batch.dispose()
    // A native transform gives tensors.
    if (this.#steps || !this.#transform) return [image as Image, this.target(index)]
    return [this.#transform(image, context ?? {}), this.target(index)]
  }
}

/** Where a generator stands; it goes on behind what the steps of an image may draw. */
function takeStretch(generator: Generator | undefined): { seed: number; offset: number } {
  const { seed, offset } = generator?.getState() ?? getRngState()
  native.setGeneratorState(generatorId(generator), seed, offset + STRETCH)
  return { seed, offset }
}

/** Steps that can run natively: first those on bytes, then `toTensor`, then those on floats. Others run in JavaScript. */
function runnable(steps: readonly NativeStep[] | null): readonly NativeStep[] | null {
  const onFloats = ['normalize', 'randomErasing']
  const at = steps?.findIndex(step => step.name === 'toTensor') ?? -1
  const isRunnable = steps?.every((step, i) => {
    if (i === at) return true
    const isLater = at !== -1 && i > at
    return step.name !== 'toTensor' && onFloats.includes(step.name) === isLater
  })
  return isRunnable ? (steps ?? null) : null
}

/** The image folder behind `dataset`, also through `Subset`s, if its images are made natively. */
export function nativeFolder(
  given: Dataset<unknown>,
): { folder: ImageFolder<unknown, unknown>; indices: Uint32Array | null } | null {
  const { dataset, indices } = behindSubsets(given)
  if (!(dataset instanceof ImageFolder) || dataset.get !== ImageFolder.prototype.get) return null
  return dataset.nativeSteps ? { folder: dataset, indices } : null
}
