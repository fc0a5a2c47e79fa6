/** `Settling`: actions that wait for a place where a run is settled, that is, where its state is that of whole micro-batches. */
import { isPromise, type MaybePromise } from '../data/reader.ts'

/**
 * Where an action runs:
 * - `'batch'`: after the running micro-batch, with its update if it closes a window, or between two batches of an evaluation;
 * - `'update'`: the same, but not before an open accumulation window has had its update;
 * - `'run'`: at the run's end, also after a stop, before any callback's `onTrainingRunEnd`.
 */
export type SettlePlace = 'batch' | 'update' | 'run'

/** Options of `whenSettled`. */
export interface SettleOptions {
  /** Default 'batch'. */
  at?: SettlePlace | undefined
}

/** The actions that wait. */
export class Settling {
  #waiting: { action: () => MaybePromise<void>; at: SettlePlace }[] = []

  /** Whether anything waits for a batch or an update. */
  pending = false

  /** Adds an action. */
  add(action: () => MaybePromise<void>, at: SettlePlace): void {
    this.#waiting.push({ action, at })
    this.pending ||= at !== 'run'
  }

  /** Forgets all actions. */
  clear(): void {
    this.#waiting = []
    this.pending = false
  }

  /** Runs what has waited for one of `places`, in order. An error leaves out the rest. */
  async run(...places: SettlePlace[]): Promise<void> {
    const due = this.#waiting.filter(({ at }) => places.includes(at))
    this.#waiting = this.#waiting.filter(({ at }) => !places.includes(at))
    this.pending = this.#waiting.some(({ at }) => at !== 'run')
    for (const { action } of due) {
      const result = action()
      if (isPromise(result)) await result
    }
  }
}
