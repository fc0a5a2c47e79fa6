/**
 * `nn.functional` (also `nn.F`): layers and losses as plain functions.
 *
 * ```ts
 * const { functional: F } = nn
 * F.crossEntropy(F.linear(F.relu(x), weight, bias), labels)
 * ```
 */

export { oneHot, pad } from '../tensor/index.ts'
export {
  celu,
  elu,
  gelu,
  glu,
  hardsigmoid,
  hardswish,
  hardtanh,
  leakyRelu,
  logSigmoid,
  logSoftmax,
  mish,
  prelu,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  softsign,
  tanh,
} from './activation.ts'
export { scaledDotProductAttention } from './attention.ts'
export { batchNorm } from './batch-norm.ts'
export { conv2d } from './conv.ts'
export { crossEntropy, nllLoss } from './cross-entropy.ts'
export {
  cosineEmbeddingLoss,
  cosineSimilarity,
  hingeEmbeddingLoss,
  marginRankingLoss,
  normalize,
  pairwiseDistance,
  tripletMarginLoss,
} from './distance.ts'
export { dropout, dropout2d } from './dropout.ts'
export { embedding } from './embedding.ts'
export { bilinear, linear } from './linear.ts'
export {
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  gaussianNllLoss,
  huberLoss,
  klDiv,
  l1Loss,
  mseLoss,
  multiLabelSoftMarginLoss,
  poissonNllLoss,
  smoothL1Loss,
  softMarginLoss,
} from './loss.ts'
export { groupNorm, layerNorm, rmsNorm } from './norm.ts'
export { adaptiveAvgPool2d, avgPool2d, maxPool2d } from './pool.ts'
