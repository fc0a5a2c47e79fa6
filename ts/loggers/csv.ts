/** `CSV`: a table of metrics, with a column for each. */
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { FileLogger } from './file-logger.ts'
import type { LogPosition, RunInfo } from './logger.ts'
import { rewrite, wholeLines } from './rewriting.ts'

/**
 * Writes a row for each step at which something was logged to the file `path`: `step`, `epoch`, then the metrics; cells of metrics
 * that weren't logged then are empty. Images and histograms have no place in it. A resumed run drops the rows of later steps.
 *
 * Each entry is in the file when `logMetrics` returns, and costs what it adds; only a metric that comes for the first time has the
 * file written anew, beside the old one.
 */
export class CSV extends FileLogger {
  readonly path: string
  #columns: string[] = []
  /** The last row, which further metrics of its step are added to, and where it begins. */
  #row: string[] | null = null
  #start = 0
  #file = 0

  constructor(path: string) {
    super()
    this.path = path
  }

  protected open(run: RunInfo | null): void {
    mkdirSync(dirname(this.path), { recursive: true })
    const last = run === null ? Number.POSITIVE_INFINITY : run.resumed ? run.step : -1
    this.#columns = ['step', 'epoch']
    this.#rewrite(last)
  }

  protected writeMetrics(metrics: Readonly<Record<string, number>>, { step, epoch }: LogPosition): void {
    const unknown = Object.keys(metrics).filter(name => !this.#columns.includes(name))
    if (unknown.length > 0) {
      this.close()
      this.#rewrite(Number.POSITIVE_INFINITY, unknown)
    }
    const before = this.#row?.[0] === String(step) && this.#row[1] === String(epoch) ? this.#row : null
    if (!before) this.#start = fstatSync(this.#file).size
    const row = before ?? [String(step), String(epoch)]
    for (const [name, value] of Object.entries(metrics)) row[this.#columns.indexOf(name)] = String(value)
    this.#row = row
    const line = Buffer.from(this.#line(row))
    // In one call: a kill leaves the row as it was or as it is.
    writeSync(this.#file, line, 0, line.length, this.#start)
    if (before) ftruncateSync(this.#file, this.#start + line.length)
  }

  protected writeMedia(): void {}

  protected override close(): void {
    closeSync(this.#file)
  }

  #line(row: readonly string[]): string {
    return `${this.#columns.map((_, i) => cell(row[i] ?? '')).join(',')}\n`
  }

  /** Writes the file anew with the rows up to step `last`, and with further columns; then it is open for more. */
  #rewrite(last: number, further: readonly string[] = []): void {
    this.#row = null
    rewrite(this.path, add => {
      const rows = records(this.path)
      const header = last < 0 ? undefined : rows.next().value
      this.#columns = [...(header ?? ['step', 'epoch']), ...further]
      add(this.#line(this.#columns))
      if (!header) return
      for (const row of rows) {
        // What a crash cut off or mixed up is no row.
        if (row.length !== header.length || !(Number(row[0]) <= last)) continue
        add(this.#line(row))
        this.#row = row
      }
    })
    this.#file = openSync(this.path, 'r+')
    const { size } = fstatSync(this.#file)
    this.#start = size - (this.#row ? Buffer.byteLength(this.#line(this.#row)) : 0)
  }
}

/** Spreadsheets take a text that begins so for a formula. */
const FORMULA = /^'*[=+\-@\t\r]/
const isNumber = (text: string) => text === 'NaN' || (text.trim() !== '' && !Number.isNaN(Number(text)))

/** A cell as it is written: a text that could be a formula begins with an apostrophe. */
function cell(text: string): string {
  const safe = FORMULA.test(text) && !isNumber(text) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** The rows of a file that `CSV` wrote; a line end in quotes belongs to its cell. */
function* records(path: string): Generator<string[]> {
  const cells = /(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g
  let begun = ''
  for (const line of wholeLines(path)) {
    begun += line
    if (begun.split('"').length % 2 === 0) {
      begun += '\n'
      continue
    }
    const row = Array.from(begun.matchAll(cells), ([, inQuotes, bare]) => inQuotes?.replaceAll('""', '"') ?? bare ?? '')
    yield row.map(text => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text))
    begun = ''
  }
}
