/** What `assert.throws` and `assert.rejects` take for a `WickError`. */
import assert from 'node:assert/strict'
import { WickError } from '../../ts/index.ts'

/** An error of the given code, with a message like `text`. */
export const code = (expected: string, text?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof WickError, String(error))
  assert.equal(error.code, expected)
  if (text) assert.match(error.message, text)
  return true
}
