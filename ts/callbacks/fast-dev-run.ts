/** `FastDevRunCallback`: a run of next to nothing, for finding mistakes. */
import { checkCount } from '../data/sampler.ts'
import { checkOptions } from '../errors.ts'
import { type AnyTrainer, type Callback, StopTrainingError } from './callback.ts'
import { limitLoaders } from './limit-batches.ts'

/**
 * Tries a program out: one epoch of `numBatches` batches, evaluation included. Callbacks that write files are left out.
 */
export class FastDevRunCallback implements Callback {
  readonly #numBatches: number

  constructor(options: { numBatches?: number | undefined } = {}) {
    checkOptions('FastDevRunCallback', options, ['numBatches'])
    this.#numBatches = checkCount(options.numBatches ?? 1, 'numBatches', 'FastDevRunCallback')
  }

  onInitEnd({ callbackHandler }: AnyTrainer): void {
    callbackHandler.removeCallbacks(callback => 'writesFiles' in callback && callback.writesFiles === true)
  }

  onDataLoadersCreated(trainer: AnyTrainer): void {
    limitLoaders(trainer, this.#numBatches)
  }

  onTrainingRunEpochEnd(): void {
    throw new StopTrainingError(`Fast development run: stopping after an epoch of at most ${this.#numBatches} batches`)
  }
}
