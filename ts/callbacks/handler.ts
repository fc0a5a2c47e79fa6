/** `CallbackHandler`: calls the callbacks of a Trainer. */
import { isPromise, type MaybePromise } from '../data/reader.ts'
import { badOption, WickError } from '../errors.ts'
import { type AnyTrainer, type Callback, type CustomEvents, type EventName, StopTrainingError } from './callback.ts'
import { LambdaCallback } from './lambda.ts'

/** The callbacks of a trainer, in order. Two of one class are a `BAD_OPTION` error. */
export class CallbackHandler {
  readonly #trainer: AnyTrainer
  #callbacks: Callback<never>[] = []
  /** How often `holdStops` was called without `releaseStops`, and the first stop since. */
  #holds = 0
  #stop: StopTrainingError | null = null

  constructor(trainer: AnyTrainer, callbacks: readonly Callback<never>[] = []) {
    this.#trainer = trainer
    this.addCallbacks(callbacks)
  }

  /** The callbacks, in the order in which they are called. */
  get callbackList(): readonly Callback<never>[] {
    return this.#callbacks
  }

  [Symbol.iterator](): IterableIterator<Callback<never>> {
    return this.#callbacks.values()
  }

  /** Adds a callback at the end. */
  addCallback(callback: Callback<never>): void {
    if (typeof callback !== 'object' || callback === null) {
      const hint = typeof callback === 'function' ? '; pass an instance, not the class' : ''
      throw badOption('CallbackHandler', `a callback is an object, not a ${typeof callback}${hint}`)
    }
    const kind = callback.constructor
    if (kind !== Object && kind !== LambdaCallback && this.#callbacks.some(other => other.constructor === kind)) {
      throw badOption('CallbackHandler', `there already is a ${kind.name}`)
    }
    this.#callbacks.push(callback)
  }

  /** Adds callbacks at the end. */
  addCallbacks(callbacks: Iterable<Callback<never>>): void {
    for (const callback of callbacks) this.addCallback(callback)
  }

  /** Removes the callbacks that `unwanted` picks. */
  removeCallbacks(unwanted: (callback: Callback<never>) => boolean): void {
    this.#callbacks = this.#callbacks.filter(callback => !unwanted(callback))
  }

  /** Removes all callbacks. */
  clearCallbacks(): void {
    this.#callbacks = []
  }

  /**
   * Calls the method `name` of each callback that has one, awaiting each in turn; without a promise among them nothing is
   * awaited and undefined comes back. An error gets the callback's name; a `StopTrainingError` passes as it is.
   */
  callEvent<Name extends keyof CustomEvents>(name: Name, event: CustomEvents[Name]): MaybePromise<void>
  callEvent<Name extends EventName | (string & {})>(
    name: Name extends keyof CustomEvents ? never : Name,
    event?: object,
  ): MaybePromise<void>
  callEvent(name: string, event: object = {}): MaybePromise<void> {
    return this.#callFrom(0, name, event)
  }

  /**
   * From here to `releaseStops` a `StopTrainingError` of a callback is held back: what counts as done gets its events, on every
   * callback, since a resumed run doesn't do it again.
   */
  holdStops(): void {
    this.#holds++
  }

  /** Throws the first stop that was held back, unless others hold stops back still. */
  releaseStops(): void {
    this.#holds--
    if (this.#holds > 0 || !this.#stop) return
    const stop = this.#stop
    this.#stop = null
    throw stop
  }

  /** Holds stops back in `run`. */
  async toItsEnd(run: () => MaybePromise<void>): Promise<void> {
    this.holdStops()
    try {
      await run()
    } catch (error) {
      this.#holds--
      throw error
    }
    this.releaseStops()
  }

  /** Forgets what is held back: the run has ended. */
  forgetStops(): void {
    this.#holds = 0
    this.#stop = null
  }

  /** Tells every callback that the run failed. Their own errors don't count any more. */
  async callFailed(error: unknown): Promise<void> {
    for (const callback of this.#callbacks) {
      try {
        await this.#callOne(callback, 'onTrainingRunFailed', { error })
      } catch {}
    }
  }

  #callFrom(start: number, name: string, event: object): MaybePromise<void> {
    const callbacks = this.#callbacks
    for (let i = start; i < callbacks.length; i++) {
      const pending = this.#callOne(callbacks[i], name, event)
      if (pending) return pending.then(() => this.#callFrom(i + 1, name, event))
    }
  }

  #callOne(callback: object | undefined, name: string, event: object): Promise<void> | undefined {
    const method = (callback as Readonly<Record<string, unknown>>)[name]
    if (typeof method !== 'function') return undefined
    try {
      const result: MaybePromise<void> = method.call(callback, this.#trainer, event)
      if (!isPromise(result)) return undefined
      return result.catch((error: unknown) => this.#failed(error, callback, name))
    } catch (error) {
      return this.#failed(error, callback, name)
    }
  }

  #failed(error: unknown, callback: object | undefined, name: string): undefined {
    if (this.#holds === 0 || !(error instanceof StopTrainingError)) throw named(error, callback, name)
    this.#stop ??= error
    return undefined
  }
}

/** The error of a callback, with the callback's name. */
function named(error: unknown, callback: object | undefined, event: string): unknown {
  if (error instanceof StopTrainingError) return error
  const kind = callback?.constructor.name
  const message = `${kind === 'Object' ? 'callback' : kind}.${event}: ${error instanceof Error ? error.message : String(error)}`
  if (!(error instanceof WickError)) return new WickError('CALLBACK_FAILED', message, { cause: error })
  if (error.code === 'NAN_LOSS') return error
  const { modulePath } = error
  return new WickError(error.code, message, { cause: error, ...(modulePath === undefined ? {} : { modulePath }) })
}
