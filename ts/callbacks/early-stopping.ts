/** `EarlyStoppingCallback`: ends training when a metric stops improving. */
import type { StateRecord } from '../checkpoint/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption } from '../errors.ts'
import { checkForm, isNumber, orNull, withFields } from '../forms.ts'
import { type AnyTrainer, type Callback, StopTrainingError } from './callback.ts'
import { checkWatchOptions, WatchedMetric, type WatchOptions } from './watched-metric.ts'

/** Options of `EarlyStoppingCallback`. */
export interface EarlyStoppingOptions extends WatchOptions {
  /** Epochs without improvement after which training stops. Default 1. */
  earlyStoppingPatience?: number | undefined
  /** The difference that an improvement must exceed. Default 0.01. */
  earlyStoppingThreshold?: number | undefined
}

const isState = withFields({ best_metric: orNull(isNumber), early_stopping_patience_counter: isNumber })

/** Stops training after `earlyStoppingPatience` epochs in a row whose metric isn't better than the best by the threshold. */
export class EarlyStoppingCallback implements Callback {
  readonly #watched: WatchedMetric
  readonly #patience: number
  readonly #threshold: number
  #counter = 0

  constructor(options: EarlyStoppingOptions = {}) {
    const op = 'EarlyStoppingCallback'
    checkWatchOptions(op, options, ['earlyStoppingPatience', 'earlyStoppingThreshold'])
    const { earlyStoppingPatience = 1, earlyStoppingThreshold = 0.01 } = options
    if (!(earlyStoppingThreshold >= 0)) {
      throw badOption(op, `earlyStoppingThreshold must not be negative, got ${earlyStoppingThreshold}`)
    }
    this.#watched = new WatchedMetric(options)
    this.#patience = checkCount(earlyStoppingPatience, 'earlyStoppingPatience', op)
    this.#threshold = earlyStoppingThreshold
  }

  /** The best value so far, null without one. */
  get bestMetric(): number | null {
    return this.#watched.best
  }

  /** Epochs without improvement in a row. */
  get earlyStoppingPatienceCounter(): number {
    return this.#counter
  }

  onTrainingRunStart(): void {
    if (this.#watched.begin()) this.#counter = 0
  }

  onTrainingRunEpochEnd(trainer: AnyTrainer): void {
    const watched = this.#watched
    const value = watched.latest(trainer)
    if (watched.best === null) {
      watched.best = value
      return
    }
    const improvement = Math.abs(value - watched.best)
    if (watched.isBetter(value) && !(improvement <= this.#threshold)) {
      trainer.print(`\nImprovement of ${improvement} observed, resetting counter. `)
      watched.best = value
      this.#counter = 0
    } else {
      trainer.print('No improvement above threshold observed, incrementing counter. ')
      this.#counter++
    }
    trainer.print(`Early stopping counter: ${this.#counter}/${this.#patience}`)
    if (this.#counter < this.#patience) return
    throw new StopTrainingError(`Stopping training due to no improvement after ${this.#patience} epochs`)
  }

  /** The best value and the counter. */
  stateDict(): StateRecord {
    return { best_metric: this.#watched.best, early_stopping_patience_counter: this.#counter }
  }

  /** Goes on from a state; a Trainer that resumes a run does so after the run's start. */
  loadStateDict(state: StateRecord): void {
    checkForm(this, state, isState)
    this.#watched.restore(state.best_metric)
    this.#counter = state.early_stopping_patience_counter
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }
}
