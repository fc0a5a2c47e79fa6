/** Metrics of all thresholds at once: they keep every score, or count between given thresholds. */

import { badOption } from '../../errors.ts'
import { arange, scatterAdd, type Tensor } from '../../tensor/index.ts'
import { Metric, total } from '../metric.ts'
import type { Averaged } from './stat-scores.ts'
import {
  type Average,
  asDistribution,
  asProbabilities,
  asTensor,
  checkAverage,
  labelRows,
  maskTargets,
  type ResolvedTask,
  resolveTask,
  type Task,
  wrongShapes,
} from './task.ts'
import { countsDown, reached, resolveThresholds } from './thresholds.ts'

/** Options that these metrics share. */
export type CurveOptions = Task & {
  /** How values of classes or labels are averaged; `'micro'` only for `'multilabel'`. Default `'macro'`. */
  average?: Average | undefined
  /**
   * Thresholds of the curve: a list of values from 0 to 1, or the number of evenly spaced ones. Then memory is constant, and the value
   * as exact as the thresholds are close. Default: every distinct score, which keeps all scores.
   */
  thresholds?: number | readonly number[] | undefined
}

/** Scores with their truth, from the highest threshold on. */
export interface Ranking {
  /** True and false positives at each threshold. */
  tps: number[]
  fps: number[]
  /** How many there are of both kinds. */
  positives: number
  negatives: number
}

/** Base of metrics of a curve. */
export abstract class Curve<Options extends CurveOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  Averaged<Options>
> {
  protected readonly task: ResolvedTask
  readonly #average: Average
  readonly #thresholds: Float32Array | null

  constructor(options: Options, names: readonly string[] = []) {
    super(options)
    const op = new.target.name
    this.task = resolveTask(op, options, ['average', 'thresholds', ...names])
    this.#average = checkAverage(op, options.average ?? 'macro')
    if (this.#average === 'micro' && this.task.kind === 'multiclass') {
      throw badOption(op, "average 'micro' is for multilabel tasks")
    }
    this.#thresholds = resolveThresholds(op, options.thresholds)
    if (this.#thresholds) {
      for (const name of ['positive', 'negative']) this.addSum(name, [this.task.size * (this.#thresholds.length + 1)])
    } else {
      for (const name of ['preds', 'target']) this.addList(name)
    }
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const rows = this.#rows(preds, target)
    if (this.#thresholds) {
      this.#count(rows, this.#thresholds)
      return
    }
    this.append('preds', rows.preds.flatten())
    this.append('target', rows.target.flatten())
  }

  /** Scores `[n, classes or labels]`, flat for a binary task, with targets `[n]` or of the same shape. */
  #rows(preds: Tensor, target: Tensor): { preds: Tensor; target: Tensor } {
    const { task } = this
    if (task.kind !== 'multiclass') {
      const rows = labelRows(task, preds, target)
      return { preds: asProbabilities(rows.preds.float()), target: rows.target }
    }
    const fits = preds.ndim === target.ndim + 1 && preds.shape[1] === task.size
    if (!fits) throw wrongShapes(task, preds, target)
    const scores = asDistribution(preds.float()).movedim(1, -1)
    return { preds: scores.reshape([-1, task.size]), target: target.flatten() }
  }

  /** Counts the scores of each class by how many thresholds they reach. */
  #count({ preds, target }: { preds: Tensor; target: Tensor }, thresholds: Float32Array): void {
    const { kind, size } = this.task
    const classes = arange(size, { device: preds.device as 'cpu' })
    const masked = maskTargets(this.task, kind === 'multilabel' ? target : target.unsqueeze(1))
    const truth = kind === 'multiclass' ? masked.target.eq(classes) : masked.target.eq(1)
    const cells = reached(preds.reshape([-1, size]), thresholds).add(classes.mul(thresholds.length + 1))
    const positive = masked.counted.mul(truth.to('float64'))
    for (const [name, values] of [
      ['positive', positive],
      ['negative', masked.counted.sub(positive)],
    ] as const) {
      const sums = this.sum(name)
      sums.copy_(scatterAdd(sums, 0, cells.flatten(), values.flatten()))
    }
  }

  /** The value of one ranking; `withoutPositives` if there are none. */
  protected abstract area(ranking: Ranking, withoutPositives: number): number

  async compute(): Promise<Averaged<Options>> {
    const areas = this.#thresholds ? await this.#binned(this.#thresholds.length + 1) : await this.#exact()
    return this.#reduce(areas) as Averaged<Options>
  }

  get #isOneCurve(): boolean {
    return this.task.kind === 'binary' || this.#average === 'micro'
  }

  /** The areas of the curves, and how many positives each has, by counts in `bins` bins. */
  async #binned(bins: number): Promise<Area[]> {
    const [positive, negative] = await Promise.all([this.read('positive'), this.read('negative')])
    const { size } = this.task
    const ofClass = (counts: readonly number[], k: number) => counts.slice(k * bins, (k + 1) * bins)
    const ofAll = (counts: readonly number[]) =>
      Array.from({ length: bins }, (_, bin) => total(Array.from({ length: size }, (_, k) => counts[k * bins + bin]!)))
    return Array.from({ length: this.#isOneCurve ? 1 : size }, (_, k) => {
      const [p, n] = [positive, negative].map(counts => (this.#isOneCurve ? ofAll(counts) : ofClass(counts, k)))
      const positives = total(p!)
      return {
        value: this.area({ tps: countsDown(p!), fps: countsDown(n!), positives, negatives: total(n!) }, 0),
        positives,
      }
    })
  }

  /** The same by all scores. */
  async #exact(): Promise<Area[]> {
    const [preds, target] = await Promise.all([this.read('preds'), this.read('target')])
    const { kind, size, ignoreIndex } = this.task
    const one = (scores: readonly number[], truth: readonly number[], positive: number): Area => {
      const counted = scores.map((score, i) => ({ score, truth: truth[i]! })).filter(x => x.truth !== ignoreIndex)
      const ranking = rank(counted.map(x => [x.score, x.truth === positive] as const))
      const isZero = kind === 'binary' || counted.every(x => x.truth === 0)
      return { value: this.area(ranking, isZero ? 0 : Number.NaN), positives: ranking.positives }
    }
    if (this.#isOneCurve) return [one(preds, target, 1)]
    const column = (values: readonly number[], k: number) =>
      Array.from({ length: values.length / size }, (_, i) => values[i * size + k]!)
    return Array.from({ length: size }, (_, k) =>
      kind === 'multiclass' ? one(column(preds, k), target, k) : one(column(preds, k), column(target, k), 1),
    )
  }

  #reduce(areas: readonly Area[]): number | Tensor {
    if (this.#isOneCurve) return areas[0]!.value
    if (this.#average === 'none') return asTensor(areas.map(a => a.value))
    const defined = areas.filter(a => !Number.isNaN(a.value))
    if (this.#average === 'macro') return total(defined.map(a => a.value)) / defined.length
    return total(defined.map(a => a.value * a.positives)) / total(defined.map(a => a.positives))
  }
}

/** The area under a curve of `positives` positives. */
interface Area {
  value: number
  positives: number
}

/** Counts true and false positives down to each distinct score, beginning above all of them. */
function rank(scored: readonly (readonly [score: number, isPositive: boolean])[]): Ranking {
  const sorted = [...scored].sort((a, b) => b[0] - a[0])
  const tps = [0]
  const fps = [0]
  let tp = 0
  for (const [i, [score, isPositive]] of sorted.entries()) {
    if (isPositive) tp++
    if (sorted[i + 1]?.[0] === score) continue
    tps.push(tp)
    fps.push(i + 1 - tp)
  }
  return { tps, fps, positives: tp, negatives: sorted.length - tp }
}
