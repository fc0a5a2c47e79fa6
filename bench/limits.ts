/** What a GPU can do at best, as PyTorch's largest operations show it. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Rates a second. */
export interface Limits {
  /** FLOPs of a large product of bfloat16. */
  bfloat16: number
  /** FLOPs of a large product of float32 with TF32 allowed. */
  tf32: number
  /** Bytes read and written by a large copy. */
  bytes: number
}

/** Measures the limits with a Python that has torch; without them, if that fails, there is still a benchmark. */
export function measureLimits(python: string): Limits | undefined {
  try {
    return JSON.parse(execFileSync(python, [join(import.meta.dirname, 'torch_limits.py')], { encoding: 'utf8' }))
  } catch (error) {
    console.error(`no limits: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}
