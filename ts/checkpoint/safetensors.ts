/** Safetensors as bytes: a snapshot of tensors is made at once, straight into the image of the file that is written later. */
import { WickError } from '../errors.ts'
import { isCount, isRecord, isText, listOf, recordOf, withFields } from '../forms.ts'
import { native } from '../native/index.ts'
import { deviceCode, dtypeBytes, dtypeCode } from '../tensor/dtype.ts'
import { type DType, Tensor } from '../tensor/index.ts'

const fileNames: Record<DType, string> = {
  bool: 'BOOL',
  uint8: 'U8',
  int32: 'I32',
  int64: 'I64',
  float16: 'F16',
  bfloat16: 'BF16',
  float32: 'F32',
  float64: 'F64',
}
const dtypesByFileName = new Map(Object.entries(fileNames).map(([dtype, name]) => [name, dtype as DType]))

/** Bytes of the header's length at a file's start. */
export const PREFIX = 8

/** A tensor's place in a file. */
export interface TensorPlace {
  dtype: DType
  shape: number[]
  /** From the file's start. */
  begin: number
  end: number
}

/** A file's header. */
export interface SafetensorsHeader {
  tensors: Map<string, TensorPlace>
  metadata: Record<string, string>
}

/** The bytes of a safetensors file of `tensors`, copied from where they are. Wide elements come first, so that all are aligned. */
export function safetensorsImage(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const entries = [...tensors].map(([name, x]) => ({ name, x, bytes: x.numel * dtypeBytes(x.dtype) }))
  entries.sort((a, b) => dtypeBytes(b.x.dtype) - dtypeBytes(a.x.dtype))
  const header: Record<string, unknown> = {}
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata
  let size = 0
  for (const { name, x, bytes } of entries) {
    header[name] = { dtype: fileNames[x.dtype], shape: x.shape, data_offsets: [size, size + bytes] }
    size += bytes
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const length = Math.ceil(text.length / 8) * 8
  const image = takeImage(PREFIX + length + size)
  new DataView(image.buffer).setBigUint64(0, BigInt(length), true)
  image.set(text, PREFIX)
  image.fill(0x20, PREFIX + text.length, PREFIX + length)
  let at = PREFIX + length
  for (const { x, bytes } of entries) {
    readBytes(x, image.subarray(at, at + bytes))
    at += bytes
  }
  return image
}

/** Elements that are read at once: the engine's own copy of them stays in the processor's cache. */
const READ = 1 << 19

function readBytes(x: Tensor, target: Uint8Array): void {
  const { numel } = x
  if (numel === 0) return
  if (numel <= READ || !native.isContiguous(x.handle)) {
    native.readInto(x.handle, target)
    return
  }
  const size = target.length / numel
  const flat = native.reshapeList(x.handle, [numel])
  for (let at = 0; at < numel; at += READ) {
    const count = Math.min(READ, numel - at)
    const piece = native.narrow(flat, 0, at, count, 1)
    native.readInto(piece, target.subarray(at * size, (at + count) * size))
    native.release(piece)
  }
  native.release(flat)
}

/** Images of the last save, for the next one of the same size: new memory costs more time than copying into it. */
const spare = new Map<number, Uint8Array<ArrayBuffer>>()

function takeImage(size: number): Uint8Array<ArrayBuffer> {
  const image = spare.get(size)
  spare.delete(size)
  return image ?? new Uint8Array(size)
}

/** Gives back an image that has been written. */
export function giveImage(image: Uint8Array<ArrayBuffer>): void {
  spare.set(image.length, image)
}

/** Lets go of images that were given back. */
export function dropImages(): void {
  spare.clear()
}

/** The length of the header of a file that begins with `prefix`; null if there can be no such header in `size` bytes. */
export function headerLength(prefix: Uint8Array, size: number): number | null {
  if (prefix.length < PREFIX) return null
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true)
  return length <= BigInt(size - PREFIX) ? Number(length) : null
}

/** Reads the header of a file of `size` bytes; null if it isn't one. */
export function parseHeader(header: Uint8Array, size: number): SafetensorsHeader | null {
  const start = PREFIX + header.length
  const tensors = new Map<string, TensorPlace>()
  let metadata: Record<string, string> = {}
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header))
    if (!isRecord(parsed)) return null
    for (const [name, entry] of Object.entries(parsed)) {
      if (name === '__metadata__') {
        if (!isTexts(entry)) return null
        metadata = entry
        continue
      }
      if (!isFileEntry(entry) || entry.shape.length > MAX_RANK) return null
      const dtype = dtypesByFileName.get(entry.dtype)
      const [begin, end] = entry.data_offsets
      if (!dtype || begin === undefined || end === undefined || begin > end || start + end > size) return null
      if (entry.shape.reduce((n, m) => n * m, 1) * dtypeBytes(dtype) !== end - begin) return null
      tensors.set(name, { dtype, shape: entry.shape, begin: start + begin, end: start + end })
    }
  } catch {
    return null
  }
  return { tensors, metadata }
}

const isTexts = recordOf(isText)
const isFileEntry = withFields({ dtype: isText, shape: listOf(isCount), data_offsets: listOf(isCount) })
/** Dimensions that a tensor may have. */
const MAX_RANK = 8

/** A tensor of a file's bytes, on `device`. */
export function tensorOfBytes(bytes: Uint8Array, { dtype, shape }: TensorPlace, device: string): Tensor {
  if (bytes.length !== shape.reduce((n, m) => n * m, 1) * dtypeBytes(dtype)) {
    throw new WickError('CHECKPOINT_CORRUPT', 'a file ended early')
  }
  return new Tensor(native.fromHost(bytes, shape, dtypeCode(dtype), deviceCode('checkpoint', device)))
}
