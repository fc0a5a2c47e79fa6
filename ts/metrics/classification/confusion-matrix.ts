/** `ConfusionMatrix`: how often each class was taken for each. */
import { badOption } from '../../errors.ts'
import { type Tensor, tensor } from '../../tensor/index.ts'
import { ratio } from '../metric.ts'
import { Confusion, columnSum, type Matrix, matrixSum, rowSum } from './confusion.ts'
import type { Task } from './task.ts'

/** Options of `ConfusionMatrix`. */
export type ConfusionMatrixOptions = Task & {
  /** Whether to divide by the true class's number (`'true'`), the predicted one's (`'pred'`) or all (`'all'`). Default `'none'`. */
  normalize?: 'true' | 'pred' | 'all' | 'none' | undefined
}

/**
 * Element `[i, j]` counts predictions `j` of class `i`; int64, or float32 if normalised. A multilabel task gives
 * `[numLabels, 2, 2]`.
 */
export class ConfusionMatrix extends Confusion<Tensor> {
  readonly #normalize: 'true' | 'pred' | 'all' | 'none'

  constructor(options: ConfusionMatrixOptions) {
    super(options, ['normalize'])
    const { normalize = 'none' } = options
    if (!['true', 'pred', 'all', 'none'].includes(normalize)) {
      throw badOption(
        'ConfusionMatrix',
        `normalize must be 'true', 'pred', 'all' or 'none', not '${String(normalize)}'`,
      )
    }
    this.#normalize = normalize
  }

  async compute(): Promise<Tensor> {
    const matrices = (await this.matrices()).map(matrix => this.#normalized(matrix))
    const dtype = this.#normalize === 'none' ? 'int64' : 'float32'
    const nested = this.task.kind === 'multilabel' ? matrices : matrices[0]!
    return tensor(nested as number[][] | number[][][], { dtype, device: 'cpu' })
  }

  #normalized(matrix: Matrix): number[][] {
    if (this.#normalize === 'none') return matrix.map(row => [...row])
    const all = matrixSum(matrix)
    const [rows, columns] = [matrix.map((_, i) => rowSum(matrix, i)), matrix.map((_, j) => columnSum(matrix, j))]
    const divisor = { true: (i: number) => rows[i]!, pred: (_: number, j: number) => columns[j]!, all: () => all }
    const of = divisor[this.#normalize]
    return matrix.map((row, i) => row.map((x, j) => ratio(x, of(i, j))))
  }
}
