/** `SpearmanCorrCoef`: correlation of ranks. */
import { checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { checkSameShape, Metric, total } from '../metric.ts'

/** Spearman's correlation: Pearson's of the ranks, where equal values share the mean of theirs. Keeps all values. */
export class SpearmanCorrCoef extends Metric<[preds: Tensor, target: Tensor], number> {
  constructor(options: Readonly<Record<string, never>> = {}) {
    super(options)
    checkOptions('SpearmanCorrCoef', options, [])
    this.addList('preds')
    this.addList('target')
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    checkSameShape('SpearmanCorrCoef', preds, target)
    this.append('preds', preds.flatten())
    this.append('target', target.flatten())
  }

  async compute(): Promise<number> {
    const [preds, target] = (await Promise.all([this.read('preds'), this.read('target')])).map(centeredRanks)
    const mean = (a: readonly number[], b: readonly number[]) => total(a.map((x, i) => x * b[i]!)) / a.length
    const spread = Math.sqrt(mean(preds!, preds!)) * Math.sqrt(mean(target!, target!))
    return Math.min(Math.max(mean(preds!, target!) / (spread + 1e-6), -1), 1)
  }
}

function centeredRanks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!)
  const ranks = new Array<number>(values.length)
  for (let start = 0; start < order.length; ) {
    let end = start + 1
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++
    for (let i = start; i < end; i++) ranks[order[i]!] = (start + end + 1) / 2
    start = end
  }
  const middle = (values.length + 1) / 2
  return ranks.map(rank => rank - middle)
}
