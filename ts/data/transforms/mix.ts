/** Images of a batch mixed with one another: mixup (Zhang et al.) and CutMix (Yun et al.). */
import { badOption, checkOptions, WickError } from '../../errors.ts'
import { fromTypedArray, type Tensor, where } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { checkCount } from '../sampler.ts'
import { type Box, below, checkFloat, imageSizes, type Randomness, taker } from './image.ts'

/** Options of `mixup` and `cutmix`. */
export interface MixOptions extends Randomness {
  /** Both parameters of the Beta distribution that `lambda` is drawn from. Default 1: any share is as likely as another. */
  alpha?: number | undefined
}

/** A mixed batch. The loss is `lambda` parts that of `labels` and 1 - lambda that of `otherLabels`; see also `softTargets`. */
export interface Mixed {
  images: Tensor
  /** The labels as they were. */
  labels: Tensor
  /** Those of the images that were mixed in. */
  otherLabels: Tensor
  /** The share of each image that is its own. */
  lambda: number
}

/** Each image of a batch blended with the one before it (the first with the last) in a random share. */
export function mixup(images: Tensor, labels: Tensor, options: MixOptions = {}): Mixed {
  const next = drawFor('mixup', images, labels, options, 2)
  return mixupBy(images, labels, symmetricBeta(options.alpha ?? 1, next(), next()))
}

/**
 * Each image of a batch with a random rectangle of the one before it (the first has one of the last). `lambda` is the share of the
 * area that stayed.
 */
export function cutmix(images: Tensor, labels: Tensor, options: MixOptions = {}): Mixed {
  const next = drawFor('cutmix', images, labels, options, 4)
  const { height, width } = imageSizes('cutmix', images)
  const share = symmetricBeta(options.alpha ?? 1, next(), next())
  const box = boxFor(share, below(next(), height), below(next(), width), height, width)
  return cutmixBy(images, labels, box)
}

/** Options of `softTargets`. */
export interface SoftTargetOptions {
  /** The share of the target that is spread over all classes. Default 0. */
  labelSmoothing?: number | undefined
}

/**
 * The targets of a mixed batch as probabilities float32 [n, numClasses], for `crossEntropy`. Labels are int64 [n], or probabilities
 * already.
 */
export function softTargets(mixed: Mixed, numClasses: number, options: SoftTargetOptions = {}): Tensor {
  checkOptions('softTargets', options, ['labelSmoothing'])
  const smoothing = options.labelSmoothing ?? 0
  if (!(smoothing >= 0 && smoothing <= 1)) {
    throw badOption('softTargets', `labelSmoothing must be between 0 and 1, not ${smoothing}`)
  }
  const classes = checkCount(numClasses, 'numClasses', 'softTargets')
  const { lambda } = mixed
  const own = probabilities(mixed.labels, classes).mul(lambda)
  const target = own.add(probabilities(mixed.otherLabels, classes).mul(1 - lambda))
  return smoothing === 0 ? target : target.mul(1 - smoothing).add(smoothing / classes)
}

function probabilities(labels: Tensor, classes: number): Tensor {
  if (labels.ndim === 1) return labels.oneHot(classes).to({ dtype: 'float32' })
  if (labels.ndim === 2 && labels.shape[1] === classes) return labels
  throw new WickError('SHAPE_MISMATCH', `needs labels [n] or [n, ${classes}], not [${labels.shape}]`, {
    op: 'softTargets',
  })
}

/** `mixup` with a given share. */
export function mixupBy(images: Tensor, labels: Tensor, lambda: number): Mixed {
  const mixed = images.mul(lambda).add(images.roll(1, 0).mul(1 - lambda))
  return { images: mixed, labels, otherLabels: labels.roll(1, 0), lambda }
}

/** `cutmix` with a given rectangle. */
export function cutmixBy(images: Tensor, labels: Tensor, box: Box): Mixed {
  const { height, width } = imageSizes('cutmix', images)
  // A mask and not a part of the image, so that all steps have tensors of one size, which can be replayed.
  const inside = new Uint8Array(height * width)
  for (let row = box.top; row < box.top + box.height; row++) {
    inside.fill(1, row * width + box.left, row * width + box.left + box.width)
  }
  const mask = fromTypedArray(inside, [height, width], { dtype: 'bool', device: images.device })
  const lambda = 1 - (box.height * box.width) / (height * width)
  return { images: where(mask, images.roll(1, 0), images), labels, otherLabels: labels.roll(1, 0), lambda }
}

/** The rectangle of the share 1 - lambda around a pixel, cut at the image's edges. */
export function boxFor(lambda: number, row: number, column: number, height: number, width: number): Box {
  const half = 0.5 * Math.sqrt(1 - lambda)
  const [halfHeight, halfWidth] = [Math.trunc(half * height), Math.trunc(half * width)]
  const top = Math.max(0, row - halfHeight)
  const left = Math.max(0, column - halfWidth)
  const bottom = Math.min(height, row + halfHeight)
  const right = Math.min(width, column + halfWidth)
  return { top, left, height: bottom - top, width: right - left }
}

function drawFor(op: string, images: Tensor, labels: Tensor, options: MixOptions, count: number): () => number {
  checkOptions(op, options, ['alpha', 'generator'])
  const { alpha = 1, generator } = options
  if (!(alpha > 0 && Number.isFinite(alpha))) throw badOption(op, `alpha must be above 0, not ${alpha}`)
  checkFloat(op, images)
  if (images.ndim !== 4 || labels.shape[0] !== images.shape[0]) {
    throw new WickError('SHAPE_MISMATCH', 'needs images [n, channels, height, width] and n labels', {
      op,
      details: { operands: [`images[${images.shape}]`, `labels[${labels.shape}]`] },
    })
  }
  return taker(uniform(count, generator))
}

/** A number from Beta(alpha, alpha) out of two uniform ones in [0, 1): Bailey's polar method for Student's t, as Devroye turns it. */
export function symmetricBeta(alpha: number, u: number, v: number): number {
  const side = Math.cos(2 * Math.PI * v)
  const square = ((1 - u) ** (-1 / alpha) - 1) * side ** 2
  return 0.5 + (Math.sign(side) * 0.5) / Math.sqrt(1 + 1 / square)
}
