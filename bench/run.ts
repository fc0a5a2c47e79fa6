/**
 * `npm run bench`: the jobs in wick, in each mode, and in PyTorch, in turn.
 *
 * Each contestant is a process of its own that warms up and then waits; a round is one timed run of each of them, one after the other, so that
 * whatever slows the machine down slows all of them. The median of the rounds counts. Only ratios from one run mean anything.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Contestant } from './contestant.ts'
import { type JobName, type Mode, mnistFolder } from './names.ts'
import { type Options, readOptions } from './options.ts'

const here = dirname(fileURLToPath(import.meta.url))

/** Math libraries spin for a while after their last parallel region; a contestant starts only when the one before is quiet. */
const quietMs = 300

interface Result {
  job: JobName
  device: 'cpu'
  dtype: 'float32'
  mode: Mode
  threads: number
  runtime: string
  unit: 'samples/s'
  value: number
  stepMs: number
  peakBytes: number
  torch?: { version: string; value: number; stepMs: number }
  /** How many times PyTorch's speed: PyTorch's step time by wick's. */
  ratio?: number
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}

const stepMs = ({ rounds }: Contestant) => median(rounds.map(round => round.stepMs))
const samplesPerSecond = ({ rounds }: Contestant) => median(rounds.map(round => round.samplesPerSecond))

/** Runs one job with one thread count: every mode of wick and, if there is a Python for it, PyTorch. */
async function measure(job: JobName, threads: number, options: Options): Promise<Result[]> {
  const contestants: Contestant[] = []
  try {
    const wick = new Map<Mode, Contestant>()
    for (const mode of options.modes) {
      const args = [join(here, 'worker.ts'), job, mode, String(threads)]
      const contestant = await Contestant.start(`wick ${mode}`, options.runtime, args)
      contestants.push(contestant)
      wick.set(mode, contestant)
    }
    let torch: Contestant | undefined
    if (options.torch) {
      const args = [join(here, 'torch_twin.py'), job, String(threads), mnistFolder]
      torch = await Contestant.start('torch', options.torch, args)
      contestants.push(torch)
    }
    for (let round = 0; round < options.repeats; round++) {
      for (const contestant of contestants) {
        await sleep(quietMs)
        await contestant.run()
      }
    }
    return [...wick].map(([mode, contestant]) => result(job, mode, threads, contestant, torch))
  } finally {
    for (const contestant of contestants) contestant.stop()
  }
}

function result(job: JobName, mode: Mode, threads: number, wick: Contestant, torch: Contestant | undefined): Result {
  return {
    job,
    device: 'cpu',
    dtype: 'float32',
    mode,
    threads,
    runtime: wick.version,
    unit: 'samples/s',
    value: samplesPerSecond(wick),
    stepMs: stepMs(wick),
    peakBytes: Math.max(...wick.rounds.map(round => round.peakBytes ?? 0)),
    ...(torch && {
      torch: { version: torch.version, value: samplesPerSecond(torch), stepMs: stepMs(torch) },
      ratio: stepMs(torch) / stepMs(wick),
    }),
  }
}

function inWords({ job, mode, threads, value, stepMs, peakBytes, torch, ratio }: Result): string {
  const wick = `${(stepMs * 1000).toFixed(0)} us/step, ${value.toFixed(0)} samples/s, peak ${(peakBytes / 2 ** 20).toFixed(1)} MiB`
  const twin = torch && ratio ? `; torch ${(torch.stepMs * 1000).toFixed(0)} us/step: ${ratio.toFixed(2)}x` : ''
  return `${job} ${mode}, ${threads} thread${threads === 1 ? '' : 's'}: ${wick}${twin}`
}

function optionsOrExit(): Options {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
}

const options = optionsOrExit()
const results: Result[] = []
for (const job of options.jobs) {
  for (const threads of options.threads) {
    for (const line of await measure(job, threads, options)) {
      results.push(line)
      console.log(options.json ? JSON.stringify(line) : inWords(line))
    }
  }
}
if (options.out) {
  mkdirSync(dirname(options.out), { recursive: true })
  writeFileSync(options.out, `${JSON.stringify(results, null, 2)}\n`)
}
