/** `TensorBoard`: event files that TensorBoard reads. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import {
  histogramValue,
  imageValue,
  record,
  scalarValue,
  startEvent,
  summaryEvent,
  versionEvent,
} from './event-file.ts'
import { FileLogger } from './file-logger.ts'
import type { LoggedHistogram, LoggedImage, LogPosition, RunInfo } from './logger.ts'

let files = 0

/**
 * Writes scalars, images and histograms to event files in the folder `dir`; `tensorboard --logdir DIR` shows them. A resumed run adds
 * a file, and what an earlier one has of later steps is passed over.
 */
export class TensorBoard extends FileLogger {
  readonly dir: string
  #file = 0

  constructor(dir: string) {
    super()
    this.dir = dir
  }

  protected open(run: RunInfo | null): void {
    mkdirSync(this.dir, { recursive: true })
    const now = Date.now()
    // TensorBoard reads files in the order of their names.
    const number = String(files++).padStart(6, '0')
    const name = `events.out.tfevents.${Math.floor(now / 1000)}.${hostname()}.${process.pid}.${number}`
    this.#file = openSync(join(this.dir, name), 'a')
    this.#write(versionEvent(now))
    if (run !== null) this.#write(startEvent(now, run.resumed ? run.step + 1 : 0))
  }

  protected writeMetrics(metrics: Readonly<Record<string, number>>, { step, time }: LogPosition): void {
    const values = Object.entries(metrics).map(([name, value]) => [name, scalarValue(value)] as const)
    this.#write(summaryEvent(time, step, values))
  }

  protected writeMedia(name: string, media: LoggedImage | LoggedHistogram, { step, time }: LogPosition): void {
    const value = media.kind === 'image' ? imageValue(media) : histogramValue(media)
    this.#write(summaryEvent(time, step, [[name, value]]))
  }

  protected override close(): void {
    closeSync(this.#file)
  }

  #write(event: Uint8Array): void {
    writeSync(this.#file, record(event))
  }
}
