/** `JaccardIndex`: intersection over union. */
import type { Tensor } from '../../tensor/index.ts'
import { ratio, total } from '../metric.ts'
import { Confusion, columnSum, rowSum } from './confusion.ts'
import type { Averaged } from './stat-scores.ts'
import { type Average, asTensor, checkAverage, type Task } from './task.ts'

/** Options of `JaccardIndex`. */
export type JaccardIndexOptions = Task & {
  /** How values of classes or labels are averaged. Default `'macro'`. */
  average?: Average | undefined
  /** The value of a class that is neither predicted nor true. Default 0. */
  zeroDivision?: number | undefined
}

/** The intersection of predicted and true elements of a class, divided by their union. */
export class JaccardIndex<Options extends JaccardIndexOptions = JaccardIndexOptions> extends Confusion<
  Averaged<Options>
> {
  readonly #average: Average
  readonly #zeroDivision: number

  constructor(options: Options) {
    super(options, ['average', 'zeroDivision'])
    this.#average = checkAverage('JaccardIndex', options.average ?? 'macro')
    this.#zeroDivision = options.zeroDivision ?? 0
  }

  async compute(): Promise<Averaged<Options>> {
    return (await this.#value()) as Averaged<Options>
  }

  async #value(): Promise<number | Tensor> {
    const matrices = await this.matrices()
    const { kind, ignoreIndex } = this.task
    const isIgnored = (i: number) => kind === 'multiclass' && i === ignoreIndex
    // Of a binary or multilabel task only class 1 counts.
    const classes =
      kind === 'multiclass'
        ? matrices[0]!.map((row, i) => ({ m: matrices[0]!, hits: row[i]!, i }))
        : matrices.map(m => ({ m, hits: m[1]![1]!, i: 1 }))
    const hits = classes.map(c => c.hits)
    const actual = classes.map(({ m, i }) => rowSum(m, i))
    const unions = classes.map(({ m, i }, k) => actual[k]! + columnSum(m, i) - hits[k]!)
    const scores = hits.map((hit, i) => ratio(hit, unions[i]!, this.#zeroDivision))
    if (kind === 'binary') return scores[0]!
    if (this.#average === 'none') return asTensor(scores)
    if (this.#average === 'micro') {
      return ratio(total(hits), total(unions.filter((_, i) => !isIgnored(i))), this.#zeroDivision)
    }
    const weights = scores.map((_, i) => {
      if (this.#average === 'weighted') return actual[i]!
      return isIgnored(i) || (kind === 'multiclass' && unions[i] === 0) ? 0 : 1
    })
    return total(scores.map((score, i) => score * weights[i]!)) / total(weights)
  }
}
