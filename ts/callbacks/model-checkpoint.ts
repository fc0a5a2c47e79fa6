/** `ModelCheckpointCallback`: checkpoints now and then, of which the best and the latest are kept. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateRecord } from '../checkpoint/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, type Form, isCount, isNumber, isText, listOf, orNull, withFields } from '../forms.ts'
import type { MetricName } from '../trainer/run-history.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Options of `ModelCheckpointCallback`. */
export interface ModelCheckpointOptions {
  /** Default 'checkpoints'. */
  saveDir?: string | undefined
  /** Epochs between two checkpoints. Default 1 with `saveTopK`, or if neither steps nor seconds are given. */
  everyNEpochs?: number | undefined
  /** Micro-batches between two checkpoints. */
  everyNSteps?: number | undefined
  /** Seconds between two checkpoints, looked at after each micro-batch. */
  everyNSeconds?: number | undefined
  /** The metric by which `saveTopK` are the best. */
  watchMetric?: MetricName | undefined
  /** Default false. */
  greaterIsBetter?: boolean | undefined
  /** How many of the best checkpoints are kept, of those at epochs' ends. Needs `watchMetric`. */
  saveTopK?: number | undefined
  /** How many of the latest checkpoints are kept besides. Default: all, or none with `saveTopK`. */
  keepLast?: number | undefined
  /** Whether to save `last.safetensors` too, the latest one under a name that stays. Default false. */
  saveLast?: boolean | undefined
  /** Default true. */
  saveOptimizer?: boolean | undefined
  /** Default true. */
  saveScheduler?: boolean | undefined
}

const optionNames = [
  'saveDir',
  'everyNEpochs',
  'everyNSteps',
  'everyNSeconds',
  'watchMetric',
  'greaterIsBetter',
  'saveTopK',
  'keepLast',
  'saveLast',
  'saveOptimizer',
  'saveScheduler',
]
const OP = 'ModelCheckpointCallback'
/** Names of such a callback's checkpoints. */
const CHECKPOINT = /^(?:epoch_\d+_)?step_(\d+)\.safetensors$/

/** A checkpoint that is on disk: its micro-batch, and its metric if it was taken at an epoch's end. */
interface Saved {
  name: string
  step: number
  metric: number | null
}

// The names are those of files that are removed later: none may lead out of the folder.
const isSaved: Form<Saved> = withFields<Saved>({
  name: (value): value is string => isText(value) && CHECKPOINT.test(value),
  step: isCount,
  metric: orNull(isNumber),
})
const isState = withFields({ best: listOf(isSaved), saved_step: isCount })

/**
 * Saves `epoch_N_step_M.safetensors` at epochs' ends and `step_M.safetensors` in between. Old ones are removed once a new one is
 * complete; those of earlier processes count among the latest, since the folder is read.
 */
export class ModelCheckpointCallback implements Callback {
  /** Left out of a fast development run. */
  readonly writesFiles = true
  readonly saveDir: string
  readonly #everyEpochs: number
  readonly #everySteps: number
  readonly #everyMs: number
  readonly #metric: MetricName | undefined
  readonly #greater: boolean
  readonly #top: number
  readonly #last: number
  readonly #saveLast: boolean
  readonly #parts: { saveOptimizer: boolean; saveScheduler: boolean }
  #best: Saved[] = []
  #savedAt = 0
  #savedStep = 0

  constructor(options: ModelCheckpointOptions = {}) {
    checkOptions(OP, options, optionNames)
    const { everyNSteps, everyNSeconds, saveTopK, watchMetric } = options
    const count = (name: 'everyNEpochs' | 'everyNSteps' | 'saveTopK' | 'keepLast', otherwise: number) =>
      options[name] === undefined ? otherwise : checkCount(options[name], name, OP, name === 'keepLast' ? 0 : 1)
    const never = Number.POSITIVE_INFINITY
    this.saveDir = options.saveDir ?? 'checkpoints'
    const isPeriodic = everyNSteps !== undefined || everyNSeconds !== undefined
    this.#everyEpochs = count('everyNEpochs', isPeriodic && saveTopK === undefined ? never : 1)
    this.#everySteps = count('everyNSteps', never)
    this.#everyMs = (everyNSeconds ?? never) * 1000
    if (!(this.#everyMs > 0)) throw badOption(OP, `everyNSeconds must be above 0, not ${everyNSeconds}`)
    if ((saveTopK === undefined) !== (watchMetric === undefined)) throw badOption(OP, 'saveTopK needs watchMetric')
    if (isPeriodic && saveTopK !== undefined && options.keepLast === undefined && !options.saveLast) {
      throw badOption(OP, 'saveTopK is of epochs: keepLast or saveLast must say what is kept of checkpoints in between')
    }
    this.#metric = watchMetric
    this.#greater = options.greaterIsBetter ?? false
    this.#top = count('saveTopK', 0)
    this.#last = count('keepLast', saveTopK === undefined ? never : 0)
    this.#saveLast = options.saveLast ?? false
    this.#parts = { saveOptimizer: options.saveOptimizer ?? true, saveScheduler: options.saveScheduler ?? true }
  }

  /** Paths of the best checkpoints, the best one first. */
  get bestPaths(): string[] {
    return this.#best.map(({ name }) => join(this.saveDir, name))
  }

  onTrainingRunStart({ globalStep }: AnyTrainer): void {
    this.#savedAt = performance.now()
    this.#savedStep = globalStep
    this.#best = []
  }

  onTrainBatchEnd(trainer: AnyTrainer): Promise<void> | void {
    const { globalStep } = trainer
    const isDue =
      Math.floor(globalStep / this.#everySteps) > Math.floor(this.#savedStep / this.#everySteps) ||
      performance.now() - this.#savedAt >= this.#everyMs
    if (isDue) return this.#save(trainer, { name: `step_${globalStep}.safetensors`, step: globalStep, metric: null })
  }

  async onTrainingRunEpochEnd(trainer: AnyTrainer): Promise<void> {
    const { currentEpoch } = trainer.runHistory
    if (currentEpoch % this.#everyEpochs !== 0) return
    const step = trainer.globalStep
    const metric = this.#metric === undefined ? null : trainer.runHistory.getLatestMetric(this.#metric)
    await this.#save(trainer, { name: `epoch_${currentEpoch}_step_${step}.safetensors`, step, metric })
  }

  async #save(trainer: AnyTrainer, saved: Saved): Promise<void> {
    this.#savedAt = performance.now()
    this.#savedStep = saved.step
    const before = this.#best
    if (this.#top > 0 && saved.metric !== null && !Number.isNaN(saved.metric)) {
      const sign = this.#greater ? -1 : 1
      const ranked = [...before.filter(({ name }) => name !== saved.name), saved]
      this.#best = ranked.sort((a, b) => sign * (a.metric! - b.metric!)).slice(0, this.#top)
    }
    const extra = {
      epoch: trainer.runHistory.currentEpoch,
      global_step: saved.step,
      ...(this.#metric !== undefined && saved.metric !== null && { [this.#metric]: saved.metric }),
    }
    const names = this.#last > 0 || this.#best.includes(saved) ? [saved.name] : []
    if (this.#saveLast) names.push('last.safetensors')
    for (const name of names) await trainer.saveCheckpoint(join(this.saveDir, name), { ...this.#parts, extra })
    await this.#removeOld(before)
  }

  /** Removes what is neither among the best nor among the latest. */
  async #removeOld(before: readonly Saved[]): Promise<void> {
    // The one of an epoch's end comes after that of its last step.
    const latest = (await checkpointsIn(this.saveDir)).sort((a, b) => b.step - a.step || (a.name < b.name ? -1 : 1))
    const kept = new Set([
      ...this.#best.map(({ name }) => name),
      ...latest.slice(0, this.#last).map(({ name }) => name),
    ])
    const old = [...before, ...(this.#last === Number.POSITIVE_INFINITY ? [] : latest)].map(({ name }) => name)
    for (const name of new Set(old)) if (!kept.has(name)) await rm(join(this.saveDir, name), { force: true })
  }

  /** The best checkpoints, and when the last one was taken. */
  stateDict(): StateRecord {
    return { best: this.#best.map(saved => ({ ...saved })), saved_step: this.#savedStep }
  }

  /** Goes on from a state; a Trainer that resumes a run does so after the run's start. */
  loadStateDict(state: StateRecord): void {
    checkForm(this, state, isState)
    this.#best = state.best.map(saved => ({ ...saved }))
    this.#savedStep = state.saved_step
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }
}

/** The checkpoints of such a callback in a folder. */
async function checkpointsIn(folder: string): Promise<{ name: string; step: number }[]> {
  const names = await readdir(folder).catch(() => [])
  return names.flatMap(name => {
    const step = CHECKPOINT.exec(name)?.[1]
    return step === undefined ? [] : [{ name, step: Number(step) }]
  })
}
