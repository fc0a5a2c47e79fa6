/** `Perplexity`: how surprised a language model is. */
import { checkOptions, WickError } from '../../errors.ts'
import { type Tensor, where } from '../../tensor/index.ts'
import { Metric } from '../metric.ts'

/** Exponential of the mean negative log-likelihood of tokens: `preds` are logits `[n, length, words]`, `target` `[n, length]`. */
export class Perplexity extends Metric<[preds: Tensor, target: Tensor], number> {
  readonly #ignoreIndex: number | undefined

  constructor(options: { /** Targets with this value are left out. */ ignoreIndex?: number | undefined } = {}) {
    super(options)
    checkOptions('Perplexity', options, ['ignoreIndex'])
    this.#ignoreIndex = options.ignoreIndex
    this.addSum('nll', [])
    this.addSum('count', [])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    if (preds.ndim !== 3 || String(preds.shape.slice(0, 2)) !== String(target.shape)) {
      const operands = [preds, target].map(t => `${t.dtype}[${t.shape.join(', ')}]`)
      throw new WickError('SHAPE_MISMATCH', 'needs logits [n, length, words] and targets [n, length]', {
        op: 'Perplexity',
        details: { operands },
      })
    }
    const words = target.flatten().to('int64')
    const counts = this.#ignoreIndex === undefined ? words.eq(words) : words.ne(this.#ignoreIndex)
    const index = where(counts, words, 0).to('int64')
    const scores = preds.reshape([-1, preds.shape[2]!])
    const logs = (scores.dtype === 'float64' ? scores : scores.float()).logSoftmax(1).gather(1, index.unsqueeze(1))
    const weights = counts.to('float64')
    this.sum('nll').sub_(logs.squeeze(1).to('float64').mul(weights).sum())
    this.sum('count').add_(weights.sum())
  }

  async compute(): Promise<number> {
    const [[nll = 0] = [], [count = 0] = []] = await Promise.all([this.read('nll'), this.read('count')])
    return Math.exp(nll / count)
  }
}
