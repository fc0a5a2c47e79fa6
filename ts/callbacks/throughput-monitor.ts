/** `ThroughputMonitorCallback`: how fast training and evaluation go. */
import type { AnyTrainer, Callback } from './callback.ts'

/** Counts steps and samples against the clock. */
class Meter {
  #start = 0
  #steps = 0
  #samples = 0
  #paused = 0
  #pausedAt: number | undefined

  start(): void {
    this.#start = performance.now()
    this.#steps = 0
    this.#samples = 0
    this.#paused = 0
    this.#pausedAt = undefined
  }

  add(steps: number, samples: number): void {
    this.#steps += steps
    this.#samples += samples
  }

  pause(): void {
    this.#pausedAt ??= performance.now()
  }

  resume(): void {
    if (this.#pausedAt !== undefined) this.#paused += performance.now() - this.#pausedAt
    this.#pausedAt = undefined
  }

  report(trainer: AnyTrainer, name: string): void {
    this.resume()
    const seconds = Math.max((performance.now() - this.#start - this.#paused) / 1000, 1e-9)
    trainer.runHistory.updateMetric(`${name}_samples_per_second`, this.#samples / seconds)
    trainer.runHistory.updateMetric(`${name}_steps_per_second`, this.#steps / seconds)
  }
}

/**
 * Records `train_samples_per_second`, `train_steps_per_second` and the same of `eval` for each epoch. Evaluations in the middle
 * of an epoch don't count for it.
 */
export class ThroughputMonitorCallback implements Callback {
  readonly #train = new Meter()
  readonly #eval = new Meter()

  onTrainEpochStart(): void {
    this.#train.start()
  }

  onTrainStepEnd(_trainer: AnyTrainer, event: { batchOutput: unknown }): void {
    this.#train.add(1, samplesOf(event))
  }

  onTrainStepsReplayed(trainer: AnyTrainer, { steps }: { steps: number }): void {
    this.#train.add(steps, steps * (trainer.runConfig?.trainPerDeviceBatchSize ?? 0))
  }

  onTrainEpochEnd(trainer: AnyTrainer): void {
    this.#train.report(trainer, 'train')
  }

  onEvalEpochStart(): void {
    this.#train.pause()
    this.#eval.start()
  }

  onEvalStepEnd(_trainer: AnyTrainer, event: { batchOutput: unknown }): void {
    this.#eval.add(1, samplesOf(event))
  }

  onEvalEpochEnd(trainer: AnyTrainer, { isIntermediate }: { isIntermediate: boolean }): void {
    if (!isIntermediate) this.#eval.report(trainer, 'eval')
    this.#train.resume()
  }
}

function samplesOf({ batchOutput }: { batchOutput: unknown }): number {
  return (batchOutput as { batchSize: number }).batchSize
}
