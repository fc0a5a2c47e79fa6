/** `JSONL`: a line of JSON for everything that is logged. */
import { appendFileSync, closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Form, isNumber, isRecord, isText, recordOf, withFields } from '../forms.ts'
import { FileLogger } from './file-logger.ts'
import type { LoggedHistogram, LoggedImage, LogPosition, RunInfo } from './logger.ts'
import { rewrite, wholeLines } from './rewriting.ts'

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
    const last = run === null ? Number.POSITIVE_INFINITY : run.resumed ? run.step : -1
    // Entries that are added to a file go behind its last whole line.
    if (run === null && (isWhole(this.path) ?? true)) return
    rewrite(this.path, add => {
      if (last < 0) return
      for (const line of readLines(this.path)) if (Number(line.step) <= last) add(`${JSON.stringify(line)}\n`)
    })
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

/** The entries of a file. Lines that are no entry, such as one that a crash cut off, are passed over. */
function* readLines(path: string): Generator<Record<string, unknown>> {
  for (const line of wholeLines(path)) {
    try {
      const entry: unknown = JSON.parse(line)
      if (isRecord(entry)) yield entry
    } catch {}
  }
}

/** Whether a file's last line has its end; null if there is no file. */
function isWhole(path: string): boolean | null {
  if (!existsSync(path)) return null
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const end = Buffer.alloc(1)
    return size === 0 || (readSync(file, end, 0, 1, size - 1) === 1 && end[0] === 10)
  } finally {
    closeSync(file)
  }
}

/** The lines of a file that hold metrics. */
export function* readMetrics(path: string): Generator<MetricsLine> {
  for (const line of readLines(path)) if (isMetricsLine(line)) yield line
}

const isMetricsLine: Form<MetricsLine> = withFields<MetricsLine>({
  step: isNumber,
  epoch: isNumber,
  time: isNumber,
  metrics: recordOf((value): value is number | string => isNumber(value) || isText(value)),
})
