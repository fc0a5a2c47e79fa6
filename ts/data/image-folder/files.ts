/** The files of an image folder: a folder for each class, with images in it at any depth. */
import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { WickError } from '../../errors.ts'

/** A file and the number of its class. */
export type ImageSample = readonly [path: string, label: number]

/** The names of the folders in `dir`, in order. */
export function findClasses(dir: string): string[] {
  const classes = entries(dir)
    .filter(entry => isFolder(dir, entry))
    .map(entry => entry.name)
  if (classes.length > 0) return classes
  throw new WickError('BAD_FILE', `${dir}: expected a folder for each class, found none`, { op: 'ImageFolder' })
}

/** The files below the folder of each class that are `wanted`; a class without any is an error unless `allowEmpty`. */
export function findSamples(
  dir: string,
  classes: readonly string[],
  wanted: (path: string) => boolean,
  allowEmpty: boolean,
): ImageSample[] {
  const samples: ImageSample[] = []
  const empty: string[] = []
  for (const [label, name] of classes.entries()) {
    const before = samples.length
    for (const path of filesBelow(join(dir, name))) if (wanted(path)) samples.push([path, label])
    if (samples.length === before) empty.push(name)
  }
  if (empty.length === 0 || allowEmpty) return samples
  throw new WickError('BAD_FILE', `${dir}: there are no images of the classes ${empty.join(', ')}`, {
    op: 'ImageFolder',
    details: { classes: empty },
  })
}

/** The files of a folder in order, then those of its folders. */
function* filesBelow(dir: string): Generator<string> {
  const all = entries(dir).map(entry => ({ path: join(dir, entry.name), isFolder: isFolder(dir, entry) }))
  for (const { path, isFolder } of all) if (!isFolder) yield path
  for (const { path, isFolder } of all) if (isFolder) yield* filesBelow(path)
}

function entries(dir: string): Dirent[] {
  try {
    // By code points, as Python sorts.
    return readdirSync(dir, { withFileTypes: true }).sort((a, b) =>
      Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
    )
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new WickError('BAD_FILE', `${dir}: ${reason}`, { op: 'ImageFolder', cause })
  }
}

/** Links are followed. */
function isFolder(dir: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory()
  return statSync(join(dir, entry.name), { throwIfNoEntry: false })?.isDirectory() ?? false
}
