/** What the transforms share: the sizes of an image tensor, boxes in it, and random choices. */
import { badOption, WickError } from '../../errors.ts'
import type { Generator, Tensor } from '../../tensor/index.ts'
import { checkCount } from '../sampler.ts'

/** Where a transform's random numbers come from. */
export interface Randomness {
  /** Source of randomness. Default: the global one. */
  generator?: Generator | undefined
}

/** A part of an image, in pixels. */
export interface Box {
  top: number
  left: number
  height: number
  width: number
}

/** Sizes of an image or a stack of images; `SHAPE_MISMATCH` if `x` has fewer than the three dimensions of one. */
export function imageSizes(op: string, x: Tensor): { channels: number; height: number; width: number } {
  const [channels, height, width] = x.shape.slice(-3)
  if (channels === undefined || height === undefined || width === undefined) {
    throw new WickError('SHAPE_MISMATCH', `needs images [..., channels, height, width], not [${x.shape}]`, { op })
  }
  return { channels, height, width }
}

/** Height and width, or one number for both. */
export type Size = number | readonly [height: number, width: number]

/** The two numbers of a size. */
export function sides(op: string, size: Size): readonly [number, number] {
  const [h, w] = typeof size === 'number' ? [size, size] : size
  return [checkCount(h, 'size', op), checkCount(w, 'size', op)]
}

/** Throws `DTYPE_MISMATCH` unless `x` holds floats. */
export function checkFloat(op: string, x: Tensor): void {
  if (x.dtype.startsWith('float') || x.dtype === 'bfloat16') return
  throw new WickError('DTYPE_MISMATCH', `needs a float tensor, not ${x.dtype}`, { op })
}

/** Throws `BAD_OPTION` unless `box` lies in an image of `height` by `width`. */
export function checkBox(op: string, box: Box, height: number, width: number): void {
  const { top, left } = box
  const whole = [top, left, box.height, box.width].every(n => Number.isInteger(n) && n >= 0)
  if (whole && top + box.height <= height && left + box.width <= width) return
  throw badOption(
    op,
    `box ${box.height} x ${box.width} at (${top}, ${left}) is not in an image of ${height} x ${width}`,
  )
}

/** Throws `BAD_OPTION` unless `p` is a probability. */
export function checkProbability(op: string, p: number): number {
  if (p >= 0 && p <= 1) return p
  throw badOption(op, `p must be between 0 and 1, not ${String(p)}`)
}

/** The number in `low`..`high` that stands at the share `u` of the way. */
export const between = (u: number, low: number, high: number) => low + u * (high - low)

/** The whole number in 0..n-1 for a `u` in [0, 1). */
export const below = (u: number, n: number) => Math.min(Math.floor(u * n), n - 1)

/** Throws `BAD_OPTION` unless `range` goes upwards within 0..`most`. */
export function checkRange(op: string, name: string, range: readonly [number, number], most = Number.MAX_VALUE): void {
  const [low, high] = range
  if (low >= 0 && low <= high && high <= most) return
  throw badOption(op, `${name} must be a range in 0..${most === Number.MAX_VALUE ? '' : most}, not [${range}]`)
}

/** The next of drawn numbers, one a call. */
export function taker(values: ArrayLike<number>): () => number {
  let at = 0
  return () => values[at++] ?? 0
}
