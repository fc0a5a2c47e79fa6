/**
 * Files that survive crashes: what is written is synced before its name appears, and folders are synced after names change.
 * Everything a checkpoint does to a disk goes through `disk`, in order, one operation after the other.
 */
import { webcrypto } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { beginMark, endMark, isLeftBehind, isTemporary, temporaryPath } from './marks.ts'

/** Bytes of a piece of a checksum. */
const PIECE = 1 << 22

/** The operations that change a disk. */
export interface Disk {
  mkdir(path: string): Promise<unknown>
  /** Writes a whole new file and syncs it. */
  write(path: string, bytes: Uint8Array): Promise<void>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>
  /** Removes a folder with all that is in it. */
  removeFolder(path: string): Promise<void>
}

/** The real disk. */
export const disk: Disk = {
  mkdir: path => mkdir(path, { recursive: true }),
  async write(path, bytes) {
    const file = await open(path, 'wx')
    try {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten
      await file.sync()
    } finally {
      await file.close()
    }
  },
  rename,
  unlink,
  async syncFolder(path) {
    const folder = await open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  removeFolder: path => rm(path, { recursive: true, force: true }),
}

/** Writes a file so that `path` is either what it was or all of `bytes`; the name is durable once its folder is synced. */
export async function writeAtomically(on: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const mark = beginMark()
  const temporary = temporaryPath(path, mark)
  try {
    await on.write(temporary, bytes)
    await on.rename(temporary, path)
  } catch (error) {
    await on.unlink(temporary).catch(() => {})
    throw error
  } finally {
    endMark(mark)
  }
}

/** Removes the temporary files that nobody writes any more. One that can't be removed stays for the next time. */
export async function removeTemporaries(on: Disk, folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const path = join(folder, name)
    if (isTemporary(name) && isLeftBehind(path)) await on.unlink(path).catch(() => {})
  }
}

/** Makes a folder and the names that lead to it durable. */
export async function makeFolder(on: Disk, path: string): Promise<void> {
  const missing: string[] = []
  for (let at = path; !(await exists(at)); at = dirname(at)) missing.push(at)
  if (missing.length === 0) return
  await on.mkdir(path)
  for (const folder of missing) await on.syncFolder(dirname(folder))
}

/** Whether there is something at `path`. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** The bytes of the file at `path`, null if there is none. */
export async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    () => null,
  )
}

/** Removes a file that somebody else may have removed already. */
export async function removeIfThere(on: Disk, path: string): Promise<void> {
  await on.unlink(path).catch(error => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** The names in a folder; none if there is no folder. */
export async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch(error => {
    if (error.code === 'ENOENT') return []
    throw cantRead(path, error)
  })
}

/** A small file's bytes; null if there is none. */
export async function readWhole(path: string): Promise<Uint8Array | null> {
  return readFile(path).catch(error => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null
    throw cantRead(path, error)
  })
}

/** A file that is read in places. */
export class Reading {
  readonly path: string
  readonly size: number
  readonly #file: FileHandle

  private constructor(path: string, size: number, file: FileHandle) {
    this.path = path
    this.size = size
    this.#file = file
  }

  /** Opens a file; null if there is none. */
  static async open(path: string): Promise<Reading | null> {
    try {
      const file = await open(path, 'r')
      return new Reading(path, (await file.stat()).size, file)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return null
      throw cantRead(path, error)
    }
  }

  /** The bytes from `begin` to `end`, fewer if the file ends before. */
  async bytes(begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(Math.max(end - begin, 0))
    let at = 0
    while (at < bytes.length) {
      const { bytesRead } = await this.#file.read(bytes, at, bytes.length - at, begin + at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes.subarray(0, at)
  }

  /** The checksum of the file with the bytes from `blank[0]` to `blank[1]` as if they were the digit 0. */
  async checksum(blank: readonly [begin: number, end: number] = [0, 0]): Promise<string> {
    const hashes: Uint8Array[] = []
    for (let begin = 0; begin < this.size; begin += PIECE) {
      const bytes = await this.bytes(begin, Math.min(begin + PIECE, this.size))
      bytes.fill(0x30, Math.max(blank[0] - begin, 0), Math.max(blank[1] - begin, 0))
      hashes.push(await sha256(bytes))
    }
    return Buffer.from(await sha256(new Uint8Array(Buffer.concat(hashes)))).toString('hex')
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** The checksum of bytes, which must not change meanwhile: SHA-256 of the SHA-256s of their pieces, made off the main thread. */
export function checksum(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return native.checksum(bytes, PIECE)
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes))
}

/** A text with a checksum in itself: `render` puts a checksum into it, which is made with 64 zeros in its place. */
export async function sealed(render: (checksum: string) => string): Promise<Uint8Array<ArrayBuffer>> {
  const encode = (hash: string) => new Uint8Array(Buffer.from(render(hash)))
  return encode(await checksum(encode('0'.repeat(64))))
}

/** Whether the text is what `sealed` made of it. */
export async function isSealed(bytes: Uint8Array, hash: unknown): Promise<boolean> {
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return false
  const text = Buffer.from(bytes).toString('latin1')
  const blank = Buffer.from(text.replace(hash, '0'.repeat(64)), 'latin1')
  return hash === (await checksum(new Uint8Array(blank)))
}

/** An error of the disk. */
export function cantWrite(path: string, cause: unknown): WickError {
  return new WickError('BAD_FILE', `can't write ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
  })
}

function cantRead(path: string, cause: unknown): WickError {
  return new WickError('BAD_FILE', `can't read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
  })
}

/** An error with code `CHECKPOINT_CORRUPT`. */
export function corrupt(path: string, why: string): WickError {
  return new WickError('CHECKPOINT_CORRUPT', `${path}: ${why}`, { details: { path } })
}
