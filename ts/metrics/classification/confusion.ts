/** Metrics that follow from the confusion matrix. */
import { scatterAdd, type Tensor } from '../../tensor/index.ts'
import { Metric } from '../metric.ts'
import { binaryLabels, classLabels, type ResolvedTask, resolveTask, type Task } from './task.ts'

/** Rows are true classes, columns predicted ones. */
export type Matrix = readonly (readonly number[])[]

/** Base of metrics of a confusion matrix; a multilabel task has one of 2x2 for each label. */
export abstract class Confusion<Value> extends Metric<[preds: Tensor, target: Tensor], Value> {
  protected readonly task: ResolvedTask
  /** Classes of a matrix. */
  readonly #classes: number

  constructor(options: Task, names: readonly string[], tasks?: readonly Task['task'][]) {
    super(options)
    this.task = resolveTask(new.target.name, options, names, tasks)
    this.#classes = this.task.kind === 'multiclass' ? this.task.size : 2
    this.addSum('confmat', [(this.task.kind === 'multilabel' ? this.task.size : 1) * this.#classes ** 2])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const { task } = this
    const labels = task.kind === 'multiclass' ? classLabels(task, preds, target) : binaryLabels(task, preds, target)
    let cells = labels.target.mul(this.#classes).add(labels.preds)
    if (task.kind === 'multilabel') cells = cells.add(labelOffsets(cells))
    const matrix = this.sum('confmat')
    matrix.copy_(scatterAdd(matrix, 0, cells.flatten(), labels.counted.flatten()))
  }

  /** The matrices: one, or of a multilabel task one for each label. */
  protected async matrices(): Promise<Matrix[]> {
    const cells = await this.read('confmat')
    const n = this.#classes
    return Array.from({ length: cells.length / n ** 2 }, (_, label) =>
      Array.from({ length: n }, (_, row) => cells.slice(label * n ** 2 + row * n, label * n ** 2 + (row + 1) * n)),
    )
  }
}

/** For cells `[n, labels]` of 2x2 matrices, where each label's matrix begins. */
function labelOffsets(cells: Tensor): Tensor {
  return cells.mul(0).add(1).cumsum(1).sub(1).mul(4)
}

/** The sum of a matrix's row or column, or of all of it. */
export const rowSum = (m: Matrix, i: number): number => m[i]!.reduce((a, b) => a + b, 0)
export const columnSum = (m: Matrix, j: number): number => m.reduce((a, row) => a + row[j]!, 0)
export const matrixSum = (m: Matrix): number => m.reduce((a, _, i) => a + rowSum(m, i), 0)

/** The sum of several matrices of the same size. */
export function addMatrices(matrices: readonly Matrix[]): Matrix {
  return matrices.reduce((a, b) => a.map((row, i) => row.map((x, j) => x + b[i]![j]!)))
}
