/** Gradients: when they are recorded, and how they are asked for. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { handle } from './operand.ts'
import { Tensor } from './tensor.ts'
import { isPromise } from './tree.ts'

/** Options of `backward`. */
export interface BackwardOptions {
  /** The gradient of what follows the tensor; needed unless it has one element. */
  gradient?: Tensor
  /** Keeps what the backward pass needs, so that it can run again. Default: `createGraph`. */
  retainGraph?: boolean
  /** Records the backward pass too, for higher derivatives. Default false. */
  createGraph?: boolean
}

/** Adds the gradients of `x` to `grad` of every leaf that it was made from and that requires gradients. */
export function backward(x: Tensor, o?: BackwardOptions): void {
  if (o === undefined) {
    native.backward(x.handle, -1, false, false)
    return
  }
  checkOptions('backward', o, ['gradient', 'retainGraph', 'createGraph'])
  const { gradient, createGraph = false, retainGraph = createGraph } = o
  native.backward(x.handle, gradient === undefined ? -1 : handle('backward', gradient), retainGraph, createGraph)
}

/** Options of `grad`. */
export interface GradOptions {
  /** The gradients of what follows the outputs, one each. */
  gradOutputs?: Tensor | readonly (Tensor | null)[]
  retainGraph?: boolean
  createGraph?: boolean
  /** Allows inputs that the outputs don't depend on; their gradient is null. Default false. */
  allowUnused?: boolean
}

const gradKeys = ['gradOutputs', 'retainGraph', 'createGraph', 'allowUnused']

/**
 * The gradients of `outputs` by `inputs`, without touching any `grad`. One input gives one gradient, a list gives a list;
 * with `allowUnused` an entry may be null.
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor,
  o: GradOptions & { allowUnused: true },
): Tensor | null
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  o: GradOptions & { allowUnused: true },
): (Tensor | null)[]
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, o?: GradOptions): Tensor
export function grad(outputs: Tensor | readonly Tensor[], inputs: readonly Tensor[], o?: GradOptions): Tensor[]
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  o: GradOptions = {},
): Tensor | null | (Tensor | null)[] {
  checkOptions('grad', o, gradKeys)
  const { gradOutputs, createGraph = false, retainGraph = createGraph, allowUnused = false } = o
  const of = (outputs instanceof Tensor ? [outputs] : outputs).map(x => handle('grad', x))
  const by = (inputs instanceof Tensor ? [inputs] : inputs).map(x => handle('grad', x))
  const given =
    gradOutputs === undefined ? of.map(() => null) : gradOutputs instanceof Tensor ? [gradOutputs] : gradOutputs
  if (given.length !== of.length) throw badOption('grad', `${given.length} gradOutputs for ${of.length} outputs`)
  const starts = given.map(g => (g === null ? -1 : handle('grad', g)))
  const found = native.grad(of, starts, by, retainGraph, createGraph, allowUnused)
  const grads = found.map(h => (h < 0 ? null : new Tensor(h)))
  return inputs instanceof Tensor ? grads[0]! : grads
}

function withGrad<T>(name: string, on: boolean, fn: () => T): T {
  const before = native.setGradEnabled(on)
  let out: T
  try {
    out = fn()
  } finally {
    native.setGradEnabled(before)
  }
  if (isPromise(out)) {
    const message =
      'its function must be synchronous, but it returned a promise: what follows an await would run outside'
    throw new WickError('NOT_SUPPORTED', message, { op: name })
  }
  return out
}

/** Runs `fn` without recording gradients. `fn` must be synchronous. */
export function noGrad<T>(fn: () => T): T {
  return withGrad('noGrad', false, fn)
}
/** Runs `fn` with gradients recorded, inside a `noGrad`. `fn` must be synchronous. */
export function enableGrad<T>(fn: () => T): T {
  return withGrad('enableGrad', true, fn)
}
/** Runs `fn` for inference: as `noGrad`. `fn` must be synchronous. */
export function inferenceMode<T>(fn: () => T): T {
  return withGrad('inferenceMode', false, fn)
}
/** Whether gradients are recorded now. */
export function isGradEnabled(): boolean {
  return native.gradEnabled()
}
