/** `FileLogger`: what the loggers that write files have in common. */
import type { LoggedHistogram, LoggedImage, Logger, LogPosition, RunInfo } from './logger.ts'

/**
 * Opens the files at a run's start, or at the first entry if that comes before a run or after it. Entries before the first run stay
 * when it begins the files anew.
 */
export abstract class FileLogger implements Logger {
  #isOpen = false
  /** Writes the entries before the first run once more; null since then. */
  #early: (() => void)[] | null = []

  /** Makes folder and file ready: for a run, or, with null, for entries that are added to what is there. */
  protected abstract open(run: RunInfo | null): void
  protected abstract writeMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition): void
  protected abstract writeMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition): void
  protected close(): void {}

  start(run: RunInfo): void {
    this.finish()
    this.open(run)
    this.#isOpen = true
    // A resumed run goes on in the files, which hold them already.
    if (!run.resumed) for (const write of this.#early ?? []) write()
    this.#early = null
  }

  logMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition): void {
    this.#log(() => this.writeMetrics(metrics, at))
  }

  logMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition): void {
    this.#log(() => this.writeMedia(name, media, at))
  }

  finish(): void {
    if (this.#isOpen) this.close()
    this.#isOpen = false
  }

  #log(write: () => void): void {
    if (!this.#isOpen) this.open(null)
    this.#isOpen = true
    this.#early?.push(write)
    write()
  }
}
