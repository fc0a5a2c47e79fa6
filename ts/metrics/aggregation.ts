/** `MeanMetric` and `SumMetric`: of values that are given. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { full, Tensor, where } from '../tensor/index.ts'
import { Metric } from './metric.ts'

/** Options of `MeanMetric` and `SumMetric`. */
export interface AggregationOptions {
  /** What a NaN does: `'ignore'` (default) leaves it out, `'error'` makes `compute` throw, a number takes its place. */
  nanStrategy?: 'ignore' | 'error' | number | undefined
}

/** Base of metrics over plain values. */
abstract class Aggregation<Args extends readonly unknown[]> extends Metric<Args, number> {
  protected readonly nanStrategy: 'ignore' | 'error' | number

  constructor(options: AggregationOptions = {}) {
    super(options)
    const op = new.target.name
    checkOptions(op, options, ['nanStrategy'])
    const { nanStrategy = 'ignore' } = options
    if (nanStrategy !== 'ignore' && nanStrategy !== 'error' && typeof nanStrategy !== 'number') {
      throw badOption(op, `nanStrategy must be 'ignore', 'error' or a number, not '${String(nanStrategy)}'`)
    }
    this.nanStrategy = nanStrategy
    this.addSum('value', [])
    this.addSum('weight', [])
    this.addSum('nan', [])
  }

  protected add(value: Tensor | number, weight: Tensor | number): void {
    const values = asTensor(value, this.sum('value').device)
    const weights = asTensor(weight, values.device).expandAs(values)
    const isNan = values.isnan()
    const filled = where(isNan, typeof this.nanStrategy === 'number' ? this.nanStrategy : 0, values)
    const counted = typeof this.nanStrategy === 'number' ? weights : where(isNan, 0, weights)
    this.sum('value').add_(filled.mul(counted).sum())
    this.sum('weight').add_(counted.sum())
    this.sum('nan').add_(isNan.to('float64').sum())
  }

  protected async result(): Promise<{ value: number; weight: number }> {
    const [value = 0, weight = 0, nan = 0] = (
      await Promise.all(['value', 'weight', 'nan'].map(name => this.read(name)))
    ).flat()
    if (this.nanStrategy === 'error' && nan > 0) {
      throw new WickError('BAD_OPTION', `${nan} of the values are NaN`, { op: this.constructor.name })
    }
    return { value, weight }
  }
}

function asTensor(value: Tensor | number, device: string): Tensor {
  if (value instanceof Tensor) return value.to('float64')
  return full([], value, { dtype: 'float64', device: device as 'cpu' })
}

/** The mean of all values, weighted if weights are given. */
export class MeanMetric extends Aggregation<[value: Tensor | number, weight?: Tensor | number]> {
  protected accumulate(value: Tensor | number, weight: Tensor | number = 1): void {
    this.add(value, weight)
  }

  async compute(): Promise<number> {
    const { value, weight } = await this.result()
    return value / weight
  }
}

/** The sum of all values; 0 without any. */
export class SumMetric extends Aggregation<[value: Tensor | number]> {
  protected accumulate(value: Tensor | number): void {
    this.add(value, 1)
  }

  async compute(): Promise<number> {
    return (await this.result()).value
  }
}
