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
import type { LoggedHistogram, LoggedImage, Logger, LogPosition, RunInfo } from './logger.ts'

let files = 0

/**
 * Writes scalars, images and histograms to event files in the folder `dir`; `tensorboard --logdir DIR` shows them. A resumed run adds
 * a file, and what an earlier one has of later steps is passed over.
 */
export class TensorBoard implements Logger {
  readonly dir: string
  #file: number | null = null

  constructor(dir: string) {
    this.dir = dir
  }

  start(run: RunInfo): void {
    this.finish()
    mkdirSync(this.dir, { recursive: true })
    const now = Date.now()
    const name = `events.out.tfevents.${Math.floor(now / 1000)}.${hostname()}.${process.pid}.${files++}`
    this.#file = openSync(join(this.dir, name), 'a')
    this.#write(versionEvent(now))
    this.#write(startEvent(now, run.resumed ? run.step + 1 : 0))
  }

  logMetrics(metrics: Readonly<Record<string, number>>, { step, time }: LogPosition): void {
    const values = Object.entries(metrics).map(([name, value]) => [name, scalarValue(value)] as const)
    this.#write(summaryEvent(time, step, values))
  }

  logMedia(name: string, media: LoggedImage | LoggedHistogram, { step, time }: LogPosition): void {
    const value = media.kind === 'image' ? imageValue(media) : histogramValue(media)
    this.#write(summaryEvent(time, step, [[name, value]]))
  }

  finish(): void {
    if (this.#file !== null) closeSync(this.#file)
    this.#file = null
  }

  #write(event: Uint8Array): void {
    if (this.#file !== null) writeSync(this.#file, record(event))
  }
}
