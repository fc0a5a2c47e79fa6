/** A worker's share of an iterable dataset in one pass. */
import { ItemRandom } from '../item-random.ts'
import { type IterableDataset, iterated } from '../stream.ts'
import { ItemFailure } from './failure.ts'
import type { Pass, WorkerSetup } from './messages.ts'

/** What the worker's own iterator gives, batch by batch. */
export class Share {
  readonly #source: ReturnType<typeof iterated<unknown>>
  readonly #random: ItemRandom
  readonly #setup: WorkerSetup
  #ended = false

  constructor(dataset: IterableDataset<unknown>, pass: Pass, setup: WorkerSetup) {
    this.#source = iterated(dataset)
    this.#random = new ItemRandom(pass.epoch, pass.seed)
    this.#setup = setup
  }

  /**
   * The items at `places` in this worker's share, the next ones; fewer if it ends, none if those would be a batch to be left out. Stops
   * once `isCancelled`. Where each of n workers gives every n-th item, an item's random numbers are those of a pass in the loop.
   */
  async read(places: Uint32Array, isCancelled: () => boolean): Promise<unknown[]> {
    const { id, numWorkers, making, dropLast } = this.#setup
    const items: unknown[] = []
    for (const place of places) {
      if (this.#ended || isCancelled()) break
      Atomics.store(making, 0, place + 1)
      try {
        const result = await this.#random.get(this.#source, place * numWorkers + id)
        this.#ended = result.done === true
        if (!result.done) items.push(result.value)
      } catch (error) {
        this.#ended = true
        throw new ItemFailure(place, error)
      }
    }
    return dropLast && items.length < places.length ? [] : items
  }

  /** Ends the iterator early. */
  close(): void {
    if (!this.#ended) this.#source.close()
    this.#ended = true
  }
}
