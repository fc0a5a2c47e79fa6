/** TensorBoard's event files: protocol buffers in records with checksums, written by hand since only few messages occur. */
import type { LoggedHistogram, LoggedImage } from './logger.ts'
import { png } from './png.ts'

// Protocol buffers: each field is its number and wire type, then its value.

function varint(n: number | bigint): number[] {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, BigInt(n))
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128)
  bytes.push(Number(left))
  return bytes
}

const int = (field: number, value: number) => Buffer.from([...varint(field << 3), ...varint(Math.trunc(value))])

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes[0] = (field << 3) | 1
  bytes.writeDoubleLE(value, 1)
  return bytes
}

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes[0] = (field << 3) | 5
  bytes.writeFloatLE(value, 1)
  return bytes
}

function message(field: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(body.length)]), body])
}

const text = (field: number, value: string) => message(field, Buffer.from(value))
const doubles = (field: number, values: readonly number[]) =>
  message(field, Buffer.from(Float64Array.from(values).buffer))

/** The field of a `Summary.Value` that holds a scalar: `simple_value`. */
export const scalarValue = (value: number): Buffer => float(2, value)

/** The field for an image: `image`, with a PNG in it. */
export function imageValue(image: LoggedImage): Buffer {
  const { height, width, channels } = image
  return message(4, int(1, height), int(2, width), int(3, channels), message(4, png(image)))
}

/** The field for a histogram: `histo`. */
export function histogramValue({ min, max, count, sum, sumSquares, edges, counts }: LoggedHistogram): Buffer {
  const fields = [double(1, min), double(2, max), double(3, count), double(4, sum), double(5, sumSquares)]
  return message(5, ...fields, doubles(6, edges.slice(1)), doubles(7, counts))
}

/** An event with values by tag, at a time in milliseconds. */
export function summaryEvent(
  time: number,
  step: number,
  values: readonly (readonly [tag: string, value: Buffer])[],
): Buffer {
  const summary = values.map(([tag, value]) => message(1, text(1, tag), value))
  return Buffer.concat([double(1, time / 1000), int(2, step), message(5, ...summary)])
}

/** The first event of a file. */
export const versionEvent = (time: number): Buffer => Buffer.concat([double(1, time / 1000), text(3, 'brain.Event:2')])

/** Says that a run begins at `step`: later events of earlier files don't count. */
export const startEvent = (time: number, step: number): Buffer =>
  Buffer.concat([double(1, time / 1000), int(2, step), message(7, int(1, 1))])

// Records: length, its checksum, data, its checksum.

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1
  return c
})

/** CRC-32C, rotated and shifted as records have it. */
function maskedChecksum(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (table[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8)
  crc = (crc ^ 0xffffffff) >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** An event as a record of the file. */
export function record(event: Uint8Array): Buffer {
  const framed = Buffer.alloc(16 + event.length)
  framed.writeBigUInt64LE(BigInt(event.length), 0)
  framed.writeUInt32LE(maskedChecksum(framed.subarray(0, 8)), 8)
  framed.set(event, 12)
  framed.writeUInt32LE(maskedChecksum(event), 12 + event.length)
  return framed
}
