/** The step of a Trainer whose `calculate...` methods aren't overridden. */
import { badOption } from '../errors.ts'
import { Tensor } from '../tensor/index.ts'
import type { BatchOutput, LossFunction, TrainableModule } from './types.ts'

/** Loss and outputs for a batch `[input, target]`; another form of batch or no loss is `BAD_OPTION`. */
export function inputTargetLoss<Output>(
  model: TrainableModule,
  loss: LossFunction<Output> | null,
  batch: unknown,
): BatchOutput<Output> {
  if (!Array.isArray(batch) || batch.length !== 2 || !(batch[1] instanceof Tensor)) {
    const hint = 'override calculateTrainBatchLoss and calculateEvalBatchLoss for others'
    throw badOption('Trainer', `the default step takes batches [input, target]; ${hint}`)
  }
  if (loss === null) throw badOption('Trainer', 'there is no loss: give one, or override calculateTrainBatchLoss')
  const [input, target] = batch
  const modelOutputs = model.forward(input) as Output
  const value = typeof loss === 'function' ? loss(modelOutputs, target) : loss.forward(modelOutputs, target)
  return { loss: value, modelOutputs, batchSize: target.shape[0] ?? 1 }
}
