/** Sizes that are one number for both directions of an image, or `[height, width]`. */
import { badOption } from '../errors.ts'

/** One whole number for height and width, or `[height, width]`. */
export type Pair = number | readonly [number, number]

/** Both numbers of option `name` of `op`. Throws `BAD_OPTION` unless they are whole numbers of at least `least`. */
export function pair(op: string, name: string, value: Pair, least: number): [number, number] {
  const both: readonly number[] = typeof value === 'number' ? [value, value] : value
  const [height, width] = both
  const valid = (n: number | undefined): n is number => Number.isInteger(n) && n! >= least
  if (both.length !== 2 || !valid(height) || !valid(width)) {
    const given = Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
    throw badOption(op, `${name} must be a whole number of at least ${least}, or [height, width] of such, not ${given}`)
  }
  return [height, width]
}
