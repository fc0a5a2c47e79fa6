/** Tensors and the functions on them. */
export {
  elu,
  type GeluOptions,
  gelu,
  leakyRelu,
  logSigmoid,
  mish,
  type SoftplusOptions,
  silu,
  softplus,
} from './activation.ts'
export * from './autograd.ts'
export {
  arange,
  bernoulli,
  empty,
  eye,
  fromTypedArray,
  full,
  fullLike,
  linspace,
  type NestedArray,
  ones,
  onesLike,
  type RandomOptions,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
  type TensorOptions,
  tensor,
  zeros,
  zerosLike,
} from './creation.ts'
export {
  type Device,
  type DType,
  getDefaultDevice,
  type HostArray,
  setDefaultDevice,
  type TypedArray,
} from './dtype.ts'
export * from './indexing.ts'
export * from './io.ts'
export * from './linalg.ts'
export * from './memory.ts'
export type { Operand } from './operand.ts'
export * from './pointwise.ts'
export * from './random.ts'
export type { DataOptions } from './read.ts'
export * from './reduce.ts'
export type { SampleOptions } from './sampling.ts'
export {
  cat,
  chunk,
  clone,
  contiguous,
  detach,
  expand,
  flatten,
  flip,
  movedim,
  narrow,
  type PadOptions,
  pad,
  permute,
  repeat,
  repeatInterleave,
  reshape,
  roll,
  select,
  split,
  squeeze,
  stack,
  t,
  transpose,
  tril,
  triu,
  unbind,
  unflatten,
  unsqueeze,
} from './shape.ts'
export type { Dims, Numbers } from './sizes.ts'
export { Tensor } from './tensor.ts'
export { mapTensors, tensorsIn } from './tree.ts'
