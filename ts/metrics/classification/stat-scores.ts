/** Metrics that follow from the true and false positives and negatives of each class. */
import { checkCount } from '../../data/sampler.ts'
import { badOption } from '../../errors.ts'
import { scatterAdd, type Tensor, zeros } from '../../tensor/index.ts'
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
  wrongShapes,
} from './task.ts'

/** Options that these metrics share. */
export type StatScoresOptions = Task & {
  /** How values of classes or labels are averaged. Default `'micro'`. */
  average?: Average | undefined
  /** A prediction is right if the target is among the `topK` highest scores. Only for `'multiclass'`. Default 1. */
  topK?: number | undefined
  /**
   * Whether elements of all samples count together (`'global'`, default), or each sample of `[n, ...]` has a value of its own
   * (`'samplewise'`), which keeps the counts of every sample.
   */
  multidimAverage?: 'global' | 'samplewise' | undefined
}

/**
 * What a metric's `compute` gives: a number, or a Tensor of all classes for `average: 'none'` and of all samples for
 * `multidimAverage: 'samplewise'`; both together give `[samples, classes]`.
 */
export type Averaged<Options> = Options extends { average: 'none' } | { multidimAverage: 'samplewise' }
  ? Tensor
  : number

/** Numbers of true and false positives and negatives, of one class or added up. */
export interface Counts {
  tp: number
  fp: number
  tn: number
  fn: number
}

/** States: hits, and how often a class was predicted, was true, or might have been. */
const STATES = ['tp', 'predicted', 'actual', 'all'] as const

/** Base of metrics of the counts; `Options` decides the type of the result. */
export abstract class StatScores<Options extends StatScoresOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  Averaged<Options>
> {
  protected readonly task: ResolvedTask
  protected readonly average: Average
  protected readonly topK: number
  readonly #samplewise: boolean

  constructor(options: Options, names: readonly string[] = []) {
    super(options)
    const op = new.target.name
    this.task = resolveTask(op, options, ['average', 'topK', 'multidimAverage', ...names])
    this.average = checkAverage(op, options.average ?? 'micro')
    this.topK = checkCount(options.topK ?? 1, 'topK', op)
    if (this.topK > 1 && (this.task.kind !== 'multiclass' || this.topK > this.task.size)) {
      throw badOption(op, `topK ${this.topK} needs a multiclass task with at least as many classes`)
    }
    const { multidimAverage = 'global' } = options
    if (multidimAverage !== 'global' && multidimAverage !== 'samplewise') {
      throw badOption(op, `multidimAverage must be 'global' or 'samplewise', not '${String(multidimAverage)}'`)
    }
    this.#samplewise = multidimAverage === 'samplewise'
    for (const name of STATES) {
      if (this.#samplewise) this.addList(name)
      else this.addSum(name, [this.task.size])
    }
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const { task } = this
    if (this.#samplewise && target.ndim < (task.kind === 'multilabel' ? 3 : 2)) throw wrongShapes(task, preds, target)
    const rows = this.#samplewise ? target.shape[0]! : 1
    const counts =
      task.kind === 'multiclass' ? this.#ofClasses(rows, preds, target) : this.#ofLabels(rows, preds, target)
    for (const [i, name] of STATES.entries()) {
      if (this.#samplewise) this.append(name, counts[i]!)
      else this.sum(name).add_(counts[i]!.reshape([task.size]))
    }
  }

  /** What each of `rows` equal parts of the batch adds to the states, `[rows, classes]`. */
  #ofClasses(rows: number, preds: Tensor, target: Tensor): Tensor[] {
    const { task } = this
    const labels = classLabels(task, preds, target, this.topK)
    const none = zeros([rows, task.size], { dtype: 'float64', device: target.device as 'cpu' })
    const count = (index: Tensor, values: Tensor) =>
      scatterAdd(none, 1, index.reshape([rows, -1]), values.reshape([rows, -1]))
    const hits = labels.preds.eq(labels.target).to('float64').mul(labels.counted)
    return [
      count(labels.target, hits),
      count(labels.preds, labels.counted),
      count(labels.target, labels.counted),
      none.add(labels.counted.reshape([rows, -1]).sum({ dim: 1, keepdim: true })),
    ]
  }

  /** The same of a binary or multilabel task, `[rows, labels]`. */
  #ofLabels(rows: number, preds: Tensor, target: Tensor): Tensor[] {
    const labels = binaryLabels(this.task, preds, target)
    const positive = labels.preds.to('float64').mul(labels.counted)
    const actual = labels.target.to('float64').mul(labels.counted)
    return [positive.mul(actual), positive, actual, labels.counted].map(t =>
      t.reshape([rows, -1, this.task.size]).sum(1),
    )
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
    const [tps = [], predicted = [], actual = [], all = []] = await Promise.all(STATES.map(name => this.read(name)))
    const counts = tps.map((tp, i): Counts => {
      const [fp, fn] = [predicted[i]! - tp, actual[i]! - tp]
      return { tp, fp, fn, tn: all[i]! - tp - fp - fn }
    })
    return this.#values(counts) as Averaged<Options>
  }

  #values(counts: readonly Counts[]): Tensor | number {
    const { size } = this.task
    const isEach = this.average === 'none' && this.task.kind !== 'binary'
    if (!this.#samplewise) return isEach ? asTensor(counts.map(c => this.score(c))) : this.#reduce(counts)
    const samples = Array.from({ length: counts.length / size }, (_, i) => counts.slice(i * size, (i + 1) * size))
    if (isEach) return asTensor(counts.map(c => this.score(c))).reshape([samples.length, size])
    return asTensor(samples.map(classes => this.#reduce(classes)))
  }

  /** The value of all classes together. */
  #reduce(classes: readonly Counts[]): number {
    if (this.task.kind === 'binary') return this.score(classes[0]!)
    if (this.average === 'micro') {
      const add = (name: keyof Counts) => total(classes.map(counts => counts[name]))
      const sum = { tp: add('tp'), fp: add('fp'), tn: add('tn'), fn: add('fn') }
      return this.task.kind === 'multiclass' ? this.microScore(sum) : this.score(sum)
    }
    const scores = classes.map(counts => this.score(counts))
    const weights = classes.map(counts => {
      if (this.average === 'weighted') return counts.tp + counts.fn
      return this.task.kind === 'multilabel' || this.isPresent(counts) ? 1 : 0
    })
    return ratio(total(scores.map((score, i) => score * weights[i]!)), total(weights))
  }
}
