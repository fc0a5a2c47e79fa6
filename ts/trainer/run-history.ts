/** The run history: metrics by name, and the epoch counter. */
import { WickError } from '../errors.ts'
import { type Form, isCount, isNumber, listOf, recordOf, withFields } from '../forms.ts'

/** Names of the metrics that the Trainer records; others may be added. */
export type MetricName =
  | 'train_loss_epoch'
  | 'eval_loss_epoch'
  | 'evaluation_loss'
  | 'intermediate_eval_loss'
  | (string & {})

/** A history as plain data. */
export interface RunHistoryState {
  currentEpoch: number
  metrics: Record<string, number[]>
}

/** Whether a value that was read is a history. */
export const isHistory: Form<RunHistoryState> = withFields<RunHistoryState>({
  currentEpoch: isCount,
  metrics: recordOf(listOf(isNumber)),
})

/** Stores the metrics of a run. Implement it to keep them elsewhere; `InMemoryRunHistory` is the default. */
export interface RunHistory {
  /** The epoch that runs, from 1; one past the last after a full run. */
  readonly currentEpoch: number
  /** Put before the names in `updateMetric`. */
  readonly metricNamePrefix: string
  /** Names in the order of their first value. */
  getMetricNames(): string[]
  /** All values of a metric, empty if there are none. */
  getMetricValues(name: MetricName): number[]
  /** The last value of a metric; a metric without values is a `BAD_OPTION` error. */
  getLatestMetric(name: MetricName): number
  /** Sets the prefix; none by default. */
  setMetricNamePrefix(prefix?: string): void
  /** Adds a value under the prefixed name. */
  updateMetric(name: MetricName, value: number): void
  /** Forgets a metric. */
  deleteMetric(name: MetricName): void
  incrementEpoch(): void
  setEpoch(epoch: number): void
  /** Forgets all metrics and goes back to epoch 1; the prefix stays. */
  reset(): void
}

/** A `RunHistory` in memory. */
export class InMemoryRunHistory implements RunHistory {
  #metrics = new Map<string, number[]>()
  #epoch = 1
  #prefix = ''

  get currentEpoch(): number {
    return this.#epoch
  }

  get metricNamePrefix(): string {
    return this.#prefix
  }

  getMetricNames(): string[] {
    return [...this.#metrics.keys()]
  }

  getMetricValues(name: MetricName): number[] {
    return [...(this.#metrics.get(name) ?? [])]
  }

  getLatestMetric(name: MetricName): number {
    const value = this.#metrics.get(name)?.at(-1)
    if (value !== undefined) return value
    const known = this.getMetricNames().join(', ') || 'none'
    throw new WickError('BAD_OPTION', `no metric '${name}' has been recorded; recorded are: ${known}`, {
      op: 'RunHistory',
    })
  }

  setMetricNamePrefix(prefix = ''): void {
    this.#prefix = prefix
  }

  updateMetric(name: MetricName, value: number): void {
    const key = this.#prefix + name
    const values = this.#metrics.get(key)
    if (values) values.push(value)
    else this.#metrics.set(key, [value])
  }

  deleteMetric(name: MetricName): void {
    this.#metrics.delete(name)
  }

  incrementEpoch(): void {
    this.#epoch++
  }

  setEpoch(epoch: number): void {
    this.#epoch = epoch
  }

  reset(): void {
    this.#metrics.clear()
    this.#epoch = 1
  }

  /** The history as plain data, which `JSON.stringify` uses. */
  toJSON(): RunHistoryState {
    return { currentEpoch: this.#epoch, metrics: Object.fromEntries([...this.#metrics].map(([k, v]) => [k, [...v]])) }
  }
}
