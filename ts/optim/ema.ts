/** `EMA`: an exponential moving average of a model. */
import { badOption, checkOptions } from '../errors.ts'
import type { Module } from '../nn/index.ts'
import { AveragedModel } from './averaged-model.ts'

/** Options of `EMA`. */
export interface EMAOptions {
  /** Share of the average that stays at each update; 0.9999. */
  decay?: number
}

/**
 * Exponential moving average of a model's parameters and buffers: `average = decay * average + (1 - decay) * own`, beginning
 * with the model as it is.
 *
 * ```ts
 * const ema = new optim.EMA(model, { decay: 0.999 })
 * optimizer.step()
 * ema.update()
 * ema.module.forward(x)
 * ```
 */
export class EMA<Args extends unknown[] = unknown[], Out = unknown> extends AveragedModel<Args, Out> {
  readonly decay: number

  constructor(model: Module<Args, Out>, options: EMAOptions = {}) {
    checkOptions('EMA', options, ['decay'])
    const { decay = 0.9999 } = options
    if (!(decay >= 0 && decay <= 1)) throw badOption('EMA', `decay must be from 0 to 1, not ${decay}`)
    super(model)
    this.decay = decay
  }

  protected weight(): number {
    return 1 - this.decay
  }
}
