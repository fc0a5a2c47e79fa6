/** Datasets, samplers and loaders. */
export { cifar10 } from './cifar.ts'
export { type Collate, type Collated, defaultCollate } from './collate.ts'
export { ConcatDataset, type Dataset, MapDataset, Subset, TensorDataset } from './dataset.ts'
export type { ImageDataset, ImageDatasets } from './images.ts'
export type { ItemContext } from './item-random.ts'
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
export type { WorkerModule } from './workers/module.ts'
