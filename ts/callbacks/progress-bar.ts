/** A progress bar in tqdm's format, on stderr. */
import { checkOptions } from '../errors.ts'
import type { AnyTrainer, Callback, EvalEpochEvent } from './callback.ts'

/** What a bar writes to; `process.stderr` is one. */
export interface BarStream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

/** Milliseconds between two drawings on a terminal, and between two lines elsewhere. */
const REFRESH = 100
const LINES = 30_000

/**
 * `100%|██████████| 1563/1563 [00:03<00:00, 480.12it/s, loss=0.931, data=2%]`. On a terminal the line is redrawn at most ten times a
 * second; elsewhere a line is written every 30 seconds, and the final one. Without a number of steps there is no bar: `8it [00:03, 2.67it/s]`.
 */
export class ProgressBar {
  /** What stands after the rate. */
  note = ''
  readonly #total: number
  readonly #stream: BarStream
  readonly #now: () => number
  readonly #start: number
  readonly #first: number
  #count: number
  #nextDrawing: number

  /** `done` of the `total` steps were done before. */
  constructor(total: number, stream: BarStream = process.stderr, { done = 0, now = () => performance.now() } = {}) {
    this.#total = total
    this.#stream = stream
    this.#now = now
    this.#start = now()
    this.#first = done
    this.#count = done
    this.#nextDrawing = this.#start + LINES
    if (stream.isTTY) this.#draw(this.#start)
  }

  /** Milliseconds since the bar's start. */
  get elapsed(): number {
    return this.#now() - this.#start
  }

  /** Counts `steps` more. */
  update(steps = 1): void {
    this.#count += steps
    const now = this.#now()
    if (now >= this.#nextDrawing) this.#draw(now)
  }

  /** Writes the final line. */
  close(): void {
    this.#stream.write(`${this.#stream.isTTY ? '\r' : ''}${this.#line(this.#now())}\n`)
  }

  #draw(now: number): void {
    const { isTTY } = this.#stream
    this.#nextDrawing = now + (isTTY ? REFRESH : LINES)
    this.#stream.write(isTTY ? `\r${this.#line(now)}` : `${this.#line(now)}\n`)
  }

  #line(now: number): string {
    const share = this.#total === 0 ? 1 : Math.min(this.#count / this.#total, 1)
    const seconds = (now - this.#start) / 1000
    const rate = seconds > 0 ? (this.#count - this.#first) / seconds : 0
    const left = rate > 0 ? clock((this.#total - this.#count) / rate) : '?'
    const speed = rate === 0 ? '?it/s' : rate >= 1 ? `${rate.toFixed(2)}it/s` : `${(1 / rate).toFixed(2)}s/it`
    if (this.#total === Number.POSITIVE_INFINITY) return `${this.#count}it [${clock(seconds)}, ${speed}]`
    const after = `${speed}${this.note && `, ${this.note}`}]`
    if (!Number.isFinite(this.#total)) return `${this.#count}it [${clock(seconds)}, ${after}`
    const head = `${String(Math.floor(share * 100)).padStart(3)}%|`
    const tail = `| ${this.#count}/${this.#total} [${clock(seconds)}<${left}, ${after}`
    const width = Math.max((this.#stream.columns ?? 80) - head.length - tail.length - 1, 10)
    const filled = Math.round(share * width)
    return `${head}${'█'.repeat(filled)}${' '.repeat(width - filled)}${tail}`
  }
}

/** `mm:ss`, with hours in front if there are any. */
function clock(seconds: number): string {
  const whole = Math.max(Math.floor(seconds), 0)
  const two = (n: number) => String(n).padStart(2, '0')
  const hours = Math.floor(whole / 3600)
  const rest = `${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`
  return hours > 0 ? `${hours}:${rest}` : rest
}

/** Milliseconds between two readings of the loss, for which the host waits for the device. */
const READ_LOSS = 1000

/** A bar and what its note is made of. */
interface OpenBar {
  bar: ProgressBar
  /** The trainer's `dataWaitMs` at the bar's start. */
  dataWaitMs: number
  nextReading: number
}

/**
 * One bar for each training and evaluation epoch, on the first process of a machine: rate, time that is left, the epoch's loss so
 * far, and the share of the time in which the loop waited for data.
 */
export class ProgressBarCallback implements Callback {
  readonly #stream: BarStream
  #open: OpenBar | undefined
  /** The training epoch's bar while an evaluation in its middle has one. */
  #outer: OpenBar | undefined

  /** `stream` is where the bars are drawn. Default: stderr. */
  constructor(options: { stream?: BarStream | undefined } = {}) {
    checkOptions('ProgressBarCallback', options, ['stream'])
    this.#stream = options.stream ?? process.stderr
  }

  onTrainEpochStart(trainer: AnyTrainer): void {
    this.#begin(trainer, trainer.trainDataLoader?.length, trainer.epochStep)
  }

  onTrainBatchEnd(trainer: AnyTrainer, { steps }: { steps: number }): Promise<void> | undefined {
    return this.#count(trainer, steps)
  }

  onTrainEpochEnd(trainer: AnyTrainer): Promise<void> {
    return this.#end(trainer)
  }

  onEvalEpochStart(trainer: AnyTrainer, { isIntermediate }: EvalEpochEvent): void {
    if (isIntermediate) {
      this.#outer = this.#open
      this.#open = undefined
    }
    const { evalDataLoader, maxNumEvalSteps } = trainer
    this.#begin(trainer, evalDataLoader ? Math.min(evalDataLoader.length, maxNumEvalSteps ?? Infinity) : undefined, 0)
  }

  // Before a step nothing is pending, so reading the loss here costs no plan its end.
  onEvalStepStart(trainer: AnyTrainer): Promise<void> | undefined {
    return this.#count(trainer, 0)
  }

  onEvalStepEnd(): void {
    this.#open?.bar.update()
  }

  async onEvalEpochEnd(trainer: AnyTrainer): Promise<void> {
    await this.#end(trainer)
    this.#open = this.#outer
    this.#outer = undefined
  }

  onTrainingRunEnd(): void {
    this.#close()
  }

  onEvaluationRunEnd(): void {
    this.#close()
  }

  #begin(trainer: AnyTrainer, total: number | undefined, done: number): void {
    this.#close()
    if (total === undefined || !trainer.runConfig?.isLocalProcessZero) return
    const bar = new ProgressBar(total, this.#stream, { done })
    this.#open = { bar, dataWaitMs: trainer.dataWaitMs, nextReading: READ_LOSS }
  }

  #count(trainer: AnyTrainer, steps: number): Promise<void> | undefined {
    const open = this.#open
    if (!open) return undefined
    const due = open.bar.elapsed >= open.nextReading
    if (!due) {
      open.bar.update(steps)
      return undefined
    }
    open.nextReading = open.bar.elapsed + READ_LOSS
    return this.#note(trainer, open).then(() => open.bar.update(steps))
  }

  async #note({ lossTracker, dataWaitMs }: AnyTrainer, open: OpenBar): Promise<void> {
    const { average } = await lossTracker.read()
    const wait = (dataWaitMs - open.dataWaitMs) / Math.max(open.bar.elapsed, 1)
    open.bar.note = `loss=${average.toPrecision(4)}, data=${(100 * wait).toFixed(wait < 0.095 ? 1 : 0)}%`
  }

  async #end(trainer: AnyTrainer): Promise<void> {
    if (this.#open) await this.#note(trainer, this.#open)
    this.#close()
  }

  #close(): void {
    this.#open?.bar.close()
    this.#open = undefined
  }
}
