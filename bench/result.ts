/** What `run.ts` writes: a line for each job, thread count and mode of wick. */
import type { Contestant } from './contestant.ts'
import type { Limits } from './limits.ts'
import type { DeviceName, JobName, Mode, Precision, TorchMode, Unit } from './names.ts'
import type { StepProfile } from './profile.ts'

/** Speed of a contestant, the median of its rounds. */
export interface Speed {
  /** Of the result's unit. */
  value: number
  stepMs: number
  /** The most bytes that its tensors took; PyTorch reports none on CPU. */
  peakBytes?: number
}

/** Why a contestant has no speed. */
export interface Failure {
  error: string
}

/** What a line is about. */
export interface Subject {
  job: JobName
  device: DeviceName
  deviceName?: string
  dtype: Precision
  mode: Mode
  threads: number
  runtime: string
  unit: Unit
}

export type Result = Subject & {
  /** FLOPs and bytes of a step, as `floors.ts` counts them. */
  flops?: number
  bytes?: number
  /** The device's rates, and the least time of a step at these rates. */
  limits?: Limits
  floorMs?: number
  /** The floor's part of wick's step. */
  share?: number
  torchVersion?: string
  torch?: Partial<Record<TorchMode, Speed | Failure>>
  /** How many times the speed of PyTorch's best mode, and of its eager one: its step time by wick's. */
  ratio?: number
  ratioEager?: number
  /** With `--profile`: where the time of some steps went. */
  profile?: StepProfile
} & (Speed | Failure)

/** The line of one contestant of wick beside those of PyTorch. */
export function resultOf(
  subject: Subject,
  wick: Contestant,
  torch: ReadonlyMap<TorchMode, Contestant>,
  limits: Limits | undefined,
): Result {
  const { flops, bytes } = wick.introduction
  const own = speedOf(wick)
  const twins = new Map([...torch].map(([mode, contestant]) => [mode, speedOf(contestant)]))
  const times = [...twins.values()].flatMap(twin => ('stepMs' in twin ? twin.stepMs : []))
  const eager = twins.get('eager')
  const floorMs =
    limits && flops && bytes && 1000 * Math.max(flops / rateOf(limits, subject.dtype), bytes / limits.bytes)
  const done = 'stepMs' in own ? own.stepMs : undefined
  return {
    ...subject,
    ...own,
    ...(flops && bytes && { flops, bytes }),
    ...(limits && floorMs && { limits, floorMs, ...(done && { share: floorMs / done }) }),
    ...(twins.size > 0 && {
      torchVersion: [...torch.values()].map(({ introduction }) => introduction.version).find(Boolean) ?? '',
      torch: Object.fromEntries(twins),
    }),
    ...(done && times.length > 0 && { ratio: Math.min(...times) / done }),
    ...(wick.profile && { profile: wick.profile }),
    ...(done && eager && 'stepMs' in eager && { ratioEager: eager.stepMs / done }),
  }
}

/** float32 without TF32 is measured on no device with limits. */
function rateOf(limits: Limits, dtype: Precision): number {
  return dtype === 'bfloat16' ? limits.bfloat16 : limits.tf32
}

function speedOf({ rounds, failure }: Contestant): Speed | Failure {
  if (failure !== undefined || rounds.length === 0) return { error: failure ?? 'it did not run' }
  const peakBytes = Math.max(...rounds.map(round => round.peakBytes ?? 0))
  return {
    value: median(rounds.map(round => round.perSecond)),
    stepMs: median(rounds.map(round => round.stepMs)),
    ...(peakBytes > 0 && { peakBytes }),
  }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}

const time = (ms: number) => (ms < 10 ? `${(ms * 1000).toFixed(ms < 0.1 ? 1 : 0)} us` : `${ms.toFixed(1)} ms`)
/** The line of an error that says what it is. */
const gist = (text: string) => {
  const lines = text.trim().split('\n')
  return lines.findLast(line => /error/i.test(line)) ?? lines.at(-1)
}

/** A line for people. */
export function inWords(result: Result): string {
  const { job, device, mode, threads, unit, dtype, share, ratio, torch = {} } = result
  const where = device === 'cuda' ? dtype : `${threads} thread${threads === 1 ? '' : 's'}`
  const inNumbers = (speed: Speed | Failure) =>
    'stepMs' in speed ? time(speed.stepMs) : `failed: ${gist(speed.error)}`
  const size = 'peakBytes' in result && result.peakBytes ? `, peak ${(result.peakBytes / 2 ** 20).toFixed(1)} MiB` : ''
  const speed = 'value' in result ? `/step, ${result.value.toFixed(0)} ${unit}${size}` : ''
  const reached = share ? `, ${(share * 100).toFixed(0)}% of the device's limit` : ''
  const twins = Object.entries(torch).map(([name, twin]) => `; torch ${name} ${inNumbers(twin)}`)
  return `${job} ${mode}, ${where}: ${inNumbers(result)}${speed}${reached}${twins.join('')}${ratio ? `: ${ratio.toFixed(2)}x` : ''}`
}
