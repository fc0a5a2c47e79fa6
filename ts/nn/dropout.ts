/** Dropout: zeroes a share of the input in training and scales up the rest. */
import { badOption, checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { ones, Tensor } from '../tensor/index.ts'
import { Module } from './module.ts'
import { python } from './repr.ts'

/** Options of the dropout functions. */
export interface DropoutOptions {
  /** Probability of an element's being zeroed; 0.5. */
  p?: number
  /** Whether to drop at all; true. */
  training?: boolean
}

function checkProbability(op: string, p: number): number {
  if (!(p >= 0 && p <= 1)) throw badOption(op, `p must be between 0 and 1, not ${p}`)
  return p
}

/** Zeroes each element with probability `p` and divides the others by `1 - p`. */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkOptions('dropout', options, ['p', 'training'])
  const { p = 0.5, training = true } = options
  checkProbability('dropout', p)
  return training && p > 0 ? new Tensor(native.dropout(x.handle, p)) : x
}

/** Zeroes whole channels of `x` `[n, c, h, w]` (or `[c, h, w]`) with probability `p` and divides the others by `1 - p`. */
export function dropout2d(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkOptions('dropout2d', options, ['p', 'training'])
  const { p = 0.5, training = true } = options
  checkProbability('dropout2d', p)
  if (!training || p === 0) return x
  const channels = ones([...x.shape.slice(0, -2), 1, 1], { dtype: x.dtype, device: x.device })
  return x.mul(new Tensor(native.dropout(channels.handle, p)))
}

/** Zeroes each element with probability `p` in training and divides the others by `1 - p`. */
export class Dropout extends Module<[Tensor], Tensor> {
  readonly p: number

  constructor(p = 0.5) {
    super()
    this.p = checkProbability('Dropout', p)
  }

  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? new Tensor(native.dropout(x.handle, this.p)) : x
  }

  override extraRepr(): string {
    return `p=${python(this.p)}, inplace=False`
  }
}

/** Zeroes whole channels with probability `p` in training and divides the others by `1 - p`. */
export class Dropout2d extends Module<[Tensor], Tensor> {
  readonly p: number

  constructor(p = 0.5) {
    super()
    this.p = checkProbability('Dropout2d', p)
  }

  forward(x: Tensor): Tensor {
    return dropout2d(x, { p: this.p, training: this.training })
  }

  override extraRepr(): string {
    return `p=${python(this.p)}, inplace=False`
  }
}
