/** `lrFinder`: the loss as a function of the learning rate (arXiv 1506.01186). */
import {
  type AnyTrainer,
  type Callback,
  CallbackHandler,
  MoveModulesToDeviceCallback,
  StopTrainingError,
} from '../callbacks/index.ts'
import type { Dataset } from '../data/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { LambdaLR } from '../schedulers/index.ts'
import { snapshotOf } from './snapshot.ts'
import type { TrainOptions } from './types.ts'

/** Options of `lrFinder`, besides those of `train` that say how to make batches and updates. */
export interface LrFinderOptions<Item>
  extends Pick<
    TrainOptions<Item>,
    | 'perDeviceBatchSize'
    | 'gradientAccumulationSteps'
    | 'gradientClipValue'
    | 'gradientClipNorm'
    | 'trainDataLoaderOptions'
  > {
  trainDataset: Dataset<Item>
  /** Default 1e-7. */
  startLr?: number | undefined
  /** Default 10. */
  endLr?: number | undefined
  /** Updates from one to the other. Default 100. */
  numSteps?: number | undefined
  /** Share of the smoothed loss that stays at each update. Default 0.98. */
  smoothing?: number | undefined
  /** The search ends where the smoothed loss is so many times the least. Default 4. */
  divergence?: number | undefined
}

/** What `lrFinder` found. */
export interface LrFinderResult {
  /** Learning rates of the first group, and the smoothed losses with them. */
  lrs: number[]
  losses: number[]
  /** The rate where the loss falls most steeply, null if it never falls. */
  suggestion: number | null
}

const optionNames = [
  'trainDataset',
  'startLr',
  'endLr',
  'numSteps',
  'smoothing',
  'divergence',
  'perDeviceBatchSize',
  'gradientAccumulationSteps',
  'gradientClipValue',
  'gradientClipNorm',
  'trainDataLoaderOptions',
  'collate',
]

/** Follows the loss of each update. */
class Finder implements Callback {
  readonly lrs: number[] = []
  readonly losses: number[] = []
  readonly #smoothing: number
  readonly #divergence: number
  #lr = 0
  #average = 0
  #least = Number.POSITIVE_INFINITY
  #isUpdate = false

  constructor(smoothing: number, divergence: number) {
    this.#smoothing = smoothing
    this.#divergence = divergence
  }

  onTrainStepStart({ optimizer }: AnyTrainer): void {
    this.#lr = Number(Reflect.get(optimizer.paramGroups[0]!, 'lr'))
    this.#isUpdate = false
  }

  onTrainUpdateEnd(): void {
    this.#isUpdate = true
  }

  async onTrainBatchEnd({ lossTracker }: AnyTrainer): Promise<void> {
    if (!this.#isUpdate) return
    const { last } = await lossTracker.read()
    this.#average = this.#smoothing * this.#average + (1 - this.#smoothing) * last
    const smoothed = this.#average / (1 - this.#smoothing ** (this.losses.length + 1))
    if (!Number.isFinite(smoothed) || (this.losses.length > 0 && smoothed > this.#divergence * this.#least)) {
      throw new StopTrainingError('the loss diverges')
    }
    this.#least = Math.min(this.#least, smoothed)
    this.lrs.push(this.#lr)
    this.losses.push(smoothed)
  }
}

/** What is asked of a Trainer; every one has it. */
interface Searchable<Item> extends AnyTrainer {
  callbackHandler: CallbackHandler
  scheduler: object | null
  train(options: TrainOptions<Item>): Promise<void>
  optimizer: Parameters<typeof snapshotOf>[0]['optimizer']
}

/**
 * Trains with a learning rate that rises from `startLr` to `endLr` by the same factor at every update, until the loss diverges. The
 * Trainer's callbacks aren't called, and afterwards model, optimizer, history and random numbers are as before.
 *
 * ```ts
 * const { suggestion, lrs, losses } = await trainer.lrFinder({ trainDataset, perDeviceBatchSize: 64 })
 * ```
 */
export async function lrFinder<Item>(trainer: AnyTrainer, options: LrFinderOptions<Item>): Promise<LrFinderResult> {
  const op = 'lrFinder'
  checkOptions(op, options, optionNames)
  const { startLr = 1e-7, endLr = 10, numSteps = 100, smoothing = 0.98, divergence = 4, ...rest } = options
  if (!(startLr > 0 && endLr > startLr)) throw badOption(op, `needs 0 < startLr < endLr, got ${startLr} and ${endLr}`)
  if (!(smoothing >= 0 && smoothing < 1)) throw badOption(op, `smoothing must be from 0 to below 1, not ${smoothing}`)
  if (!(divergence > 1)) throw badOption(op, `divergence must be above 1, not ${divergence}`)
  checkCount(numSteps, 'numSteps', op, 2)
  const searched = trainer as Searchable<Item>
  const finder = new Finder(smoothing, divergence)
  const { callbackHandler, scheduler, print } = searched
  const ownPrint = Object.hasOwn(searched, 'print')
  const snapshot = await snapshotOf(searched)
  searched.callbackHandler = new CallbackHandler(searched, [new MoveModulesToDeviceCallback(), finder])
  searched.print = () => {}
  try {
    await searched.train({
      ...rest,
      numEpochs: Number.MAX_SAFE_INTEGER,
      maxNumTrainSteps: numSteps,
      createScheduler: ({ optimizer }) => {
        const factors = optimizer.paramGroups.map(group => {
          const base = Number(Reflect.get(group, 'initialLr') ?? Reflect.get(group, 'lr'))
          return (n: number) => (startLr * (endLr / startLr) ** (n / (numSteps - 1))) / base
        })
        return new LambdaLR(optimizer, { lrLambda: factors })
      },
    })
  } finally {
    searched.callbackHandler = callbackHandler
    searched.scheduler = scheduler
    if (ownPrint) searched.print = print
    else Reflect.deleteProperty(searched, 'print')
    await snapshot.restore()
    snapshot.dispose()
  }
  const { lrs, losses } = finder
  return { lrs, losses, suggestion: steepest(lrs, losses) }
}

/** The rate at which the loss falls most per factor of the rate; the ends, where the average is rough, don't count. */
function steepest(lrs: readonly number[], losses: readonly number[]): number | null {
  const margin = Math.floor(lrs.length / 20)
  let best: number | null = null
  let least = 0
  for (let i = Math.max(margin, 1); i < lrs.length - 1 - margin; i++) {
    const slope = (losses[i + 1]! - losses[i - 1]!) / Math.log(lrs[i + 1]! / lrs[i - 1]!)
    if (slope >= least) continue
    least = slope
    best = lrs[i]!
  }
  return best
}
