/** `Precision`: how many of the positives are right. */
import { ratio } from '../metric.ts'
import { type Counts, StatScores, type StatScoresOptions } from './stat-scores.ts'

/** Options of metrics with a denominator that may be 0. */
export type ZeroDivisionOptions = StatScoresOptions & {
  /** The value where nothing was predicted or nothing is to be found. Default 0. */
  zeroDivision?: number | undefined
}

/** Precision: true positives among all predicted ones. */
export class Precision<Options extends ZeroDivisionOptions = ZeroDivisionOptions> extends StatScores<Options> {
  readonly #zeroDivision: number

  constructor(options: Options) {
    super(options, ['zeroDivision'])
    this.#zeroDivision = options.zeroDivision ?? 0
  }

  protected score({ tp, fp }: Counts): number {
    return ratio(tp, tp + fp, this.#zeroDivision)
  }
}
