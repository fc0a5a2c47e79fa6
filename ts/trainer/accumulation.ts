/**
 * Gradient accumulation: the gradient of a window of micro-batches is `sum(n_i * grad_i) / sum(n_i)`, where n_i are samples (or
 * the items that the loss is a mean over). So 4 micro-batches of 8 give the gradient of a batch of 32, a ragged end included.
 *
 * The sum of n_i is known only at the window's end. Each loss is weighed by n_i / E, where E is the sum that the first
 * micro-batch makes likely; at the end the gradients are scaled by E / sum(n_i), which is 1 for all but ragged windows.
 */
import { badOption } from '../errors.ts'
import { noGrad, type Tensor } from '../tensor/index.ts'

/** An open window: the sum of weights that was expected, and the one so far. */
export interface AccumulationState {
  expected: number
  items: number
}

/** The windows of one epoch. */
export class Accumulation {
  readonly #window: number
  readonly #batches: number
  #expected = 0
  #items = 0

  /** `window` micro-batches make an update; the epoch has `batches` of them. A resumed epoch goes on with its window's `state`. */
  constructor(window: number, batches: number, state?: AccumulationState) {
    this.#window = window
    this.#batches = batches
    this.#expected = state?.expected ?? 0
    this.#items = state?.items ?? 0
  }

  /** The open window, for a checkpoint. */
  state(): AccumulationState {
    return { expected: this.#expected, items: this.#items }
  }

  /** Whether micro-batch `step` (from 0) is its window's last. */
  closesAt(step: number): boolean {
    return (step + 1) % this.#window === 0 || step + 1 === this.#batches
  }

  /** What to differentiate for micro-batch `step`, whose `loss` is a mean over `items`. */
  scale(loss: Tensor, step: number, items: number): Tensor {
    if (this.#window === 1) return loss
    if (!(items >= 0 && items < Number.POSITIVE_INFINITY)) {
      throw badOption('Trainer', `batchSize and numItemsInBatch must be numbers of at least 0, not ${items}`)
    }
    if (step % this.#window === 0) {
      this.#items = 0
      this.#expected = Math.max(items, 1) * Math.min(this.#window, this.#batches - step)
    }
    this.#items += items
    return loss.mul(items / this.#expected)
  }

  /** Corrects the gradients at the window's end for items that came or stayed away unexpectedly. */
  finish(parameters: () => Iterable<Tensor>): void {
    if (this.#window === 1 || this.#items === 0 || this.#items === this.#expected) return
    const factor = this.#expected / this.#items
    noGrad(() => {
      for (const { grad } of parameters()) grad?.mul_(factor)
    })
  }
}
