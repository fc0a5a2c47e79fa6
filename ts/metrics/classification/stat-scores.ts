/** Metrics that follow from the true and false positives and negatives of each class. */
import { checkCount } from '../../data/sampler.ts'
import { badOption } from '../../errors.ts'
import { scatterAdd, type Tensor } from '../../tensor/index.ts'
import { Metric, ratio, total } from '../metric.ts'
import {
  type Average,
  asTensor,
  binaryLabels,
  checkAverage,
  classLabels,
  type ResolvedTask,
  resolveTask,
  type Task,
} from './task.ts'

/** Options that these metrics share. */
export type StatScoresOptions = Task & {
  /** How values of classes or labels are averaged. Default `'micro'`. */
  average?: Average | undefined
  /** A prediction is right if the target is among the `topK` highest scores. Only for `'multiclass'`. Default 1. */
  topK?: number | undefined
}

/** What a metric's `compute` gives: a Tensor of all classes for `average: 'none'`, otherwise a number. */
export type Averaged<Options> = Options extends { average: 'none' } ? Tensor : number

/** Numbers of true and false positives and negatives, of one class or added up. */
export interface Counts {
  tp: number
  fp: number
  tn: number
  fn: number
}

/** Base of metrics of the counts; `Options` decides the type of the result. */
export abstract class StatScores<Options extends StatScoresOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  Averaged<Options>
> {
  protected readonly task: ResolvedTask
  protected readonly average: Average
  protected readonly topK: number

  constructor(options: Options, names: readonly string[] = []) {
    super()
    const op = new.target.name
    this.task = resolveTask(op, options, ['average', 'topK', ...names])
    this.average = checkAverage(op, options.average ?? 'micro')
    this.topK = checkCount(options.topK ?? 1, 'topK', op)
    if (this.topK > 1 && (this.task.kind !== 'multiclass' || this.topK > this.task.size)) {
      throw badOption(op, `topK ${this.topK} needs a multiclass task with at least as many classes`)
    }
    for (const name of ['tp', 'predicted', 'actual', 'all']) this.addSum(name, [this.task.size])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const { task } = this
    if (task.kind === 'multiclass') {
      const labels = classLabels(task, preds, target, this.topK)
      const hits = labels.preds.eq(labels.target).to('float64').mul(labels.counted)
      this.#count('tp', labels.target, hits)
      this.#count('predicted', labels.preds, labels.counted)
      this.#count('actual', labels.target, labels.counted)
      this.sum('all').add_(labels.counted.sum())
      return
    }
    const labels = binaryLabels(task, preds, target)
    const positive = labels.preds.to('float64').mul(labels.counted)
    const actual = labels.target.to('float64').mul(labels.counted)
    const byLabel = (t: Tensor) => (task.kind === 'binary' ? t.sum().reshape([1]) : t.sum(0))
    this.sum('tp').add_(byLabel(positive.mul(actual)))
    this.sum('predicted').add_(byLabel(positive))
    this.sum('actual').add_(byLabel(actual))
    this.sum('all').add_(byLabel(labels.counted))
  }

  #count(name: string, index: Tensor, values: Tensor): void {
    const sums = this.sum(name)
    sums.copy_(scatterAdd(sums, 0, index, values))
  }

  /** The value for one class or for counts that were added up. */
  protected abstract score(counts: Counts): number

  /** The value for the counts of all classes of a multiclass task together; the same formula unless a metric says otherwise. */
  protected microScore(counts: Counts): number {
    return this.score(counts)
  }

  /** Whether a class counts in the mean over classes. */
  protected isPresent({ tp, fp, fn }: Counts): boolean {
    return this.topK === 1 ? tp + fp + fn !== 0 : tp + fn !== 0
  }

  async compute(): Promise<Averaged<Options>> {
    const states = ['tp', 'predicted', 'actual', 'all'].map(name => this.read(name))
    const [tps = [], predicted = [], actual = [], all = []] = await Promise.all(states)
    const classes = tps.map((tp, i): Counts => {
      const [fp, fn] = [predicted[i]! - tp, actual[i]! - tp]
      return { tp, fp, fn, tn: all[i]! - tp - fp - fn }
    })
    return this.#reduce(classes) as Averaged<Options>
  }

  #reduce(classes: readonly Counts[]): Tensor | number {
    if (this.task.kind === 'binary') return this.score(classes[0]!)
    if (this.average === 'micro') {
      const add = (name: keyof Counts) => total(classes.map(counts => counts[name]))
      const sum = { tp: add('tp'), fp: add('fp'), tn: add('tn'), fn: add('fn') }
      return this.task.kind === 'multiclass' ? this.microScore(sum) : this.score(sum)
    }
    const scores = classes.map(counts => this.score(counts))
    if (this.average === 'none') return asTensor(scores)
    const weights = classes.map(counts => {
      if (this.average === 'weighted') return counts.tp + counts.fn
      return this.task.kind === 'multilabel' || this.isPresent(counts) ? 1 : 0
    })
    return ratio(total(scores.map((score, i) => score * weights[i]!)), total(weights))
  }
}
