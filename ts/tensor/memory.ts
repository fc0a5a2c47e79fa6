/** Lifetimes and memory: scopes free what they made, at once and in order; garbage collection is only a backstop. */
import { checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { region } from './context.ts'
import { type Device, deviceCode } from './dtype.ts'
import { setUnscoped, trackAll, unscoped } from './lifetime.ts'
import type { Tensor } from './tensor.ts'
import { handlesIn, isPromise, tensorsIn } from './tree.ts'

/**
 * Runs `fn` and frees every tensor made inside but those that it returns (also in arrays, plain objects, maps and sets) and
 * those passed to `keep`. `fn` must be synchronous.
 *
 * ```ts
 * const loss = scope(() => model.forward(x).sub(y).square().mean())
 * ```
 */
export function scope<T>(fn: () => T): T {
  native.scopeBegin()
  const outermost = unscoped
  setUnscoped(false)
  let out: T | undefined
  let promise = false
  try {
    out = fn()
    promise = isPromise(out)
  } finally {
    native.scopeEnd(promise ? [] : handlesIn(out))
    setUnscoped(outermost)
  }
  if (promise) {
    const message =
      'its function must be synchronous, but it returned a promise: what follows an await would run outside'
    throw new WickError('NOT_SUPPORTED', message, { op: 'scope' })
  }
  if (outermost) trackAll(tensorsIn(out))
  return out as T
}

/**
 * As `scope`, for an asynchronous `fn`: it owns the scope until its promise settles. What other tasks make meanwhile doesn't
 * belong to it. If the scope around has ended before, results belong to the next one that hasn't.
 */
export async function asyncScope<T>(fn: () => Promise<T>): Promise<T> {
  return region({ scoped: true }, fn)
}

/** Lets a tensor outlive the scopes that are open; it lives until `dispose`. Gives the tensor. */
export function keep<T extends Tensor>(x: T): T {
  native.keep(x.handle)
  return x
}

/** Memory that tensors take. */
export interface MemoryInfo {
  /** Live tensors. */
  tensors: number
  /** Buffers that they share. */
  storages: number
  /** Bytes of the buffers. */
  bytes: number
  /** The most bytes at any time. */
  peakBytes: number
  /** Bytes held for reuse. */
  reservedBytes: number
}

/** The memory in use on a device, by default the one where tensors are made. `tensors` counts those of all devices. */
export function memory(options: { device?: Device } = {}): MemoryInfo {
  checkOptions('memory', options, ['device'])
  const [tensors, storages, bytes, peakBytes, reservedBytes] = native.memory(deviceCode('memory', options.device))
  return { tensors, storages, bytes, peakBytes, reservedBytes }
}

/** Gives memory that is held for reuse back to the system. */
export function emptyCache(): void {
  native.emptyCache()
}

/** Sets how many threads kernels use. */
export function setNumThreads(n: number): void {
  if (!(Number.isInteger(n) && n >= 1)) {
    throw new WickError('BAD_OPTION', `needs a whole number above 0, not ${n}`, { op: 'setNumThreads' })
  }
  native.setNumThreads(n)
}

/** How many threads kernels use: `WICK_NUM_THREADS`, else the number of cores. */
export function getNumThreads(): number {
  return native.getNumThreads()
}
