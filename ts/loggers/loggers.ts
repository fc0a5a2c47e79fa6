/** `Loggers`: all loggers of a trainer as one. */
import type { LoggedHistogram, LoggedImage, Logger, LogPosition, RunInfo } from './logger.ts'

/** Hands everything on to several loggers, in order; without any it does nothing. */
export class Loggers implements Logger {
  readonly list: readonly Logger[]
  readonly #position: () => LogPosition

  /** `position` says where the run is. */
  constructor(list: readonly Logger[], position: () => LogPosition) {
    this.list = list
    this.#position = position
  }

  /** Where the run is now. */
  position(): LogPosition {
    return this.#position()
  }

  async start(run: RunInfo): Promise<void> {
    for (const logger of this.list) await logger.start(run)
  }

  /** Logs metrics, by default where the run is now. */
  async logMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition = this.position()): Promise<void> {
    for (const logger of this.list) await logger.logMetrics(metrics, at)
  }

  /** Logs an image or a histogram, by default where the run is now. */
  async logMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition = this.position()): Promise<void> {
    for (const logger of this.list) await logger.logMedia(name, media, at)
  }

  async finish(): Promise<void> {
    for (const logger of this.list) await logger.finish()
  }
}
