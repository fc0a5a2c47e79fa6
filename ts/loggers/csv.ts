/** `CSV`: a table of metrics, with a column for each. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { FileLogger } from './file-logger.ts'
import type { LogPosition, RunInfo } from './logger.ts'

/**
 * Writes a row for each step at which something was logged to the file `path`: `step`, `epoch`, then the metrics; cells of metrics
 * that weren't logged then are empty. Images and histograms have no place in it. A resumed run drops the rows of later steps.
 */
export class CSV extends FileLogger {
  readonly path: string
  #columns: string[] = []
  #rows: string[][] = []

  constructor(path: string) {
    super()
    this.path = path
  }

  protected open(run: RunInfo | null): void {
    mkdirSync(dirname(this.path), { recursive: true })
    const goesOn = run === null || run.resumed
    const [header = ['step', 'epoch'], ...rows] = goesOn && existsSync(this.path) ? parse(this.path) : []
    this.#columns = header
    this.#rows = run === null ? rows : rows.filter(([step]) => Number(step) <= run.step)
    this.#rewrite()
  }

  protected writeMetrics(metrics: Readonly<Record<string, number>>, { step, epoch }: LogPosition): void {
    const unknown = Object.keys(metrics).filter(name => !this.#columns.includes(name))
    this.#columns.push(...unknown)
    const last = this.#rows.at(-1)
    const same = last?.[0] === String(step) && last[1] === String(epoch)
    const row = same ? last : [String(step), String(epoch)]
    for (const [name, value] of Object.entries(metrics)) row[this.#columns.indexOf(name)] = String(value)
    if (!same) this.#rows.push(row)
    // A new column or more cells for the last row change what is written already.
    if (unknown.length > 0 || same) this.#rewrite()
    else appendFileSync(this.path, this.#line(row))
  }

  protected writeMedia(): void {}

  #line(row: readonly string[]): string {
    return `${this.#columns.map((_, i) => quoted(row[i] ?? '')).join(',')}\n`
  }

  #rewrite(): void {
    writeFileSync(this.path, [this.#columns, ...this.#rows].map(row => this.#line(row)).join(''))
  }
}

const quoted = (cell: string) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)

/** The rows of a file that `CSV` wrote; a last one that a crash cut off is left out. */
function parse(path: string): string[][] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  const cells = /(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g
  return lines.map(line =>
    Array.from(line.matchAll(cells), ([, inQuotes, bare]) => inQuotes?.replaceAll('""', '"') ?? bare ?? ''),
  )
}
