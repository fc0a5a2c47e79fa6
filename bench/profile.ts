/** Where the time of a job's steps goes: `--profile`. */
import { profile } from '../ts/index.ts'

/** Kinds of work that are kept: those that take longest. */
const kept = 20

/** Times of a run that is profiled: op by op, so it is slower than the rounds. */
export interface StepProfile {
  /** Pieces of work that each device was given. */
  launches: Readonly<Record<string, number>>
  /** Milliseconds in all on the host and on the GPU, where the op runs there. */
  ops: { name: string; count: number; cpuMs: number; gpuMs: number | null }[]
}

/** Profiles `steps`. */
export async function profileOf(steps: () => unknown): Promise<StepProfile> {
  const { launches, ops } = await profile(steps)
  return { launches, ops: ops.slice(0, kept).map(({ name, count, cpuMs, gpuMs }) => ({ name, count, cpuMs, gpuMs })) }
}
