/** `Logger`: where the metrics of a run go. Implement its four methods to send them elsewhere. */

import type { MaybePromise } from '../data/reader.ts'
import { badOption } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import type { RunConfigFields } from '../trainer/run-config.ts'

/** What a run is, for `Logger.start`. */
export interface RunInfo {
  /** The configuration as resolved; null if a run has none. */
  config: RunConfigFields | null
  device: string
  /** The model, printed. */
  model: string
  /** Complete micro-batches at the start; more than 0 in a resumed run. */
  step: number
  /** Whether what was logged up to `step` stays, because the run goes on from there; otherwise it begins anew. */
  resumed: boolean
}

/** Where something was logged. */
export interface LogPosition {
  /** Complete micro-batches. */
  step: number
  epoch: number
  /** Milliseconds since 1970. */
  time: number
}

/** An image: bytes from left to right and from top to bottom, 1 (grey), 3 (RGB) or 4 (RGBA) a pixel. */
export interface LoggedImage {
  kind: 'image'
  width: number
  height: number
  channels: 1 | 3 | 4
  pixels: Uint8Array
}

/** A distribution: `counts[i]` values lie between `edges[i]` and `edges[i + 1]`. */
export interface LoggedHistogram {
  kind: 'histogram'
  min: number
  max: number
  count: number
  sum: number
  sumSquares: number
  edges: number[]
  counts: number[]
}

/** Takes the metrics of a run, in order. Entries of a user's own may also come before a run and after it. */
export interface Logger {
  /** A run begins. */
  start(run: RunInfo): MaybePromise<void>
  /** Metrics by name, all of one step. */
  logMetrics(metrics: Readonly<Record<string, number>>, at: LogPosition): MaybePromise<void>
  /** An image or a histogram under a name. */
  logMedia(name: string, media: LoggedImage | LoggedHistogram, at: LogPosition): MaybePromise<void>
  /** The run is over; another may begin. */
  finish(): MaybePromise<void>
}

/**
 * An image of a tensor `[height, width]` or `[channels, height, width]` with 1, 3 or 4 channels: uint8, or floating with values from
 * 0 to 1.
 *
 * ```ts
 * await trainer.logger.logMedia('sample', await loggers.image(batch.select(0, 0)), trainer.logger.position())
 * ```
 */
export async function image(x: Tensor): Promise<LoggedImage> {
  const [channels = 0, height = 0, width = 0] = x.ndim === 2 ? [1, ...x.shape] : x.shape
  if (x.ndim < 2 || x.ndim > 3 || !(channels === 1 || channels === 3 || channels === 4)) {
    throw badOption(
      'loggers.image',
      `an image is [height, width] or [1, 3 or 4 channels, height, width], not [${x.shape}]`,
    )
  }
  const values = await x.data()
  const scale = values instanceof Uint8Array ? 1 : 255
  const plane = width * height
  const pixels = new Uint8Array(channels * plane)
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++) {
      pixels[i * channels + c] = Math.min(Math.max(Math.round(Number(values[c * plane + i]) * scale), 0), 255)
    }
  }
  return { kind: 'image', width, height, channels, pixels }
}

/** The distribution of a tensor's finite values in `bins` intervals of equal width. */
export async function histogram(x: Tensor, options: { bins?: number } = {}): Promise<LoggedHistogram> {
  const { bins = 30 } = options
  const values = Float64Array.from((await x.data()) as ArrayLike<number | bigint>, Number).filter(Number.isFinite)
  let [min, max, sum, sumSquares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0]
  for (const v of values) {
    if (v < min) min = v
    if (v > max) max = v
    sum += v
    sumSquares += v * v
  }
  if (values.length === 0) [min, max] = [0, 0]
  const width = max > min ? (max - min) / bins : 1
  const counts = new Array<number>(bins).fill(0)
  for (const v of values) counts[Math.min(Math.floor((v - min) / width), bins - 1)]!++
  const edges = Array.from({ length: bins + 1 }, (_, i) => (i === bins && max > min ? max : min + i * width))
  return { kind: 'histogram', min, max, count: values.length, sum, sumSquares, edges, counts }
}
