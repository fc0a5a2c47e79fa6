/** Datasets, samplers and loaders. */
export { cifar10 } from './cifar.ts'
export { type Collate, type Collated, defaultCollate } from './collate.ts'
export { type CsvColumn, type CsvItem, type CsvOptions, type CsvRow, csv } from './csv.ts'
export { ConcatDataset, type Dataset, MapDataset, Subset, TensorDataset } from './dataset.ts'
export type { ImageSample } from './image-folder/files.ts'
export { ImageFolder, type ImageFolderOptions } from './image-folder/folder.ts'
export type { ImageDataset, ImageDatasets } from './images.ts'
export type { ItemContext } from './item-random.ts'
export { jsonl } from './jsonl.ts'
export { DataLoader, type DataLoaderOptions, type LoaderOptions } from './loader.ts'
export { fashionMnist, mnist } from './mnist.ts'
export {
  BatchSampler,
  type IndexBatches,
  RandomSampler,
  type RandomSamplerOptions,
  type Sampler,
  SequentialSampler,
  type Sized,
  WeightedRandomSampler,
  type WeightedRandomSamplerOptions,
} from './sampler.ts'
export { randomSplit } from './split.ts'
export type { IterableDataset } from './stream.ts'
export { textFile } from './text-file.ts'
export * as transforms from './transforms/index.ts'
export { getWorkerInfo, type WorkerInfo } from './workers/info.ts'
export type { WorkerModule } from './workers/module.ts'
