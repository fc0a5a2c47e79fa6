/** `LossTracker`: the running sample-weighted mean of a loss, kept on the device. */
import { checkForm, type Form, isNumber, isRecord, listOf } from '../forms.ts'
import { native } from '../native/index.ts'
import { getDefaultDevice, keep, scope, type Tensor, tensor, zeros } from '../tensor/index.ts'

/** What a tracker has seen; reading it waits for the device. */
export interface TrackedLoss {
  /** Sum of loss * batch size. */
  total: number
  /** Samples. */
  count: number
  /** `total / count`, NaN without samples. */
  average: number
  /** Whether every loss was finite. */
  isFinite: boolean
  /** The latest loss. */
  last: number
}

/** Whether a value has the form of a tracker's state. */
export const isTracked: Form<{ sums: number[] }> = (value): value is { sums: number[] } =>
  isRecord(value) && isNumbers(value.sums) && value.sums.length === 4
const isNumbers = listOf(isNumber)

/**
 * Sums losses weighted by their batch size on the device, so that `update` never waits for it.
 *
 * ```ts
 * tracker.update(loss, 32)
 * const { average } = await tracker.read()
 * ```
 */
export class LossTracker {
  /** float64 [4]: total, count, 1 after a loss that wasn't finite, the latest loss. */
  readonly #state: Tensor
  /** Scalar float64 on the device: not 0 once a loss wasn't finite. An optimizer takes it as `skip`. */
  readonly notFinite: Tensor

  /** A tracker of losses on `device`; default: where tensors are made. */
  constructor(device: string = getDefaultDevice()) {
    this.#state = keep(zeros([4], { dtype: 'float64', device }))
    this.notFinite = keep(this.#state.select(0, 2))
  }

  /** Forgets everything. */
  reset(): void {
    this.#state.zero_()
  }

  /** Adds a batch: `loss` is the mean (one element) over `batchSize` samples. */
  update(loss: Tensor, batchSize: number): void {
    native.trackLoss(this.#state.handle, loss.handle, batchSize)
  }

  /** What was seen since the last reset. */
  async read(): Promise<TrackedLoss> {
    const [total = 0, count = 0, notFinite = 0, last = 0] = Array.from(await this.#state.data(), Number)
    return { total, count, average: total / count, isFinite: notFinite === 0, last }
  }

  /** The sums as they are on the device, for a checkpoint. */
  async stateDict(): Promise<{ sums: number[] }> {
    return { sums: Array.from(await this.#state.data(), Number) }
  }

  /** Goes on from a state of `stateDict`. */
  loadStateDict(state: { sums: readonly number[] }): void {
    checkForm(this, state, isTracked)
    const { sums } = state
    scope(() => {
      this.#state.copy_(tensor(Float64Array.from(sums), { device: this.#state.device }))
    })
  }

  /** Frees the tracker's memory. */
  dispose(): void {
    this.notFinite.dispose()
    this.#state.dispose()
  }
}
