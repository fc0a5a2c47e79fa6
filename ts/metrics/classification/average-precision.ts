/** `AveragePrecision`: the area under the precision-recall curve. */
import { ratio } from '../metric.ts'
import { Curve, type CurveOptions, type Ranking } from './curve.ts'

/** The mean of the precisions at each threshold, weighted by the recall that it adds. */
export class AveragePrecision<Options extends CurveOptions = CurveOptions> extends Curve<Options> {
  constructor(options: Options) {
    super(options)
  }

  protected area({ tps, fps, positives }: Ranking, withoutPositives: number): number {
    if (positives === 0) return withoutPositives
    let before = 0
    let area = 0
    for (const [i, tp] of tps.entries()) {
      area += ((tp - before) / positives) * ratio(tp, tp + fps[i]!)
      before = tp
    }
    return area
  }
}
