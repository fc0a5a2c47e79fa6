/** `Recall`: how many of the positives are found. */
import { ratio } from '../metric.ts'
import type { ZeroDivisionOptions } from './precision.ts'
import { type Counts, StatScores } from './stat-scores.ts'

/** Recall, or sensitivity: true positives among all actual ones. */
export class Recall<Options extends ZeroDivisionOptions = ZeroDivisionOptions> extends StatScores<Options> {
  readonly #zeroDivision: number

  constructor(options: Options) {
    super(options, ['zeroDivision'])
    this.#zeroDivision = options.zeroDivision ?? 0
  }

  protected score({ tp, fn }: Counts): number {
    return ratio(tp, tp + fn, this.#zeroDivision)
  }
}
