/** A text file of records, of which only the places are held in memory. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { WickError } from '../errors.ts'
import { checkIndex } from './dataset.ts'

const CHUNK = 1 << 20
const LF = 10

/** Closes files whose datasets were collected. */
const collected = new FinalizationRegistry<number>(fd => closeSync(fd))

/** What finds records in bytes that come in pieces. */
export interface RecordFinder {
  /** Takes the next bytes of the file, which stand at `start`. */
  push(bytes: Uint8Array, start: number): void
  /** The file ends at `size`. */
  end(size: number): void
}

/** The records of a file: their places, and the text of each. */
export class RecordFile {
  readonly path: string
  readonly #fd: number
  readonly #starts: Float64Array
  readonly #ends: Float64Array

  /** `find` makes what finds the records and tells them to `add` (first byte, byte after the last). */
  constructor(path: string, find: (add: (start: number, end: number) => void, fail: Fail) => RecordFinder) {
    this.path = path
    this.#fd = openFile(path)
    collected.register(this, this.#fd)
    const starts = new Places()
    const ends = new Places()
    const finder = find(
      (start, end) => {
        starts.push(start)
        ends.push(end)
      },
      (line, message) => badLine(path, line, message),
    )
    const buffer = new Uint8Array(CHUNK)
    let at = 0
    for (let n = this.#read(buffer, at); n > 0; n = this.#read(buffer, at)) {
      // Files of some systems begin with the mark of UTF-8.
      const mark = at === 0 && buffer[0] === 0xef && buffer[1] === 0xbb && buffer[2] === 0xbf ? 3 : 0
      finder.push(buffer.subarray(mark, n), at + mark)
      at += n
    }
    finder.end(at)
    this.#starts = starts.all()
    this.#ends = ends.all()
  }

  /** Number of records. */
  get length(): number {
    return this.#starts.length
  }

  /** The text of record `index`. */
  text(index: number, op: string): string {
    checkIndex(index, this.length, op)
    const start = this.#starts[index] ?? 0
    const bytes = Buffer.allocUnsafe((this.#ends[index] ?? 0) - start)
    if (this.#read(bytes, start) < bytes.length) {
      throw new WickError('BAD_FILE', `${this.path}: it has become shorter since it was opened`, { op })
    }
    return bytes.toString('utf8')
  }

  /** An error about record `index`, with its line, which is counted now. */
  bad(index: number, message: string): WickError {
    return badLine(this.path, this.#line(this.#starts[index] ?? 0), message)
  }

  #line(place: number): number {
    const buffer = new Uint8Array(CHUNK)
    let line = 1
    for (let at = 0; at < place; ) {
      const n = this.#read(buffer, at)
      if (n === 0) break
      const part = buffer.subarray(0, Math.min(n, place - at))
      for (let i = part.indexOf(LF); i !== -1; i = part.indexOf(LF, i + 1)) line++
      at += n
    }
    return line
  }

  #read(into: Uint8Array, from: number): number {
    let done = 0
    while (done < into.length) {
      const n = readSync(this.#fd, into, done, into.length - done, from + done)
      if (n === 0) break
      done += n
    }
    return done
  }
}

/** Makes the error for a line, which counts from 1. */
type Fail = (line: number, message: string) => WickError

/** Finds lines, with LF or CRLF at their ends; empty ones are left out unless `keepEmpty`. */
export function findLines(keepEmpty: boolean): (add: (start: number, end: number) => void) => RecordFinder {
  return add => {
    let start = -1
    let lastByte = 0
    const found = (end: number, last: number) => {
      const stop = last === 13 && end > start ? end - 1 : end
      if (keepEmpty || stop > start) add(start, stop)
    }
    return {
      push(bytes, at) {
        if (start === -1) start = at
        for (let i = bytes.indexOf(LF); i !== -1; i = bytes.indexOf(LF, i + 1)) {
          found(at + i, i > 0 ? (bytes[i - 1] ?? 0) : lastByte)
          start = at + i + 1
        }
        lastByte = bytes.at(-1) ?? lastByte
      },
      end(size) {
        if (start !== -1 && size > start) found(size, lastByte)
      },
    }
  }
}

function badLine(path: string, line: number, message: string): WickError {
  return new WickError('BAD_FILE', `${path}:${line}: ${message}`, { details: { line } })
}

function openFile(path: string): number {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw new WickError('BAD_FILE', `${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new WickError('BAD_FILE', `${path}: this is not a file`)
}

/** A list of places that grows: Float64Array, since a place can be beyond 32 bits. */
class Places {
  #values = new Float64Array(1024)
  #length = 0

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(2 * this.#length)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#length++] = value
  }

  all(): Float64Array {
    return this.#values.slice(0, this.#length)
  }
}
