/** Where a Trainer's checkpoints and training states are on disk. */
import { basename, dirname, extname } from 'node:path'
import {
  type Contents,
  corrupt,
  isCheckpointFolder,
  listCheckpoints,
  readDirectory,
  readSingleFile,
  type StateRecord,
  snapshotDirectory,
  snapshotFile,
} from '../checkpoint/index.ts'
import { WickError } from '../errors.ts'
import { type Form, isRecord } from '../forms.ts'
import { isHistory } from './run-history.ts'
import { isPosition } from './run-state.ts'

const isFile = (path: string) => extname(path) === '.safetensors'

/** Copies a checkpoint's contents; the result writes them to `path`, a file or a folder by its name. */
export function snapshotCheckpoint(path: string, contents: Contents): () => Promise<void> {
  return isFile(path) ? snapshotFile(path, contents) : snapshotDirectory(path, contents)
}

/** Reads what `snapshotCheckpoint` wrote. */
export async function readCheckpoint(path: string, device: string): Promise<Contents> {
  const contents = isFile(path) ? await readSingleFile(path, device) : await readDirectory(path, device)
  if (contents && (contents.state.extra === undefined || isRecord(contents.state.extra))) return contents
  if (contents) throw corrupt(path, "'extra' does not have the form that it is written in")
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

/** Reads a training state. One that is damaged is `CHECKPOINT_CORRUPT`, which names another one in its folder. */
export async function readTrainingState(dir: string, device: string) {
  const path = await resolveTrainingState(dir)
  try {
    const contents = await readDirectory(path, device)
    if (contents?.state.position) return { model: contents.model, ...checkState(path, contents.state) }
  } catch (error) {
    if (!(error instanceof WickError && error.code === 'CHECKPOINT_CORRUPT')) throw error
    const others = (await listCheckpoints(dirname(path))).filter(other => other.path !== path)
    const other = others.at(-1)
    if (!other) throw error
    const message = `${error.message}; the latest other state there is ${other.path}`
    throw new WickError('CHECKPOINT_CORRUPT', message, {
      details: { ...error.details, other: other.path },
      cause: error,
    })
  }
  throw new WickError('BAD_FILE', `${path} holds a checkpoint, not a training state`, {
    op: 'Trainer.loadTrainingState',
  })
}

/** The parts of a training state whose form is the Trainer's own; those of optimizers and others they check themselves. */
function checkState(path: string, state: StateRecord) {
  const form = <T>(name: string, is: Form<T>): T => {
    const value: unknown = state[name]
    if (is(value)) return value
    throw corrupt(path, `'${name}' does not have the form that it is written in`)
  }
  const isState = isRecord as Form<StateRecord>
  return {
    state,
    position: form('position', isPosition),
    history: form('history', isHistory),
    further: form('further', isState),
    callbacks: form('callbacks', isState),
    extra: form('extra', isState),
  }
}
