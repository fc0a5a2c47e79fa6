/** `FBeta` and `F1Score`: precision and recall in one number. */
import { badOption } from '../../errors.ts'
import { ratio } from '../metric.ts'
import type { ZeroDivisionOptions } from './precision.ts'
import { type Counts, StatScores } from './stat-scores.ts'

/** Options of `FBeta`. */
export type FBetaOptions = ZeroDivisionOptions & {
  /** How many times more recall weighs than precision. Default 1. */
  beta?: number | undefined
}

/** The weighted harmonic mean of precision and recall. */
export class FBeta<Options extends FBetaOptions = FBetaOptions> extends StatScores<Options> {
  readonly #beta: number
  readonly #zeroDivision: number

  constructor(options: Options) {
    super(options, ['beta', 'zeroDivision'])
    const { beta = 1, zeroDivision = 0 } = options
    if (!(beta > 0)) throw badOption(new.target.name, `beta must be above 0, not ${beta}`)
    this.#beta = beta
    this.#zeroDivision = zeroDivision
  }

  protected score({ tp, fp, fn }: Counts): number {
    const square = this.#beta ** 2
    return ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp, this.#zeroDivision)
  }

  protected override isPresent({ tp, fp, fn }: Counts): boolean {
    return tp + fp + fn !== 0
  }
}

/** The harmonic mean of precision and recall. */
export class F1Score<Options extends ZeroDivisionOptions = ZeroDivisionOptions> extends FBeta<Options> {}
