/** `JSONL`: a line of JSON for everything that is logged. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { FileLogger } from './file-logger.ts'
import type { LoggedHistogram, LoggedImage, LogPosition, RunInfo } from './logger.ts'

/** A line of metrics. Numbers that JSON lacks are strings: `"NaN"`, `"Infinity"`. */
export interface MetricsLine {
  step: number
  epoch: number
  time: number
  metrics: Record<string, number | string>
}

/**
 * Writes lines such as `{"step":1563,"epoch":1,"time":…,"metrics":{"train_loss_epoch":0.93}}` to the file `path`. Histograms are
 * written whole, of images only their sizes. A resumed run drops the lines of later steps and goes on; another begins the file anew.
 */
export class JSONL extends FileLogger {
  readonly path: string

  constructor(path: string) {
    super()
    this.path = path
  }

  protected open(run: RunInfo | null): void {
    mkdirSync(dirname(this.path), { recursive: true })
    if (run === null) return
    const lines = run.resumed ? readLines(this.path).filter(line => Number(line.step) <= run.step) : []
    writeFileSync(this.path, lines.map(line => `${JSON.stringify(line)}\n`).join(''))
  }

  protected writeMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition): void {
    const shown = Object.entries(metrics).map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)])
    this.#append({ ...at, metrics: Object.fromEntries(shown) })
  }

  protected writeMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition): void {
    const { kind } = media
    if (kind === 'histogram') this.#append({ ...at, name, ...media })
    else this.#append({ ...at, name, kind, width: media.width, height: media.height })
  }

  #append(line: object): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`)
  }
}

/** The whole lines of a file; a last one that a crash cut off is left out. */
function readLines(path: string): Record<string, unknown>[] {
  if (!existsSync(path)) return []
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return whole.map(line => JSON.parse(line) as Record<string, unknown>)
}

/** The lines of a file that hold metrics. */
export function readMetrics(path: string): MetricsLine[] {
  return readLines(path).filter(line => 'metrics' in line) as unknown as MetricsLine[]
}
