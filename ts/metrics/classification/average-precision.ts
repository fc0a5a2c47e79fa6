/** `AveragePrecision`: the area under the precision-recall curve. */
import { Curve, type CurveOptions, type Ranking } from './curve.ts'

/** The mean of the precisions at each threshold, weighted by the recall that it adds. */
export class AveragePrecision<Options extends CurveOptions = CurveOptions> extends Curve<Options> {
  constructor(options: Options) {
    super(options)
  }

  protected area({ tps, fps }: Ranking, hasOnlyZeros: boolean): number {
    const positives = tps.at(-1) ?? 0
    if (positives === 0) return hasOnlyZeros || this.task.kind === 'binary' ? 0 : Number.NaN
    let before = 0
    let area = 0
    for (const [i, tp] of tps.entries()) {
      area += ((tp - before) / positives) * (tp / (tp + fps[i]!))
      before = tp
    }
    return area
  }
}
