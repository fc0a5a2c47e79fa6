/** The callbacks that a Trainer has by default, but for the progress bar. */
import { WickError } from '../errors.ts'
import type { AnyTrainer, Callback } from './callback.ts'
import { ProgressBarCallback } from './progress-bar.ts'

/** Moves the modules that a trainer holds besides its model (a loss with weights, say) to the trainer's device. */
export class MoveModulesToDeviceCallback implements Callback {
  onTrainingRunStart(trainer: AnyTrainer): void {
    this.#move(trainer)
  }

  onEvaluationRunStart(trainer: AnyTrainer): void {
    this.#move(trainer)
  }

  #move(trainer: AnyTrainer): void {
    for (const value of Object.values(trainer)) {
      if (value !== trainer.model && isModule(value)) value.to(trainer.device)
    }
  }
}

function isModule(value: unknown): value is { to(device: string): unknown } {
  if (typeof value !== 'object' || value === null) return false
  return 'to' in value && typeof value.to === 'function' && 'forward' in value && typeof value.forward === 'function'
}

/** Steps between two looks at the device's flag. */
const CHECK_EVERY = 50

/**
 * Ends a run whose loss isn't finite. From the first such loss on the optimizer skips its updates, on the device; this
 * callback notices at most 50 steps later, and `train` or `evaluate` rejects with code `NAN_LOSS` after `onTrainingRunEnd`.
 */
export class TerminateOnNaNCallback implements Callback {
  #steps = 0

  onTrainingRunStart(trainer: AnyTrainer): void {
    this.#steps = 0
    trainer.skipNonFiniteUpdates = true
  }

  // Between two steps nothing is pending, so reading here costs no plan its end.
  onTrainStepStart(trainer: AnyTrainer): Promise<void> | void {
    return this.#count(trainer, 1)
  }

  onTrainStepsReplayed(trainer: AnyTrainer, { steps }: { steps: number }): Promise<void> | void {
    return this.#count(trainer, steps)
  }

  onEvalStepStart(trainer: AnyTrainer): Promise<void> | void {
    return this.#count(trainer, 1)
  }

  onTrainEpochEnd(trainer: AnyTrainer): Promise<void> {
    return this.#check(trainer)
  }

  onEvalEpochEnd(trainer: AnyTrainer): Promise<void> {
    return this.#check(trainer)
  }

  #count(trainer: AnyTrainer, steps: number): Promise<void> | undefined {
    this.#steps += steps
    if (this.#steps < CHECK_EVERY) return undefined
    this.#steps = 0
    return this.#check(trainer)
  }

  async #check(trainer: AnyTrainer): Promise<void> {
    if ((await trainer.lossTracker.read()).isFinite) return
    throw new WickError('NAN_LOSS', `the loss is NaN or infinite in epoch ${trainer.runHistory.currentEpoch}`)
  }
}

/** Prints when runs, epochs and evaluations start and end. */
export class PrintProgressCallback implements Callback {
  onTrainingRunStart(trainer: AnyTrainer): void {
    trainer.print('\nStarting training run')
  }

  onTrainEpochStart(trainer: AnyTrainer): void {
    trainer.print(`\nStarting epoch ${trainer.runHistory.currentEpoch}`)
  }

  onEvalEpochStart(trainer: AnyTrainer): void {
    trainer.print('\nStarting eval epoch')
  }

  onTrainingRunEnd(trainer: AnyTrainer): void {
    trainer.print('Finishing training run')
  }

  onEvaluationRunStart(trainer: AnyTrainer): void {
    trainer.print('\nStarting evaluation run')
  }

  onEvaluationRunEnd(trainer: AnyTrainer): void {
    trainer.print('Finishing evaluation run')
  }
}

/**
 * Prints the latest metrics: those with "train" in their name after a training epoch, all others after an evaluation epoch.
 * Override `logMetrics` to send them elsewhere.
 */
export class LogMetricsCallback implements Callback {
  onTrainEpochEnd(trainer: AnyTrainer): void {
    this.logMetrics(
      trainer,
      this.#latest(trainer, name => name.includes('train')),
    )
  }

  onEvalEpochEnd(trainer: AnyTrainer): void {
    this.logMetrics(
      trainer,
      this.#latest(trainer, name => !name.includes('train')),
    )
  }

  /** Prints `name: value` for each metric. */
  logMetrics(trainer: AnyTrainer, metrics: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(metrics)) trainer.print(`\n${name}: ${value}`)
  }

  #latest({ runHistory }: AnyTrainer, wanted: (name: string) => boolean): Record<string, number> {
    const names = runHistory.getMetricNames().filter(wanted)
    return Object.fromEntries(names.map(name => [name, runHistory.getLatestMetric(name)]))
  }
}

/** Fresh instances of the default callbacks, in their order. */
export function getDefaultCallbacks({ progressBar = true }: { progressBar?: boolean | undefined } = {}): Callback[] {
  return [
    new MoveModulesToDeviceCallback(),
    new TerminateOnNaNCallback(),
    new PrintProgressCallback(),
    ...(progressBar ? [new ProgressBarCallback()] : []),
    new LogMetricsCallback(),
  ]
}
