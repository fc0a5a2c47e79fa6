/** How long a round lasts: long enough that reading the clock and the last loss don't count, whatever a step takes. */
const roundSeconds = 0.4

export interface Timings {
  /** Milliseconds a training step. */
  stepMs: number
  /** Samples or images a second. */
  perSecond: number
}

/** A job that is warm. */
export interface Prepared {
  /** A timed round. */
  round: () => Timings | Promise<Timings>
  /** Steps for a profile. */
  few: () => unknown
}

/** Warms up `run(steps)`, which gives the seconds it took, and finds how many steps a round has: a multiple of `ring`. */
export function calibrate(run: (steps: number) => number, ring: number): number {
  const whole = (steps: number) => Math.ceil(steps / ring) * ring
  run(whole(4))
  for (let steps = whole(4); ; ) {
    const seconds = run(steps)
    const wanted = whole((steps * roundSeconds) / seconds)
    if (seconds > roundSeconds / 2) return wanted
    steps = Math.min(wanted, 8 * steps)
  }
}
