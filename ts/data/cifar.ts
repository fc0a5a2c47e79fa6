/** CIFAR-10 from its binary files. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { badOption, WickError } from '../errors.ts'
import { type ImageDataset, type ImageDatasets, imageDataset } from './images.ts'

const pixels = 3 * 32 * 32
// A label, then the red, the green and the blue plane of an image.
const record = 1 + pixels
const trainFiles = [1, 2, 3, 4, 5].map(i => `data_batch_${i}.bin`)

/**
 * Reads CIFAR-10 from the files `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` (the "binary version") in `dir` or
 * in its folder `cifar-10-batches-bin`: 50,000 and 10,000 images float32 [n, 3, 32, 32] in 0..1, and labels 0 to 9. A file that is missing,
 * truncated or of another format is a `BAD_FILE` error.
 *
 * ```ts
 * const { train, test } = data.cifar10('data/cifar-10')
 * ```
 */
export function cifar10(dir: string): ImageDatasets {
  if (typeof dir !== 'string') throw badOption('cifar10', 'needs the folder of its six files')
  const unpacked = join(dir, 'cifar-10-batches-bin')
  const folder = existsSync(unpacked) ? unpacked : dir
  return { train: readFiles(folder, trainFiles), test: readFiles(folder, ['test_batch.bin']) }
}

function readFiles(folder: string, names: readonly string[]): ImageDataset {
  const files = names.map(name => readRecords(join(folder, name)))
  const count = files.reduce((sum, bytes) => sum + bytes.length / record, 0)
  const images = new Uint8Array(count * pixels)
  const labels = new Uint8Array(count)
  let at = 0
  for (const bytes of files) {
    for (let start = 0; start < bytes.length; start += record, at++) {
      labels[at] = bytes[start] ?? 0
      images.set(bytes.subarray(start + 1, start + record), at * pixels)
    }
  }
  return imageDataset(images, [count, 3, 32, 32], labels)
}

/** The bytes of a file of records; every label is below 10. */
function readRecords(path: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw badFile(path, 'a file of CIFAR-10', error instanceof Error ? error.message : String(error))
  }
  if (bytes.length === 0 || bytes.length % record !== 0) {
    throw badFile(path, `images of ${record} bytes each`, `${bytes.length} bytes`)
  }
  for (let start = 0; start < bytes.length; start += record) {
    const label = bytes[start] ?? 0
    if (label > 9) throw badFile(path, 'labels from 0 to 9', `${label} at image ${start / record}`)
  }
  return bytes
}

function badFile(path: string, expected: string, found: string): WickError {
  return new WickError('BAD_FILE', `${path}: expected ${expected}, found ${found}`)
}
