/** Writes in the background, one at a time: whoever comes while one is on its way waits for it. */

/** The writes of one owner. An error is thrown by the next call. */
export class BackgroundWriter {
  #running: Promise<void> | null = null

  /** Starts `write` after what is being written. */
  async start(write: () => Promise<void>): Promise<void> {
    await this.flush()
    this.#running = write()
    // The error belongs to the next call; until then it is not unhandled.
    this.#running.catch(() => {})
  }

  /** Waits until all is written. */
  async flush(): Promise<void> {
    const running = this.#running
    this.#running = null
    await running
  }
}
