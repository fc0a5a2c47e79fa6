/** Metrics of all thresholds at once: they keep every score. */

import { badOption } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { Metric, total } from '../metric.ts'
import type { Averaged } from './stat-scores.ts'
import {
  type Average,
  asDistribution,
  asProbabilities,
  asTensor,
  checkAverage,
  labelRows,
  type ResolvedTask,
  resolveTask,
  type Task,
  wrongShapes,
} from './task.ts'

/** Options that these metrics share. */
export type CurveOptions = Task & {
  /** How values of classes or labels are averaged; `'micro'` only for `'multilabel'`. Default `'macro'`. */
  average?: Average | undefined
}

/** Scores with their truth, from the highest score on. */
export interface Ranking {
  /** True and false positives among the scores down to each distinct one. */
  tps: number[]
  fps: number[]
}

/** Base of metrics of a curve. */
export abstract class Curve<Options extends CurveOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  Averaged<Options>
> {
  protected readonly task: ResolvedTask
  readonly #average: Average

  constructor(options: Options, names: readonly string[] = []) {
    super()
    const op = new.target.name
    this.task = resolveTask(op, options, ['average', ...names])
    this.#average = checkAverage(op, options.average ?? 'macro')
    if (this.#average === 'micro' && this.task.kind === 'multiclass') {
      throw badOption(op, "average 'micro' is for multilabel tasks")
    }
    this.addList('preds')
    this.addList('target')
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const { task } = this
    if (task.kind !== 'multiclass') {
      const rows = labelRows(task, preds, target)
      this.append('preds', asProbabilities(rows.preds.float()).flatten())
      this.append('target', rows.target.flatten())
      return
    }
    const fits = preds.ndim === target.ndim + 1 && preds.shape[1] === task.size
    if (!fits) throw wrongShapes(task, preds, target)
    const scores = asDistribution(preds.float())
    this.append('preds', scores.movedim(1, -1).flatten())
    this.append('target', target.flatten())
  }

  /** The value of one ranking; `hasOnlyZeros` if the targets, of all classes, are 0. */
  protected abstract area(ranking: Ranking, hasOnlyZeros: boolean): number

  async compute(): Promise<Averaged<Options>> {
    const [preds, target] = await Promise.all([this.read('preds'), this.read('target')])
    return this.#value(preds, target) as Averaged<Options>
  }

  #value(preds: readonly number[], target: readonly number[]): number | Tensor {
    const { kind, size, ignoreIndex } = this.task
    const one = (scores: readonly number[], truth: readonly number[], positive: number) => {
      const counted = scores.map((score, i) => ({ score, truth: truth[i]! })).filter(x => x.truth !== ignoreIndex)
      return this.area(
        rank(counted.map(x => [x.score, x.truth === positive] as const)),
        counted.every(x => x.truth === 0),
      )
    }
    if (kind === 'binary' || this.#average === 'micro') return one(preds, target, 1)
    const column = (values: readonly number[], k: number) =>
      Array.from({ length: values.length / size }, (_, i) => values[i * size + k]!)
    const classes = Array.from({ length: size }, (_, k) => {
      const scores = column(preds, k)
      const truth = kind === 'multiclass' ? target : column(target, k)
      const positive = kind === 'multiclass' ? k : 1
      return {
        value: one(scores, truth, positive),
        actual: truth.filter(t => t === positive && t !== ignoreIndex).length,
      }
    })
    const values = classes.map(c => c.value)
    if (this.#average === 'none') return asTensor(values)
    const defined = classes.filter(c => !Number.isNaN(c.value))
    if (this.#average === 'macro') return total(defined.map(c => c.value)) / defined.length
    return total(defined.map(c => c.value * c.actual)) / total(defined.map(c => c.actual))
  }
}

/** Counts true and false positives down to each distinct score. */
function rank(scored: readonly (readonly [score: number, isPositive: boolean])[]): Ranking {
  const sorted = [...scored].sort((a, b) => b[0] - a[0])
  const tps: number[] = []
  const fps: number[] = []
  let tp = 0
  for (const [i, [score, isPositive]] of sorted.entries()) {
    if (isPositive) tp++
    if (sorted[i + 1]?.[0] === score) continue
    tps.push(tp)
    fps.push(i + 1 - tp)
  }
  return { tps, fps }
}
