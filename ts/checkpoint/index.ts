/** Checkpoints on disk: what they are made of, in one file or in a folder. */
export { BackgroundWriter } from './background.ts'
export type { Contents } from './contents.ts'
export {
  isCheckpointFolder,
  isLink,
  listCheckpoints,
  readDirectory,
  removeCheckpoint,
  snapshotDirectory,
} from './directory.ts'
export { corrupt } from './disk.ts'
export { dropImages } from './safetensors.ts'
export { readSingleFile, snapshotFile } from './single-file.ts'
export { isStateful, type Stateful, type StateRecord, type StateTree } from './tree.ts'
