/** `SaveBestModelCallback`: keeps the checkpoint of the best epoch. */
import type { StateRecord } from '../checkpoint/index.ts'
import { checkForm, isNumber, orNull, withFields } from '../forms.ts'
import type { AnyTrainer, Callback } from './callback.ts'
import { checkWatchOptions, WatchedMetric, type WatchOptions } from './watched-metric.ts'

/** Options of `SaveBestModelCallback`. */
export interface SaveBestModelOptions extends WatchOptions {
  /** Default 'best_model.safetensors'. */
  savePath?: string | undefined
  /** Default true. */
  saveOptimizer?: boolean | undefined
  /** Default true. */
  saveScheduler?: boolean | undefined
  /** Whether to load the best checkpoint at the run's end. Default true. */
  loadSavedCheckpoint?: boolean | undefined
}

const isState = withFields({ best_metric: orNull(isNumber), best_metric_epoch: orNull(isNumber) })
const optionNames = ['savePath', 'saveOptimizer', 'saveScheduler', 'loadSavedCheckpoint']

/**
 * Saves a checkpoint after each epoch whose metric is strictly better than all before, and loads the best one at the end. The
 * checkpoint's `extra` holds the metric under its own name, and the epoch.
 */
export class SaveBestModelCallback implements Callback {
  /** Left out of a fast development run. */
  readonly writesFiles = true
  readonly savePath: string
  protected readonly watched: WatchedMetric
  readonly #saveOptimizer: boolean
  readonly #saveScheduler: boolean
  readonly #load: boolean
  #epoch: number | null = null

  constructor(options: SaveBestModelOptions = {}) {
    checkWatchOptions(new.target.name, options, optionNames)
    this.savePath = options.savePath ?? 'best_model.safetensors'
    this.watched = new WatchedMetric(options)
    this.#saveOptimizer = options.saveOptimizer ?? true
    this.#saveScheduler = options.saveScheduler ?? true
    this.#load = options.loadSavedCheckpoint ?? true
  }

  /** The best value so far, null without one. */
  get bestMetric(): number | null {
    return this.watched.best
  }

  /** The epoch of the best value, null without one. */
  get bestMetricEpoch(): number | null {
    return this.#epoch
  }

  onTrainingRunStart(_trainer: AnyTrainer): void {
    if (this.watched.begin()) this.#epoch = null
  }

  async onTrainingRunEpochEnd(trainer: AnyTrainer): Promise<void> {
    const value = this.watched.latest(trainer)
    if (!this.watched.isBetter(value)) return
    this.watched.best = value
    this.#epoch = trainer.runHistory.currentEpoch
    await this.save(trainer, { [this.watched.name]: value, epoch: this.#epoch })
  }

  /** Saves the checkpoint. */
  protected async save(trainer: AnyTrainer, extra: StateRecord): Promise<void> {
    const [saveOptimizer, saveScheduler] = [this.#saveOptimizer, this.#saveScheduler]
    await trainer.saveCheckpoint(this.savePath, { saveOptimizer, saveScheduler, extra })
  }

  async onTrainingRunEnd(trainer: AnyTrainer): Promise<void> {
    if (!this.#load || this.#epoch === null) return
    trainer.print(`Loading checkpoint with ${this.watched.name}: ${this.watched.best} from epoch ${this.#epoch}`)
    await trainer.loadCheckpoint(this.savePath, {
      loadOptimizer: this.#saveOptimizer,
      // A later run has a scheduler of its own, or none.
      loadScheduler: this.#saveScheduler && trainer.scheduler !== null,
    })
  }

  /** The best value and its epoch. */
  stateDict(): StateRecord | Promise<StateRecord> {
    return { best_metric: this.watched.best, best_metric_epoch: this.#epoch }
  }

  /** Goes on from a state; a Trainer that resumes a run does so after the run's start. */
  loadStateDict(state: StateRecord): void {
    checkForm(this, state, isState)
    this.watched.restore(state.best_metric)
    this.#epoch = state.best_metric_epoch
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }
}
