/**
 * `Tensor`: a handle into the engine's table. The methods are the free functions of the same names, with the tensor first;
 * what they do is said there.
 *
 * ```ts
 * const w = randn([784, 10], { requiresGrad: true })
 * const loss = x.matmul(w).logSoftmax(-1).mean()
 * loss.backward()
 * w.grad?.shape // [784, 10]
 * ```
 */
import { noteChange } from '../changes.ts'
import { WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import * as act from './activation.ts'
import * as ag from './autograd.ts'
import type { NestedArray } from './creation.ts'
import { type Device, type DType, deviceName, dtypeName, type HostArray } from './dtype.ts'
import * as ix from './indexing.ts'
import * as ip from './inplace.ts'
import { unscoped } from './lifetime.ts'
import * as la from './linalg.ts'
import { keep } from './memory.ts'
import { handle, type Operand } from './operand.ts'
import * as pw from './pointwise.ts'
import { type DataOptions, dataSync, toArraySync } from './read.ts'
import * as rd from './reduce.ts'
import * as sampling from './sampling.ts'
import * as sh from './shape.ts'
import { type Dims, type Numbers, numelOf } from './sizes.ts'

/** An n-dimensional array on a device, made by `tensor`, `zeros`, `randn` and the like; ops give new ones. */
export class Tensor {
  /** The engine's name of the tensor, for native calls. */
  readonly handle: number
  private knownShape: readonly number[] | undefined
  private knownDtype: DType | undefined
  /** Frees the handle when it is collected, which is when this object is. */
  private owner: object | undefined

  /** Wraps a handle of the engine's; everyone else calls `tensor` or an op. */
  constructor(handle: number) {
    this.handle = handle
    this.knownShape = undefined
    this.knownDtype = undefined
    this.owner = unscoped ? native.own(handle) : undefined
  }

  /** The size of each dimension. */
  get shape(): readonly number[] {
    this.knownShape ??= native.shapeOf(this.handle)
    return this.knownShape
  }
  /** The element type. */
  get dtype(): DType {
    this.knownDtype ??= dtypeName(native.dtypeOf(this.handle))
    return this.knownDtype
  }
  /** Where the elements are. */
  get device(): Device {
    return deviceName(native.deviceOf(this.handle))
  }
  /** The number of dimensions. */
  get ndim(): number {
    return this.knownShape === undefined ? native.rankOf(this.handle) : this.knownShape.length
  }
  /** The number of elements. */
  get numel(): number {
    return numelOf(this.shape)
  }
  /** The size of one dimension. */
  size(dim: number): number {
    const { shape } = this
    const n = shape[dim < 0 ? dim + shape.length : dim]
    if (n !== undefined) return n
    throw new WickError('INDEX_OUT_OF_RANGE', `dim ${dim} of a tensor of rank ${shape.length}`, { op: 'size' })
  }

  // ---- reading

  /** The only element, as a number (bool as 0 or 1). */
  async item(): Promise<number> {
    return native.item(this.handle)
  }
  /** As `item`, at once. */
  itemSync(): number {
    return native.item(this.handle)
  }
  /** The elements, row-major: BigInt64Array for int64, Uint8Array for bool, Float32Array for the half types. */
  async data(options?: DataOptions): Promise<HostArray> {
    return dataSync(this, options)
  }
  /** As `data`, at once. */
  dataSync(options?: DataOptions): HostArray {
    return dataSync(this, options)
  }
  /** The elements as nested arrays; int64 as numbers, bool as booleans. */
  async toArray(): Promise<NestedArray> {
    return toArraySync(this)
  }
  /** As `toArray`, at once. */
  toArraySync(): NestedArray {
    return toArraySync(this)
  }
  /** Shape, dtype and device; never the elements, which would have to be waited for. */
  toString(): string {
    if (!native.isLive(this.handle)) return 'Tensor(disposed)'
    return `Tensor(shape=[${this.shape.join(', ')}], dtype=${this.dtype}, device=${this.device})`
  }
  /** What `console.log` shows. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  // ---- gradients and lifetime

  /** Whether gradients are wanted for this tensor. */
  get requiresGrad(): boolean {
    return native.requiresGrad(this.handle)
  }
  set requiresGrad(on: boolean) {
    native.setRequiresGrad(this.handle, on)
  }
  /** Sets `requiresGrad`; gives the tensor. */
  requiresGrad_(on = true): this {
    native.setRequiresGrad(this.handle, Boolean(on))
    return this
  }
  /** Whether the tensor is no result of an op that autograd recorded. */
  get isLeaf(): boolean {
    return native.isLeaf(this.handle)
  }
  /** The gradient that backward passes added up, or null. */
  get grad(): Tensor | null {
    const h = native.gradOf(this.handle)
    return h < 0 ? null : new Tensor(h)
  }
  set grad(value: Tensor | null) {
    native.setGrad(this.handle, value === null ? -1 : value.handle)
  }
  /** Keeps the gradient of a result that is no leaf in its `grad`; gives the tensor. */
  retainGrad(): this {
    native.retainGrad(this.handle)
    return this
  }
  /** Adds the gradients of `x` to `grad` of every leaf that it was made from and that requires gradients. */
  backward(options?: ag.BackwardOptions): void {
    ag.backward(this, options)
  }
  /** A view of the same memory without a history for gradients. */
  detach(): Tensor {
    return sh.detach(this)
  }
  /** Lets the tensor outlive the scopes that are open; it lives until `dispose`. */
  keep(): this {
    return keep(this)
  }
  /** Frees the tensor now; other tensors that share its memory, and recorded gradients, are not touched. */
  dispose(): void {
    native.release(this.handle)
  }
  /** As `dispose`: for `using`. */
  [Symbol.dispose](): void {
    native.release(this.handle)
  }
  /** @internal Makes this object another tensor of the engine's, and frees the one it was: a parameter moves to another dtype. */
  rebind(handle: number): void {
    noteChange()
    native.release(this.handle)
    Object.assign(this, { handle, knownShape: undefined, knownDtype: undefined, owner: native.own(handle) })
  }
  /** @internal Frees the tensor when this object is collected. */
  track(): void {
    this.owner ??= native.own(this.handle)
  }
  /** @internal Exchanges which of the engine's tensors this object and `other` of the same shape and dtype are. */
  exchange(other: Tensor): void {
    noteChange()
    const { handle, owner } = this
    Object.assign(this, { handle: other.handle, owner: other.owner })
    Object.assign(other, { handle, owner })
  }

  // ---- dtype and device

  /** `x` in another dtype or on another device; `x` itself if it is so already. Gradients come back in `x`'s dtype. */
  to(target: string | pw.ToOptions): Tensor {
    return pw.to(this, target)
  }
  /** The tensor on the CPU. */
  cpu(): Tensor {
    return pw.to(this, 'cpu')
  }
  /** The tensor on the GPU. */
  cuda(): Tensor {
    return pw.to(this, 'cuda')
  }
  /** As float32. */
  float(): Tensor {
    return pw.to(this, 'float32')
  }
  /** As float64. */
  double(): Tensor {
    return pw.to(this, 'float64')
  }
  /** As float16. */
  half(): Tensor {
    return pw.to(this, 'float16')
  }
  /** As bfloat16. */
  bfloat16(): Tensor {
    return pw.to(this, 'bfloat16')
  }
  /** As int64. */
  long(): Tensor {
    return pw.to(this, 'int64')
  }
  /** As int32. */
  int(): Tensor {
    return pw.to(this, 'int32')
  }
  /** As bool. */
  bool(): Tensor {
    return pw.to(this, 'bool')
  }

  // ---- pointwise

  /** `-x`. */
  neg(): Tensor {
    return pw.neg(this)
  }
  /** `|x|`. */
  abs(): Tensor {
    return pw.abs(this)
  }
  /** -1, 0 or 1. */
  sign(): Tensor {
    return pw.sign(this)
  }
  /** The square root; integers give float32. */
  sqrt(): Tensor {
    return pw.sqrt(this)
  }
  /** `1 / sqrt(x)`. */
  rsqrt(): Tensor {
    return pw.rsqrt(this)
  }
  /** `e ** x`. */
  exp(): Tensor {
    return pw.exp(this)
  }
  /** The natural logarithm. */
  log(): Tensor {
    return pw.log(this)
  }
  /** The logarithm to base 2. */
  log2(): Tensor {
    return pw.log2(this)
  }
  /** The logarithm to base 10. */
  log10(): Tensor {
    return pw.log10(this)
  }
  /** `log(1 + x)`, exact near 0. */
  log1p(): Tensor {
    return pw.log1p(this)
  }
  /** `e ** x - 1`, exact near 0. */
  expm1(): Tensor {
    return pw.expm1(this)
  }
  /** The sine of radians. */
  sin(): Tensor {
    return pw.sin(this)
  }
  /** The cosine of radians. */
  cos(): Tensor {
    return pw.cos(this)
  }
  /** The tangent of radians. */
  tan(): Tensor {
    return pw.tan(this)
  }
  /** The hyperbolic tangent. */
  tanh(): Tensor {
    return pw.tanh(this)
  }
  /** `1 / (1 + exp(-x))`. */
  sigmoid(): Tensor {
    return pw.sigmoid(this)
  }
  /** The error function. */
  erf(): Tensor {
    return pw.erf(this)
  }
  /** The next whole number below. */
  floor(): Tensor {
    return pw.floor(this)
  }
  /** The next whole number above. */
  ceil(): Tensor {
    return pw.ceil(this)
  }
  /** The nearest whole number; halves go to the even one. */
  round(): Tensor {
    return pw.round(this)
  }
  /** The whole number towards 0. */
  trunc(): Tensor {
    return pw.trunc(this)
  }
  /** `1 / x`. */
  reciprocal(): Tensor {
    return pw.reciprocal(this)
  }
  /** `x * x`. */
  square(): Tensor {
    return pw.square(this)
  }
  /** `max(x, 0)`. */
  relu(): Tensor {
    return pw.relu(this)
  }
  /** Where `x` is 0 or false; bool. */
  logicalNot(): Tensor {
    return pw.logicalNot(this)
  }
  /** Where `x` is NaN; bool. */
  isnan(): Tensor {
    return pw.isnan(this)
  }
  /** Where `x` is infinite; bool. */
  isinf(): Tensor {
    return pw.isinf(this)
  }
  /** Where `x` is neither infinite nor NaN; bool. */
  isfinite(): Tensor {
    return pw.isfinite(this)
  }
  /** `a + alpha * b`, broadcast. */
  add(other: Operand, options?: pw.AlphaOptions): Tensor {
    return pw.add(this, other, options)
  }
  /** `a - alpha * b`, broadcast. */
  sub(other: Operand, options?: pw.AlphaOptions): Tensor {
    return pw.sub(this, other, options)
  }
  /** `a * b`, broadcast. */
  mul(other: Operand): Tensor {
    return pw.mul(this, other)
  }
  /** `a / b`, broadcast; integers give float32 unless `roundingMode` is set. */
  div(other: Operand, options?: pw.DivOptions): Tensor {
    return pw.div(this, other, options)
  }
  /** `floor(a / b)`, broadcast; integers stay integers. */
  floorDivide(other: Operand): Tensor {
    return pw.floorDivide(this, other)
  }
  /** `a ** b`, broadcast. */
  pow(other: Operand): Tensor {
    return pw.pow(this, other)
  }
  /** The smaller of the two, broadcast; NaN wins. */
  minimum(other: Operand): Tensor {
    return pw.minimum(this, other)
  }
  /** The larger of the two, broadcast; NaN wins. */
  maximum(other: Operand): Tensor {
    return pw.maximum(this, other)
  }
  /** `a - floor(a / b) * b`, broadcast: the sign is the divisor's, as in Python. */
  remainder(other: Operand): Tensor {
    return pw.remainder(this, other)
  }
  /** Where `a == b`; bool. */
  eq(other: Operand): Tensor {
    return pw.eq(this, other)
  }
  /** Where `a != b`; bool. */
  ne(other: Operand): Tensor {
    return pw.ne(this, other)
  }
  /** Where `a < b`; bool. */
  lt(other: Operand): Tensor {
    return pw.lt(this, other)
  }
  /** Where `a <= b`; bool. */
  le(other: Operand): Tensor {
    return pw.le(this, other)
  }
  /** Where `a > b`; bool. */
  gt(other: Operand): Tensor {
    return pw.gt(this, other)
  }
  /** Where `a >= b`; bool. */
  ge(other: Operand): Tensor {
    return pw.ge(this, other)
  }
  /** Where both are not 0; bool. */
  logicalAnd(other: Operand): Tensor {
    return pw.logicalAnd(this, other)
  }
  /** Where at least one is not 0; bool. */
  logicalOr(other: Operand): Tensor {
    return pw.logicalOr(this, other)
  }
  /** Where just one is not 0; bool. */
  logicalXor(other: Operand): Tensor {
    return pw.logicalXor(this, other)
  }
  /** `x` held between two bounds: `clamp(x, 0, 1)` or `clamp(x, { max: 1 })`. NaN stays NaN. */
  clamp(min?: number | pw.ClampOptions, max?: number): Tensor {
    return pw.clamp(this, min, max)
  }
  /** This tensor where `condition` is true, else `other`. */
  where(condition: Tensor, other: Operand): Tensor {
    return pw.where(condition, this, other)
  }
  /** `x + value * a * b`, broadcast. */
  addcmul(a: Tensor, b: Tensor, options?: pw.ValueOptions): Tensor {
    return pw.addcmul(this, a, b, options)
  }
  /** `x + value * a / b`, broadcast. */
  addcdiv(a: Tensor, b: Tensor, options?: pw.ValueOptions): Tensor {
    return pw.addcdiv(this, a, b, options)
  }
  /** `x + weight * (end - x)`, broadcast. */
  lerp(end: Tensor, weight: Operand): Tensor {
    return pw.lerp(this, end, weight)
  }
  /** `x` times the normal distribution's cumulative function. */
  gelu(options?: act.GeluOptions): Tensor {
    return act.gelu(this, options)
  }
  /** `x * sigmoid(x)`. */
  silu(): Tensor {
    return act.silu(this)
  }
  /** `x` where it is above 0, else `negativeSlope * x`. */
  leakyRelu(negativeSlope?: number): Tensor {
    return act.leakyRelu(this, negativeSlope)
  }
  /** `x` where it is above 0, else `alpha * (exp(x) - 1)`. */
  elu(alpha?: number): Tensor {
    return act.elu(this, alpha)
  }
  /** `log(1 + exp(beta * x)) / beta`; where `beta * x` is above `threshold`, `x`. */
  softplus(options?: act.SoftplusOptions): Tensor {
    return act.softplus(this, options)
  }
  /** `log(sigmoid(x))`, exact for large `|x|`. */
  logSigmoid(): Tensor {
    return act.logSigmoid(this)
  }
  /** `x * tanh(softplus(x))`. */
  mish(): Tensor {
    return act.mish(this)
  }

  // ---- in place

  /** `x += other`. */
  add_(other: Operand, options?: pw.AlphaOptions): this {
    return ip.add_(this, other, options)
  }
  /** `x -= other`. */
  sub_(other: Operand, options?: pw.AlphaOptions): this {
    return ip.sub_(this, other, options)
  }
  /** `x *= other`. */
  mul_(other: Operand): this {
    return ip.mul_(this, other)
  }
  /** `x /= other`. */
  div_(other: Operand): this {
    return ip.div_(this, other)
  }
  /** `x **= other`. */
  pow_(other: Operand): this {
    return ip.pow_(this, other)
  }
  /** As `copy`, in place. */
  copy_(source: Tensor): this {
    return ip.copy_(this, source)
  }
  /** Sets every element to `value`. */
  fill_(value: number): this {
    return ip.fill_(this, value)
  }
  /** Sets every element to 0. */
  zero_(): this {
    return ip.zero_(this)
  }
  /** As `neg`, in place. */
  neg_(): this {
    return ip.copy_(this, pw.neg(this))
  }
  /** As `abs`, in place. */
  abs_(): this {
    return ip.copy_(this, pw.abs(this))
  }
  /** As `sqrt`, in place. */
  sqrt_(): this {
    return ip.copy_(this, pw.sqrt(this))
  }
  /** As `rsqrt`, in place. */
  rsqrt_(): this {
    return ip.copy_(this, pw.rsqrt(this))
  }
  /** As `exp`, in place. */
  exp_(): this {
    return ip.copy_(this, pw.exp(this))
  }
  /** As `log`, in place. */
  log_(): this {
    return ip.copy_(this, pw.log(this))
  }
  /** As `sin`, in place. */
  sin_(): this {
    return ip.copy_(this, pw.sin(this))
  }
  /** As `cos`, in place. */
  cos_(): this {
    return ip.copy_(this, pw.cos(this))
  }
  /** As `tanh`, in place. */
  tanh_(): this {
    return ip.copy_(this, pw.tanh(this))
  }
  /** As `sigmoid`, in place. */
  sigmoid_(): this {
    return ip.copy_(this, pw.sigmoid(this))
  }
  /** As `floor`, in place. */
  floor_(): this {
    return ip.copy_(this, pw.floor(this))
  }
  /** As `ceil`, in place. */
  ceil_(): this {
    return ip.copy_(this, pw.ceil(this))
  }
  /** As `round`, in place. */
  round_(): this {
    return ip.copy_(this, pw.round(this))
  }
  /** As `reciprocal`, in place. */
  reciprocal_(): this {
    return ip.copy_(this, pw.reciprocal(this))
  }
  /** As `relu`, in place. */
  relu_(): this {
    return ip.copy_(this, pw.relu(this))
  }
  /** As `clamp`, in place. */
  clamp_(min?: number | pw.ClampOptions, max?: number): this {
    return ip.copy_(this, pw.clamp(this, min, max))
  }
  /** As `addcmul`, in place. */
  addcmul_(a: Tensor, b: Tensor, options?: pw.ValueOptions): this {
    return ip.copy_(this, pw.addcmul(this, a, b, options))
  }
  /** As `addcdiv`, in place. */
  addcdiv_(a: Tensor, b: Tensor, options?: pw.ValueOptions): this {
    return ip.copy_(this, pw.addcdiv(this, a, b, options))
  }
  /** As `lerp`, in place. */
  lerp_(end: Tensor, weight: Operand): this {
    return ip.copy_(this, pw.lerp(this, end, weight))
  }
  /** As `maskedFill`, in place. */
  maskedFill_(mask: Tensor, value: Operand): this {
    return ip.copy_(this, ix.maskedFill(this, mask, value))
  }
  /** As `scatter`, in place. */
  scatter_(dim: number, index: Tensor, src: Operand): this {
    return ip.copy_(this, ix.scatter(this, dim, index, src))
  }
  /** As `scatterAdd`, in place. */
  scatterAdd_(dim: number, index: Tensor, src: Tensor): this {
    return ip.copy_(this, ix.scatterAdd(this, dim, index, src))
  }
  /** As `indexAdd`, in place. */
  indexAdd_(dim: number, index: Tensor, source: Tensor, options?: { alpha?: number }): this {
    return ip.copy_(this, ix.indexAdd(this, dim, index, source, options))
  }
  /** Fills `x` with uniform numbers in [from, to). */
  uniform_(from?: number, to?: number, options?: sampling.SampleOptions): this {
    return sampling.uniform_(this, from, to, options)
  }
  /** Fills `x` with normal numbers. */
  normal_(mean?: number, std?: number, options?: sampling.SampleOptions): this {
    return sampling.normal_(this, mean, std, options)
  }
  /** Fills `x` with 1, with probability `p`, and 0. */
  bernoulli_(p?: number, options?: sampling.SampleOptions): this {
    return sampling.bernoulli_(this, p, options)
  }

  // ---- reductions

  /** The sum; integers and bool give int64. */
  sum(options?: Dims | rd.SumOptions): Tensor {
    return rd.sum(this, options)
  }
  /** The mean of a floating tensor. */
  mean(options?: Dims | rd.SumOptions): Tensor {
    return rd.mean(this, options)
  }
  /** The product; integers give int64. */
  prod(options?: Dims | rd.SumOptions): Tensor {
    return rd.prod(this, options)
  }
  /** The largest element; equal ones share the gradient. */
  amax(options?: Dims | rd.ReduceOptions): Tensor {
    return rd.amax(this, options)
  }
  /** The smallest element; equal ones share the gradient. */
  amin(options?: Dims | rd.ReduceOptions): Tensor {
    return rd.amin(this, options)
  }
  /** Whether any element is not 0; bool. */
  any(options?: Dims | rd.ReduceOptions): Tensor {
    return rd.any(this, options)
  }
  /** Whether no element is 0; bool. */
  all(options?: Dims | rd.ReduceOptions): Tensor {
    return rd.all(this, options)
  }
  /** The index of the largest element (the first of equals), along one dimension or in the flattened tensor; int64. */
  argmax(options?: number | rd.DimOptions): Tensor {
    return rd.argmax(this, options)
  }
  /** The index of the smallest element (the first of equals), along one dimension or in the flattened tensor; int64. */
  argmin(options?: number | rd.DimOptions): Tensor {
    return rd.argmin(this, options)
  }
  /** The largest element; equal ones share the gradient. */
  max(): Tensor
  max(other: Tensor): Tensor
  max(dim: number | (rd.DimOptions & { dim: number })): [values: Tensor, indices: Tensor]
  max(o?: Tensor | number | (rd.DimOptions & { dim: number })): Tensor | [values: Tensor, indices: Tensor] {
    if (o === undefined) return rd.amax(this)
    return o instanceof Tensor ? rd.max(this, o) : rd.max(this, o)
  }
  /** The smallest element; equal ones share the gradient. */
  min(): Tensor
  min(other: Tensor): Tensor
  min(dim: number | (rd.DimOptions & { dim: number })): [values: Tensor, indices: Tensor]
  min(o?: Tensor | number | (rd.DimOptions & { dim: number })): Tensor | [values: Tensor, indices: Tensor] {
    if (o === undefined) return rd.amin(this)
    return o instanceof Tensor ? rd.min(this, o) : rd.min(this, o)
  }
  /** The variance; unbiased unless `correction` says otherwise. */
  var(options?: Dims | rd.VarOptions): Tensor {
    return rd.variance(this, options)
  }
  /** The standard deviation; unbiased unless `correction` says otherwise. */
  std(options?: Dims | rd.VarOptions): Tensor {
    return rd.std(this, options)
  }
  /** The p-norm of the elements; its gradient at 0 is 0. */
  norm(options?: rd.NormOptions): Tensor {
    return rd.norm(this, options)
  }
  /** `log(sum(exp(x)))` without overflow. */
  logsumexp(options?: Dims | rd.ReduceOptions): Tensor {
    return rd.logsumexp(this, options)
  }
  /** Along `dim`, `exp(x)` divided by its sum. */
  softmax(dim: number): Tensor {
    return rd.softmax(this, dim)
  }
  /** The logarithm of `softmax`, exact for small probabilities. */
  logSoftmax(dim: number): Tensor {
    return rd.logSoftmax(this, dim)
  }
  /** The running sum along `dim`; integers give int64. */
  cumsum(dim: number): Tensor {
    return rd.cumsum(this, dim)
  }
  /** `[values, indices]` in order along a dimension; stable. */
  sort(options?: number | rd.SortOptions): [values: Tensor, indices: Tensor] {
    return rd.sort(this, options)
  }
  /** The indices that sort `x` along a dimension; stable; int64. */
  argsort(options?: number | rd.SortOptions): Tensor {
    return rd.argsort(this, options)
  }
  /** `[values, indices]` of the `k` largest elements along a dimension, the largest first. */
  topk(k: number, options?: rd.TopkOptions): [values: Tensor, indices: Tensor] {
    return rd.topk(this, k, options)
  }
  /** `[values, indices]` of the `k`-th smallest element (from 1) along a dimension. */
  kthvalue(k: number, options?: rd.DimOptions): [values: Tensor, indices: Tensor] {
    return rd.kthvalue(this, k, options)
  }

  // ---- linear algebra

  /** Matrix product: vectors, matrices and batches of matrices, broadcast over the leading dimensions as in PyTorch. */
  matmul(other: Tensor): Tensor {
    return la.matmul(this, other)
  }
  /** Product of two matrices. */
  mm(other: Tensor): Tensor {
    return la.mm(this, other)
  }
  /** Products of two batches of matrices `[b, n, m]` and `[b, m, p]`. */
  bmm(other: Tensor): Tensor {
    return la.bmm(this, other)
  }
  /** Product of a matrix and a vector. */
  mv(other: Tensor): Tensor {
    return la.mv(this, other)
  }
  /** Sum of the products of two vectors' elements. */
  dot(other: Tensor): Tensor {
    return la.dot(this, other)
  }
  /** The matrix of all products of two vectors' elements. */
  outer(other: Tensor): Tensor {
    return la.outer(this, other)
  }
  /** `beta * x + alpha * (a @ b)` for matrices; `x` is broadcast. */
  addmm(a: Tensor, b: Tensor, options?: la.AddmmOptions): Tensor {
    return la.addmm(this, a, b, options)
  }

  // ---- shape

  /** The same elements under another shape; one size may be -1. */
  reshape(...shape: Numbers): Tensor {
    return sh.reshape(this, ...shape)
  }
  /** As `reshape`: where strides can't express the shape, the elements are copied. */
  view(...shape: Numbers): Tensor {
    return sh.reshape(this, ...shape)
  }
  /** As `reshape` to another tensor's shape. */
  viewAs(other: Tensor): Tensor {
    handle('viewAs', other)
    return sh.reshape(this, other.shape)
  }
  /** As `expand` to another tensor's shape. */
  expandAs(other: Tensor): Tensor {
    handle('expandAs', other)
    return sh.expand(this, other.shape)
  }
  /** Repeats dimensions of size 1 without copying; -1 keeps a size, new dimensions come first. */
  expand(...shape: Numbers): Tensor {
    return sh.expand(this, ...shape)
  }
  /** Dimension `i` of the result is dimension `dims[i]` of `x`. */
  permute(...dims: Numbers): Tensor {
    return sh.permute(this, ...dims)
  }
  /** Two dimensions exchanged. */
  transpose(dim0: number, dim1: number): Tensor {
    return sh.transpose(this, dim0, dim1)
  }
  /** A matrix transposed; a vector or scalar stays. */
  t(): Tensor {
    return sh.t(this)
  }
  /** `length` elements of a dimension from `start`. */
  narrow(dim: number, start: number, length: number): Tensor {
    return sh.narrow(this, dim, start, length)
  }
  /** The slice at `index` of a dimension, which goes. */
  select(dim: number, index: number): Tensor {
    return sh.select(this, dim, index)
  }
  /** Dimensions `start` to `end` (included) joined to one. */
  flatten(start?: number, end?: number): Tensor {
    return sh.flatten(this, start, end)
  }
  /** A dimension cut into several; one size may be -1. */
  unflatten(dim: number, sizes: readonly number[]): Tensor {
    return sh.unflatten(this, dim, sizes)
  }
  /** Without dimensions of size 1: all of them, or those named (other sizes stay). */
  squeeze(dim?: Dims): Tensor {
    return sh.squeeze(this, dim)
  }
  /** With a new dimension of size 1 at `dim`. */
  unsqueeze(dim: number): Tensor {
    return sh.unsqueeze(this, dim)
  }
  /** Dimensions moved from the places `source` to the places `destination`. */
  movedim(source: Dims, destination: Dims): Tensor {
    return sh.movedim(this, source, destination)
  }
  /** `x` tiled: `repeat(2, 1)` doubles the first dimension. New dimensions come first. */
  repeat(...times: Numbers): Tensor {
    return sh.repeat(this, ...times)
  }
  /** Each element repeated `times` (a number, or one for each element) along `dim`, or in the flattened tensor. */
  repeatInterleave(times: number | readonly number[], options?: { dim?: number }): Tensor {
    return sh.repeatInterleave(this, times, options)
  }
  /** Pieces of `size` (the last may be smaller), or of the sizes given, along a dimension; views. */
  split(size: number | readonly number[], dim?: number): Tensor[] {
    return sh.split(this, size, dim)
  }
  /** At most `n` pieces of equal size along a dimension; views. */
  chunk(n: number, dim?: number): Tensor[] {
    return sh.chunk(this, n, dim)
  }
  /** The slices along a dimension; views. */
  unbind(dim?: number): Tensor[] {
    return sh.unbind(this, dim)
  }
  /** The order of elements reversed along the dimensions. */
  flip(...dims: Numbers): Tensor {
    return sh.flip(this, ...dims)
  }
  /** Elements shifted, those that fall off coming in at the other end; without `dims` in the flattened tensor. */
  roll(shifts: Dims, dims?: Dims): Tensor {
    return sh.roll(this, shifts, dims)
  }
  /** `x` with room around it: `[left, right, top, bottom, …]`, the last dimension first. Negative numbers crop. */
  pad(padding: readonly number[], options?: sh.PadOptions): Tensor {
    return sh.pad(this, padding, options)
  }
  /** The lower triangle of matrices, up to the `diagonal`-th diagonal; 0 elsewhere. */
  tril(diagonal?: number): Tensor {
    return sh.tril(this, diagonal)
  }
  /** The upper triangle of matrices, from the `diagonal`-th diagonal; 0 elsewhere. */
  triu(diagonal?: number): Tensor {
    return sh.triu(this, diagonal)
  }
  /** A row-major copy, tracked by autograd. */
  clone(): Tensor {
    return sh.clone(this)
  }
  /** `x` with its elements in row-major order. */
  contiguous(): Tensor {
    return sh.contiguous(this)
  }

  // ---- indexing

  /** What Python writes as `x[...]`: `x.index(0, [1, 3], null, [undefined, undefined, 2])`. */
  index(...places: readonly ix.Index[]): Tensor {
    return ix.index(this, ...places)
  }
  /** `out[i][j] = x[index[i][j]][j]` for `dim` 0, and so on. */
  gather(dim: number, index: Tensor): Tensor {
    return ix.gather(this, dim, index)
  }
  /** `x` with `src` written: `out[index[i][j]][j] = src[i][j]` for `dim` 0. A place named several times gets their mean. */
  scatter(dim: number, index: Tensor, src: Operand): Tensor {
    return ix.scatter(this, dim, index, src)
  }
  /** `x` with `src` added: `out[index[i][j]][j] += src[i][j]` for `dim` 0, and so on. */
  scatterAdd(dim: number, index: Tensor, src: Tensor): Tensor {
    return ix.scatterAdd(this, dim, index, src)
  }
  /** The slices along `dim` that a vector of indices names. */
  indexSelect(dim: number, index: Tensor): Tensor {
    return ix.indexSelect(this, dim, index)
  }
  /** `x` with the slices of `source`, times `alpha`, added at `index` along `dim`. */
  indexAdd(dim: number, index: Tensor, source: Tensor, options?: { alpha?: number }): Tensor {
    return ix.indexAdd(this, dim, index, source, options)
  }
  /** `x` with `value` where `mask` (bool, broadcast) is true. */
  maskedFill(mask: Tensor, value: Operand): Tensor {
    return ix.maskedFill(this, mask, value)
  }
  /** The elements of `x` where `mask` (bool, broadcast) is true, as a vector. Reads the mask on the host. */
  maskedSelect(mask: Tensor): Tensor {
    return ix.maskedSelect(this, mask)
  }
  /** The indices of elements that aren't 0, a row each; int64 `[n, rank]`. Reads `x` on the host. */
  nonzero(): Tensor {
    return ix.nonzero(this)
  }
  /** The elements of the flattened tensor that an index of any shape names; negative indices count from the end. */
  take(index: Tensor): Tensor {
    return ix.take(this, index)
  }
  /** A last dimension of size `numClasses` with a 1 at the class and 0 elsewhere; int64. */
  oneHot(numClasses?: number): Tensor {
    return ix.oneHot(this, numClasses)
  }
}
