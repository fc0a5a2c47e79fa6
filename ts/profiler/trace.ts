/** Chrome's trace format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU */
import type { NativeProfile } from '../native/index.ts'
import { deviceName } from '../tensor/dtype.ts'

/** One event; times are in microseconds. */
export interface TraceEvent {
  name: string
  /** `X` is a piece of work, `M` names a process or a track. */
  ph: 'X' | 'M'
  pid: number
  tid: number
  ts?: number
  dur?: number
  cat?: string
  args?: Readonly<Record<string, string>>
}

/** A trace that chrome://tracing and ui.perfetto.dev open. */
export interface ChromeTrace {
  traceEvents: TraceEvent[]
  displayTimeUnit: 'ms'
}

/** A named stretch of time that ends where the next one begins. */
export interface Range {
  name: string
  /** Microseconds. */
  start: number
}

/** Processes of the trace: the host is 0, `cuda:n` is n + 1. On the host, steps have a track above the ops'. */
const [STEPS, OPS] = [0, 1]
const streams = ['compute stream', 'side stream']

/** The trace of what was noted. */
export function traceOf({ names, signatures, events }: NativeProfile, ranges: readonly Range[]): ChromeTrace {
  const work: TraceEvent[] = []
  const tracks = new Map<number, Set<number>>([[0, new Set([OPS])]])
  const track = (pid: number, tid: number) => {
    const of = tracks.get(pid)
    if (of) of.add(tid)
    else tracks.set(pid, new Set([tid]))
  }
  ranges.slice(0, -1).forEach(({ name, start }, i) => {
    track(0, STEPS)
    const end = ranges[i + 1]?.start ?? start
    work.push({ name, cat: 'step', ph: 'X', pid: 0, tid: STEPS, ts: start, dur: end - start })
  })
  for (let i = 0; i < events.length; i += 8) {
    const [kind = 0, device = 0, lane = 0, ts = 0, dur = 0, onGpu = 0, gpuTs = 0, gpuDur = 0] = events.subarray(
      i,
      i + 8,
    )
    const [name = '', signature = ''] = [names[kind], signatures[kind]]
    const args = signature === '' ? {} : { args: { shapes: signature } }
    work.push({ name, cat: device === 0 ? 'cpu' : 'launch', ph: 'X', pid: 0, tid: OPS, ts, dur, ...args })
    if (onGpu !== 1) continue
    track(device, lane)
    work.push({ name, cat: 'gpu', ph: 'X', pid: device, tid: lane, ts: gpuTs, dur: gpuDur, ...args })
  }
  const labels: TraceEvent[] = []
  for (const [pid, tids] of tracks) {
    labels.push({ name: 'process_name', ph: 'M', pid, tid: 0, args: { name: pid === 0 ? 'CPU' : deviceName(pid) } })
    for (const tid of tids) {
      const name = pid === 0 ? (tid === STEPS ? 'steps' : 'ops') : (streams[tid] ?? `stream ${tid}`)
      labels.push({ name: 'thread_name', ph: 'M', pid, tid, args: { name } })
    }
  }
  return { traceEvents: [...labels, ...work], displayTimeUnit: 'ms' }
}
