/** `CohenKappa`: agreement beyond chance. */
import { badOption } from '../../errors.ts'
import { Confusion, columnSum, matrixSum, rowSum } from './confusion.ts'
import type { BinaryTask, MulticlassTask } from './task.ts'

/** Options of `CohenKappa`. */
export type CohenKappaOptions = (BinaryTask | MulticlassTask) & {
  /** How much the distance between classes counts: `'none'` (default), `'linear'` or `'quadratic'`. */
  weights?: 'none' | 'linear' | 'quadratic' | undefined
}

/** Cohen's kappa: 1 is full agreement, 0 what chance would give. */
export class CohenKappa extends Confusion<number> {
  readonly #weights: 'none' | 'linear' | 'quadratic'

  constructor(options: CohenKappaOptions) {
    super(options, ['weights'], ['binary', 'multiclass'])
    const { weights = 'none' } = options
    if (!['none', 'linear', 'quadratic'].includes(weights)) {
      throw badOption('CohenKappa', `weights must be 'none', 'linear' or 'quadratic', not '${String(weights)}'`)
    }
    this.#weights = weights
  }

  async compute(): Promise<number> {
    const [matrix = []] = await this.matrices()
    const all = matrixSum(matrix)
    const [rows, columns] = [matrix.map((_, i) => rowSum(matrix, i)), matrix.map((_, j) => columnSum(matrix, j))]
    const distance = (i: number, j: number) => {
      if (this.#weights === 'none') return i === j ? 0 : 1
      return this.#weights === 'linear' ? Math.abs(i - j) : (i - j) ** 2
    }
    let observed = 0
    let expected = 0
    for (const [i, row] of matrix.entries()) {
      for (const [j, x] of row.entries()) {
        observed += distance(i, j) * x
        expected += (distance(i, j) * rows[i]! * columns[j]!) / all
      }
    }
    return 1 - observed / expected
  }
}
