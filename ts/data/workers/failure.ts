/** What went wrong in a worker, ready to be sent. */
import { WickError } from '../../errors.ts'
import type { ErrorParts } from './messages.ts'

/** An error in making an item. */
export class ItemFailure {
  readonly item: number
  readonly error: unknown

  constructor(item: number, error: unknown) {
    this.item = item
    this.error = error
  }
}

/** An error taken apart. */
export function errorParts(error: unknown): ErrorParts {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: String(error) }
  const { name, message, stack = `${name}: ${message}` } = error
  return error instanceof WickError ? { name, message, stack, code: error.code } : { name, message, stack }
}
