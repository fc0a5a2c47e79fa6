/** A profile of some of a run's steps. */
import { checkCount } from '../data/sampler.ts'
import { checkOptions } from '../errors.ts'
import { type Profile, type ProfileOptions, ProfileSession } from '../profiler/profile.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Options of `ProfilerCallback`. */
export interface ProfilerOptions extends ProfileOptions {
  /** Training steps before the profile begins; the first ones compile, tune and record. Default 10. */
  skip?: number
  /** Training steps that are profiled. Default 10. */
  steps?: number
  /** Where the Chrome trace is written; without it there is none. */
  path?: string
}

/**
 * Profiles some training steps of a run, prints the table of their ops and writes their trace. A profiled step reaches from its
 * `onTrainStepStart` to the next one's, so the next batch is a part of it. The profile ends at the latest with the epoch.
 */
export class ProfilerCallback implements Callback {
  readonly skip: number
  readonly steps: number
  readonly path: string | undefined
  /** What the latest profile found, null until then. */
  profile: Profile<{ steps: number }> | null = null
  readonly #options: ProfileOptions
  #session: ProfileSession | null = null
  /** Steps of the run so far. */
  #seen = 0
  /** Steps of the run when the profile began. */
  #begin = 0

  constructor(options: ProfilerOptions = {}) {
    const op = 'ProfilerCallback'
    checkOptions(op, options, ['skip', 'steps', 'path', 'shapes', 'graphs'])
    this.skip = checkCount(options.skip ?? 10, 'skip', op, 0)
    this.steps = checkCount(options.steps ?? 10, 'steps', op)
    this.path = options.path
    const { shapes = false, graphs = false } = options
    this.#options = { shapes, graphs }
  }

  onTrainingRunStart(): void {
    // A run that failed may have left its profile open.
    this.#session?.cancel()
    this.#session = null
    this.profile = null
    this.#seen = 0
  }

  onTrainStepStart(trainer: AnyTrainer): Promise<void> | undefined {
    const ended = this.#between(trainer)
    this.#session?.mark(`step ${this.#seen}`)
    this.#seen++
    return ended
  }

  /** Steps without JavaScript: a profile begins and ends between two calls of them. */
  onTrainStepsReplayed(trainer: AnyTrainer, { steps }: { steps: number }): Promise<void> | undefined {
    this.#seen += steps
    return this.#between(trainer)
  }

  onTrainEpochEnd(trainer: AnyTrainer): Promise<void> | undefined {
    return this.#session ? this.#end(trainer) : undefined
  }

  onTrainingRunEnd(trainer: AnyTrainer): Promise<void> | undefined {
    return this.#session ? this.#end(trainer) : undefined
  }

  /** Between two steps: begins or ends the profile if it is time to. */
  #between(trainer: AnyTrainer): Promise<void> | undefined {
    if (this.#session) return this.#seen - this.#begin >= this.steps ? this.#end(trainer) : undefined
    if (this.profile !== null || this.#seen < this.skip) return undefined
    this.#session = new ProfileSession(this.#options)
    this.#begin = this.#seen
    return undefined
  }

  async #end(trainer: AnyTrainer): Promise<void> {
    const steps = this.#seen - this.#begin
    const profile = this.#session?.end({ steps }) ?? null
    this.#session = null
    this.profile = profile
    if (profile === null) return
    trainer.print(`\nProfile of ${steps} training steps after ${this.#begin}\n\n${profile.table()}`)
    if (this.path === undefined) return
    await profile.saveTrace(this.path)
    trainer.print(`\nTrace: ${this.path}`)
  }
}
