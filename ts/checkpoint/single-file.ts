/**
 * A checkpoint in one file: a safetensors file with the model's tensors under their own names, so that other tools read the
 * weights as usual. Tensors of the rest are under `__wick__/`, its JSON and a checksum are in the file's metadata.
 */
import { dirname } from 'node:path'
import { type Contents, joinState, readTensors, splitState } from './contents.ts'
import {
  cantWrite,
  checksum,
  corrupt,
  type Disk,
  disk,
  makeFolder,
  Reading,
  removeTemporaries,
  writeAtomically,
} from './disk.ts'
import { headerLength, PREFIX, parseHeader, safetensorsImage } from './safetensors.ts'

/** Before the names of tensors that aren't the model's. */
const REST = '__wick__/'
const STATE_KEY = 'wick'
const CHECKSUM_KEY = 'wick_checksum'
const CHECKSUM_START = `"${CHECKSUM_KEY}":"`
const HASH_LENGTH = 64

/** Copies the contents; the result writes the copy to `path`. */
export function snapshotFile(path: string, { model, state }: Contents, on: Disk = disk): () => Promise<void> {
  const { json, tensors } = splitState(state)
  const all = new Map([...model, ...[...tensors].map(([name, x]) => [REST + name, x] as const)])
  const image = safetensorsImage(all, { [CHECKSUM_KEY]: '0'.repeat(HASH_LENGTH), [STATE_KEY]: json, format: 'pt' })
  return async () => {
    try {
      const hash = await checksum(image)
      const [begin] = checksumPlace(image) ?? [0]
      image.set(Buffer.from(hash), begin)
      await makeFolder(on, dirname(path))
      await writeAtomically(on, path, image)
      await on.syncFolder(dirname(path))
      await removeTemporaries(on, dirname(path))
    } catch (error) {
      throw cantWrite(path, error)
    }
  }
}

/** Where a file's checksum stands, given its beginning up to the header's end. */
function checksumPlace(header: Uint8Array): readonly [begin: number, end: number] | null {
  const at = Buffer.from(header.buffer, header.byteOffset, header.byteLength).indexOf(CHECKSUM_START)
  return at < 0 ? null : [at + CHECKSUM_START.length, at + CHECKSUM_START.length + HASH_LENGTH]
}

/** Reads and checks a file that `snapshotFile` wrote; null if there is none. Tensors are put on `device`. */
export async function readSingleFile(path: string, device: string): Promise<Contents | null> {
  const file = await Reading.open(path)
  if (!file) return null
  try {
    const length = headerLength(await file.bytes(0, PREFIX), file.size)
    if (length === null) throw corrupt(path, 'it is not a complete safetensors file')
    const start = await file.bytes(0, PREFIX + length)
    const place = checksumPlace(start)
    const header = parseHeader(start.subarray(PREFIX), file.size)
    if (!place || !header) throw corrupt(path, "it is damaged, or not a checkpoint of wick's")
    const hash = Buffer.from(start.subarray(...place)).toString('latin1')
    if ((await file.checksum(place)) !== hash) throw corrupt(path, 'its contents do not match its checksum')
    const read = await readTensors(file, header.tensors, device)
    const model = new Map([...read].filter(([name]) => !name.startsWith(REST)))
    const rest = new Map(
      [...read].filter(([name]) => name.startsWith(REST)).map(([name, x]) => [name.slice(REST.length), x]),
    )
    return joinState(path, model, rest, header.metadata[STATE_KEY] ?? '{}')
  } finally {
    await file.close()
  }
}
