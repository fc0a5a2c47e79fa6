/** The IDX format of MNIST: magic number, sizes (big endian), bytes. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { WickError } from '../errors.ts'

/** Bytes with their shape. */
export interface IdxArray {
  shape: number[]
  data: Uint8Array
}

/** Reads a file of unsigned bytes with `rank` dimensions; `BAD_FILE` names the file, what was expected and what was found. */
export function readIdx(path: string, rank: number): IdxArray {
  const bytes = readBytes(path)
  const header = 4 + 4 * rank
  if (bytes.length < header) throw badFile(path, `a header of ${header} bytes`, `${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Two zero bytes, the type (8: unsigned byte), the rank.
  const magic = 0x0800 + rank
  const found = view.getUint32(0)
  if (found !== magic) throw badFile(path, `magic number ${hex(magic)}`, hex(found))
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i))
  const size = header + shape.reduce((a, b) => a * b, 1)
  if (bytes.length !== size) {
    throw badFile(path, `${size} bytes for ${shape.join(' x ')} elements`, `${bytes.length}`)
  }
  return { shape, data: bytes.subarray(header) }
}

function readBytes(path: string): Uint8Array {
  try {
    const bytes = readFileSync(path)
    return path.endsWith('.gz') ? gunzipSync(bytes) : bytes
  } catch (error) {
    throw badFile(path, 'an IDX file', error instanceof Error ? error.message : String(error))
  }
}

const hex = (n: number) => `0x${n.toString(16).padStart(8, '0')}`

function badFile(path: string, expected: string, found: string): WickError {
  return new WickError('BAD_FILE', `${path}: expected ${expected}, found ${found}`)
}
