/** Layers that change shapes only. */
import type { Tensor } from '../tensor/index.ts'
import { Module } from './module.ts'
import { python } from './repr.ts'

/** Gives back its input. */
export class Identity extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return x
  }
}

/** Joins dimensions `startDim` to `endDim` into one; by default all but the batch. */
export class Flatten extends Module<[Tensor], Tensor> {
  readonly startDim: number
  readonly endDim: number

  constructor(startDim = 1, endDim = -1) {
    super()
    this.startDim = startDim
    this.endDim = endDim
  }

  forward(x: Tensor): Tensor {
    return x.flatten(this.startDim, this.endDim)
  }

  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`
  }
}

/** Splits dimension `dim` into dimensions of `sizes`, one of which may be -1. */
export class Unflatten extends Module<[Tensor], Tensor> {
  readonly dim: number
  readonly sizes: readonly number[]

  constructor(dim: number, sizes: readonly number[]) {
    super()
    this.dim = dim
    this.sizes = [...sizes]
  }

  forward(x: Tensor): Tensor {
    return x.unflatten(this.dim, this.sizes)
  }

  override extraRepr(): string {
    return `dim=${this.dim}, unflattened_size=${python(this.sizes)}`
  }
}
