/**
 * Augmentation of image tensors [..., channels, height, width]. Most transforms have two uses: `randomCrop(x, 32, options)` applies, and
 * `randomCrop(32, options)` makes a step of `compose`, which an `ImageFolder` runs natively. Random ones draw from a `generator`, a
 * step from its item's; one draw holds for all images of a tensor, so call them for each item.
 *
 * ```ts
 * const { compose, normalize, randomCrop, randomHorizontalFlip } = data.transforms
 * const augment = compose(
 *   randomCrop(32, { padding: 4 }),
 *   randomHorizontalFlip(),
 *   normalize([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]),
 * )
 * const augmented = new data.MapDataset(train, ([x, y], _, context): [Tensor, Tensor] => [augment(x, context), y])
 * ```
 */
export {
  adjustBrightness,
  adjustContrast,
  adjustHue,
  adjustSaturation,
  type ColorJitterOptions,
  colorJitter,
  type FactorRange,
  grayscale,
} from './color.ts'
export { compose, type Transform } from './compose.ts'
export {
  type CropOptions,
  centerCrop,
  crop,
  type ResizedCropOptions,
  randomCrop,
  randomResizedCrop,
} from './crop.ts'
export { type ErasingOptions, erase, type Fill, randomErasing } from './erasing.ts'
export { type FlipOptions, horizontalFlip, randomHorizontalFlip, randomVerticalFlip, verticalFlip } from './flip.ts'
export type { Box, Randomness, Size } from './image.ts'
export { cutmix, type Mixed, type MixOptions, mixup, type SoftTargetOptions, softTargets } from './mix.ts'
export { normalize, toTensor } from './normalize.ts'
export { type RandAugmentOptions, randAugment } from './rand-augment.ts'
export { type Interpolation, type ResizeOptions, resize } from './resize.ts'
export type { ImageStep, NativeStep, TwoUses } from './step.ts'
