/**
 * Errors: one class, told apart by `code`.
 *
 * ```ts
 * try {
 *   x.matmul(y)
 * } catch (error) {
 *   if (error instanceof WickError && error.code === 'SHAPE_MISMATCH') console.error(error.op, error.details.operands)
 * }
 * ```
 */

/** What went wrong, for programs. */
export type ErrorCode =
  | 'SHAPE_MISMATCH'
  | 'DTYPE_MISMATCH'
  | 'DEVICE_MISMATCH'
  | 'INDEX_OUT_OF_RANGE'
  | 'OUT_OF_MEMORY'
  | 'DISPOSED'
  | 'INPLACE_MODIFIED'
  | 'NO_GRAD'
  | 'BAD_OPTION'
  | 'BAD_FILE'
  | 'CHECKPOINT_CORRUPT'
  | 'STATE_DICT_MISMATCH'
  | 'CUDA'
  | 'NCCL'
  | 'TIMEOUT'
  | 'NOT_SUPPORTED'
  | 'NAN_LOSS'
  | 'CALLBACK_FAILED'
  | 'WORKER_FAILED'
  | 'INTERNAL'

/** What an error carries besides its message. */
export interface ErrorDetails {
  /** The operands of the op that failed, such as `float32[32, 784]`. */
  operands?: readonly string[]
  /** What else there is to know, such as `missingKeys` of a state dict. */
  [name: string]: string | number | readonly string[] | undefined
}

/** Where an error arose. */
export interface WickErrorOptions {
  /** The op that failed, by its public name. */
  op?: string
  details?: ErrorDetails
  /** The module whose `forward` was running, such as `layers.0.linear1`. */
  modulePath?: string
  cause?: unknown
}

/** The error that wick throws for everything a program can get wrong. `code` says what, `op` and `details` where. */
export class WickError extends Error {
  override readonly name = 'WickError'
  readonly code: ErrorCode
  readonly op: string | undefined
  readonly details: ErrorDetails
  /** The module whose `forward` was running, if one was; set by `Module` on the way out. */
  modulePath: string | undefined

  constructor(code: ErrorCode, message: string, { op, details = {}, modulePath, cause }: WickErrorOptions = {}) {
    const operands = details.operands?.length ? ` (${details.operands.join(', ')})` : ''
    super(`${op ? `${op}: ` : ''}${message}${operands}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.op = op
    this.details = details
    this.modulePath = modulePath
  }
}

/** An error with code `BAD_OPTION` for an option that has a wrong value. */
export function badOption(op: string, message: string): WickError {
  return new WickError('BAD_OPTION', message, { op })
}

/** Edits (insertions, deletions, replacements) that turn `a` into `b`, in any case of letters. */
function editDistance(a: string, b: string): number {
  const [from, to] = [a.toLowerCase(), b.toLowerCase()]
  let row = Array.from({ length: to.length + 1 }, (_, j) => j)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, replaced))
    }
    row = next
  }
  return row[to.length]!
}

/** The known name nearest to `given`, or undefined if none is near. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.max(2, Math.ceil(given.length / 2)) + 1
  for (const name of known) {
    const distance = editDistance(given, name)
    if (distance < least) {
      best = name
      least = distance
    }
  }
  return best
}

/**
 * Throws `BAD_OPTION` if `given` is not an object or has a key that isn't `known`; the message names the nearest known one.
 * `op` is the function whose options they are.
 */
export function checkOptions(op: string, given: object | undefined, known: readonly string[]): void {
  if (given === undefined) return
  if (given === null || typeof given !== 'object') {
    throw badOption(op, `options must be an object, not ${given === null ? 'null' : typeof given}`)
  }
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    const hint = near ? `did you mean '${near}'?` : `known options: ${known.join(', ') || 'none'}`
    throw badOption(op, `unknown option '${key}'; ${hint}`)
  }
}
