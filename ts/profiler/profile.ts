/**
 * Where the time goes: the ops that a function runs, with their times on the CPU and the GPU.
 *
 * ```ts
 * const result = await profile(() => trainer.train({ trainDataset, numEpochs: 1 }))
 * console.log(result.table())
 * await result.saveTrace('trace.json') // for chrome://tracing or ui.perfetto.dev
 * ```
 */
import { writeFile } from 'node:fs/promises'
import { checkOptions } from '../errors.ts'
import { type NativeProfile, native } from '../native/index.ts'
import { deviceName } from '../tensor/dtype.ts'
import { opTable } from './table.ts'
import { type ChromeTrace, type Range, traceOf } from './trace.ts'

/** Options of `profile`. */
export interface ProfileOptions {
  /** Tell ops apart by their dtypes and shapes too. Default false. */
  shapes?: boolean
  /**
   * Leave captured steps on a GPU the graphs that they are: each counts as one op, `graph`, with the speed of a run that isn't
   * profiled. Default false: while the profile is taken they run launch by launch, so that each op has its times.
   */
  graphs?: boolean
}

/** The work of one kind: an op, a chain of elementwise ops that run in one pass (`chain: mul+add`), a copy. */
export interface ProfiledOp {
  name: string
  /** Dtypes and shapes with `shapes: true`, as in `float32[32, 784], float32[128, 784] -> float32[32, 128]`; else empty. */
  signature: string
  /** Such as `'cpu'` or `'cuda:0'`. */
  device: string
  count: number
  /** Milliseconds on the host in all: the work itself on the CPU, its launch on a GPU. */
  cpuMs: number
  /** Milliseconds on the GPU in all; null for work of the CPU. */
  gpuMs: number | null
}

/** A device's memory during a profile. */
export interface ProfiledMemory {
  /** Bytes in use when it began. */
  startBytes: number
  /** The most bytes in use at a time, and the buffers that they were in. */
  peakBytes: number
  peakStorages: number
  /** Bytes that plans hold for the intermediates of captured steps. */
  planBytes: number
  /** Bytes taken from the system at the peak, those kept for reuse included. */
  reservedBytes: number
}

/** What a profile found. */
export class Profile<T = unknown> {
  /** What the function gave. */
  readonly value: T
  /** Milliseconds from begin to end. */
  readonly wallMs: number
  /** Kinds of work, those that took longest first: by the time on the GPU, then on the CPU. */
  readonly ops: readonly ProfiledOp[]
  /** How many pieces of work each device was given. */
  readonly launches: Readonly<Record<string, number>>
  /** By device. */
  readonly memory: Readonly<Record<string, ProfiledMemory>>
  readonly #data: NativeProfile
  readonly #ranges: readonly Range[]

  /** What `data` says; made by `profile`. */
  constructor(value: T, data: NativeProfile, ranges: readonly Range[] = []) {
    this.value = value
    this.wallMs = data.wall / 1000
    this.ops = opsOf(data)
    const launches: Record<string, number> = {}
    for (const op of this.ops) launches[op.device] = (launches[op.device] ?? 0) + op.count
    this.launches = launches
    this.memory = Object.fromEntries(
      data.memory.map(m => [
        deviceName(m.device),
        {
          startBytes: m.before,
          peakBytes: m.peak,
          peakStorages: m.storages,
          planBytes: m.plans,
          reservedBytes: m.reserved,
        },
      ]),
    )
    this.#data = data
    this.#ranges = ranges
  }

  /** All pieces of work in Chrome's trace format: a track for the CPU and one for each stream of a GPU. */
  get trace(): ChromeTrace {
    return traceOf(this.#data, this.#ranges)
  }

  /** The ops as a table, the `limit` that took longest, with the devices' busy times and memory below. */
  table({ limit = 40 }: { limit?: number } = {}): string {
    return opTable(this, this.#data, limit)
  }

  /** Writes the trace as JSON that chrome://tracing and ui.perfetto.dev open. */
  async saveTrace(path: string): Promise<void> {
    await writeFile(path, JSON.stringify(this.trace))
  }
}

/**
 * Runs `fn`, which may be async, and resolves to what it did: the time of each op on the CPU and the GPU, launches, memory and a
 * trace. Results are those of a run without the profiler. GPU times hold about a microsecond of measuring each, and a GPU is
 * held up a little before each launch, so that its times don't depend on the host's: the wall time is longer than it would be.
 * A profile within a profile is a `BAD_OPTION` error. If `fn` throws, its error passes.
 */
export async function profile<T>(fn: () => T | Promise<T>, options: ProfileOptions = {}): Promise<Profile<T>> {
  const session = new ProfileSession(options)
  let value: T
  try {
    value = await fn()
  } catch (error) {
    session.cancel()
    throw error
  }
  return session.end(value)
}

/** A profile that is being taken. */
export class ProfileSession {
  readonly #began: number
  readonly #ranges: Range[] = []

  constructor(options: ProfileOptions) {
    checkOptions('profile', options, ['shapes', 'graphs'])
    native.profileBegin(options.shapes ?? false, options.graphs ?? false)
    this.#began = performance.now()
  }

  /** Begins a named range of the trace, such as a step; it ends where the next one begins. */
  mark(name: string): void {
    this.#ranges.push({ name, start: this.#now() })
  }

  /** Ends the profile. */
  end<T>(value: T): Profile<T> {
    const end = this.#now()
    return new Profile(value, native.profileEnd(), [...this.#ranges, { name: '', start: end }])
  }

  /** Ends the profile without looking at it. */
  cancel(): void {
    native.profileEnd()
  }

  /** Microseconds since the begin. */
  #now(): number {
    return (performance.now() - this.#began) * 1000
  }
}

/** Adds up pieces of work by kind and device. */
function opsOf({ names, signatures, events }: NativeProfile): ProfiledOp[] {
  const ops = new Map<string, ProfiledOp>()
  for (let i = 0; i < events.length; i += 8) {
    const [kind = 0, device = 0, , , cpu = 0, onGpu = 0, , gpu = 0] = events.subarray(i, i + 8)
    const key = `${kind} ${device}`
    let op = ops.get(key)
    if (op === undefined) {
      const [name = '', signature = ''] = [names[kind], signatures[kind]]
      op = { name, signature, device: deviceName(device), count: 0, cpuMs: 0, gpuMs: null }
      ops.set(key, op)
    }
    op.count++
    op.cpuMs += cpu / 1000
    if (onGpu === 1) op.gpuMs = (op.gpuMs ?? 0) + gpu / 1000
  }
  return [...ops.values()].sort((a, b) => (b.gpuMs ?? 0) - (a.gpuMs ?? 0) || b.cpuMs - a.cpuMs)
}
