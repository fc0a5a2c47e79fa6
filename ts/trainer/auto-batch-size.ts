/** Runs that begin again with smaller batches when there is no memory for theirs. */
import { WickError } from '../errors.ts'
import { emptyCache } from '../tensor/index.ts'
import { snapshotOf } from './snapshot.ts'
import type { TrainOptions } from './types.ts'

/** What is asked of a Trainer. */
type Retrying = Parameters<typeof snapshotOf>[0] & { print(...values: unknown[]): void }

/** Calls `train` with the options; after `OUT_OF_MEMORY` puts everything back and tries batches of half the size. */
export async function withSmallerBatches<Options extends TrainOptions<never> | TrainOptions<unknown>>(
  trainer: Retrying,
  options: Options,
  train: (options: Options) => Promise<void>,
): Promise<void> {
  const sizes: number[] = []
  let size = options.trainDataLoaderOptions?.batchSize ?? options.perDeviceBatchSize ?? 8
  const snapshot = await snapshotOf(trainer)
  try {
    for (;;) {
      sizes.push(size)
      try {
        await train(sizes.length === 1 ? options : withBatchSize(options, size))
        break
      } catch (error) {
        const isFixed = options.trainDataLoaderOptions?.batchSampler !== undefined
        if (!(error instanceof WickError) || error.code !== 'OUT_OF_MEMORY' || size <= 1 || isFixed) throw error
        await snapshot.restore()
        emptyCache()
        trainer.print(`Out of memory with batches of ${size}: starting again with ${Math.floor(size / 2)}`)
        size = Math.floor(size / 2)
      }
    }
  } finally {
    snapshot.dispose()
  }
  if (sizes.length > 1) for (const tried of sizes) trainer.runHistory.updateMetric('per_device_batch_size', tried)
}

function withBatchSize<Options extends TrainOptions<never> | TrainOptions<unknown>>(
  options: Options,
  size: number,
): Options {
  const loaderOptions = (given: Options['trainDataLoaderOptions']) =>
    given?.batchSize === undefined ? given : { ...given, batchSize: Math.min(given.batchSize, size) }
  return {
    ...options,
    perDeviceBatchSize: size,
    trainDataLoaderOptions: loaderOptions(options.trainDataLoaderOptions),
    evalDataLoaderOptions: loaderOptions(options.evalDataLoaderOptions),
  }
}
