/**
 * A checkpoint in a folder. Its files are named by their contents, and `manifest.json`, which names them with sizes and
 * checksums, is replaced last: that is when the checkpoint changes from the old one to the new. So writing over a checkpoint is
 * safe at every moment, and files that a crash left behind are removed by the next write.
 */
import { join } from 'node:path'
import type { Tensor } from '../tensor/index.ts'
import { type Contents, joinState, readTensors, splitState } from './contents.ts'
import {
  cantWrite,
  checksum,
  corrupt,
  type Disk,
  disk,
  exists,
  isSealed,
  makeFolder,
  namesIn,
  Reading,
  readWhole,
  sealed,
  writeAtomically,
} from './disk.ts'
import { giveImage, headerLength, PREFIX, parseHeader, safetensorsImage } from './safetensors.ts'

const MANIFEST = 'manifest.json'
const FORMAT = 'wick-checkpoint'
const VERSION = 1
/** Tensors go into further files after this many bytes: a file is one buffer in memory. */
const FILE_BYTES = 2 ** 31
/** Files that this module makes; others in the folder are left alone. */
const OURS =
  /^(model|state)-[0-9a-f]{16}\.(safetensors|json)$|^(manifest\.json|(model|state)-[0-9a-f]{16}\.\w+)\.\d+-\d+\.tmp$/

/** What a file is for: the model's tensors, the other tensors, or the state's JSON. */
type Role = 'model' | 'tensors' | 'state'

interface FileRecord {
  role: Role
  name: string
  bytes: number
  checksum: string
}

/** The commit record of a folder. */
export interface Manifest {
  format: string
  version: number
  /** Milliseconds since 1970. */
  savedAt: number
  /** Micro-batches that had been done. */
  globalStep: number
  files: FileRecord[]
  checksum: string
}

/** Options of `snapshotDirectory`. */
export interface DirectoryOptions {
  /** Put into the manifest: what `latest` goes by. */
  globalStep?: number
  on?: Disk
  fileBytes?: number
}

/** Copies the contents; the result writes the copy into the folder `path`. */
export function snapshotDirectory(
  path: string,
  { model, state }: Contents,
  options: DirectoryOptions = {},
): () => Promise<void> {
  const { globalStep = 0, on = disk, fileBytes = FILE_BYTES } = options
  const { json, tensors } = splitState(state)
  const images = [
    ...parts(model, fileBytes).map(part => ({ role: 'model' as Role, bytes: safetensorsImage(part) })),
    ...parts(tensors, fileBytes).map(part => ({ role: 'tensors' as Role, bytes: safetensorsImage(part) })),
    { role: 'state' as Role, bytes: new Uint8Array(Buffer.from(json)) },
  ]
  const savedAt = Date.now()
  return async () => {
    try {
      await makeFolder(on, path)
      const files: FileRecord[] = []
      for (const { role, bytes } of images) {
        const hash = await checksum(bytes)
        const name = `${role === 'model' ? 'model' : 'state'}-${hash.slice(0, 16)}.${role === 'state' ? 'json' : 'safetensors'}`
        await writeAtomically(on, join(path, name), bytes)
        files.push({ role, name, bytes: bytes.length, checksum: hash })
        if (role !== 'state') giveImage(bytes)
      }
      await on.syncFolder(path)
      const manifest = { format: FORMAT, version: VERSION, savedAt, globalStep, files }
      const text = await sealed(hash => `${JSON.stringify({ ...manifest, checksum: hash }, null, 1)}\n`)
      await writeAtomically(on, join(path, MANIFEST), text)
      await on.syncFolder(path)
      const current = new Set(files.map(file => file.name))
      for (const name of await namesIn(path))
        if (OURS.test(name) && !current.has(name)) await on.unlink(join(path, name))
    } catch (error) {
      throw cantWrite(path, error)
    }
  }
}

/** Tensors in groups of at most `limit` bytes, where they aren't larger by themselves. */
function parts(tensors: ReadonlyMap<string, Tensor>, limit: number): Map<string, Tensor>[] {
  const groups: Map<string, Tensor>[] = []
  let size = Number.POSITIVE_INFINITY
  for (const [name, x] of tensors) {
    // An upper bound: no element takes more than 8 bytes.
    if (size + x.numel * 8 > limit) {
      groups.push(new Map())
      size = 0
    }
    size += x.numel * 8
    groups.at(-1)?.set(name, x)
  }
  return groups
}

/** The manifest of a folder, checked; null if there is none, `CHECKPOINT_CORRUPT` if it is damaged. */
export async function readManifest(path: string): Promise<Manifest | null> {
  const file = join(path, MANIFEST)
  const bytes = await readWhole(file)
  if (!bytes) return null
  let manifest: Manifest
  try {
    manifest = JSON.parse(Buffer.from(bytes).toString()) as Manifest
  } catch {
    throw corrupt(file, 'it is not JSON')
  }
  if (!(await isSealed(bytes, manifest.checksum))) throw corrupt(file, 'its contents do not match its checksum')
  if (manifest.format !== FORMAT || manifest.version > VERSION) {
    throw corrupt(
      file,
      `it is of format '${manifest.format}' ${manifest.version}, which this version of wick can't read`,
    )
  }
  return manifest
}

/** Reads and checks a checkpoint that `snapshotDirectory` wrote; null if there is none. Tensors are put on `device`. */
export async function readDirectory(path: string, device: string): Promise<Contents | null> {
  const manifest = await readManifest(path)
  if (!manifest) return null
  const model = new Map<string, Tensor>()
  const rest = new Map<string, Tensor>()
  let json = '{}'
  for (const record of manifest.files) {
    const name = join(path, record.name)
    const file = await Reading.open(name)
    if (!file) throw corrupt(name, 'the file is missing')
    try {
      if (file.size !== record.bytes || (await file.checksum()) !== record.checksum) {
        throw corrupt(name, 'its contents do not match the checksum in manifest.json')
      }
      if (record.role === 'state') {
        json = Buffer.from(await file.bytes(0, file.size)).toString()
        continue
      }
      const length = headerLength(await file.bytes(0, PREFIX), file.size)
      const header = length === null ? null : parseHeader(await file.bytes(PREFIX, PREFIX + length), file.size)
      if (!header) throw corrupt(name, 'it is not a complete safetensors file')
      const into = record.role === 'model' ? model : rest
      for (const [key, x] of await readTensors(file, header.tensors, device)) into.set(key, x)
    } finally {
      await file.close()
    }
  }
  return joinState(path, model, rest, json)
}

/** Whether there is a checkpoint in the folder `path` itself, damaged or not. */
export function isCheckpointFolder(path: string): Promise<boolean> {
  return exists(join(path, MANIFEST))
}

/** The manifest of the folder `path` if its checkpoint's files are all there; they aren't read. */
async function isComplete(path: string): Promise<Manifest | null> {
  const manifest = await readManifest(path).catch(() => null)
  if (!manifest) return null
  for (const { name } of manifest.files) if (!(await exists(join(path, name)))) return null
  return manifest
}

/** A checkpoint in a folder of them. */
export interface FoundCheckpoint {
  name: string
  path: string
  globalStep: number
  savedAt: number
}

/** The complete checkpoints in the folders in `folder`, oldest first: by the steps that they hold, then by when they were saved. */
export async function listCheckpoints(folder: string): Promise<FoundCheckpoint[]> {
  const found: FoundCheckpoint[] = []
  for (const name of await namesIn(folder)) {
    const path = join(folder, name)
    const manifest = await isComplete(path)
    if (manifest) found.push({ name, path, globalStep: manifest.globalStep, savedAt: manifest.savedAt })
  }
  return found.sort((a, b) => a.globalStep - b.globalStep || a.savedAt - b.savedAt)
}

/** Removes a checkpoint's folder: first its manifest, so that what a crash leaves is no checkpoint. */
export async function removeCheckpoint(path: string, on: Disk = disk): Promise<void> {
  if (await exists(join(path, MANIFEST))) {
    await on.unlink(join(path, MANIFEST))
    await on.syncFolder(path)
  }
  await on.removeFolder(path)
}
