// A run with everything that has state, which can be stopped at a place and resumed: `resumable.ts JSON`, see `Order`. Its last
// line is the result as JSON.
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { argv, env } from 'node:process'
import { pathToFileURL } from 'node:url'
import {
  type AnyTrainer,
  type Callback,
  data,
  EarlyStoppingCallback,
  Generator,
  GradientNormMonitorCallback,
  LearningRateMonitorCallback,
  ModelEmaCallback,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  SaveBestModelCallback,
  SaveTrainingStateCallback,
  StepBasedEvaluationCallback,
  StopTrainingError,
  schedulers,
  setDefaultDevice,
  setNumThreads,
  type Tensor,
  Trainer,
} from '../../ts/index.ts'
import noisyDataset from './noisy-dataset.ts'

const isMain = argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href

const noisyModule = new URL(`./noisy-dataset.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/** What to do. */
export interface Order {
  saveDir: string
  /** Stops at the `count`-th call of an event. */
  stop?: { event: string; count: number }
  resumeFrom?: string
  saveEveryNSteps?: number
  capture?: 'auto' | 'full' | 'off'
  precision?: 'no' | 'fp16'
  epochs?: number
  /** Milliseconds that a batch takes at least. */
  pause?: number
  threads?: number
  /** With the callbacks and a schedule that come with the library. */
  everything?: boolean
  /** Items are made one by one, with random noise: at once, or after waiting, several batches ahead. */
  augment?: 'sync' | 'async' | 'module'
  /** Threads that make the batches of the dataset that is a module. */
  numWorkers?: number
  /** With a callback behind all others that counts the events of what is complete. */
  counting?: boolean
  /** Saves within this micro-batch, too. */
  saveInStep?: number
}

/** What came out: hashes of bits, and the history. */
export interface Outcome {
  weights: string
  optimizer: string
  history: unknown
  order: number[]
  scheduler: number
  stopped: boolean
  counts: Record<string, number>
}

class Net extends nn.Module<[Tensor], Tensor> {
  hidden = new nn.Linear(4, 16)
  norm = new nn.BatchNorm1d(16)
  dropout = new nn.Dropout(0.3)
  out = new nn.Linear(16, 3)

  forward(x: Tensor) {
    return this.out.forward(this.dropout.forward(this.norm.forward(this.hidden.forward(x)).relu()))
  }
}

/** Warm-up and decay by the number of updates. */
class Schedule {
  updates = 0
  readonly #optimizer: optim.SGD
  constructor(optimizer: optim.SGD) {
    this.#optimizer = optimizer
  }
  step() {
    this.updates++
    for (const group of this.#optimizer.paramGroups) group.lr = 0.1 / (1 + this.updates)
  }
  stateDict() {
    return { updates: this.updates }
  }
  loadStateDict(state: { updates: number }) {
    this.updates = state.updates
  }
}

/** Notes which samples came, in order. */
class SampleOrder implements Callback<Trainer<Net, [Tensor, Tensor]>> {
  seen: number[] = []
  epochSum = 0
  onTrainEpochStart() {
    this.epochSum = 0
  }
  onTrainStepEnd(_: unknown, { batch }: { batch: [Tensor, Tensor] }) {
    const first = batch[0].select(1, 0).dataSync()
    for (const x of first) this.seen.push(Number(x))
    this.epochSum += Number(first[0])
  }
  onTrainEpochEnd({ runHistory }: AnyTrainer) {
    runHistory.updateMetric('train_first_samples', this.epochSum)
  }
  stateDict() {
    return { seen: this.seen, epochSum: this.epochSum }
  }
  loadStateDict(state: { seen: number[]; epochSum: number }) {
    this.seen = [...state.seen]
    this.epochSum = state.epochSum
  }
}

/** Counts the events of what a resumed run doesn't do again. */
class Counts implements Callback {
  counts: Record<string, number> = {}
  #count(event: string) {
    this.counts[event] = (this.counts[event] ?? 0) + 1
  }
  onTrainUpdateEnd() {
    this.#count('update')
  }
  onTrainBatchEnd() {
    this.#count('batch')
  }
  onTrainEpochEnd() {
    this.#count('epoch')
  }
  onEvalEpochEnd(_: AnyTrainer, { isIntermediate }: { isIntermediate: boolean }) {
    this.#count(isIntermediate ? 'intermediate' : 'evaluation')
  }
  onTrainingRunEpochEnd() {
    this.#count('whole epoch')
  }
  stateDict() {
    return { ...this.counts }
  }
  loadStateDict(state: Record<string, number>) {
    this.counts = { ...state }
  }
}

/** Everything whose state a resumed run needs. */
const everything = (saveDir: string): Callback[] => [
  new StepBasedEvaluationCallback({ evalEveryNSteps: 5 }),
  new LearningRateMonitorCallback({ interval: 'update' }),
  new GradientNormMonitorCallback(),
  new EarlyStoppingCallback({ earlyStoppingPatience: 3, earlyStoppingThreshold: 0.5 }),
  new ModelEmaCallback({ savePath: join(saveDir, 'ema.safetensors') }),
  new SaveBestModelCallback({ savePath: join(saveDir, 'best.safetensors'), loadSavedCheckpoint: false }),
]

/** Stops at the `count`-th call of `event`. */
function stopper({ event, count }: { event: string; count: number }): Callback {
  let calls = 0
  return {
    [event]: () => {
      if (++calls === count) throw new StopTrainingError(`stopped at ${event} ${count}`)
    },
  }
}

const hash = (parts: Iterable<Tensor | number>) => {
  const sum = createHash('sha256')
  for (const part of parts)
    sum.update(typeof part === 'number' ? String(part) : new Uint8Array(part.dataSync({ raw: true }).buffer))
  return sum.digest('hex')
}

/** Carries out an order. */
export async function carryOut(order: Order): Promise<Outcome> {
  if (order.threads) setNumThreads(order.threads)
  manualSeed(5)
  const model = new Net()
  const inputs = randn([50, 4])
  const rows = new data.TensorDataset<[Tensor, Tensor]>(inputs, randint(0, 3, [50]))
  const noisy = new data.MapDataset(rows, ([x, y]): [Tensor, Tensor] => [x.add(randn([4])), y])
  const slowlyNoisy = new data.MapDataset(rows, async ([x, y], i, context): Promise<[Tensor, Tensor]> => {
    const noise = randn([4])
    await new Promise(resolve => setTimeout(resolve, i % 3))
    return [x.add(noise).add(randn([4], { generator: context!.generator })), y]
  })
  const datasets = { sync: noisy, async: slowlyNoisy, module: noisyDataset }
  const trainDataset = order.augment ? datasets[order.augment] : rows
  const evalDataset = new data.TensorDataset<[Tensor, Tensor]>(randn([20, 4]), randint(0, 3, [20]))
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
  const samples = new SampleOrder()
  const counts = new Counts()
  let stopped = false
  class Quiet extends Trainer<Net, [Tensor, Tensor]> {
    override print(...values: unknown[]) {
      if (isMain) console.error(...values)
    }
    override async calculateTrainBatchLoss(batch: [Tensor, Tensor]) {
      if (order.pause) {
        this.print(`waiting for ${order.pause} ms`)
        await new Promise(resolve => setTimeout(resolve, order.pause))
      }
      return super.calculateTrainBatchLoss(batch)
    }
  }
  const trainer = new Quiet({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    seed: 11,
    capture: order.capture,
    precision: order.precision,
    callbacks: [
      samples,
      ...(order.everything ? everything(order.saveDir) : []),
      {
        async onTrainStepEnd(trainer) {
          if (trainer.globalStep + 1 === order.saveInStep)
            await trainer.saveTrainingState(join(order.saveDir, 'inside'))
        },
      },
      ...(order.stop ? [stopper(order.stop)] : []),
      ...(order.counting ? [counts] : []),
      new SaveTrainingStateCallback({ saveDir: order.saveDir, saveEveryNSteps: order.saveEveryNSteps }),
      {
        onStopTrainingError() {
          stopped = true
        },
      },
    ],
  })
  await trainer.train({
    trainDataset,
    evalDataset,
    numEpochs: order.epochs ?? 3,
    perDeviceBatchSize: 4,
    gradientAccumulationSteps: 3,
    trainDataLoaderOptions: { generator: new Generator(3), numWorkers: order.numWorkers, worker: noisyModule },
    createScheduler: ({ maxNumTrainSteps, optimizer: given }) =>
      order.everything
        ? new schedulers.OneCycleLR(given, { maxLr: 0.2, totalSteps: maxNumTrainSteps + 1 })
        : new Schedule(optimizer),
    resumeFrom: order.resumeFrom,
  })
  const { state } = optimizer.stateDict()
  return {
    weights: hash(Object.values(model.stateDict())),
    optimizer: hash(Object.values(state).flatMap(entry => Object.values(entry))),
    history: trainer.runHistory,
    order: samples.seen,
    scheduler: trainer.scheduler instanceof Schedule ? trainer.scheduler.updates : Number(optimizer.paramGroups[0]?.lr),
    stopped,
    counts: counts.counts,
  }
}

if (isMain) {
  if (env.WICK_TEST_DEVICE) setDefaultDevice(env.WICK_TEST_DEVICE)
  console.log(`\n${JSON.stringify(await carryOut(JSON.parse(argv[2] ?? '{}') as Order))}`)
}
