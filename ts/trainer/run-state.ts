/** `RunState`: where a run stands and what an exact resume needs of it besides the Trainer's parts. */
import type { StateRecord, StateTree } from '../checkpoint/index.ts'
import type { BatchLoader } from '../data/batches.ts'
import { WickError } from '../errors.ts'
import { type Form, isNumber, orNull, recordOf, withFields } from '../forms.ts'
import { Tensor } from '../tensor/index.ts'
import type { Accumulation, AccumulationState } from './accumulation.ts'
import { isTracked, type LossTracker } from './loss-tracker.ts'
import { isProgress, Progress, type ProgressState } from './progress.ts'
import { isRandomState, lacksGenerators, type RandomState, randomState, setRandomState } from './random-state.ts'
import { gradientsOf, setGradients } from './training-state.ts'
import type { TrainableOptimizer } from './types.ts'

/** A place in a run, as it is saved. */
export interface Position {
  progress: ProgressState
  /** All random streams at this place, or at the start of the evaluation that was interrupted. */
  random: RandomState
  /** All random streams at the start of the running epoch, before its order was drawn. */
  epochRandom: RandomState | null
  lossTracker: StateTree
  accumulation: AccumulationState | null
  /** Of an open accumulation window, by the parameter's number. */
  gradients: StateRecord | null
  /** What the position counts in. */
  epochShape: EpochShape | null
}

/** What has to be equal for a position inside an epoch to mean the same. */
interface EpochShape {
  batches: number
  batchSize: number | null
  accumulationSteps: number
}

/** Whether a value that was read is a place in a run. */
export const isPosition: Form<Position> = withFields<Position>({
  progress: isProgress,
  random: isRandomState,
  epochRandom: orNull(isRandomState),
  lossTracker: (value): value is StateTree => value === null || isTracked(value),
  accumulation: orNull(withFields<AccumulationState>({ expected: isNumber, items: isNumber })),
  gradients: orNull(recordOf((value): value is Tensor => value instanceof Tensor)),
  epochShape: orNull(
    withFields<EpochShape>({ batches: isNumber, batchSize: orNull(isNumber), accumulationSteps: isNumber }),
  ),
})

/** What a run keeps for its position. */
export class RunState {
  progress = new Progress()
  /** The running epoch's windows; null outside training epochs. */
  accumulation: Accumulation | null = null
  /** The running training epoch's tracker; an evaluation inside it has one of its own. */
  #lossTracker: LossTracker | null = null
  #epochRandom: RandomState | null = null
  #evalRandom: RandomState | null = null
  /** Before the running micro-batch was made, if making it may draw random numbers: the batch may have to be made again. */
  #stepRandom: RandomState | null = null
  #shape: EpochShape | null = null
  /** Where a resumed run goes on in an epoch, until it does. */
  #resume: Position | null = null

  /** A run begins, at `resume` if it is one that goes on. */
  begin(resume: Position | null): void {
    this.progress = new Progress()
    if (resume) Object.assign(this.progress, resume.progress)
    this.accumulation = null
    this.#lossTracker = null
    this.#epochRandom = null
    this.#evalRandom = null
    this.#stepRandom = null
    this.#resume = this.progress.inTrainEpoch ? resume : null
  }

  /** What a resumed epoch needs of the place where it goes on; null for one that begins, and once its batches begin. */
  get resumedEpoch(): Position | null {
    return this.#resume
  }

  /** A training epoch's batches begin: `loader` gives them and `accumulationSteps` make an update. */
  startEpoch(
    loader: BatchLoader<unknown>,
    accumulationSteps: number,
    tracker: LossTracker,
    resumed: Position | null,
  ): void {
    const batchSize = Reflect.get(loader, 'batchSize')
    const shape = {
      batches: loader.length,
      batchSize: typeof batchSize === 'number' ? batchSize : null,
      accumulationSteps,
    }
    if (resumed) checkShape(resumed, shape)
    this.#resume = null
    this.#shape = shape
    this.#lossTracker = tracker
    this.#epochRandom = resumed?.epochRandom ?? randomState(loader)
    this.progress.epochStarted = true
  }

  /** A micro-batch, whose making may draw random numbers, begins (true) or is complete. */
  makingBatch(on: boolean, loader: BatchLoader<unknown>): void {
    this.#stepRandom = on ? randomState(loader) : null
  }

  /** An evaluation begins (true) or ends; saved inside it, the state is the one before it. */
  evaluating(on: boolean, loader: BatchLoader<unknown> | null): void {
    this.#evalRandom = on ? randomState(loader) : null
  }

  /** The position, for a training state. */
  async position(loader: BatchLoader<unknown> | null, optimizer: TrainableOptimizer): Promise<StateRecord> {
    // Before a resumed epoch's batches begin, it stands where it stood.
    if (this.#resume) return this.#resume as unknown as StateRecord
    const { progress } = this
    const inEpoch = progress.inTrainEpoch
    // Before the first batch is complete, the order may have been drawn or not: it is drawn again.
    const again = inEpoch && progress.step === 0 ? this.#epochRandom : inEpoch ? this.#stepRandom : null
    const position: Position = {
      progress: progress.toJSON(),
      random: this.#evalRandom ?? again ?? randomState(loader),
      epochRandom: inEpoch ? this.#epochRandom : null,
      lossTracker: inEpoch && this.#lossTracker ? await this.#lossTracker.stateDict() : null,
      accumulation: inEpoch && progress.windowOpen && this.accumulation ? this.accumulation.state() : null,
      gradients: inEpoch && progress.windowOpen ? gradientsOf(optimizer) : null,
      epochShape: inEpoch ? this.#shape : null,
    }
    return position as unknown as StateRecord
  }
}

/** Restores what only a resumed epoch needs. */
export function restoreEpoch(position: Position, tracker: LossTracker, optimizer: TrainableOptimizer): void {
  if (position.lossTracker) tracker.loadStateDict(position.lossTracker as { sums: number[] })
  if (position.gradients) setGradients(optimizer, position.gradients)
}

/** Lets the random streams go on as at `position`; says so if this process lacks some. */
export function restoreRandom(state: RandomState, loader: BatchLoader<unknown> | null): void {
  if (lacksGenerators(state)) {
    console.warn(
      'The state has more random generators than this process has made so far: the last ones are not restored',
    )
  }
  setRandomState(state, loader)
}

function checkShape({ epochShape }: Position, now: EpochShape): void {
  if (!epochShape || JSON.stringify(epochShape) === JSON.stringify(now)) return
  const words = ({ batches, batchSize, accumulationSteps }: EpochShape) =>
    `${batches} batches of ${batchSize ?? 'no fixed number of'} items with an update every ${accumulationSteps}`
  throw new WickError(
    'STATE_DICT_MISMATCH',
    `the state stands inside an epoch of ${words(epochShape)}; the epochs of this run are of ${words(now)}`,
    { op: 'Trainer.train' },
  )
}
