/** `GradientNormMonitorCallback`: the size of the gradients. */
import type { StateRecord } from '../checkpoint/index.ts'
import { checkCount } from '../data/sampler.ts'
import { checkOptions } from '../errors.ts'
import { checkForm, isCount, orNull, withFields } from '../forms.ts'
import { native } from '../native/index.ts'
import { clipGradNorm_ } from '../nn/utils.ts'
import { isTracked, LossTracker } from '../trainer/loss-tracker.ts'
import type { AnyTrainer, Callback } from './callback.ts'

const isState = withFields({ updates: isCount, norms: orNull(isTracked) })

/**
 * Records the mean over an epoch's updates of the gradient's norm before clipping, as `train_gradient_norm`. It is added up on
 * the device; nothing waits for it but the epoch's end.
 */
export class GradientNormMonitorCallback implements Callback {
  readonly #every: number
  #norms: LossTracker | undefined
  #updates = 0

  constructor(options: { everyNUpdates?: number | undefined } = {}) {
    checkOptions('GradientNormMonitorCallback', options, ['everyNUpdates'])
    this.#every = checkCount(options.everyNUpdates ?? 1, 'everyNUpdates', 'GradientNormMonitorCallback')
  }

  onTrainEpochStart({ device }: AnyTrainer): void {
    this.#norms ??= new LossTracker(device)
    this.#norms.reset()
    this.#updates = 0
  }

  onGradientsReady({ optimizer, scaler }: AnyTrainer): void {
    if (this.#every > 1) native.needsJavascript()
    if (this.#updates++ % this.#every !== 0) return
    scaler?.unscale_(optimizer as Parameters<typeof scaler.unscale_>[0])
    const parameters = optimizer.paramGroups.flatMap(group => group.params)
    this.#norms?.update(clipGradNorm_(parameters, Number.POSITIVE_INFINITY), 1)
  }

  onTrainStepsReplayed(_trainer: AnyTrainer, { steps }: { steps: number }): void {
    this.#updates += steps
  }

  async onTrainEpochEnd({ runHistory }: AnyTrainer): Promise<void> {
    if (!this.#norms) return
    const { average, count } = await this.#norms.read()
    if (count > 0) runHistory.updateMetric('train_gradient_norm', average)
  }

  onTrainingRunEnd(): void {
    this.#norms?.dispose()
    this.#norms = undefined
  }

  /** The updates of the epoch and the sum of their norms. */
  async stateDict(): Promise<StateRecord> {
    return { updates: this.#updates, norms: this.#norms ? await this.#norms.stateDict() : null }
  }

  /** Goes on from a state, in the middle of an epoch. */
  loadStateDict(state: StateRecord): void {
    checkForm(this, state, isState)
    this.#updates = state.updates
    if (state.norms) this.#norms?.loadStateDict(state.norms)
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }
}
