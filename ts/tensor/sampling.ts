/** Filling tensors in place with random numbers; not tracked by autograd. */
import { badOption, checkOptions } from '../errors.ts'
import { noGrad } from './autograd.ts'
import { randLike, randnLike } from './creation.ts'
import { copy_ } from './inplace.ts'
import type { Generator } from './random.ts'
import type { Tensor } from './tensor.ts'

/** Options of the functions that fill a tensor with random numbers. */
export interface SampleOptions {
  /** Where the numbers come from. Default: the generator that `manualSeed` seeds. */
  generator?: Generator
}

/** Fills `x` with uniform numbers in [from, to). */
export function uniform_<T extends Tensor>(x: T, from = 0, to = 1, options: SampleOptions = {}): T {
  checkOptions('uniform_', options, ['generator'])
  if (!(from <= to)) throw badOption('uniform_', `needs from <= to, not ${from} and ${to}`)
  return copy_(
    x,
    noGrad(() =>
      randLike(x, options)
        .mul(to - from)
        .add(from),
    ),
  )
}
/** Fills `x` with normal numbers. */
export function normal_<T extends Tensor>(x: T, mean = 0, std = 1, options: SampleOptions = {}): T {
  checkOptions('normal_', options, ['generator'])
  if (!(std >= 0)) throw badOption('normal_', `std must not be negative, but is ${std}`)
  return copy_(
    x,
    noGrad(() => randnLike(x, options).mul(std).add(mean)),
  )
}
/** Fills `x` with 1, with probability `p`, and 0. */
export function bernoulli_<T extends Tensor>(x: T, p = 0.5, options: SampleOptions = {}): T {
  checkOptions('bernoulli_', options, ['generator'])
  if (!(p >= 0 && p <= 1)) throw badOption('bernoulli_', `p must be between 0 and 1, not ${p}`)
  return copy_(
    x,
    noGrad(() => randLike(x, options).lt(p)),
  )
}
