/** Activations that PyTorch users chain on tensors. */
import { badOption, checkOptions } from '../errors.ts'
import { where } from './pointwise.ts'
import type { Tensor } from './tensor.ts'

/** Options of `gelu`. */
export interface GeluOptions {
  /** `'tanh'` for the approximation of GPT-2. Default `'none'`. */
  approximate?: 'none' | 'tanh'
}

/** `x` times the normal distribution's cumulative function. */
export function gelu(x: Tensor, o: GeluOptions = {}): Tensor {
  checkOptions('gelu', o, ['approximate'])
  const { approximate = 'none' } = o
  if (approximate === 'tanh') {
    const inner = x.add(x.pow(3).mul(0.044715)).mul(Math.sqrt(2 / Math.PI))
    return x.mul(inner.tanh().add(1)).mul(0.5)
  }
  if (approximate !== 'none')
    throw badOption('gelu', `approximate must be 'none' or 'tanh', not '${String(approximate)}'`)
  return x.mul(x.mul(Math.SQRT1_2).erf().add(1)).mul(0.5)
}
/** `x * sigmoid(x)`. */
export function silu(x: Tensor): Tensor {
  return x.mul(x.sigmoid())
}
/** `x` where it is above 0, else `negativeSlope * x`. */
export function leakyRelu(x: Tensor, negativeSlope = 0.01): Tensor {
  return where(x.gt(0), x, x.mul(negativeSlope))
}
/** `x` where it is above 0, else `alpha * (exp(x) - 1)`. */
export function elu(x: Tensor, alpha = 1): Tensor {
  return where(x.gt(0), x, x.clamp({ max: 0 }).expm1().mul(alpha))
}

/** Options of `softplus`. */
export interface SoftplusOptions {
  /** Sharpness. Default 1. */
  beta?: number
  /** Where `beta * x` is above it, the result is `x`. Default 20. */
  threshold?: number
}

/** `log(1 + exp(beta * x)) / beta`; where `beta * x` is above `threshold`, `x`. */
export function softplus(x: Tensor, o: SoftplusOptions = {}): Tensor {
  checkOptions('softplus', o, ['beta', 'threshold'])
  const { beta = 1, threshold = 20 } = o
  return beta === 1 ? logOnePlusExp(x, threshold) : logOnePlusExp(x.mul(beta), threshold).div(beta)
}

// Above it log(1 + exp(x)) is x in every dtype.
const SATURATED = 40

/** `log(1 + exp(x))`, and `x` above `threshold`; with the right derivative everywhere, at 0 too. */
export function logOnePlusExp(x: Tensor, threshold = SATURATED): Tensor {
  // float16 ends at 65504 = exp(11.09).
  const cut = x.dtype === 'float16' ? Math.min(threshold, 10) : threshold
  return where(x.gt(cut), x, x.clamp({ max: cut }).exp().log1p())
}
/** `log(sigmoid(x))`, exact for large `|x|`. */
export function logSigmoid(x: Tensor): Tensor {
  return logOnePlusExp(x.neg()).neg()
}
/** `x * tanh(softplus(x))`. */
export function mish(x: Tensor): Tensor {
  return x.mul(softplus(x).tanh())
}
