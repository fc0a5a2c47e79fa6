/** Turns of the event loop within loops that await only what is ready. */

/** Milliseconds between two turns of the event loop: what writes a checkpoint in the background goes on at each. */
const BREATH = 20

/** Lets timers and signals run now and then: a loop that only awaits what is ready never leaves its task. */
export class Breath {
  #next = performance.now() + BREATH

  /** A promise for the next macrotask if the last one is `BREATH` ago, else undefined. */
  pause(): Promise<void> | undefined {
    if (performance.now() < this.#next) return undefined
    return new Promise(resolve => {
      setImmediate(() => {
        this.#next = performance.now() + BREATH
        resolve()
      })
    })
  }
}
