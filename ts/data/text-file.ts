/** Lines of a text file as a dataset. */
import type { Dataset } from './dataset.ts'
import { findLines, RecordFile } from './record-file.ts'

/**
 * The lines of a UTF-8 file, empty ones too, without their ends (LF or CRLF). Only the places of lines are held in memory. A file
 * that can't be read is a `BAD_FILE` error.
 */
export function textFile(path: string): Dataset<string> {
  const file = new RecordFile(path, findLines(true))
  return { length: file.length, get: index => file.text(index, 'textFile') }
}
