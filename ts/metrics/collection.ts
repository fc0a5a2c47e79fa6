/** `MetricCollection`: several metrics of the same batches. */
import { badOption, checkOptions } from '../errors.ts'
import type { Metric, MetricState } from './metric.ts'

/** Metrics by name. */
type Metrics = Readonly<Record<string, Metric<never, unknown>>>
type ArgsOf<M extends Metrics> = M[keyof M] extends Metric<infer Args, unknown> ? Args : never
type ValueOf<M> = M extends Metric<never, infer Value> ? Value : never

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
 */
export class MetricCollection<M extends Metrics, Prefix extends string = '', Postfix extends string = ''> {
  readonly metrics: M
  readonly #prefix: string
  readonly #postfix: string

  constructor(metrics: M, options: MetricCollectionOptions<Prefix, Postfix> = {}) {
    checkOptions('MetricCollection', options, ['prefix', 'postfix'])
    if (Object.keys(metrics).length === 0) throw badOption('MetricCollection', 'needs at least one metric')
    for (const [name, metric] of Object.entries(metrics)) {
      if (typeof metric?.update !== 'function') throw badOption('MetricCollection', `'${name}' is not a metric`)
    }
    this.metrics = metrics
    this.#prefix = options.prefix ?? ''
    this.#postfix = options.postfix ?? ''
  }

  /** Takes a batch into account in every metric. */
  update(...args: ArgsOf<M>): void {
    for (const metric of Object.values<Metric<never, unknown>>(this.metrics)) metric.update(...(args as never))
  }

  /** The values of all metrics by name. */
  async compute(): Promise<{ [Name in keyof M as `${Prefix}${Name & string}${Postfix}`]: ValueOf<M[Name]> }> {
    const values = await Promise.all(
      Object.entries(this.metrics).map(async ([name, metric]) => {
        return [`${this.#prefix}${name}${this.#postfix}`, await metric.compute()] as const
      }),
    )
    return Object.fromEntries(values) as Awaited<ReturnType<this['compute']>>
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
    for (const [name, metric] of Object.entries(this.metrics)) {
      const own = state[name]
      if (own === undefined) throw badOption('MetricCollection', `the state has nothing of '${name}'`)
      metric.loadStateDict(own)
    }
  }

  /** Frees the states of all metrics. */
  dispose(): void {
    for (const metric of Object.values(this.metrics)) metric.dispose()
  }
}
