/**
 * `wick-ml/optim`: optimizers.
 *
 * ```ts
 * const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 })
 * optimizer.zeroGrad()
 * loss.backward()
 * optimizer.step()
 * ```
 */
export { AdamW, type AdamWOptions } from './adamw.ts'
export { AveragedModel, type AverageState } from './averaged-model.ts'
export { EMA, type EMAOptions } from './ema.ts'
export { Optimizer, type ParamGroup, type ParamGroupInput, type Params, type StepOptions } from './optimizer.ts'
export { SGD, type SGDOptions } from './sgd.ts'
export type { OptimizerState, OptionValue, ParameterState, SavedGroup } from './state.ts'
export { SWA } from './swa.ts'
