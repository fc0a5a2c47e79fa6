/** Scaled dot-product attention. */
import { badOption, checkOptions } from '../errors.ts'
import { ones, type Tensor } from '../tensor/index.ts'
import { dropout } from './dropout.ts'

/** Options of `scaledDotProductAttention`. */
export interface AttentionOptions {
  /** Bool, true where a query may look; or numbers that are added to the scores; broadcast to `[.., queries, keys]`. */
  attnMask?: Tensor | null
  /** Probability of dropping a weight; 0. */
  dropoutP?: number
  /** Whether a query sees only the keys up to its own place; false. */
  isCausal?: boolean
  /** Factor of the scores; `1 / sqrt(e)`. */
  scale?: number
}

/** `softmax(q k^T * scale + mask) v`: `q` is `[.., queries, e]`, `k` `[.., keys, e]`, `v` `[.., keys, d]`. */
export function scaledDotProductAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  checkOptions('scaledDotProductAttention', options, ['attnMask', 'dropoutP', 'isCausal', 'scale'])
  const { attnMask = null, dropoutP = 0, isCausal = false, scale = 1 / Math.sqrt(q.shape.at(-1) ?? 1) } = options
  if (isCausal && attnMask !== null) {
    throw badOption('scaledDotProductAttention', 'give attnMask or isCausal, not both')
  }
  let scores = q.mul(scale).matmul(k.transpose(-2, -1))
  if (isCausal) {
    const seen = ones([q.shape.at(-2) ?? 0, k.shape.at(-2) ?? 0], { dtype: 'float32', device: q.device }).tril()
    scores = scores.maskedFill(seen.eq(0), -Infinity)
  } else if (attnMask !== null) {
    scores = attnMask.dtype === 'bool' ? scores.maskedFill(attnMask.logicalNot(), -Infinity) : scores.add(attnMask)
  }
  return dropout(scores.softmax(-1), { p: dropoutP }).matmul(v)
}
