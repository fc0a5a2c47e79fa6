/** `RunDirectory`: everything about a run in one folder. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { CSV } from './csv.ts'
import { type Environment, environment } from './environment.ts'
import { JSONL, readMetrics } from './jsonl.ts'
import type { LoggedHistogram, LoggedImage, Logger, LogPosition, RunInfo } from './logger.ts'
import { png } from './png.ts'
import { type Curve, reportHtml } from './report.ts'
import { rewrite } from './rewriting.ts'
import { TensorBoard } from './tensorboard.ts'

/**
 * Writes into the folder `dir`: `run.json` (configuration as resolved, git revision, versions, machine, command), `metrics.csv`,
 * `metrics.jsonl`, `tensorboard/`, images in `media/`, and at the end of a run `report.html`, which shows the curves and needs no other file.
 */
export class RunDirectory implements Logger {
  readonly dir: string
  readonly #loggers: readonly Logger[]
  readonly #images = new Map<string, { step: number; image: LoggedImage }>()
  readonly #histograms = new Map<string, { step: number; histogram: LoggedHistogram }>()
  #run: RunInfo | null = null
  #environment: Environment | null = null
  #startedAt = new Date()

  constructor(dir: string) {
    this.dir = dir
    this.#loggers = [
      new CSV(join(dir, 'metrics.csv')),
      new JSONL(join(dir, 'metrics.jsonl')),
      new TensorBoard(join(dir, 'tensorboard')),
    ]
  }

  async start(run: RunInfo): Promise<void> {
    mkdirSync(this.dir, { recursive: true })
    this.#run = run
    this.#startedAt = new Date()
    this.#environment = environment()
    const record = { startedAt: this.#startedAt.toISOString(), ...run, ...this.#environment }
    rewrite(join(this.dir, 'run.json'), add => add(`${JSON.stringify(record, null, 2)}\n`))
    for (const logger of this.#loggers) await logger.start(run)
  }

  async logMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition): Promise<void> {
    for (const logger of this.#loggers) await logger.logMetrics(metrics, at)
  }

  async logMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition): Promise<void> {
    for (const logger of this.#loggers) await logger.logMedia(name, media, at)
    if (media.kind === 'histogram') {
      this.#histograms.set(name, { step: at.step, histogram: media })
      return
    }
    this.#images.set(name, { step: at.step, image: media })
    mkdirSync(join(this.dir, 'media'), { recursive: true })
    writeFileSync(join(this.dir, 'media', `${name.replaceAll(/[^\w.-]+/g, '_')}-${at.step}.png`), png(media))
  }

  async finish(): Promise<void> {
    for (const logger of this.#loggers) await logger.finish()
    mkdirSync(this.dir, { recursive: true })
    rewrite(join(this.dir, 'report.html'), add => add(this.#report()))
  }

  #report(): string {
    const { config, device = '', model = '' } = this.#run ?? {}
    const { git, versions = {}, machine, command = [] } = this.#environment ?? {}
    const seconds = (Date.now() - this.#startedAt.getTime()) / 1000
    return reportHtml({
      title: basename(resolve(this.dir)),
      facts: [
        ['started', this.#startedAt.toISOString()],
        ['took', `${seconds.toFixed(1)} s`],
        ['command', command.join(' ')],
        ['git revision', git ? `${git.revision}${git.uncommittedChanges ? ' with uncommitted changes' : ''}` : 'none'],
        [
          'versions',
          Object.entries(versions)
            .map(([name, version]) => `${name} ${version}`)
            .join(', '),
        ],
        ['device', device],
        ['machine', machine ? `${machine.host}: ${machine.processor}, ${machine.cores} cores, ${machine.system}` : ''],
      ],
      curves: curvesOf(join(this.dir, 'metrics.jsonl')),
      images: [...this.#images].map(([name, { step, image }]) => ({ name, step, png: png(image) })),
      histograms: [...this.#histograms].map(([name, { step, histogram }]) => ({ name, step, histogram })),
      details: [
        { title: 'Configuration', text: JSON.stringify(config ?? null, null, 2) },
        { title: 'Model', text: model },
      ],
    })
  }
}

function curvesOf(path: string): Curve[] {
  const curves = new Map<string, Curve>()
  for (const { step, metrics } of readMetrics(path)) {
    for (const [name, value] of Object.entries(metrics)) {
      const curve: Curve = curves.get(name) ?? { name, points: [] }
      curve.points.push([step, Number(value)])
      curves.set(name, curve)
    }
  }
  return [...curves.values()]
}
