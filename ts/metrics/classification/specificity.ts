/** `Specificity`: how many of the negatives are recognised. */
import { ratio } from '../metric.ts'
import { type Counts, StatScores, type StatScoresOptions } from './stat-scores.ts'

/** Specificity: true negatives among all actual ones. */
export class Specificity<Options extends StatScoresOptions = StatScoresOptions> extends StatScores<Options> {
  constructor(options: Options) {
    super(options)
  }

  protected score({ tn, fp }: Counts): number {
    return ratio(tn, tn + fp)
  }

  protected override isPresent({ tp, fp, fn }: Counts): boolean {
    return tp + fp + fn !== 0
  }
}
