/** Random numbers for samplers: drawn from wick's generators, so that a seed fixes the order on every runtime. */
import { type Generator, rand, randperm, type Tensor } from '../tensor/index.ts'

const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** A random order of 0..n-1. */
export function permutation(n: number, generator?: Generator): Uint32Array {
  const tensor = randperm(n, { device: 'cpu', ...(generator && { generator }) })
  const wide = read(tensor)
  const words = new Uint32Array(wide.buffer, wide.byteOffset, 2 * n)
  // The low halves of the 64-bit numbers: reading a BigInt for each would be the slowest part of an epoch's start.
  const order = new Uint32Array(n)
  for (let i = 0; i < n; i++) order[i] = words[2 * i + (littleEndian ? 0 : 1)] ?? 0
  return order
}

/** `n` uniform numbers in [0, 1). */
export function uniform(n: number, generator?: Generator): ArrayLike<number> {
  const values = read(rand([n], { dtype: 'float64', device: 'cpu', ...(generator && { generator }) }))
  return values instanceof Float64Array ? values : new Float64Array(n)
}

function read(tensor: Tensor) {
  try {
    return tensor.dataSync()
  } finally {
    tensor.dispose()
  }
}
