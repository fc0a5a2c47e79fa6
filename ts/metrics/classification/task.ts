/** The three tasks of classification metrics: their options, and predictions as labels. */

import { checkCount } from '../../data/sampler.ts'
import { badOption, checkOptions, WickError } from '../../errors.ts'
import { isFloating } from '../../tensor/dtype.ts'
import { type Tensor, tensor, where } from '../../tensor/index.ts'

/** How values of classes or labels are averaged: `'none'` gives a Tensor of them all. */
export type Average = 'micro' | 'macro' | 'weighted' | 'none'

/** Which targets are left out. */
interface Ignored {
  /** Targets with this value are left out. */
  ignoreIndex?: number | undefined
}

/** Two classes, 0 and 1: `preds` are probabilities, logits or labels of the targets' shape. */
export interface BinaryTask extends Ignored {
  task: 'binary'
  /** Probabilities above it are class 1. Default 0.5. */
  threshold?: number | undefined
}

/** One class of several: `preds` are scores `[n, numClasses, ...]` or labels of the targets' shape. */
export interface MulticlassTask extends Ignored {
  task: 'multiclass'
  numClasses: number
}

/** Several labels that may hold at once: `preds` are probabilities, logits or labels `[n, numLabels, ...]`, as `target` is. */
export interface MultilabelTask extends Ignored {
  task: 'multilabel'
  numLabels: number
  /** Probabilities above it are 1. Default 0.5. */
  threshold?: number | undefined
}

/** A task and its options. */
export type Task = BinaryTask | MulticlassTask | MultilabelTask

/** A task, checked; `size` is the number of classes or labels, 1 for binary. */
export interface ResolvedTask {
  readonly op: string
  readonly kind: Task['task']
  readonly size: number
  readonly threshold: number
  readonly ignoreIndex: number | undefined
}

const namesOf: Record<Task['task'], readonly string[]> = {
  binary: ['threshold'],
  multiclass: ['numClasses'],
  multilabel: ['numLabels', 'threshold'],
}

/** Checks a metric's options: the task's and `names` of its own. `tasks` are those that it has. */
export function resolveTask(
  op: string,
  options: Task,
  names: readonly string[] = [],
  tasks: readonly Task['task'][] = ['binary', 'multiclass', 'multilabel'],
): ResolvedTask {
  const kind = options?.task
  if (!tasks.includes(kind)) {
    throw badOption(op, `task must be ${tasks.map(t => `'${t}'`).join(' or ')}, not '${String(kind)}'`)
  }
  checkOptions(op, options, ['task', 'ignoreIndex', ...namesOf[kind], ...names])
  const threshold = 'threshold' in options ? (options.threshold ?? 0.5) : 0.5
  if (!(threshold >= 0 && threshold <= 1)) throw badOption(op, `threshold must be from 0 to 1, not ${threshold}`)
  let size = 1
  if (options.task === 'multiclass') size = checkCount(options.numClasses, 'numClasses', op, 2)
  if (options.task === 'multilabel') size = checkCount(options.numLabels, 'numLabels', op, 2)
  return { op, kind, size, threshold, ignoreIndex: options.ignoreIndex }
}

/** Checks `average`. */
export function checkAverage(op: string, average: Average): Average {
  if (['micro', 'macro', 'weighted', 'none'].includes(average)) return average
  throw badOption(op, `average must be 'micro', 'macro', 'weighted' or 'none', not '${String(average)}'`)
}

/** The sigmoid of `scores` if any is outside [0, 1], which says that they are logits. */
export function asProbabilities(scores: Tensor): Tensor {
  const areLogits = scores.lt(0).logicalOr(scores.gt(1)).any()
  return where(areLogits, scores.sigmoid(), scores)
}

/** The softmax along dimension 1 of `scores` if any is outside [0, 1], which says that they are logits. */
export function asDistribution(scores: Tensor): Tensor {
  const areLogits = scores.lt(0).logicalOr(scores.gt(1)).any()
  return where(areLogits, scores.softmax(1), scores)
}

/** Predicted and true labels of the same shape, and a mask (float64) of those that count. */
export interface Labels {
  preds: Tensor
  target: Tensor
  counted: Tensor
}

/** Targets with those that don't count replaced by 0, and the mask of those that do. */
export function maskTargets(task: ResolvedTask, target: Tensor): { target: Tensor; counted: Tensor } {
  const labels = target.to('int64')
  if (task.ignoreIndex === undefined) return { target: labels, counted: labels.eq(labels).to('float64') }
  const counts = labels.ne(task.ignoreIndex)
  return { target: where(counts, labels, 0).to('int64'), counted: counts.to('float64') }
}

/** Labels of classes, flat. With `topK` a prediction is right if the target is among the `topK` highest scores. */
export function classLabels(task: ResolvedTask, preds: Tensor, target: Tensor, topK = 1): Labels {
  const hasScores = preds.ndim === target.ndim + 1
  const fits = hasScores
    ? preds.shape[1] === task.size && String([preds.shape[0], ...preds.shape.slice(2)]) === String(target.shape)
    : String(preds.shape) === String(target.shape)
  if (!fits) throw wrongShapes(task, preds, target)
  const masked = maskTargets(task, target.flatten())
  if (!hasScores) return { preds: preds.flatten().to('int64'), ...masked }
  const rows = preds.ndim === 2 ? preds : preds.movedim(1, -1).reshape([-1, task.size])
  if (topK === 1) return { preds: rows.argmax(1), ...masked }
  const [, best] = rows.topk(topK)
  const isAmong = best.eq(masked.target.unsqueeze(1)).any(1)
  return { preds: where(isAmong, masked.target, best.select(1, 0)), ...masked }
}

/** Labels 0 and 1 of a binary or multilabel task: flat, or `[n, numLabels]`. */
export function binaryLabels(task: ResolvedTask, preds: Tensor, target: Tensor): Labels {
  const { preds: scores, target: labels } = labelRows(task, preds, target)
  const decided = isFloating(scores.dtype) ? asProbabilities(scores).gt(task.threshold) : scores
  return { preds: decided.to('int64'), ...maskTargets(task, labels) }
}

/** Scores and targets of a binary task flat, those of a multilabel task as `[n, numLabels]`. */
export function labelRows(task: ResolvedTask, preds: Tensor, target: Tensor): { preds: Tensor; target: Tensor } {
  const isMultilabel = task.kind === 'multilabel'
  const fits = String(preds.shape) === String(target.shape) && (!isMultilabel || preds.shape[1] === task.size)
  if (!fits) throw wrongShapes(task, preds, target)
  const rows = (t: Tensor) => (isMultilabel ? t.movedim(1, -1).reshape([-1, task.size]) : t.flatten())
  return { preds: rows(preds), target: rows(target) }
}

/** The error for predictions and targets that don't fit the task. */
export function wrongShapes(task: ResolvedTask, preds: Tensor, target: Tensor): WickError {
  const operands = [preds, target].map(t => `${t.dtype}[${t.shape.join(', ')}]`)
  return new WickError('SHAPE_MISMATCH', `predictions and targets don't fit task '${task.kind}'`, {
    op: task.op,
    details: { operands },
  })
}

/** Values of classes as a metric's result: a float32 tensor. */
export function asTensor(values: readonly number[]): Tensor {
  return tensor([...values], { dtype: 'float32', device: 'cpu' })
}
