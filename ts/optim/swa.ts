/** `SWA`: the plain average of a model's weights. */
import { type BatchLoader, openBatches } from '../data/batches.ts'
import type { Module } from '../nn/index.ts'
import { Buffer } from '../nn/parameter.ts'
import { noGrad, scope } from '../tensor/index.ts'
import { AveragedModel } from './averaged-model.ts'

/**
 * Stochastic weight averaging (arXiv 1803.05407): the mean of a model's parameters over all updates; buffers are the latest.
 * Batch norms need statistics of their own for the averaged weights, which `updateBatchNorm` computes.
 *
 * ```ts
 * const swa = new optim.SWA(model)
 * swa.update() // at the end of each late epoch
 * await swa.updateBatchNorm(loader, ([images]) => model.forward(images))
 * swa.applyTo(model)
 * ```
 */
export class SWA<Args extends unknown[] = unknown[], Out = unknown> extends AveragedModel<Args, Out> {
  readonly #of: Module<Args, Out>

  constructor(model: Module<Args, Out>) {
    super(model)
    this.#of = model
  }

  protected weight(n: number, isBuffer: boolean): number {
    return isBuffer ? 1 : 1 / n
  }

  /**
   * Makes the statistics of the batch norms those of the averaged weights: their mean over the batches of `loader`, which `apply`
   * (default: `forward` of the batch, or of its first element) sends through the model.
   */
  async updateBatchNorm<Batch>(loader: BatchLoader<Batch>, apply?: (batch: Batch) => unknown): Promise<void> {
    const norms = this.#of.modules().filter(isBatchNorm)
    if (norms.length === 0) return
    const momenta = norms.map(norm => norm.momentum)
    const forward = (this.#of as Module).forward.bind(this.#of)
    const run = apply ?? ((batch: Batch) => forward(Array.isArray(batch) ? batch[0] : batch))
    const reader = await openBatches(loader)
    await this.using(async () => {
      try {
        for (const norm of norms) {
          norm.resetRunningStats()
          norm.momentum = null
          norm.training = true
        }
        while (await reader.next()) {
          const batch = await reader.take()
          scope(() => void noGrad(() => run(batch)))
        }
      } finally {
        reader.close()
        for (const [i, norm] of norms.entries()) norm.momentum = momenta[i]!
      }
    })
  }
}

/** A batch norm that keeps statistics, its momentum writable. */
interface StatisticsNorm extends Module {
  momentum: number | null
  resetRunningStats(): void
}

function isBatchNorm(module: Module): module is StatisticsNorm {
  return 'resetRunningStats' in module && 'runningMean' in module && module.runningMean instanceof Buffer
}
