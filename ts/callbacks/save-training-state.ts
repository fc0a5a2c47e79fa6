/** `SaveTrainingStateCallback`: training states now and then, at the end, and when the process is asked to stop. */
import { join } from 'node:path'
import { isLink, listCheckpoints, removeCheckpoint } from '../checkpoint/index.ts'
import { badOption, checkOptions } from '../errors.ts'
import { type AnyTrainer, type Callback, StopTrainingError } from './callback.ts'

/** Options of `SaveTrainingStateCallback`. */
export interface SaveTrainingStateCallbackOptions {
  /** Default 'training_states'. */
  saveDir?: string | undefined
  /** Saves `epoch_N` after every so many epochs, evaluation included. */
  saveEveryNEpochs?: number | undefined
  /** Saves `step_N` after every so many micro-batches, counted over epochs and resumes. */
  saveEveryNSteps?: number | undefined
  /** Saves `final` when the run ends, also after a stop. Default true. */
  saveAtEnd?: boolean | undefined
  /** Keeps so many of the states `epoch_N` and `step_N`; older ones are removed once a new one is complete. Default: all. */
  maxCheckpoints?: number | undefined
  /**
   * On SIGTERM or SIGINT the running update is finished, `interrupted` is saved, and the run ends through a `StopTrainingError`. A
   * second signal does what it does by itself, which is to end the process at once. Default true.
   */
  saveOnSignal?: boolean | undefined
}

const optionNames = ['saveDir', 'saveEveryNEpochs', 'saveEveryNSteps', 'saveAtEnd', 'maxCheckpoints', 'saveOnSignal']
const signals = ['SIGTERM', 'SIGINT'] as const
type Signal = (typeof signals)[number]

/**
 * Saves training states into folders of `saveDir`, from which `train({ resumeFrom: saveDir })` goes on exactly. Periodic ones are
 * copied at once and written in the background.
 */
export class SaveTrainingStateCallback implements Callback {
  /** Left out of a fast development run. */
  readonly writesFiles = true
  readonly saveDir: string
  readonly #everyEpochs: number
  readonly #everySteps: number
  readonly #atEnd: boolean
  readonly #keep: number
  readonly #onSignal: boolean
  #nextStep = 0
  #signalled = false
  #interrupted = false
  #unlisten: (() => void) | null = null

  constructor(options: SaveTrainingStateCallbackOptions = {}) {
    checkOptions('SaveTrainingStateCallback', options, optionNames)
    this.saveDir = options.saveDir ?? 'training_states'
    this.#everyEpochs = checkInterval(options.saveEveryNEpochs, 'saveEveryNEpochs')
    this.#everySteps = checkInterval(options.saveEveryNSteps, 'saveEveryNSteps')
    this.#atEnd = options.saveAtEnd ?? true
    this.#keep = checkInterval(options.maxCheckpoints, 'maxCheckpoints')
    this.#onSignal = options.saveOnSignal ?? true
  }

  onTrainingRunStart(trainer: AnyTrainer): void {
    this.#signalled = false
    this.#interrupted = false
    this.#scheduleStep(trainer)
    if (this.#onSignal) this.#listen(trainer)
    if (this.#atEnd) {
      trainer.whenSettled(() => (this.#interrupted ? undefined : this.#save(trainer, 'final', false)), { at: 'run' })
    }
  }

  onTrainStepEnd(trainer: AnyTrainer): void {
    // The step is counted once it is complete, which is when the action runs.
    if (trainer.globalStep + 1 >= this.#nextStep) trainer.whenSettled(() => this.#saveStep(trainer))
  }

  onTrainStepsReplayed(trainer: AnyTrainer): void {
    if (trainer.globalStep >= this.#nextStep) trainer.whenSettled(() => this.#saveStep(trainer))
  }

  onTrainingRunEpochEnd(trainer: AnyTrainer): void {
    const { currentEpoch } = trainer.runHistory
    if (currentEpoch % this.#everyEpochs === 0)
      trainer.whenSettled(() => this.#save(trainer, `epoch_${currentEpoch}`, true))
  }

  onTrainingRunEnd(): void {
    this.#unlisten?.()
  }

  onTrainingRunFailed(): void {
    this.#unlisten?.()
  }

  #scheduleStep(trainer: AnyTrainer): void {
    this.#nextStep = (Math.floor(trainer.globalStep / this.#everySteps) + 1) * this.#everySteps
  }

  async #saveStep(trainer: AnyTrainer): Promise<void> {
    if (trainer.globalStep < this.#nextStep) return
    this.#scheduleStep(trainer)
    await this.#save(trainer, `step_${trainer.globalStep}`, true)
  }

  async #save(trainer: AnyTrainer, name: string, periodic: boolean): Promise<void> {
    const dir = join(this.saveDir, name)
    const onSaved = async () => {
      trainer.print(`Saved training state to ${dir}`)
      if (periodic) await this.#removeOld(trainer)
    }
    await trainer.saveTrainingState(dir, { background: periodic, onSaved })
  }

  /** The folder decides what there is, so states of earlier processes count too. */
  async #removeOld(trainer: AnyTrainer): Promise<void> {
    const named = (await listCheckpoints(this.saveDir)).filter(({ name }) => /^(epoch|step)_\d+$/.test(name))
    // A link is somebody's own, and so is what it leads to.
    const links = await Promise.all(named.map(({ path }) => isLink(path)))
    const periodic = named.filter((_, i) => !links[i])
    for (const { path } of periodic.slice(0, Math.max(periodic.length - this.#keep, 0))) {
      await removeCheckpoint(path)
      trainer.print(`Removed old training state: ${path}`)
    }
  }

  #listen(trainer: AnyTrainer): void {
    this.#unlisten?.()
    const listener = (signal: Signal) => {
      if (this.#signalled || !trainer.isTraining) {
        this.#unlisten?.()
        process.kill(process.pid, signal)
        return
      }
      this.#signalled = true
      trainer.whenSettled(() => this.#interrupt(trainer, signal), { at: 'update' })
    }
    for (const signal of signals) process.on(signal, listener)
    this.#unlisten = () => {
      for (const signal of signals) process.off(signal, listener)
      this.#unlisten = null
    }
  }

  async #interrupt(trainer: AnyTrainer, signal: Signal): Promise<void> {
    await this.#save(trainer, 'interrupted', false)
    this.#interrupted = true
    throw new StopTrainingError(`Received ${signal}: the training state is saved, stopping`, { isSaved: true })
  }
}

/** A number of epochs, steps or states; without one there is no end to it. */
function checkInterval(value: number | undefined, name: string): number {
  if (value === undefined) return Number.POSITIVE_INFINITY
  if (Number.isInteger(value) && value >= 1) return value
  throw badOption('SaveTrainingStateCallback', `${name} must be a whole number of at least 1, not ${value}`)
}
