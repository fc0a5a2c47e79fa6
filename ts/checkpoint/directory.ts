/**
 * A checkpoint in a folder. Its files have new names in each save, and `manifest.json`, which names them with sizes and checksums,
 * is replaced last: that is when the checkpoint changes from the old one to the new. So writing over a checkpoint is safe at every
 * moment, also while others read it or write to it, and files that a crash left behind are removed by the next write.
 */
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Form, isCount, isNumber, isRecord, isText, listOf, withFields } from '../forms.ts'
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
  removeIfThere,
  sealed,
  sizeOf,
  writeAtomically,
} from './disk.ts'
import { beginMark, endMark, isLeftBehind, isTemporary, MARK } from './marks.ts'
import { giveImage, headerLength, PREFIX, parseHeader, safetensorsImage } from './safetensors.ts'

const MANIFEST = 'manifest.json'
const FORMAT = 'wick-checkpoint'
const VERSION = 1
/** Tensors go into further files after this many bytes: a file is one buffer in memory. */
const FILE_BYTES = 2 ** 31
/** Files that a manifest may name. Up to version 0.1.0 they were named by their contents. */
const CONTENT = new RegExp(`^(model|state)-(${MARK}|[0-9a-f]{16})\\.(safetensors|json)$`)

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

const isFileRecord: Form<FileRecord> = withFields<FileRecord>({
  role: (value): value is Role => value === 'model' || value === 'tensors' || value === 'state',
  name: (value): value is string => isText(value) && CONTENT.test(value),
  bytes: isCount,
  checksum: isText,
})

const isManifest: Form<Manifest> = withFields<Manifest>({
  format: isText,
  version: isNumber,
  savedAt: isNumber,
  globalStep: isNumber,
  files: listOf(isFileRecord),
  checksum: isText,
})

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
    const marks = images.map(beginMark)
    const files: FileRecord[] = []
    let committed = false
    try {
      await makeFolder(on, path)
      for (const [i, { role, bytes }] of images.entries()) {
        const name = `${role === 'model' ? 'model' : 'state'}-${marks[i]}.${role === 'state' ? 'json' : 'safetensors'}`
        files.push({ role, name, bytes: bytes.length, checksum: await checksum(bytes) })
        await on.write(join(path, name), bytes)
        if (role !== 'state') giveImage(bytes)
      }
      await on.syncFolder(path)
      const replaced = await readManifest(path).catch(() => null)
      const manifest = { format: FORMAT, version: VERSION, savedAt, globalStep, files }
      const text = await sealed(hash => `${JSON.stringify({ ...manifest, checksum: hash }, null, 1)}\n`)
      await writeAtomically(on, join(path, MANIFEST), text)
      committed = true
      await on.syncFolder(path)
      await removeOld(on, path, replaced)
    } catch (error) {
      if (!committed) for (const { name } of files) await on.unlink(join(path, name)).catch(() => {})
      throw cantWrite(path, error)
    } finally {
      marks.forEach(endMark)
    }
  }
}

/** Removes the files of the manifest that was replaced, and what was left behind. Files of others are left alone. */
async function removeOld(on: Disk, path: string, replaced: Manifest | null): Promise<void> {
  const names = await namesIn(path)
  const left = names.filter(name => (CONTENT.test(name) || isTemporary(name)) && isLeftBehind(join(path, name)))
  // Read last: whoever has ended by now has its files named in it, or nowhere.
  const current = new Set((await readManifest(path).catch(() => null))?.files.map(({ name }) => name))
  if (current.size === 0) return
  const old = replaced?.files.map(({ name }) => name) ?? []
  for (const name of old) if (!current.has(name)) await removeIfThere(on, join(path, name))
  // One that can't be removed stays for the next time.
  for (const name of left) {
    if (!current.has(name) && !old.includes(name)) await on.unlink(join(path, name)).catch(() => {})
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
  let manifest: unknown
  try {
    manifest = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    throw corrupt(file, 'it is not JSON')
  }
  if (!isRecord(manifest) || !(await isSealed(bytes, manifest.checksum))) {
    throw corrupt(file, 'its contents do not match its checksum')
  }
  const { format, version } = manifest
  if (format !== FORMAT || !isNumber(version) || version > VERSION) {
    throw corrupt(file, `it is of format '${format}' ${version}, which this version of wick can't read`)
  }
  if (!isManifest(manifest)) throw corrupt(file, 'it does not have the form of a manifest')
  return manifest
}

/** Reads and checks a checkpoint that `snapshotDirectory` wrote; null if there is none. Tensors are put on `device`. */
export async function readDirectory(path: string, device: string): Promise<Contents | null> {
  const opened = await openAll(path)
  if (!opened) return null
  const model = new Map<string, Tensor>()
  const rest = new Map<string, Tensor>()
  let json = '{}'
  try {
    for (const [record, file] of opened) {
      const name = file.path
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
    }
  } finally {
    await closeAll(opened)
  }
  return joinState(path, model, rest, json)
}

/**
 * Opens all files of a checkpoint; null if there is none. Open files stay readable when somebody saves over the checkpoint, and
 * one that is gone before it was opened belongs to a manifest that has been replaced.
 */
async function openAll(path: string): Promise<Map<FileRecord, Reading> | null> {
  for (let before = ''; ; ) {
    const manifest = await readManifest(path)
    if (!manifest) return null
    const opened = new Map<FileRecord, Reading>()
    try {
      for (const record of manifest.files) {
        const file = await Reading.open(join(path, record.name))
        if (!file) break
        opened.set(record, file)
      }
      if (opened.size === manifest.files.length) return opened
    } catch (error) {
      await closeAll(opened)
      throw error
    }
    await closeAll(opened)
    const missing = manifest.files[opened.size]?.name ?? ''
    if (manifest.checksum === before) throw corrupt(join(path, missing), 'the file is missing')
    before = manifest.checksum
  }
}

async function closeAll(opened: ReadonlyMap<FileRecord, Reading>): Promise<void> {
  for (const file of opened.values()) await file.close()
}

/** Whether there is a checkpoint in the folder `path` itself, damaged or not. */
export function isCheckpointFolder(path: string): Promise<boolean> {
  return exists(join(path, MANIFEST))
}

/** The manifest of the folder `path` if its checkpoint's files are all there in their sizes; they aren't read. */
async function completeManifest(path: string): Promise<Manifest | null> {
  for (let before = ''; ; ) {
    const manifest = await readManifest(path).catch(() => null)
    // One that stays the same is incomplete; another one may have come since it was read.
    if (!manifest || manifest.checksum === before) return null
    const sizes = await Promise.all(manifest.files.map(({ name }) => sizeOf(join(path, name))))
    if (manifest.files.every(({ bytes }, i) => bytes === sizes[i])) return manifest
    before = manifest.checksum
  }
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
    const manifest = await completeManifest(path)
    if (manifest) found.push({ name, path, globalStep: manifest.globalStep, savedAt: manifest.savedAt })
  }
  return found.sort((a, b) => a.globalStep - b.globalStep || a.savedAt - b.savedAt)
}

/**
 * Removes a checkpoint's folder: first its manifest, so that what a crash leaves is no checkpoint. A link to a folder is left
 * alone, and so is what it leads to.
 */
export async function removeCheckpoint(path: string, on: Disk = disk): Promise<void> {
  if (await isLink(path)) return
  if (await exists(join(path, MANIFEST))) {
    await on.unlink(join(path, MANIFEST))
    await on.syncFolder(path)
  }
  await on.removeFolder(path)
}

/** Whether the name is that of a link. */
export async function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    status => status.isSymbolicLink(),
    () => false,
  )
}
