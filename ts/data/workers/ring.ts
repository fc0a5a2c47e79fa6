/**
 * A ring of shared memory through which a worker hands batches to the main thread. Only the worker decides about its regions; the
 * main thread reads them and says which it is done with. How many are in use is bounded by the batches that were asked for,
 * so one that doesn't fit makes the ring larger rather than wait.
 */

interface Region {
  readonly id: number
  readonly start: number
  readonly end: number
  free: boolean
}

/** Where a batch lies. */
export interface Place {
  /** For `release`. */
  readonly id: number
  readonly start: number
}

/** The worker's side of the ring. */
export class Ring {
  /** The memory; another one after the ring grew. */
  buffer = new SharedArrayBuffer(0)
  /** Oldest first. */
  #regions: Region[] = []
  #made = 0

  /** Takes `bytes` bytes that lie in one piece. */
  place(bytes: number): Place {
    let start = this.#fit(bytes)
    if (start === undefined) {
      // The batches in the old memory keep it alive until they have been read.
      this.buffer = new SharedArrayBuffer(2 * Math.max(this.buffer.byteLength, bytes))
      this.#regions = []
      start = 0
    }
    const region = { id: this.#made++, start, end: start + bytes, free: false }
    this.#regions.push(region)
    return region
  }

  /** Gives regions back, in any order. */
  release(ids: readonly number[]): void {
    for (const region of this.#regions) if (ids.includes(region.id)) region.free = true
    while (this.#regions[0]?.free) this.#regions.shift()
  }

  #fit(bytes: number): number | undefined {
    const first = this.#regions[0]
    const last = this.#regions.at(-1)
    if (!first || !last) return bytes <= this.buffer.byteLength ? 0 : undefined
    const wrapped = last.start < first.start
    if (last.end + bytes <= (wrapped ? first.start : this.buffer.byteLength)) return last.end
    return !wrapped && bytes <= first.start ? 0 : undefined
  }
}
