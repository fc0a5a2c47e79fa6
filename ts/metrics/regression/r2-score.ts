/** `R2Score`: the share of the variance that is explained. */
import { checkCount } from '../../data/sampler.ts'
import { badOption, checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { asTensor } from '../classification/task.ts'
import { Metric, total } from '../metric.ts'
import { checkOutputs, type OutputOptions, outputRows } from './outputs.ts'

/** Options of `R2Score`. */
export interface R2ScoreOptions extends OutputOptions {
  /** Number of independent regressors, for the adjusted score. Default 0: not adjusted. */
  adjusted?: number | undefined
  /** The mean over outputs (default), weighted by their variance, or a Tensor of them. */
  multioutput?: 'uniform_average' | 'variance_weighted' | 'raw_values' | undefined
}

/** Coefficient of determination; 1 is perfect, 0 what the mean would give. Needs two samples. */
export class R2Score<const Options extends R2ScoreOptions = R2ScoreOptions> extends Metric<
  [preds: Tensor, target: Tensor],
  Options extends { multioutput: 'raw_values' } ? Tensor : number
> {
  readonly #outputs: number
  readonly #adjusted: number
  readonly #multioutput: 'uniform_average' | 'variance_weighted' | 'raw_values'

  constructor(options: Options = {} as Options) {
    super(options)
    const op = 'R2Score'
    checkOptions(op, options, ['numOutputs', 'adjusted', 'multioutput'])
    this.#outputs = checkOutputs(op, options)
    this.#adjusted = checkCount(options.adjusted ?? 0, 'adjusted', op, 0)
    this.#multioutput = options.multioutput ?? 'uniform_average'
    if (!['uniform_average', 'variance_weighted', 'raw_values'].includes(this.#multioutput)) {
      const known = "'uniform_average', 'variance_weighted' or 'raw_values'"
      throw badOption(op, `multioutput must be ${known}, not '${String(this.#multioutput)}'`)
    }
    for (const name of ['squares', 'values', 'residuals']) this.addSum(name, [this.#outputs])
    this.addSum('count', [])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const [p, t] = outputRows('R2Score', preds, target, this.#outputs)
    this.sum('squares').add_(t.square().sum(0))
    this.sum('values').add_(t.sum(0))
    this.sum('residuals').add_(t.sub(p).square().sum(0))
    this.sum('count').add_(p.shape[0]!)
  }

  async compute(): Promise<Options extends { multioutput: 'raw_values' } ? Tensor : number> {
    const states = ['squares', 'values', 'residuals', 'count'].map(name => this.read(name))
    const [squares = [], values = [], residuals = [], [count = 0] = []] = await Promise.all(states)
    if (count < 2) throw badOption('R2Score', `needs at least two samples, got ${count}`)
    const spreads = squares.map((square, i) => square - values[i]! ** 2 / count)
    const scores = residuals.map((residual, i) => {
      if (Math.abs(residual) <= 1e-4) return 1
      return Math.abs(spreads[i]!) <= 1e-4 ? 0 : 1 - residual / spreads[i]!
    })
    const adjust = (score: number) => {
      const left = count - this.#adjusted - 1
      return this.#adjusted === 0 || left <= 0 ? score : 1 - ((1 - score) * (count - 1)) / left
    }
    let result: number | Tensor
    if (this.#multioutput === 'raw_values') result = asTensor(scores.map(adjust))
    else if (this.#multioutput === 'uniform_average') result = adjust(total(scores) / scores.length)
    else result = adjust(total(scores.map((score, i) => (score * spreads[i]!) / total(spreads))))
    return result as Options extends { multioutput: 'raw_values' } ? Tensor : number
  }
}
