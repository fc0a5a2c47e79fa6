/** A progress bar in tqdm's format, on stderr. */
import type { AnyTrainer, Callback, EvalEpochEvent } from './callback.ts'

/** What a bar writes to; `process.stderr` is one. */
export interface BarStream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

/** Milliseconds between two drawings. */
const REFRESH = 100

/**
 * `100%|██████████| 1563/1563 [00:03<00:00, 480.12it/s]`. On a terminal the line is redrawn at most ten times a second;
 * elsewhere only the final line is written.
 */
export class ProgressBar {
  readonly #total: number
  readonly #stream: BarStream
  readonly #start = performance.now()
  #count = 0
  #nextDrawing = 0

  constructor(total: number, stream: BarStream = process.stderr) {
    this.#total = total
    this.#stream = stream
    if (stream.isTTY) this.#draw(this.#start)
  }

  /** Counts `steps` more. */
  update(steps = 1): void {
    this.#count += steps
    if (!this.#stream.isTTY) return
    const now = performance.now()
    if (now >= this.#nextDrawing) this.#draw(now)
  }

  /** Writes the final line. */
  close(): void {
    this.#stream.write(`${this.#stream.isTTY ? '\r' : ''}${this.#line(performance.now())}\n`)
  }

  #draw(now: number): void {
    this.#nextDrawing = now + REFRESH
    this.#stream.write(`\r${this.#line(now)}`)
  }

  #line(now: number): string {
    const share = this.#total === 0 ? 1 : Math.min(this.#count / this.#total, 1)
    const seconds = (now - this.#start) / 1000
    const rate = seconds > 0 ? this.#count / seconds : 0
    const left = rate > 0 ? clock((this.#total - this.#count) / rate) : '?'
    const speed = rate === 0 ? '?it/s' : rate >= 1 ? `${rate.toFixed(2)}it/s` : `${(1 / rate).toFixed(2)}s/it`
    if (this.#total === Number.POSITIVE_INFINITY) return `${this.#count}it [${clock(seconds)}, ${speed}]`
    const head = `${String(Math.floor(share * 100)).padStart(3)}%|`
    const tail = `| ${this.#count}/${this.#total} [${clock(seconds)}<${left}, ${speed}]`
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

/** One bar for each training and evaluation epoch, on the first process of a machine. */
export class ProgressBarCallback implements Callback {
  #bar: ProgressBar | undefined
  /** The training epoch's bar while an evaluation in its middle has one. */
  #outer: ProgressBar | undefined

  onTrainEpochStart(trainer: AnyTrainer): void {
    this.#open(trainer, trainer.trainDataLoader?.length)
  }

  onTrainStepEnd(): void {
    this.#bar?.update()
  }

  onTrainStepsReplayed(_trainer: AnyTrainer, { steps }: { steps: number }): void {
    this.#bar?.update(steps)
  }

  onTrainEpochEnd(): void {
    this.#close()
  }

  onEvalEpochStart(trainer: AnyTrainer, { isIntermediate }: EvalEpochEvent): void {
    if (isIntermediate) {
      this.#outer = this.#bar
      this.#bar = undefined
    }
    const { evalDataLoader, maxNumEvalSteps } = trainer
    this.#open(trainer, evalDataLoader ? Math.min(evalDataLoader.length, maxNumEvalSteps ?? Infinity) : undefined)
  }

  onEvalStepEnd(): void {
    this.#bar?.update()
  }

  onEvalEpochEnd(): void {
    this.#close()
    this.#bar = this.#outer
    this.#outer = undefined
  }

  onTrainingRunEnd(): void {
    this.#close()
  }

  onEvaluationRunEnd(): void {
    this.#close()
  }

  #open(trainer: AnyTrainer, total: number | undefined): void {
    this.#close()
    if (total !== undefined && trainer.runConfig?.isLocalProcessZero) this.#bar = new ProgressBar(total)
  }

  #close(): void {
    this.#bar?.close()
    this.#bar = undefined
  }
}
