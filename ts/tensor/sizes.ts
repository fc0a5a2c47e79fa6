/** Sizes and dimensions as callers write them: one by one or in an array. */
import { badOption, WickError } from '../errors.ts'

/** Highest rank of a tensor. */
export const MAX_RANK = 8

/** Numbers one by one, or in one array: `x.reshape(2, 3)` and `x.reshape([2, 3])`. */
export type Numbers = readonly number[] | readonly [readonly number[]]

/** One dimension or several; negative ones count from the end. */
export type Dims = number | readonly number[]

/** `value`, which must be a number. */
export function num(op: string, name: string, value: number): number {
  if (typeof value === 'number') return value
  throw badOption(op, `${name} must be a number, not ${value === null ? 'null' : typeof value}`)
}

/** `value`, which must be a whole number: a dimension, an index, or a count of at least `least`. */
export function whole(op: string, name: string, value: number, least = Number.MIN_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  const kind = least === 0 ? 'a whole number of at least 0' : 'a whole number'
  throw badOption(op, `${name} must be ${kind}, not ${typeof value === 'number' ? value : typeof value}`)
}

/** `value`, which must be an array. */
export function list<T>(op: string, name: string, value: readonly T[]): readonly T[] {
  if (Array.isArray(value)) return value
  throw badOption(op, `${name} must be an array, not ${value === null ? 'null' : typeof value}`)
}

/** The list that `given` stands for; anything but whole numbers is an error. */
export function listOf(op: string, given: Numbers): readonly number[] {
  const head = given[0]
  const all = typeof head === 'object' ? list(op, 'the argument', head) : (given as readonly number[])
  for (let i = 0; i < all.length; i++) {
    if (!Number.isInteger(all[i])) throw badOption(op, `expected whole numbers, got ${String(all[i])}`)
  }
  return all
}

/** A shape: a size, or several, none of them negative. */
export function shapeOf(op: string, given: Dims): readonly number[] {
  const shape = typeof given === 'number' ? [given] : given
  if (!Array.isArray(shape)) throw badOption(op, `expected a shape, got ${String(given)}`)
  for (const n of shape) {
    if (!Number.isInteger(n)) throw badOption(op, `a size must be a whole number, not ${String(n)}`)
    if (n < 0) throw new WickError('SHAPE_MISMATCH', `[${shape}] has a negative size`, { op })
  }
  return shape
}

/** Dimension `dim` of a tensor of rank `rank`, counted from the front. */
export function dimOf(op: string, rank: number, dim: number): number {
  const at = dim < 0 ? dim + rank : dim
  if (!Number.isInteger(at) || at < 0 || at >= rank) {
    const range = rank === 0 ? 'it has no dimensions' : `-${rank} to ${rank - 1}`
    throw new WickError('INDEX_OUT_OF_RANGE', `dim ${dim} is out of range for a tensor of rank ${rank} (${range})`, {
      op,
    })
  }
  return at
}

/** Several dimensions, or all of them. */
export function dimsOf(op: string, rank: number, dims: Dims | undefined): number[] {
  if (dims === undefined) return Array.from({ length: rank }, (_, i) => i)
  return (typeof dims === 'number' ? [dims] : list(op, 'dims', dims)).map(d => dimOf(op, rank, d))
}

/** The number of elements of a shape. */
export function numelOf(shape: readonly number[]): number {
  let n = 1
  for (let i = 0; i < shape.length; i++) n *= shape[i]!
  return n
}

/** The shape that two shapes broadcast to. */
export function broadcastOf(op: string, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, d) => {
    const [m, n] = [a[d - rank + a.length] ?? 1, b[d - rank + b.length] ?? 1]
    if (m !== n && m !== 1 && n !== 1) {
      throw new WickError('SHAPE_MISMATCH', `[${a}] and [${b}] can't be broadcast together`, { op })
    }
    return m === 1 ? n : m
  })
}
