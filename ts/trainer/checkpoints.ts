/** Where a Trainer's checkpoints and training states are on disk. */
import { basename, dirname, extname } from 'node:path'
import {
  type Contents,
  isCheckpointFolder,
  listCheckpoints,
  readDirectory,
  readSingleFile,
  snapshotDirectory,
  snapshotFile,
} from '../checkpoint/index.ts'
import { WickError } from '../errors.ts'

const isFile = (path: string) => extname(path) === '.safetensors'

/** Copies a checkpoint's contents; the result writes them to `path`, a file or a folder by its name. */
export function snapshotCheckpoint(path: string, contents: Contents): () => Promise<void> {
  return isFile(path) ? snapshotFile(path, contents) : snapshotDirectory(path, contents)
}

/** Reads what `snapshotCheckpoint` wrote. */
export async function readCheckpoint(path: string, device: string): Promise<Contents> {
  const contents = isFile(path) ? await readSingleFile(path, device) : await readDirectory(path, device)
  if (contents) return contents
  throw new WickError('BAD_FILE', `there is no checkpoint at ${path}`, { op: 'Trainer.loadCheckpoint' })
}

/** Copies a training state's contents; the result writes them into the folder `dir`. */
export function snapshotTrainingState(dir: string, contents: Contents, globalStep: number): () => Promise<void> {
  return snapshotDirectory(dir, contents, { globalStep })
}

/** The folder of a training state: `path` itself, or the latest complete one in it; `latest` may be written at its end. */
export async function resolveTrainingState(path: string): Promise<string> {
  if (await isCheckpointFolder(path)) return path
  const folder = basename(path) === 'latest' ? dirname(path) : path
  const latest = await latestTrainingState(folder)
  if (latest) return latest
  throw new WickError('BAD_FILE', `there is no complete training state at ${path} or in it`, {
    op: 'Trainer.loadTrainingState',
  })
}

/** The latest complete training state among the folders in `folder`, or null. Incomplete ones are passed over. */
export async function latestTrainingState(folder: string): Promise<string | null> {
  return (await listCheckpoints(folder)).at(-1)?.path ?? null
}

/** Reads a training state. */
export async function readTrainingState(dir: string, device: string): Promise<Contents> {
  const path = await resolveTrainingState(dir)
  const contents = await readDirectory(path, device)
  if (contents?.state.position) return contents
  throw new WickError('BAD_FILE', `${path} holds a checkpoint, not a training state`, {
    op: 'Trainer.loadTrainingState',
  })
}
