/** `MetricCollection`: several metrics of the same batches. */
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, isRecord } from '../forms.ts'
import type { Metric, MetricState } from './metric.ts'

/** Metrics by name, or a list of metrics that are named as their classes. */
type Metrics = Readonly<Record<string, Metric<never, unknown>>> | readonly Metric<never, unknown>[]
type Named<M extends Metrics> = M extends readonly (infer Element)[] ? Readonly<Record<string, Element>> : M
type ArgsOf<M> = M[keyof M] extends Metric<infer Args, unknown> ? Args : never
type ValueOf<M> = M extends Metric<never, infer Value> ? Value : never

type Values<M, Prefix extends string, Postfix extends string> = {
  [Name in keyof M as `${Prefix}${Name & string}${Postfix}`]: ValueOf<M[Name]>
}

/** Options of `MetricCollection`. */
export interface MetricCollectionOptions<Prefix extends string, Postfix extends string> {
  /** Put before each name in the results. */
  prefix?: Prefix | undefined
  /** Put after each name in the results. */
  postfix?: Postfix | undefined
}

/**
 * Updates, computes and resets several metrics at once.
 *
 * ```ts
 * const metrics = new MetricCollection({ accuracy: new Accuracy(task), f1: new F1Score(task) }, { prefix: 'eval_' })
 * metrics.update(preds, target)
 * const { eval_accuracy, eval_f1 } = await metrics.compute()
 * ```
 *
 * Metrics of a list, `new MetricCollection([new Accuracy(task), new F1Score(task)])`, are called as their classes: `Accuracy`, `F1Score`.
 */
export class MetricCollection<M extends Metrics, Prefix extends string = '', Postfix extends string = ''> {
  readonly metrics: Named<M>
  readonly #prefix: string
  readonly #postfix: string

  constructor(metrics: M, options: MetricCollectionOptions<Prefix, Postfix> = {}) {
    checkOptions('MetricCollection', options, ['prefix', 'postfix'])
    const entries = Array.isArray(metrics)
      ? metrics.map((metric, i) => [isMetric(metric) ? metric.constructor.name : String(i), metric] as const)
      : Object.entries(metrics)
    if (entries.length === 0) throw badOption('MetricCollection', 'needs at least one metric')
    const names = new Set<string>()
    for (const [name, metric] of entries) {
      if (!isMetric(metric)) throw badOption('MetricCollection', `'${name}' is not a metric`)
      if (names.has(name))
        throw badOption('MetricCollection', `two metrics are called '${name}': give an object of them`)
      names.add(name)
    }
    this.metrics = Object.fromEntries(entries) as Named<M>
    this.#prefix = options.prefix ?? ''
    this.#postfix = options.postfix ?? ''
  }

  /** Takes a batch into account in every metric. */
  update(...args: ArgsOf<Named<M>>): void {
    for (const metric of Object.values<Metric<never, unknown>>(this.metrics)) metric.update(...(args as never))
  }

  /** The values of all metrics by name. */
  async compute(): Promise<Values<Named<M>, Prefix, Postfix>> {
    const values = await Promise.all(
      Object.entries(this.metrics).map(async ([name, metric]) => {
        return [`${this.#prefix}${name}${this.#postfix}`, await metric.compute()] as const
      }),
    )
    return Object.fromEntries(values) as Values<Named<M>, Prefix, Postfix>
  }

  /** A collection of copies of the metrics, which have seen the same; with another prefix or postfix if one is given. */
  clone<P extends string = Prefix, Q extends string = Postfix>(
    options: MetricCollectionOptions<P, Q> = {},
  ): MetricCollection<Named<M>, P, Q> {
    checkOptions('MetricCollection.clone', options, ['prefix', 'postfix'])
    const copies = Object.entries(this.metrics).map(([name, metric]) => [name, metric.clone()] as const)
    const { prefix = this.#prefix as P, postfix = this.#postfix as Q } = options
    return new MetricCollection(Object.fromEntries(copies) as Named<M>, { prefix, postfix })
  }

  /** Resets every metric. */
  reset(): void {
    for (const metric of Object.values(this.metrics)) metric.reset()
  }

  /** The states of all metrics by name. */
  stateDict(): Record<string, MetricState> {
    return Object.fromEntries(Object.entries(this.metrics).map(([name, metric]) => [name, metric.stateDict()]))
  }

  /** Goes on from a state of `stateDict()`. */
  loadStateDict(state: Readonly<Record<string, MetricState>>): void {
    this.checkStateDict(state)
    for (const [name, metric] of Object.entries(this.metrics)) metric.loadStateDict(state[name]!)
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isRecord)
    for (const [name, metric] of Object.entries(this.metrics)) {
      if (state[name] === undefined) throw badOption('MetricCollection', `the state has nothing of '${name}'`)
      metric.checkStateDict(state[name])
    }
  }

  /** Frees the states of all metrics. */
  dispose(): void {
    for (const metric of Object.values(this.metrics)) metric.dispose()
  }
}

function isMetric(value: unknown): value is Metric<never, unknown> {
  return typeof (value as { update?: unknown } | undefined)?.update === 'function'
}
