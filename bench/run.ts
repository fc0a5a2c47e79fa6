/**
 * `npm run bench`: the jobs in wick, in each mode, and in PyTorch, in turn.
 *
 * Each contestant is a process of its own that warms up and then waits; a round is one timed run of each of them, one after the other, so that
 * whatever slows the machine down slows all of them. The median of the rounds counts. Only ratios from one run mean anything. What fails
 * is noted in the results, and the others go on.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cliff, cliffInWords, measureCliffs } from './cliffs.ts'
import { Contestant } from './contestant.ts'
import { type Limits, measureLimits } from './limits.ts'
import { isMnist, type JobName, mnistFolder } from './names.ts'
import { type Options, readOptions } from './options.ts'
import { inWords, type Result, resultOf } from './result.ts'
import { settingsOf } from './settings.ts'

const program = (name: string) => join(import.meta.dirname, name)

/** Math libraries spin for a while after their last parallel region; a contestant starts only when the one before is quiet. */
const quietMs = 300

/** Starts the contestants of a job: every mode of wick and, if there is a Python for it, of PyTorch. */
function start(job: JobName, threads: number, options: Options) {
  const { device, runtime, torch: python, limitSeconds } = options
  const wick = options.modes.map(mode => {
    const args = [program('worker.ts'), job, device, mode, String(threads)]
    return [mode, new Contestant(`wick ${mode}`, runtime, args, limitSeconds)] as const
  })
  const twins = python === undefined ? [] : options.torchModes.filter(mode => !isMnist(job) || mode === 'eager')
  const torch = twins.map(mode => {
    const args = [program('torch_twin.py'), job, device, mode, String(threads), mnistFolder]
    return [mode, new Contestant(`torch ${mode}`, python ?? '', args, limitSeconds)] as const
  })
  return { wick: new Map(wick), torch: new Map(torch) }
}

/** Runs one job with one thread count. */
async function measure(job: JobName, threads: number, options: Options, limits?: Limits): Promise<Result[]> {
  const { device } = options
  const { wick, torch } = start(job, threads, options)
  const contestants = [...wick.values(), ...torch.values()]
  try {
    await Promise.all(contestants.map(contestant => contestant.load()))
    for (const contestant of contestants) await contestant.warm()
    for (let round = 0; round < options.repeats; round++) {
      for (const contestant of contestants) {
        if (device === 'cpu') await sleep(quietMs)
        await contestant.run()
      }
    }
    if (options.profile) for (const contestant of wick.values()) await contestant.profileSteps()
  } finally {
    await Promise.all(contestants.map(contestant => contestant.stop()))
  }
  const { precision: dtype, unit } = settingsOf(job, device)
  return [...wick].map(([mode, contestant]) => {
    const { deviceName, version: runtime } = contestant.introduction
    const subject = { job, device, ...(deviceName && { deviceName }), dtype, mode, threads, runtime, unit }
    return resultOf(subject, contestant, torch, limits)
  })
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
const limits = options.limits && options.torch ? measureLimits(options.torch) : undefined
const results: (Result | Cliff)[] = []
function note(line: Result | Cliff): void {
  results.push(line)
  console.log(options.json ? JSON.stringify(line) : 'pattern' in line ? cliffInWords(line) : inWords(line))
}
if (options.out) mkdirSync(dirname(options.out), { recursive: true })
for (const job of options.jobs) {
  for (const threads of job === 'cliffs' ? [1] : options.threads) {
    const lines =
      job === 'cliffs' ? measureCliffs(options.runtime, options.repeats) : await measure(job, threads, options, limits)
    for (const line of lines) note(line)
    // After every job, so that a run that is cut off leaves what it has.
    if (options.out) writeFileSync(options.out, `${JSON.stringify(results, null, 2)}\n`)
  }
}
