/** Reading elements on the host. A read waits for what computes them. */
import { checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import type { NestedArray } from './creation.ts'
import { bytesOf, type HostArray, hostArray, widen } from './dtype.ts'
import type { Tensor } from './tensor.ts'

/** Options of `data`. */
export interface DataOptions {
  /** Gives float16 and bfloat16 as their bits (Uint16Array) instead of numbers. */
  raw?: boolean
}

/** The elements, row-major, in an array of their own: BigInt64Array for int64, Uint8Array for bool, Float32Array for halves. */
export function dataSync(x: Tensor, o: DataOptions = {}): HostArray {
  checkOptions('data', o, ['raw'])
  const { raw = false } = o
  const array = room(x)
  native.readInto(x.handle, bytesOf(array))
  return array instanceof Uint16Array && !raw ? widen(x.dtype, array) : array
}

/** An array for the elements, where JavaScript has the memory. */
function room(x: Tensor): HostArray {
  try {
    return hostArray(x.dtype, x.numel)
  } catch {
    throw new WickError('OUT_OF_MEMORY', `no array holds the ${x.numel} elements of [${x.shape}]`, { op: 'data' })
  }
}

/** The elements nested as deep as the tensor has dimensions; int64 as numbers, bool as booleans. */
export function toArraySync(x: Tensor): NestedArray {
  const data = dataSync(x)
  const { shape, dtype } = x
  let at = 0
  const build = (depth: number): NestedArray => {
    if (depth < shape.length) return Array.from({ length: shape[depth]! }, () => build(depth + 1))
    const value = data[at++]!
    return dtype === 'bool' ? value !== 0 : Number(value)
  }
  return build(0)
}
