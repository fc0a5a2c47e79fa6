/**
 * Augmentation of image tensors [..., channels, height, width], as plain functions. Those that are random take a `generator`; one
 * draw holds for all images of a tensor, so call them for each item.
 *
 * ```ts
 * const augment = data.transforms.compose(
 *   (x, { generator }) => data.transforms.randomCrop(x, 32, { padding: 4, generator }),
 *   data.transforms.randomHorizontalFlip,
 *   x => data.transforms.normalize(x, [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]),
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
export { type CropOptions, centerCrop, crop, randomCrop } from './crop.ts'
export { type ErasingOptions, erase, type Fill, randomErasing } from './erasing.ts'
export { type FlipOptions, horizontalFlip, randomHorizontalFlip, randomVerticalFlip, verticalFlip } from './flip.ts'
export type { Box, Randomness } from './image.ts'
export { cutmix, type Mixed, type MixOptions, mixup, type SoftTargetOptions, softTargets } from './mix.ts'
export { normalize } from './normalize.ts'
