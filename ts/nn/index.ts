/**
 * `wick-ml/nn`: modules, layers, losses and their tools.
 *
 * ```ts
 * import { nn, type Tensor } from 'wick-ml'
 *
 * class Net extends nn.Module<[Tensor], Tensor> {
 *   conv = new nn.Conv2d(1, 32, { kernelSize: 3, padding: 1 })
 *   head = new nn.Linear(32 * 14 * 14, 10)
 *
 *   forward(x: Tensor) {
 *     const h = nn.F.maxPool2d(this.conv.forward(x).relu(), 2)
 *     return this.head.forward(h.flatten(1))
 *   }
 * }
 * ```
 */

export {
  CELU,
  ELU,
  GELU,
  GLU,
  Hardsigmoid,
  Hardswish,
  Hardtanh,
  LeakyReLU,
  LogSigmoid,
  LogSoftmax,
  Mish,
  PReLU,
  ReLU,
  ReLU6,
  SELU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Softsign,
  Tanh,
} from './activation.ts'
export type { AttentionOptions } from './attention.ts'
export { BatchNorm1d, BatchNorm2d, type BatchNormFunctionOptions, type BatchNormOptions } from './batch-norm.ts'
export { type Layer, ModuleDict, ModuleList, ParameterList, Sequential } from './container.ts'
export { Conv2d, type Conv2dOptions, type ConvGeometry, type Padding, type PaddingMode } from './conv.ts'
export {
  BCELoss,
  BCEWithLogitsLoss,
  CosineEmbeddingLoss,
  GaussianNLLLoss,
  HingeEmbeddingLoss,
  HuberLoss,
  KLDivLoss,
  L1Loss,
  MarginRankingLoss,
  MSELoss,
  MultiLabelSoftMarginLoss,
  PoissonNLLLoss,
  SmoothL1Loss,
  SoftMarginLoss,
  TripletMarginLoss,
} from './criterion.ts'
export { CrossEntropyLoss, type CrossEntropyLossOptions, NLLLoss, type NLLLossOptions } from './cross-entropy.ts'
export type { MarginLossOptions, TripletMarginLossOptions } from './distance.ts'
export { Dropout, Dropout2d, type DropoutOptions } from './dropout.ts'
export { Embedding } from './embedding.ts'
export type { ForwardHook } from './forward.ts'
export * as F from './functional.ts'
export * as functional from './functional.ts'
export * as init from './init.ts'
export { Bilinear, Linear } from './linear.ts'
export type { BCELossOptions, BCEWithLogitsLossOptions, KLDivLossOptions } from './loss.ts'
export { type Members, Module, type ModuleTarget } from './module.ts'
export { GroupNorm, LayerNorm, RMSNorm } from './norm.ts'
export type { Pair } from './pair.ts'
export { Buffer, type FactoryOptions, Parameter } from './parameter.ts'
export {
  AdaptiveAvgPool2d,
  type AdaptiveSize,
  AvgPool2d,
  type AvgPoolOptions,
  MaxPool2d,
  type MaxPoolOptions,
} from './pool.ts'
export type { LossOptions, Reduction } from './reduction.ts'
export { Flatten, Identity, Unflatten } from './shape.ts'
export type { LoadResult, StateDict, StateSource } from './state-dict.ts'
export * as utils from './utils.ts'
export { type ValueAndGrad, valueAndGrad } from './value-and-grad.ts'
