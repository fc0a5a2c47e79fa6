/** `OverfitBatchesCallback`: a run on a few batches that the model has to learn by heart. */
import { openBatches } from '../data/batches.ts'
import { checkCount } from '../data/sampler.ts'
import { checkOptions } from '../errors.ts'
import { keep, type Tensor, tensorsIn } from '../tensor/index.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/**
 * Trains on the same first `numBatches` batches in every epoch, and evaluates on them too: a model that can learn gets their
 * loss close to 0.
 */
export class OverfitBatchesCallback implements Callback {
  readonly #numBatches: number
  #kept: Tensor[] = []

  constructor(options: { numBatches: number }) {
    checkOptions('OverfitBatchesCallback', options, ['numBatches'])
    this.#numBatches = checkCount(options.numBatches, 'numBatches', 'OverfitBatchesCallback')
  }

  async onDataLoadersCreated(trainer: AnyTrainer): Promise<void> {
    const loader = trainer.trainDataLoader
    if (!loader) return
    const batches: unknown[] = []
    const reader = await openBatches(loader)
    try {
      while (batches.length < this.#numBatches && (await reader.next())) batches.push(await reader.take())
    } finally {
      reader.close()
    }
    this.#kept = tensorsIn(batches).map(tensor => keep(tensor))
    const settings = { batchSize: 'batchSize' in loader ? Number(loader.batchSize) : undefined }
    trainer.trainDataLoader = Object.assign(batches, settings)
    if (trainer.evalDataLoader) trainer.evalDataLoader = trainer.trainDataLoader
  }

  onTrainingRunEnd(trainer: AnyTrainer): void {
    trainer.trainDataLoader = null
    trainer.evalDataLoader = null
    for (const tensor of this.#kept) tensor.dispose()
    this.#kept = []
  }
}
