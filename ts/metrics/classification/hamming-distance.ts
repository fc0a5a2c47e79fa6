/** `HammingDistance`: the share of wrong predictions. */
import { ratio } from '../metric.ts'
import { type Counts, StatScores, type StatScoresOptions } from './stat-scores.ts'

/** The share of wrong predictions or labels: 1 less the accuracy. */
export class HammingDistance<Options extends StatScoresOptions = StatScoresOptions> extends StatScores<Options> {
  constructor(options: Options) {
    super(options)
  }

  protected score({ tp, fp, tn, fn }: Counts): number {
    return 1 - (this.task.kind === 'multiclass' ? ratio(tp, tp + fn) : ratio(tp + tn, tp + fp + tn + fn))
  }

  protected override isPresent({ tp, fp, fn }: Counts): boolean {
    return tp + fp + fn !== 0
  }
}
