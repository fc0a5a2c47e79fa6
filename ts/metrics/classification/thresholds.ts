/** Thresholds that are given: scores are counted between them, in constant memory. */
import { badOption } from '../../errors.ts'
import { fromTypedArray, linspace, type Tensor, where, zerosLike } from '../../tensor/index.ts'

/** The thresholds that an option asks for, rising, as float32; null for all distinct scores. */
export function resolveThresholds(op: string, given: number | readonly number[] | undefined): Float32Array | null {
  if (given === undefined) return null
  if (typeof given === 'number') {
    if (!Number.isInteger(given) || given < 2) {
      throw badOption(op, `thresholds must be a whole number of at least 2, not ${given}`)
    }
    return linspace(0, 1, given, { dtype: 'float32', device: 'cpu' }).dataSync() as Float32Array
  }
  if (!Array.isArray(given) || given.length === 0 || !given.every(t => t >= 0 && t <= 1)) {
    throw badOption(op, `thresholds must be a number of them or a list of values from 0 to 1, not ${String(given)}`)
  }
  return Float32Array.from(given).sort()
}

/** How many of the thresholds each score reaches, int64: a binary search of all scores at once. */
export function reached(scores: Tensor, thresholds: Float32Array): Tensor {
  const steps = Math.ceil(Math.log2(thresholds.length + 1))
  const padded = new Float32Array(2 ** steps - 1).fill(Number.POSITIVE_INFINITY)
  padded.set(thresholds)
  const edges = fromTypedArray(padded, [padded.length], { device: scores.device as 'cpu' })
  const flat = scores.flatten()
  let count = zerosLike(flat).to('int64')
  for (let step = 2 ** (steps - 1); step >= 1; step /= 2) {
    const edge = edges.indexSelect(0, count.add(step - 1))
    count = where(flat.ge(edge), count.add(step), count)
  }
  return count.reshape(scores.shape)
}

/** How many scores reach each threshold, from the highest on, by how many scores reach 0, 1, ... of them. */
export function countsDown(histogram: readonly number[]): number[] {
  let sum = 0
  return [...histogram.slice(1)].reverse().map(n => {
    sum += n
    return sum
  })
}
