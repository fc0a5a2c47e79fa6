/** JSON Lines: a file with a JSON value on each line. */
import type { Dataset } from './dataset.ts'
import { findLines, RecordFile } from './record-file.ts'

/**
 * The values of a JSON Lines file; empty lines are left out. Only the places of lines are held in memory, and a line is parsed
 * when it is asked for. What can't be read or parsed is a `BAD_FILE` error that names the line. `Item` is what the file holds:
 * it isn't checked.
 *
 * ```ts
 * const reviews = data.jsonl<{ text: string; stars: number }>('reviews.jsonl')
 * ```
 */
export function jsonl<Item = unknown>(path: string): Dataset<Item> {
  const file = new RecordFile(path, findLines(false))
  return {
    length: file.length,
    get(index) {
      const text = file.text(index, 'jsonl')
      try {
        return JSON.parse(text) as Item
      } catch (error) {
        throw file.bad(index, error instanceof Error ? error.message : String(error))
      }
    },
  }
}
