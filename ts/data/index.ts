/** Datasets, samplers and loaders. */
export { type Collate, type Collated, defaultCollate } from './collate.ts'
export { ConcatDataset, type Dataset, MapDataset, Subset, TensorDataset } from './dataset.ts'
export { DataLoader, type DataLoaderOptions, type LoaderOptions } from './loader.ts'
export { fashionMnist, type ImageDataset, type ImageDatasets, mnist } from './mnist.ts'
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
