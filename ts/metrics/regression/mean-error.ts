/** Means of errors: `MeanSquaredError` and `MeanAbsoluteError`. */
import { checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { asTensor } from '../classification/task.ts'
import { Metric } from '../metric.ts'
import { checkOutputs, type OutputOptions, outputRows } from './outputs.ts'

/** A number; with several outputs a Tensor of them. */
type PerOutput<Options> = Options extends { numOutputs: number }
  ? Options['numOutputs'] extends 1
    ? number
    : Tensor
  : number

/** Base of the means of errors. */
abstract class MeanError<Options extends OutputOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  PerOutput<Options>
> {
  readonly #outputs: number

  constructor(options: Options, names: readonly string[] = []) {
    super(options)
    checkOptions(new.target.name, options, ['numOutputs', ...names])
    this.#outputs = checkOutputs(new.target.name, options)
    this.addSum('error', [this.#outputs])
    this.addSum('count', [])
  }

  /** The error of each element. */
  protected abstract error(difference: Tensor): Tensor

  protected finish(mean: number): number {
    return mean
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const [p, t] = outputRows(this.constructor.name, preds, target, this.#outputs)
    this.sum('error').add_(this.error(p.sub(t)).sum(0))
    this.sum('count').add_(p.shape[0]!)
  }

  async compute(): Promise<PerOutput<Options>> {
    const [errors, [count = 0] = []] = await Promise.all([this.read('error'), this.read('count')])
    const means = errors.map(error => this.finish(error / count))
    return (this.#outputs === 1 ? means[0]! : asTensor(means)) as PerOutput<Options>
  }
}

/** Options of `MeanSquaredError`. */
export interface MeanSquaredErrorOptions extends OutputOptions {
  /** Whether to give the mean square (default) or its root. */
  squared?: boolean | undefined
}

/** The mean of squared errors, or its root. */
export class MeanSquaredError<
  const Options extends MeanSquaredErrorOptions = MeanSquaredErrorOptions,
> extends MeanError<Options> {
  readonly #squared: boolean

  constructor(options: Options = {} as Options) {
    super(options, ['squared'])
    this.#squared = options.squared ?? true
  }

  protected error(difference: Tensor): Tensor {
    return difference.square()
  }

  protected override finish(mean: number): number {
    return this.#squared ? mean : Math.sqrt(mean)
  }
}

/** The mean of absolute errors. */
export class MeanAbsoluteError<const Options extends OutputOptions = OutputOptions> extends MeanError<Options> {
  constructor(options: Options = {} as Options) {
    super(options)
  }

  protected error(difference: Tensor): Tensor {
    return difference.abs()
  }
}
