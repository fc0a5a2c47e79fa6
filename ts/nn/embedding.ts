/** Embeddings: rows of a trained table, looked up by index. */
import { checkOptions } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import { normal_ } from './init.ts'
import { Module } from './module.ts'
import { type FactoryOptions, factory, factoryOptions, newParameter, type Parameter } from './parameter.ts'

/** Rows of `weight` `[n, d]` at integer `input` `[..]`: `[.., d]`. Throws `INDEX_OUT_OF_RANGE`. */
export function embedding(input: Tensor, weight: Tensor): Tensor {
  if (input.ndim === 1) return weight.indexSelect(0, input)
  return weight.indexSelect(0, input.reshape([-1])).reshape([...input.shape, ...weight.shape.slice(1)])
}

/**
 * A table of `numEmbeddings` trained vectors: integer `[..]` to `[.., embeddingDim]`.
 *
 * ```ts
 * new nn.Embedding(1000, 64).forward(tensor([[1, 5], [7, 2]])).shape // [2, 2, 64]
 * ```
 */
export class Embedding extends Module<[Tensor], Tensor> {
  readonly numEmbeddings: number
  readonly embeddingDim: number
  readonly weight: Parameter

  constructor(numEmbeddings: number, embeddingDim: number, options: FactoryOptions = {}) {
    super()
    checkOptions('Embedding', options, factoryOptions)
    this.numEmbeddings = numEmbeddings
    this.embeddingDim = embeddingDim
    this.weight = normal_(newParameter([numEmbeddings, embeddingDim], factory(options)))
  }

  forward(input: Tensor): Tensor {
    return embedding(input, this.weight)
  }

  override extraRepr(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}`
  }
}
