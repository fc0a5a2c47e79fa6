/** `LambdaCallback`: a callback of a few functions. */
import { checkOptions } from '../errors.ts'
import type { AnyTrainer, Callback, EventName } from './callback.ts'

/** Each built-in event; the type makes sure that none is missing. */
const events: Record<EventName, true> = {
  onInitEnd: true,
  onDataLoadersCreated: true,
  onTrainingRunStart: true,
  onTrainEpochStart: true,
  onTrainStepStart: true,
  onTrainStepEnd: true,
  onGradientsReady: true,
  onTrainUpdateEnd: true,
  onTrainBatchEnd: true,
  onTrainStepsReplayed: true,
  onTrainEpochEnd: true,
  onEvalEpochStart: true,
  onEvalStepStart: true,
  onEvalStepEnd: true,
  onEvalEpochEnd: true,
  onTrainingRunEpochEnd: true,
  onTrainingRunEnd: true,
  onTrainingRunFailed: true,
  onEvaluationRunStart: true,
  onEvaluationRunEnd: true,
  onStopTrainingError: true,
}

/** Names of the built-in events. */
const eventNames: readonly string[] = Object.keys(events)

/**
 * Calls the functions given for events. A name that is no event is an error that says which one is near. A Trainer may have
 * several.
 *
 * ```ts
 * new LambdaCallback({ onTrainEpochEnd: ({ runHistory }) => console.log(runHistory.getLatestMetric('train_loss_epoch')) })
 * ```
 */
export class LambdaCallback<T = AnyTrainer> {
  constructor(functions: Pick<Callback<T>, EventName | 'stateDict' | 'loadStateDict' | 'checkStateDict'>) {
    checkOptions('LambdaCallback', functions, [...eventNames, 'stateDict', 'loadStateDict', 'checkStateDict'])
    Object.assign(this, functions)
  }
}
