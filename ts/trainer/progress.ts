/** `Progress`: where a run stands. The position is the micro-batches that are complete; together with `phase` it is where a resumed run goes on. */
import { type Form, isBoolean, isCount, withFields } from '../forms.ts'

/** What of an epoch comes next: training, its evaluation, its closing events, or the next epoch. */
export type Phase = 'train' | 'evaluate' | 'close' | 'next'

/** A position as plain data. */
export interface ProgressState {
  epoch: number
  step: number
  globalStep: number
  updates: number
  windowOpen: boolean
  epochStarted: boolean
  phase: Phase
}

/** Whether a value that was read is a position. */
export const isProgress: Form<ProgressState> = withFields<ProgressState>({
  epoch: isCount,
  step: isCount,
  globalStep: isCount,
  updates: isCount,
  windowOpen: isBoolean,
  epochStarted: isBoolean,
  phase: (value): value is Phase => phases.includes(value),
})

const phases: readonly unknown[] = ['train', 'evaluate', 'close', 'next'] satisfies Phase[]

/** Where a run stands. */
export class Progress implements ProgressState {
  /** Epochs that this run has done. */
  epoch = 0
  /** Micro-batches of the running epoch that are complete. */
  step = 0
  /** Complete micro-batches, over all epochs and resumes. */
  globalStep = 0
  /** Optimizer steps of this run. */
  updates = 0
  /** Whether the gradients of an accumulation window wait for their update. */
  windowOpen = false
  /** Whether the events of the training epoch's start have been. */
  epochStarted = false
  phase: Phase = 'train'

  /** Whether a training epoch has begun and is not over. */
  get inTrainEpoch(): boolean {
    return this.phase === 'train' && this.epochStarted
  }

  /** Whether the next thing to do is an epoch's start. */
  get betweenEpochs(): boolean {
    return this.phase === 'train' && !this.epochStarted
  }

  /** Micro-batches are complete; `updated` if the last one closed its window. */
  advance(steps: number, updates: number): void {
    this.step += steps
    this.globalStep += steps
    this.updates += updates
    this.windowOpen = updates === 0
  }

  /** The epoch is over. */
  nextEpoch(): void {
    this.epoch++
    this.step = 0
    this.windowOpen = false
    this.epochStarted = false
    this.phase = 'train'
  }

  toJSON(): ProgressState {
    const { epoch, step, globalStep, updates, windowOpen, epochStarted, phase } = this
    return { epoch, step, globalStep, updates, windowOpen, epochStarted, phase }
  }
}
