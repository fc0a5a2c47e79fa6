/** Labelled images in memory, as the readers of the standard data sets give them. */
import { fromTypedArray, type Tensor } from '../tensor/index.ts'
import { TensorDataset } from './dataset.ts'

/** Images float32 [n, channels, height, width] in 0..1, and labels int64 [n]. */
export type ImageDataset = TensorDataset<[Tensor, Tensor]>

/** The two parts of a standard data set. */
export interface ImageDatasets {
  train: ImageDataset
  test: ImageDataset
}

/** A data set of bytes: `pixels` row-major in `shape`, a label for each image. */
export function imageDataset(pixels: Uint8Array, shape: readonly number[], labels: Uint8Array): ImageDataset {
  const bytes = fromTypedArray(pixels, shape)
  const classes = fromTypedArray(labels, [labels.length])
  const dataset = new TensorDataset<[Tensor, Tensor]>(
    bytes.to({ dtype: 'float32' }).div_(255),
    classes.to({ dtype: 'int64' }),
  )
  bytes.dispose()
  classes.dispose()
  return dataset
}
