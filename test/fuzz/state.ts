/** What a run of a random step program owns, and how it reads tensors. */
import type { Captured } from '../../ts/capture.ts'
import type { optim, Tensor } from '../../ts/index.ts'

/** Steps of a run. */
export const STEPS = 30
/** Width of every layer. */
export const D = 6

/** A small generator of its own: programs must not depend on the library that they test. */
export const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

export interface Layer {
  weight: Tensor
  bias: Tensor
}
/** What a run of a program owns. */
export interface State {
  t: number
  log: string[]
  layers: Layer[]
  weight: Tensor
  stat: Tensor
  /** Running statistics of a batch norm. */
  running: Tensor[]
  optimizer: optim.SGD | optim.AdamW
  second: optim.SGD | null
  batches: Tensor[]
  targets: Tensor[]
  masks: Tensor[]
  size: number
  pool: Tensor[]
  kept: Tensor[]
  previous: Tensor | null
  stale: Tensor | null
  inner: Captured<[Tensor], Tensor> | null
  loss: Tensor | null
  extra: Tensor[]
  vectors: Tensor[]
  outer: Tensor | null
  stop: boolean
  /** Results that stay alive longer than in other steps. */
  late: Tensor[]
}
/** A hash of a tensor's bits. */
export const bits = (x: Tensor): string => {
  const data = x.dataSync()
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  let h = 2166136261
  for (const b of bytes) h = Math.imul(h ^ b, 16777619)
  return `${data.length}:${(h >>> 0).toString(16)}:${data[0]}`
}
const message = (e: unknown) => (e instanceof Error ? e.message : String(e))
export const attempt = (x: Tensor): string => {
  try {
    return bits(x)
  } catch (e) {
    return message(e)
  }
}
export const tried = (s: State, f: () => void) => {
  try {
    f()
  } catch (e) {
    s.log.push(`x${message(e)}`)
  }
}
