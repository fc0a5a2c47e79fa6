/** `PearsonCorrCoef`: linear correlation. */
import { checkOptions } from '../../errors.ts'
import type { Tensor } from '../../tensor/index.ts'
import { Metric } from '../metric.ts'
import { outputRows } from './outputs.ts'

/**
 * Pearson's correlation, from -1 to 1. Means and squares around them are merged batch by batch (Chan et al.), so that a large
 * mean costs no digits.
 */
export class PearsonCorrCoef extends Metric<[preds: Tensor, target: Tensor], number> {
  constructor(options: Readonly<Record<string, never>> = {}) {
    super(options)
    checkOptions('PearsonCorrCoef', options, [])
    for (const name of ['count', 'meanPreds', 'meanTarget', 'preds', 'target', 'both']) this.addSum(name, [])
  }

  protected accumulate(preds: Tensor, target: Tensor): void {
    const [p, t] = outputRows('PearsonCorrCoef', preds, target, 1)
    const [meanPreds, meanTarget] = [p.mean(), t.mean()]
    const [dp, dt] = [p.sub(meanPreds), t.sub(meanTarget)]
    const squares = { preds: dp.square().sum(), target: dt.square().sum(), both: dp.mul(dt).sum() }
    this.#join({ count: this.sum('count').mul(0).add(p.numel), meanPreds, meanTarget, ...squares })
  }

  protected override combine(other: this): void {
    const names = ['count', 'meanPreds', 'meanTarget', 'preds', 'target', 'both'] as const
    const theirs = Object.fromEntries(names.map(name => [name, other.sum(name).to(this.sum(name).device as 'cpu')]))
    this.#join(theirs as Record<(typeof names)[number], Tensor>)
  }

  #join(other: Record<'count' | 'meanPreds' | 'meanTarget' | 'preds' | 'target' | 'both', Tensor>): void {
    const count = this.sum('count').add(other.count)
    const share = other.count.div(count.clamp({ min: 1 }))
    const [dp, dt] = [other.meanPreds.sub(this.sum('meanPreds')), other.meanTarget.sub(this.sum('meanTarget'))]
    const between = this.sum('count').mul(share)
    this.sum('preds').add_(other.preds.add(dp.square().mul(between)))
    this.sum('target').add_(other.target.add(dt.square().mul(between)))
    this.sum('both').add_(other.both.add(dp.mul(dt).mul(between)))
    this.sum('meanPreds').add_(dp.mul(share))
    this.sum('meanTarget').add_(dt.mul(share))
    this.sum('count').copy_(count)
  }

  async compute(): Promise<number> {
    const [preds = 0, target = 0, both = 0] = (
      await Promise.all(['preds', 'target', 'both'].map(name => this.read(name)))
    ).flat()
    return Math.min(Math.max(both / Math.sqrt(preds * target), -1), 1)
  }
}
