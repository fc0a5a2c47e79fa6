/** `AUROC`: the area under the receiver operating characteristic. */
import { badOption } from '../../errors.ts'
import { Curve, type CurveOptions, type Ranking } from './curve.ts'

/** Options of `AUROC`. */
export type AUROCOptions = CurveOptions & {
  /** For `'binary'`: only false positive rates up to this count, scaled to 0.5 for chance (McClish). */
  maxFpr?: number | undefined
}

/** The chance that a positive scores higher than a negative. A class with only one of the two kinds has 0. */
export class AUROC<Options extends AUROCOptions = AUROCOptions> extends Curve<Options> {
  readonly #maxFpr: number

  constructor(options: Options) {
    super(options, ['maxFpr'])
    const { maxFpr = 1 } = options
    if (!(maxFpr > 0 && maxFpr <= 1)) throw badOption('AUROC', `maxFpr must be above 0 and at most 1, not ${maxFpr}`)
    if (maxFpr !== 1 && this.task.kind !== 'binary') throw badOption('AUROC', 'maxFpr is for binary tasks')
    this.#maxFpr = maxFpr
  }

  protected area({ tps, fps, positives, negatives }: Ranking): number {
    if (positives === 0 || negatives === 0) return 0
    const limit = this.#maxFpr
    const points = tps.map((tp, i) => [fps[i]! / negatives, tp / positives] as const)
    let area = 0
    // The curve begins at its first threshold, as torchmetrics'.
    let [x, y] = points[0]!
    for (let [nextX, nextY] of points.slice(1)) {
      if (x >= limit) break
      if (nextX > limit) {
        nextY = y + ((nextY - y) * (limit - x)) / (nextX - x)
        nextX = limit
      }
      area += ((nextX - x) * (y + nextY)) / 2
      x = nextX
      y = nextY
    }
    if (limit === 1) return area
    const least = 0.5 * limit ** 2
    return 0.5 * (1 + (area - least) / (limit - least))
  }
}
