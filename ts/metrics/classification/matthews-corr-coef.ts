/** `MatthewsCorrCoef`: the correlation of predictions and truth. */
import { addMatrices, Confusion, columnSum, type Matrix, matrixSum, rowSum } from './confusion.ts'
import type { Task } from './task.ts'

/** Matthews correlation coefficient, from -1 to 1; of a multilabel task over all labels together. */
export class MatthewsCorrCoef extends Confusion<number> {
  constructor(options: Task) {
    super(options, [])
  }

  async compute(): Promise<number> {
    return coefficient(addMatrices(await this.matrices()))
  }
}

/** The smallest float32 above 1, less 1. */
const EPS = 2 ** -23

function coefficient(m: Matrix): number {
  const isBinary = m.length === 2
  const [tn, fp, fn, tp] = isBinary ? [m[0]![0]!, m[0]![1]!, m[1]![0]!, m[1]![1]!] : [0, 0, 0, 0]
  if (isBinary && tp + tn !== 0 && fp + fn === 0) return 1
  if (isBinary && tp + tn === 0 && fp + fn !== 0) return -1
  const s = matrixSum(m)
  const sums = m.map((_, i) => [rowSum(m, i), columnSum(m, i)] as const)
  const correct = m.reduce((a, row, i) => a + row[i]!, 0)
  const covariance = correct * s - sums.reduce((a, [t, p]) => a + t * p, 0)
  const predicted = s ** 2 - sums.reduce((a, [, p]) => a + p * p, 0)
  const actual = s ** 2 - sums.reduce((a, [t]) => a + t * t, 0)
  if (predicted * actual !== 0) return covariance / Math.sqrt(predicted * actual)
  if (!isBinary) return 0
  // torchmetrics' limits where a whole row or column is empty.
  let numerator: number
  if (fn === 0 && tn === 0) numerator = Math.sqrt(EPS) * (tp - fp)
  else if (fp === 0 && tn === 0) numerator = Math.sqrt(EPS) * (tp - fn)
  else if (tp === 0 && fn === 0) numerator = Math.sqrt(EPS) * (tn - fp)
  else if (tp === 0 && fp === 0) numerator = Math.sqrt(EPS) * (tn - fn)
  else if (tp === 0) numerator = tn - fp * fn
  else if (tn === 0) numerator = tp - fp * fn
  else if (fp === 0 || fn === 0) numerator = tp * tn
  else return 0
  return numerator / Math.sqrt((tp + fp + EPS) * (tp + fn + EPS) * (tn + fp + EPS) * (tn + fn + EPS))
}
