/** A profile as text. */
import type { NativeProfile } from '../native/index.ts'
import { deviceName } from '../tensor/dtype.ts'
import type { ProfiledMemory, ProfiledOp } from './profile.ts'

/** What the table is of. */
interface Totals {
  readonly wallMs: number
  readonly ops: readonly ProfiledOp[]
  readonly launches: Readonly<Record<string, number>>
  readonly memory: Readonly<Record<string, ProfiledMemory>>
}

/** The `limit` first ops, a line each; below, for each device its launches, how long it was busy, and its memory. */
export function opTable({ wallMs, ops, launches, memory }: Totals, data: NativeProfile, limit: number): string {
  const onGpu = ops.some(op => op.gpuMs !== null)
  const total = ops.reduce((sum, op) => sum + (onGpu ? (op.gpuMs ?? 0) : op.cpuMs), 0)
  const shown = ops.slice(0, limit)
  const several = new Set(ops.map(op => op.device)).size > 1
  const withShapes = ops.some(op => op.signature !== '')
  const header = ['op', ...(several ? ['device'] : []), 'count', 'CPU ms', 'CPU us each']
  if (onGpu) header.push('GPU ms', 'GPU us each')
  header.push('share', ...(withShapes ? ['shapes'] : []))
  const rows = shown.map(op => {
    const { name, device, count, cpuMs, gpuMs, signature } = op
    const each = (ms: number) => ((ms * 1000) / count).toFixed(1)
    const share = total > 0 ? (100 * (onGpu ? (gpuMs ?? 0) : cpuMs)) / total : 0
    const row = [name, ...(several ? [device] : []), String(count), cpuMs.toFixed(3), each(cpuMs)]
    if (onGpu) row.push(gpuMs === null ? '' : gpuMs.toFixed(3), gpuMs === null ? '' : each(gpuMs))
    row.push(`${share.toFixed(1)}%`, ...(withShapes ? [signature] : []))
    return row
  })
  const left = new Set(['op', 'device', 'shapes'].map(name => header.indexOf(name)))
  const widths = header.map((name, i) => Math.max(name.length, ...rows.map(row => (row[i] ?? '').length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (left.has(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  const lines = [line(header), widths.map(n => '-'.repeat(n)).join('  '), ...rows.map(line)]
  if (ops.length > shown.length) lines.push(`… and ${ops.length - shown.length} more`)
  lines.push('', `wall time ${wallMs.toFixed(3)} ms`)
  const busy = busyMs(data)
  for (const device of new Set([...Object.keys(launches), ...Object.keys(memory)])) {
    const parts: string[] = []
    const count = launches[device] ?? 0
    const time = busy.get(device) ?? 0
    if (count > 0) parts.push(`${count} launches`, `busy ${time.toFixed(3)} ms (${share(time, wallMs)})`)
    const used = memory[device]
    if (used) parts.push(`memory ${mebibytes(used.peakBytes)} at most, ${mebibytes(used.startBytes)} at the start`)
    lines.push(`${device}: ${parts.join(', ')}`)
  }
  return lines.join('\n')
}

const share = (part: number, whole: number) => `${whole > 0 ? ((100 * part) / whole).toFixed(1) : '0.0'}%`
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** Milliseconds in which each device ran something; streams of a GPU may run side by side. */
function busyMs({ events }: NativeProfile): Map<string, number> {
  const times = new Map<string, [start: number, end: number][]>()
  for (let i = 0; i < events.length; i += 8) {
    const [, device = 0, , ts = 0, dur = 0, onGpu = 0, gpuTs = 0, gpuDur = 0] = events.subarray(i, i + 8)
    const name = deviceName(device)
    const list = times.get(name) ?? []
    list.push(onGpu === 1 ? [gpuTs, gpuTs + gpuDur] : [ts, ts + dur])
    times.set(name, list)
  }
  const busy = new Map<string, number>()
  for (const [device, list] of times) {
    let [sum, until] = [0, Number.NEGATIVE_INFINITY]
    for (const [start, end] of list.sort((a, b) => a[0] - b[0])) {
      sum += Math.max(0, end - Math.max(start, until))
      until = Math.max(until, end)
    }
    busy.set(device, sum / 1000)
  }
  return busy
}
