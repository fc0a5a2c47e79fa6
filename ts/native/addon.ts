/** The addon's exports. They mirror `crates/node/src`; handles are numbers, -1 is none. */

/** How the calls of a captured function ran, and why not otherwise. */
export interface CaptureReport {
  /** Calls that opened a step window. */
  windows: number
  /** Windows that ran from a plan. */
  matched: number
  /** Windows that ran eagerly, recording or not. */
  eager: number
  /** Windows that left a plan on the way. */
  diverged: number
  /** Windows that went over to another plan. */
  switched: number
  /** Steps whose body was skipped. */
  full: number
  /** Launches in the middle of a window, for a read on the host. */
  cuts: number
  /** Plans held. */
  plans: number
  /** Ops of the newest plan, and the kernels that it runs for them. */
  ops: number
  kernels: number
  /** Bytes that the intermediates of the newest plan take. */
  arenaBytes: number
  /** Why a call was last not matched; empty if all was well. */
  reason: string
}

/** The tensors of a safetensors file. */
export interface NativeSafetensors {
  names: string[]
  handles: number[]
  metadata: Record<string, string>
}

/** What was found of a CUDA library. */
export interface CudaLibrary {
  /** Without `lib`: `cuda` is the driver; `nvrtc`, `cublasLt`, `cudnn`, `nccl`. */
  name: string
  path?: string | null
  version?: string | null
  /** Why it can't be used, as a sentence. */
  problem?: string | null
}

/** A GPU. */
export interface CudaDevice {
  name: string
  memoryBytes: number
  /** Compute capability, major and minor. */
  compute: number[]
  multiprocessors: number
}

/** What a profile noted; times are in microseconds from its begin. */
export interface NativeProfile {
  /** Of each kind of work: the op's name and, if asked for, dtypes and shapes. */
  names: string[]
  signatures: string[]
  /**
   * Eight numbers for each piece of work: index of its kind, device, stream, begin and duration on the host, 1 if a GPU ran it,
   * begin and duration there.
   */
  events: Float64Array
  wall: number
  /** Bytes of each device: before, at the peak (with its buffers and those of plans), reserved. */
  memory: { device: number; before: number; peak: number; storages: number; plans: number; reserved: number }[]
}

/** Threads that make batches of images. */
export interface ImageLoader {
  readonly kind: 'image loader'
}

/** A batch of images that no tensor has taken yet. */
export interface ImageBatch {
  readonly kind: 'image batch'
}

/** What a request for images comes to. */
export interface LoadedImages {
  batch?: ImageBatch
  failure?: { position: number; code: string; message: string }
}

/** The addon's functions. */
export interface NativeAddon {
  /** Registers what makes the errors of this JavaScript thread. */
  setErrorFactory(make: (code: string, op: string, message: string, operands: string[]) => Error): void
  unaryNames(): string[]
  binaryNames(): string[]
  reduceNames(): string[]
  dtypeNames(): string[]

  // pointwise
  unary(code: number, a: number): number
  binary(code: number, a: number, b: number): number
  scalar(code: number, a: number, value: number, reversed: boolean): number
  clamp(a: number, low: number, high: number): number
  where(condition: number, a: number, b: number): number
  cast(a: number, dtype: number): number
  contiguous(a: number): number
  /** Devices are numbers: 0 is the CPU, n + 1 is `cuda:n`. */
  toDevice(a: number, device: number): number
  deviceOf(a: number): number
  isContiguous(a: number): boolean
  binaryInto(code: number, a: number, b: number): void
  scalarInto(code: number, a: number, value: number): void
  copyInto(a: number, source: number): void

  // reductions, linear algebra
  reduceAll(code: number, a: number): number
  reduceDim(code: number, a: number, dim: number, keepdim: boolean): number
  /** Over all dimensions if `dims` is empty. */
  reduce(code: number, a: number, dims: readonly number[], keepdim: boolean): number
  /** Over the last dimension. */
  softmax(a: number, log: boolean): number
  cumsum(a: number, dim: number): number
  /** Values and indices, along the last dimension. */
  sort(a: number, descending: boolean): number[]
  matmul(a: number, b: number): number
  linear(x: number, weight: number, bias: number): number

  // indexing
  gather(a: number, dim: number, index: number): number
  scatterAdd(a: number, dim: number, index: number, source: number): number
  indexSelect(a: number, dim: number, index: number): number
  indexAdd(a: number, dim: number, index: number, source: number): number
  cat(tensors: readonly number[], dim: number): number

  // convolution and its relatives, losses
  conv2d(
    x: number,
    weight: number,
    bias: number,
    strideH: number,
    strideW: number,
    padH: number,
    padW: number,
    dilationH: number,
    dilationW: number,
    groups: number,
  ): number
  /** Values and indices into the plane. */
  maxPool2d(
    x: number,
    kernelH: number,
    kernelW: number,
    strideH: number,
    strideW: number,
    padH: number,
    padW: number,
    dilationH: number,
    dilationW: number,
    ceil: boolean,
  ): number[]
  avgPool2d(
    x: number,
    kernelH: number,
    kernelW: number,
    strideH: number,
    strideW: number,
    padH: number,
    padW: number,
    ceil: boolean,
  ): number
  /** Training mode. */
  batchNorm(
    x: number,
    weight: number,
    bias: number,
    runningMean: number,
    runningVar: number,
    momentum: number,
    eps: number,
  ): number
  /** `reduction`: 0 none, 1 mean, 2 sum. */
  crossEntropy(logits: number, target: number, ignoreIndex: number, smoothing: number, reduction: number): number
  trackLoss(tracker: number, loss: number, weight: number): void

  // views; up to four sizes as numbers, of which `rank` count
  reshape(a: number, rank: number, s0: number, s1: number, s2: number, s3: number): number
  reshapeList(a: number, sizes: readonly number[]): number
  expand(a: number, rank: number, s0: number, s1: number, s2: number, s3: number): number
  expandList(a: number, sizes: readonly number[]): number
  /** `order` holds the dimensions, three bits each, the first lowest. */
  permute(a: number, rank: number, order: number): number
  transpose(a: number, dim0: number, dim1: number): number
  narrow(a: number, dim: number, start: number, length: number, step: number): number
  select(a: number, dim: number, index: number): number
  detach(a: number): number

  // creation and random numbers
  full(shape: readonly number[], value: number, dtype: number, device: number): number
  arange(length: number, start: number, step: number, dtype: number, device: number): number
  /** `kind`: 0 uniform in [0, 1), 1 standard normal. */
  random(kind: number, shape: readonly number[], dtype: number, device: number, generator: number): number
  dropout(x: number, p: number): number
  randperm(n: number, generator: number): number
  manualSeed(seed: number): void
  newGenerator(seed: number): number
  generatorState(generator: number): [seed: number, offset: number]
  setGeneratorState(generator: number, seed: number, offset: number): void

  // autograd
  backward(a: number, gradient: number, retain: boolean, createGraph: boolean): void
  grad(
    outputs: readonly number[],
    grads: readonly number[],
    inputs: readonly number[],
    retain: boolean,
    createGraph: boolean,
    allowUnused: boolean,
  ): number[]
  requiresGrad(a: number): boolean
  setRequiresGrad(a: number, on: boolean): void
  isLeaf(a: number): boolean
  gradOf(a: number): number
  setGrad(a: number, grad: number): void
  retainGrad(a: number): void
  /** Gives the previous state. */
  setGradEnabled(on: boolean): boolean
  gradEnabled(): boolean

  // memory
  dispose(a: number): void
  /** As `dispose`, but a handle that is dead already is no error. */
  release(a: number): void
  /** An object that frees the handle when it is collected; as `ownGroup` and `ownSite`. */
  own(a: number): object
  isLive(a: number): boolean
  keep(a: number): void
  scopeBegin(): void
  scopeEnd(keep: readonly number[]): void
  /** `grad`: 1 on, 0 off, -1 as it is. `autocast`: the low dtype, -1 for none, -2 as it is. */
  regionBegin(scoped: boolean, grad: number, autocast: number): void
  /** Makes a context of the newest region and gives its number. */
  regionSuspend(): number
  /** Whether `keep` belongs to no scope now. */
  regionEnd(keep: readonly number[]): boolean
  /** Goes over to a context, 0 for that of no region; whether it has no scope. */
  enterContext(context: number): boolean
  /** Tensors, storages, bytes, peak bytes, reserved bytes. */
  memory(device: number): [number, number, number, number, number]
  /** Bytes that can be allocated on a GPU. */
  freeMemory(device: number): number
  emptyCache(): void
  setNumThreads(n: number): void
  getNumThreads(): number

  // data
  shapeOf(a: number): number[]
  rankOf(a: number): number
  dtypeOf(a: number): number
  fromHost(data: Uint8Array, shape: readonly number[], dtype: number, device: number): number
  readInto(a: number, target: Uint8Array): void
  item(a: number): number
  /** The chosen rows of each source, on `device` or, if that is -1, where the source is. */
  gatherRows(sources: readonly number[], indices: Uint32Array, device: number): number[]
  /**
   * Asks for the batches of `size` rows each that `indices` names, to be gathered by a thread: the number of the first, or 0 if they
   * can't be had ahead.
   */
  prefetchRows(sources: readonly number[], indices: Uint32Array, size: number): number
  /** The tensors of a batch that was asked for, each once. */
  takeRows(number: number): number[]
  /** Gives up batches that were asked for and not taken. */
  dropRows(numbers: Uint32Array): void
  /** Changes whenever the tensor's memory is written. */
  versionOf(a: number): number
  /** SHA-256 of the SHA-256s of pieces of `piece` bytes, made by a thread; the bytes must not change meanwhile. */
  checksum(bytes: Uint8Array, piece: number): Promise<string>
  loadSafetensors(path: string): NativeSafetensors
  saveSafetensors(
    path: string,
    names: readonly string[],
    handles: readonly number[],
    metadata: Readonly<Record<string, string>>,
  ): void

  // images
  newImageLoader(names: readonly string[], numbers: readonly (readonly number[])[], threads: number): ImageLoader
  /** The images of files, whose random numbers begin at `offset` of the streams of `seeds`. The promise never rejects. */
  requestImages(
    loader: ImageLoader,
    paths: readonly string[],
    seeds: Float64Array,
    offset: number,
  ): Promise<LoadedImages>
  /** Gives up what was asked for; its promises resolve with a failure. */
  cancelImages(loader: ImageLoader): void
  /** [n, 3, height, width], uint8 or float32; only once. */
  takeImages(batch: ImageBatch, device: number): number
  dropImages(batch: ImageBatch): void
  /** One step on images of bytes [n, 3, height, width]. */
  transformImages(
    data: Uint8Array,
    height: number,
    width: number,
    name: string,
    numbers: readonly number[],
    draws: Float64Array,
  ): { data: Uint8Array; height: number; width: number }

  // optimizers over flat buffers
  newGroup(params: readonly number[], slots: number): number
  ownGroup(group: number): object
  freeGroup(group: number): void
  hasGroup(group: number): boolean
  /** A parameter gets other memory. */
  leaveGroups(a: number): void
  /** Whether a parameter of the group got other memory. */
  groupIsLeft(group: number): boolean
  groupSlot(group: number, param: number, slot: number): number
  groupSteps(group: number, param: number): number
  setGroupSteps(group: number, param: number, steps: number): void
  zeroGrad(group: number): void
  sgdStep(
    group: number,
    lr: number,
    momentum: number,
    dampening: number,
    weightDecay: number,
    nesterov: boolean,
    maximize: boolean,
    skip: number,
  ): void
  adamwStep(
    group: number,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    maximize: boolean,
    skip: number,
  ): void
  /** The norm before clipping. */
  clipGradNorm(groups: readonly number[], max: number): number
  clipGradValue(groups: readonly number[], max: number): void

  // mixed precision
  /** The low dtype, -1 for none; gives the one before. */
  setAutocast(dtype: number): number
  autocastDtype(): number
  /** 1 if any gradient is not finite, else 0. */
  unscale(groups: readonly number[], scale: number): number
  updateScale(scale: number, tracker: number, found: number, growth: number, backoff: number, interval: number): void

  // CUDA
  probeCuda(): CudaLibrary[]
  /** The GPUs, in the order of their numbers; none without a driver. */
  cudaDevices(): CudaDevice[]
  cudaSynchronize(index: number): void
  /** `option`: 0 TF32, 1 deterministic kernels. */
  setCudaOption(index: number, option: number, on: boolean): void

  // profiler
  profileBegin(shapes: boolean, graphs: boolean): void
  profileEnd(): NativeProfile

  // step windows
  newSite(name: string): number
  ownSite(site: number): object
  freeSite(site: number): void
  /** False inside another window. */
  windowBegin(site: number, auto: boolean, full?: readonly number[]): boolean
  windowEnd(keep: readonly number[], failed: boolean): void
  /** Switches for the differential tests of plans: no fusion, NaN in the arena, inputs at a fixed place, a rule to break. */
  setDebug(noFusion: boolean, poison: boolean, copySlots: boolean, mutant: number): void
  /** The results of the last step, or null if no plan fits. */
  fullForm(site: number): number[] | null
  offerUpdates(on: boolean): void
  needsJavascript(): void
  fullSteps(site: number, args: readonly number[], steps: number): number[] | null
  report(site: number): CaptureReport
}
