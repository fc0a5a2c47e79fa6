/** `CalibrationError`: whether confidence is deserved. */
import { checkCount } from '../../data/sampler.ts'
import { badOption } from '../../errors.ts'
import { linspace, scatterAdd, type Tensor } from '../../tensor/index.ts'
import { Metric, ratio, total } from '../metric.ts'
import {
  asDistribution,
  asProbabilities,
  type BinaryTask,
  labelRows,
  type MulticlassTask,
  maskTargets,
  type ResolvedTask,
  resolveTask,
  wrongShapes,
} from './task.ts'

/** Options of `CalibrationError`. */
export type CalibrationErrorOptions = (BinaryTask | MulticlassTask) & {
  /** Default 15. */
  nBins?: number | undefined
  /** The mean difference (`'l1'`, default), its root mean square (`'l2'`) or the largest one (`'max'`). */
  norm?: 'l1' | 'l2' | 'max' | undefined
}

/**
 * The difference between the mean confidence and the accuracy in bins of equal width. Of a binary task the confidence is the
 * probability of class 1, of a multiclass one the highest probability.
 */
export class CalibrationError extends Metric<[preds: Tensor, target: Tensor], number> {
  readonly #task: ResolvedTask
  readonly #bins: number
  readonly #norm: 'l1' | 'l2' | 'max'

  constructor(options: CalibrationErrorOptions) {
    super(options)
    const op = 'CalibrationError'
    this.#task = resolveTask(op, options, ['nBins', 'norm'], ['binary', 'multiclass'])
    this.#bins = checkCount(options.nBins ?? 15, 'nBins', op)
    this.#norm = options.norm ?? 'l1'
    if (!['l1', 'l2', 'max'].includes(this.#norm)) {
      throw badOption(op, `norm must be 'l1', 'l2' or 'max', not '${String(this.#norm)}'`)
    }
    // Confidence 1 has a bin of its own, as torchmetrics'.
    for (const name of ['count', 'confidence', 'accuracy']) this.addSum(name, [this.#bins + 1])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const { confidence, right, counted } =
      this.#task.kind === 'binary' ? this.#binary(preds, target) : this.#best(preds, target)
    const edges = linspace(0, 1, this.#bins + 1, { dtype: 'float32', device: confidence.device as 'cpu' })
    const bin = confidence.unsqueeze(1).ge(edges).to('int64').sum(1).sub(1)
    const add = (name: string, values: Tensor) => {
      const sums = this.sum(name)
      sums.copy_(scatterAdd(sums, 0, bin, values.to('float64').mul(counted)))
    }
    add('count', counted)
    add('confidence', confidence)
    add('accuracy', right)
  }

  #binary(preds: Tensor, target: Tensor) {
    const rows = labelRows(this.#task, preds, target)
    const masked = maskTargets(this.#task, rows.target)
    return { confidence: asProbabilities(rows.preds.float()), right: masked.target, counted: masked.counted }
  }

  #best(preds: Tensor, target: Tensor) {
    const { size } = this.#task
    if (preds.ndim !== target.ndim + 1 || preds.shape[1] !== size) throw wrongShapes(this.#task, preds, target)
    const scores = asDistribution(preds.float()).movedim(1, -1).reshape([-1, size])
    const masked = maskTargets(this.#task, target.flatten())
    const [confidence, predicted] = scores.max(1)
    return { confidence, right: predicted.eq(masked.target), counted: masked.counted }
  }

  async compute(): Promise<number> {
    const states = ['count', 'confidence', 'accuracy'].map(name => this.read(name))
    const [counts = [], confidences = [], accuracies = []] = await Promise.all(states)
    const gaps = counts.map((n, i) => Math.abs(ratio(accuracies[i]!, n) - ratio(confidences[i]!, n)))
    if (this.#norm === 'max') return Math.max(...gaps)
    const shares = counts.map(n => n / total(counts))
    if (this.#norm === 'l1') return total(gaps.map((gap, i) => gap * shares[i]!))
    return Math.sqrt(total(gaps.map((gap, i) => gap ** 2 * shares[i]!)))
  }
}
