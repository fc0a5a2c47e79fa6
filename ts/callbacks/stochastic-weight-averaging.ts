/** `StochasticWeightAveragingCallback`: the mean of the late epochs' weights. */
import type { StateRecord } from '../checkpoint/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, isCount, withFields } from '../forms.ts'
import { Module } from '../nn/index.ts'
import { type AverageState, SWA } from '../optim/index.ts'
import { onDevice } from '../tensor/tree.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Options of `StochasticWeightAveragingCallback`. */
export interface StochasticWeightAveragingOptions {
  /** The first epoch, from 1, whose weights count. */
  startEpoch: number
  /** Epochs from one to the next that counts. Default 1. */
  everyNEpochs?: number | undefined
}

const isState = withFields({ epoch: isCount })

/**
 * Averages the weights at the ends of epochs from `startEpoch` on (SWA, arXiv 1803.05407). At the run's end the model gets the
 * average, and its batch norms the statistics of a pass over the training data with it.
 */
export class StochasticWeightAveragingCallback implements Callback {
  readonly #start: number
  readonly #every: number
  #swa: SWA | undefined
  /** The epoch in this run. */
  #epoch = 0

  constructor(options: StochasticWeightAveragingOptions) {
    const op = 'StochasticWeightAveragingCallback'
    checkOptions(op, options, ['startEpoch', 'everyNEpochs'])
    this.#start = checkCount(options.startEpoch, 'startEpoch', op)
    this.#every = checkCount(options.everyNEpochs ?? 1, 'everyNEpochs', op)
  }

  /** The averaged module, null before the first run. */
  get averagedModel(): Module | null {
    return this.#swa?.module ?? null
  }

  onTrainingRunStart({ model }: AnyTrainer): void {
    if (!(model instanceof Module)) {
      throw badOption('StochasticWeightAveragingCallback', 'the model must be an nn.Module')
    }
    this.#swa?.dispose()
    this.#swa = new SWA(model)
    this.#epoch = 0
  }

  onTrainEpochEnd(): void {
    this.#epoch++
    if (this.#epoch >= this.#start && (this.#epoch - this.#start) % this.#every === 0) this.#swa?.update()
  }

  async onTrainingRunEnd(trainer: AnyTrainer): Promise<void> {
    const { trainDataLoader: loader, device } = trainer
    if (!this.#swa || this.#swa.numUpdates === 0) return
    if (loader) {
      const model = trainer.model as Module
      await this.#swa.updateBatchNorm<unknown>(loader, batch => {
        const moved = onDevice(batch, device)
        return model.forward(Array.isArray(moved) ? moved[0] : moved)
      })
    }
    this.#swa.applyTo()
  }

  /** The average, and the epochs of the run. */
  stateDict(): StateRecord {
    const average = this.#swa?.stateDict()
    return { epoch: this.#epoch, ...(average && { swa: { ...average } }) }
  }

  /** Goes on from a state; a Trainer that resumes a run does so after the run's start. */
  loadStateDict(state: StateRecord): void {
    this.checkStateDict(state)
    if (this.#swa && state.swa) this.#swa.loadStateDict(state.swa as unknown as AverageState)
    this.#epoch = Number(state.epoch)
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
    const { swa } = state as StateRecord
    if (swa) this.#swa?.checkStateDict(swa)
  }
}
