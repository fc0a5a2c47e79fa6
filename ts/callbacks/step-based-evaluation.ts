/** Evaluation every so many steps, and evaluation of a part of the data. */
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import type { AnyTrainer, Callback, EvalEpochEvent } from './callback.ts'
import { ProgressBarCallback } from './progress-bar.ts'

/**
 * Evaluates after every `evalEveryNSteps` completed micro-batches of an epoch, between two steps; then training goes on in
 * training mode. The loss is `intermediate_eval_loss` while `onEvalEpochEnd` is called, and isn't kept. With `capture: 'full'`,
 * where several steps run in one call, it evaluates after the call that passes the step.
 */
export class StepBasedEvaluationCallback implements Callback {
  readonly #every: number

  constructor(options: { evalEveryNSteps: number }) {
    checkOptions('StepBasedEvaluationCallback', options, ['evalEveryNSteps'])
    this.#every = checkCount(options.evalEveryNSteps, 'evalEveryNSteps', 'StepBasedEvaluationCallback')
  }

  onTrainBatchEnd(trainer: AnyTrainer, { step, steps }: { step: number; steps: number }): Promise<void> | void {
    const completed = step + 1
    if (completed % this.#every < steps) return this.#evaluate(trainer, completed)
  }

  async #evaluate(trainer: AnyTrainer, completed: number): Promise<void> {
    trainer.print(`\nRunning evaluation after ${completed} training steps`)
    await trainer.evaluateInRun({ isIntermediate: true })
    trainer.print('\nResuming training...')
  }
}

/**
 * Evaluates on at most `numEvalSteps` batches (of all processes together). It stands before `StepBasedEvaluationCallback` and
 * `ProgressBarCallback`, otherwise constructing the Trainer is an error.
 */
export class LimitEvalStepsCallback implements Callback {
  readonly #numEvalSteps: number
  readonly #intermediateOnly: boolean

  constructor(options: {
    numEvalSteps: number
    /** Whether evaluations at the end of an epoch and of `evaluate` take all batches. Default true. */
    limitIntermediateOnly?: boolean | undefined
  }) {
    checkOptions('LimitEvalStepsCallback', options, ['numEvalSteps', 'limitIntermediateOnly'])
    this.#numEvalSteps = checkCount(options.numEvalSteps, 'numEvalSteps', 'LimitEvalStepsCallback')
    this.#intermediateOnly = options.limitIntermediateOnly ?? true
  }

  onInitEnd({ callbackHandler }: AnyTrainer): void {
    const list = callbackHandler.callbackList
    const later = list.slice(0, list.indexOf(this)).find(callback => {
      return callback instanceof StepBasedEvaluationCallback || callback instanceof ProgressBarCallback
    })
    if (later) throw badOption('LimitEvalStepsCallback', `must stand before ${later.constructor.name} in the callbacks`)
  }

  onEvalEpochStart(trainer: AnyTrainer, { isIntermediate }: EvalEpochEvent): void {
    if (!isIntermediate && this.#intermediateOnly) return
    const processes = trainer.runConfig?.numProcesses ?? 1
    trainer.maxNumEvalSteps = Math.max(Math.floor(this.#numEvalSteps / processes), 1)
  }

  onEvalEpochEnd(trainer: AnyTrainer): void {
    trainer.maxNumEvalSteps = null
  }
}
