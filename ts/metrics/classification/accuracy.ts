/** `Accuracy`: the share of right predictions. */
import { ratio } from '../metric.ts'
import { type Counts, StatScores, type StatScoresOptions } from './stat-scores.ts'

/** The share of right predictions; with `average: 'macro'` the mean of the classes' own shares. */
export class Accuracy<Options extends StatScoresOptions = StatScoresOptions> extends StatScores<Options> {
  constructor(options: Options) {
    super(options)
  }

  protected score({ tp, fp, tn, fn }: Counts): number {
    return this.task.kind === 'multiclass' ? ratio(tp, tp + fn) : ratio(tp + tn, tp + fp + tn + fn)
  }
}
