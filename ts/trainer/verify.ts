/**
 * `verify`: whether a training gives the same numbers however it is run.
 *
 * ```ts
 * const report = await verify(async ({ trainer: overrides, train }) => {
 *   const model = makeModel()
 *   const trainer = new Trainer({ model, loss, optimizer: new optim.AdamW(model.parameters()), ...overrides })
 *   await trainer.train({ trainDataset, evalDataset, numEpochs: 2, ...train })
 *   return trainer
 * })
 * if (!report.passed) process.exitCode = 1
 * ```
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Callback, SaveTrainingStateCallback, StopTrainingError } from '../callbacks/index.ts'
import type { CaptureMode } from '../capture.ts'
import { splitState } from '../checkpoint/contents.ts'
import { isStateful } from '../checkpoint/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { getNumThreads, manualSeed, setNumThreads, type Tensor } from '../tensor/index.ts'
import { asyncScope } from '../tensor/memory.ts'
import type { RunHistory } from './run-history.ts'
import { modelTensors, stateOf } from './training-state.ts'

/** What one run of `verify` has to be made with. */
export interface VerifyOverrides {
  /** Options for the Trainer's constructor. */
  trainer: { capture: CaptureMode; callbacks: Callback[] }
  /** Options for `train`. */
  train: {
    perDeviceBatchSize: number
    gradientAccumulationSteps: number
    maxNumTrainSteps: number
    resumeFrom: string | undefined
  }
}

/** What `verify` looks at after a run; every Trainer has it. */
export interface VerifiedTrainer {
  readonly model: object
  readonly optimizer: object
  readonly runHistory: RunHistory
  readonly globalStep: number
}

/** Options of `verify`. */
export interface VerifyOptions {
  /** Updates of a run, at most. Default 20. */
  steps?: number | undefined
  /** Items in a batch; an even number, since accumulation halves it. Default 8. */
  batchSize?: number | undefined
  /** Largest difference, relative to the largest weight, between accumulating and not. Default 1e-4; all else is compared bit for bit. */
  tolerance?: number | undefined
  /** Seeds the random numbers before each run. Default 0. */
  seed?: number | undefined
  /** Where lines of the report go. Default: stdout. */
  print?: ((line: string) => void) | undefined
}

/** What one comparison gave. */
export interface VerifyCheck {
  name: string
  /** null if it doesn't apply. */
  passed: boolean | null
  detail: string
}

/** What all comparisons gave. */
export interface VerifyReport {
  passed: boolean
  checks: VerifyCheck[]
}

/** What a run ended with. */
interface Result {
  bits: { weights: string; optimizer: string; history: string }
  weights: number[]
  steps: number
  evaluationSteps: number
  mixesSamples: boolean
}

interface Setting {
  capture?: CaptureMode
  accumulation?: number
  threads?: number
  stop?: (event: string, count: number) => boolean
  saveDir?: string
  resumeFrom?: string
}

/**
 * Trains several times and compares: the same run twice, eager, matched and replayed steps, one and two threads, a run that is
 * stopped and resumed at several places, and two half batches accumulated with one whole batch. `run` makes everything anew, model
 * and optimizer too, trains with what it is given, and gives the trainer back.
 */
export async function verify(
  run: (overrides: VerifyOverrides) => Promise<VerifiedTrainer>,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  checkOptions('verify', options, ['steps', 'batchSize', 'tolerance', 'seed', 'print'])
  const { tolerance = 1e-4, seed = 0, print = (line: string) => console.log(line) } = options
  const steps = checkCount(options.steps ?? 20, 'steps', 'verify')
  const batchSize = checkCount(options.batchSize ?? 8, 'batchSize', 'verify', 2)
  if (batchSize % 2 !== 0) throw badOption('verify', `batchSize must be even, not ${batchSize}`)
  const checks: VerifyCheck[] = []
  const add = (name: string, passed: boolean | null, detail = '') => {
    checks.push({ name, passed, detail })
    print(`${passed === null ? 'skipped' : passed ? 'passed ' : 'FAILED '}  ${name}${detail ? `: ${detail}` : ''}`)
  }
  const train = (setting: Setting) => runOnce(run, setting, { seed, steps, batchSize })

  const auto = await train({})
  const compare = async (name: string, setting: Setting) => add(name, ...equalBits(auto, await train(setting)))
  await compare('the same run twice', {})
  await compare('matched steps and eager ones', { capture: 'off' })
  await compare('matched steps and fully replayed ones', { capture: 'full' })
  await compare('one thread and two', { threads: getNumThreads() === 1 ? 2 : 1 })

  const folder = await mkdtemp(join(tmpdir(), 'wick-verify-'))
  try {
    for (const { name, stop } of stops(auto)) {
      const saveDir = join(folder, String(checks.length))
      await train({ stop, saveDir })
      add(`uninterrupted and resumed ${name}`, ...equalBits(auto, await train({ resumeFrom: saveDir })))
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }

  const name = 'a batch and two halves accumulated'
  if (auto.mixesSamples) add(name, null, 'batch norm and dropout make them differ')
  else {
    const halves = await train({ accumulation: 2 })
    const largest = Math.max(...auto.weights.map(Math.abs))
    const difference =
      Math.max(...auto.weights.map((w, i) => Math.abs(w - (halves.weights[i] ?? Number.NaN)))) / largest
    add(name, difference <= tolerance, `largest difference ${difference.toExponential(1)}`)
  }
  return { passed: checks.every(({ passed }) => passed !== false), checks }
}

/** Places to stop at: the start of micro-batches and the middle of an evaluation. */
function stops({
  steps,
  evaluationSteps,
}: Result): { name: string; stop: (event: string, count: number) => boolean }[] {
  const places = [...new Set([1, Math.ceil(steps / 2), steps - 1])].filter(n => n > 0 && n < steps)
  const list = places.map(n => ({
    name: `after ${n} of ${steps} batches`,
    stop: (event: string, count: number) => event === 'train' && count === n + 1,
  }))
  if (evaluationSteps === 0) return list
  const middle = Math.ceil(evaluationSteps / 2)
  return [...list, { name: 'inside an evaluation', stop: (event, count) => event === 'evaluation' && count === middle }]
}

async function runOnce(
  run: (overrides: VerifyOverrides) => Promise<VerifiedTrainer>,
  { capture = 'auto', accumulation = 1, threads, stop, saveDir, resumeFrom }: Setting,
  { seed, steps, batchSize }: { seed: number; steps: number; batchSize: number },
): Promise<Result> {
  const counts = { train: 0, evaluation: 0 }
  const count = (event: keyof typeof counts) => {
    counts[event]++
    if (stop?.(event, counts[event])) throw new StopTrainingError(`verify stops at ${event} step ${counts[event]}`)
  }
  const counter: Callback = { onTrainStepStart: () => count('train'), onEvalStepEnd: () => count('evaluation') }
  const saving = saveDir === undefined ? [] : [new SaveTrainingStateCallback({ saveDir, saveOnSignal: false })]
  const before = getNumThreads()
  if (threads !== undefined) setNumThreads(threads)
  manualSeed(seed)
  try {
    const trainer = await run({
      trainer: { capture, callbacks: [counter, ...saving] },
      train: {
        perDeviceBatchSize: batchSize / accumulation,
        gradientAccumulationSteps: accumulation,
        maxNumTrainSteps: steps,
        resumeFrom,
      },
    })
    return await asyncScope(() => resultOf(trainer, counts.evaluation))
  } finally {
    setNumThreads(before)
  }
}

async function resultOf(trainer: VerifiedTrainer, evaluationSteps: number): Promise<Result> {
  const { model, optimizer, runHistory, globalStep } = trainer
  const tensors = modelTensors(model)
  const state = splitState({ optimizer: await stateOf(isStateful(optimizer) ? optimizer : null) })
  const history = runHistory.getMetricNames().map(name => [name, runHistory.getMetricValues(name).map(String)])
  const weights = [...tensors.values()].flatMap(x => Array.from(x.dataSync(), Number))
  return {
    bits: {
      weights: hash(tensors, ''),
      optimizer: hash(state.tensors, state.json),
      history: JSON.stringify([runHistory.currentEpoch, history]),
    },
    weights,
    steps: globalStep,
    evaluationSteps,
    mixesSamples: /\b(BatchNorm|SyncBatchNorm|\w*Dropout|DropPath)/.test(String(model)),
  }
}

function hash(tensors: ReadonlyMap<string, Tensor>, text: string): string {
  const sum = createHash('sha256').update(text)
  for (const [name, x] of tensors) sum.update(name).update(new Uint8Array(x.dataSync({ raw: true }).buffer))
  return sum.digest('hex')
}

/** Whether two results have the same bits, and what differs. */
function equalBits(a: Result, b: Result): [passed: boolean, detail: string] {
  const kinds = ['weights', 'optimizer', 'history'] as const
  const different = kinds.filter(kind => a.bits[kind] !== b.bits[kind])
  return [different.length === 0, different.length === 0 ? '' : `${different.join(', ')} differ`]
}
