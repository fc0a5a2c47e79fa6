/**
 * `StepRunner`: runs each step in a step window, which decides between eager, recording and replay.
 *
 * - `auto`: JavaScript runs on every step; once steps repeat, the work they ask for is replayed from a plan.
 * - `off`: every op runs when it is called.
 * - `full`: for steps declared pure. From a plan, up to `stepsPerCall` steps run in one native call without JavaScript: no
 *   overridden method and no step event runs for them, `onTrainStepsReplayed` says how many there were. Each epoch's first
 *   step runs in JavaScript, and so does one after anything that steps depend on has changed: what is replayed is what the
 *   last step that ran matched.
 */
import type { CaptureMode } from '../capture.ts'
import { type BatchReader, isPromise, type MaybePromise } from '../data/reader.ts'
import { type Described, describe, isSame, isSameCall, replay, type Stepped, watchSteps } from '../full.ts'
import { native } from '../native/index.ts'
import { region } from '../tensor/context.ts'
import { onDevice } from '../tensor/tree.ts'

/** How the steps of one kind ran so far. Shares are of all `steps`. */
export interface StepReport {
  steps: number
  /** Share of steps whose ops were matched to a plan and replayed, with JavaScript. */
  matched: number
  /** Share of steps replayed without JavaScript (`full`). */
  replayed: number
  /** Share of steps whose ops ran one by one, recordings included. */
  eager: number
  /** Steps that left a plan in the middle. */
  diverged: number
  /** Plans, and the ops and kernels of the one used last. */
  plans: number
  ops: number
  kernels: number
  /** Why steps don't match, or empty. */
  reason: string
}

/** Work that yields the promises that it waits for: without any it runs in one go, and nobody else's code runs meanwhile. */
export type Work<T> = Generator<Promise<unknown>, T, unknown>

/** Runs `work` to its end, at once if it waits for nothing. */
export function finish<T>(work: Work<T>): MaybePromise<T> {
  const next = work.next()
  return next.done ? next.value : goOn(work, next)
}

async function goOn<T>(work: Work<T>, from: IteratorResult<Promise<unknown>, T>): Promise<T> {
  let next = from
  while (!next.done) {
    let value: unknown
    try {
      value = await next.value
    } catch (error) {
      next = work.throw(error)
      continue
    }
    next = work.next(value)
  }
  return next.value
}

/** Runs the steps of one kind (training updates, evaluation, ...). */
export class StepRunner {
  readonly #site: number
  /** Frees the site when it is collected. */
  readonly owner: object
  readonly #auto: boolean
  readonly #stepsPerCall: number
  readonly #device: string
  /** What steps see besides their batch, as a list to compare. */
  readonly #surroundings: () => unknown[]
  #pure = false
  /** The last step that ran in JavaScript, if others may be replayed as it was. */
  #full: { batch: Described; around: unknown[]; optimizers: Stepped } | undefined
  #reason = ''

  /**
   * Batches go to `device`. `stepsPerCall` 0 means that JavaScript runs on every step; else `surroundings` says what steps depend on.
   */
  constructor(
    name: string,
    mode: CaptureMode,
    device: string,
    stepsPerCall = 0,
    surroundings: () => unknown[] = () => [],
  ) {
    this.#site = native.newSite(name)
    this.owner = native.ownSite(this.#site)
    this.#auto = mode !== 'off'
    this.#device = device
    this.#stepsPerCall = mode === 'full' ? stepsPerCall : 0
    this.#surroundings = surroundings
  }

  /** An epoch begins: its first step runs in JavaScript. `pure` false keeps all of them there. */
  startEpoch(pure: boolean): void {
    this.#pure = pure
    this.#full = undefined
  }

  /**
   * Runs the batch that `reader` announced: `body` in a step window, which at its end frees all tensors made in it and the
   * batch's own. Gives the number of steps that were replayed without `body`, at most `limit`; a promise only if something in
   * the step was waited for.
   */
  run<Batch>(
    reader: BatchReader<Batch>,
    limit: number,
    body: (batch: Batch) => Work<void>,
    grad?: boolean,
  ): MaybePromise<number> {
    return region({ scoped: true, grad }, () => finish(this.#run(reader, limit, body)))
  }

  *#run<Batch>(reader: BatchReader<Batch>, limit: number, body: (batch: Batch) => Work<void>): Work<number> {
    const first = yield* this.#take(reader)
    const full = this.#full
    if (!full || !isSame(full.around, this.#surroundings())) {
      yield* this.#window(first, body)
      return 0
    }
    const batches = [first]
    while (batches.length < Math.min(this.#stepsPerCall, limit)) {
      const more = reader.next()
      if (!(isPromise(more) ? yield more : more)) break
      batches.push(yield* this.#take(reader))
    }
    const described = batches.map(describe)
    // Getting batches may have waited.
    if (described.every(batch => isSameCall(batch, full.batch)) && isSame(full.around, this.#surroundings())) {
      const handles = described.flatMap(batch => batch.handles)
      if (replay(this.#site, full.optimizers, handles, batches.length)) return batches.length
    }
    for (const batch of batches) yield* this.#window(batch, body)
    return 0
  }

  *#take<Batch>(reader: BatchReader<Batch>): Work<Batch> {
    const taken = reader.take()
    return onDevice(isPromise(taken) ? ((yield taken) as Batch) : taken, this.#device)
  }

  *#window<Batch>(batch: Batch, body: (batch: Batch) => Work<void>): Work<void> {
    this.#full = undefined
    const call = this.#pure && this.#stepsPerCall > 0 ? describe(batch) : undefined
    const around = call && this.#surroundings()
    // Inside someone else's window this step is a part of that one.
    const opened = native.windowBegin(this.#site, this.#auto, call?.handles)
    const steps = call && watchSteps()
    let failed = true
    try {
      yield* body(batch)
      failed = false
    } finally {
      steps?.end()
      if (opened) native.windowEnd([], failed)
    }
    if (!opened || !call || !around || !steps) return
    this.#reason = ''
    if (!isSame(around, this.#surroundings())) {
      this.#reason = 'a step changes fields of the trainer or its model, so its JavaScript is needed'
    } else if (native.fullForm(this.#site)) {
      this.#full = { batch: call, around, optimizers: steps.stepped }
    }
  }

  /** How the steps ran. */
  report(): StepReport {
    const { windows, matched, eager, full, diverged, plans, ops, kernels, reason } = native.report(this.#site)
    const steps = windows + full
    const share = (n: number) => (steps === 0 ? 0 : n / steps)
    return {
      steps,
      matched: share(matched),
      replayed: share(full),
      eager: share(eager),
      diverged,
      plans,
      ops,
      kernels,
      reason: reason || this.#reason,
    }
  }
}
