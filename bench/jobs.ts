/** wick's side of the benchmark jobs. PyTorch's is `torch_twin.py`: same model, batch, optimizer, steps and data in memory. */
import { capture, data, nn, optim, rand, randint, type Tensor, Trainer } from '../ts/index.ts'
import type { Round } from './contestant.ts'
import { type JobName, type Mode, mnistFolder } from './names.ts'

type Timings = Pick<Round, 'stepMs' | 'samplesPerSecond'>
type RoundFunction = () => Promise<Timings>

const captureMode = { eager: 'off', auto: 'auto', full: 'full' } as const

/** The step jobs go round a ring of this many batches. */
const ringSize = 16

class Classifier extends nn.Module<[Tensor], Tensor> {
  main = mlp()

  forward(x: Tensor) {
    return this.main.forward(x.flatten(1))
  }
}

function mlp() {
  return new nn.Sequential(
    new nn.Linear(784, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Linear(64, 10),
  )
}

function cnn() {
  return new nn.Sequential(
    new nn.Conv2d(1, 32, { kernelSize: 3, padding: 1 }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(32, 64, { kernelSize: 3, padding: 1 }),
    new nn.BatchNorm2d(64),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(64 * 49, 128),
    new nn.ReLU(),
    new nn.Dropout(0.25),
    new nn.Linear(128, 10),
  )
}

interface StepJob {
  model: () => nn.Module<[Tensor], Tensor>
  optimizer: (parameters: Iterable<Tensor>) => { zeroGrad(): void; step(): void }
  shape: number[]
  /** Steps a round, a multiple of the ring's size. */
  steps: number
}

const sgd = (parameters: Iterable<Tensor>) => new optim.SGD(parameters, { lr: 0.01, momentum: 0.9 })
const adamw = (parameters: Iterable<Tensor>) => new optim.AdamW(parameters, { lr: 1e-3 })

const stepJobs: Record<Exclude<JobName, 'mnist'>, StepJob> = {
  mlp32: { model: mlp, optimizer: sgd, shape: [32, 784], steps: 800 },
  mlp512: { model: mlp, optimizer: sgd, shape: [512, 784], steps: 160 },
  cnn64: { model: cnn, optimizer: adamw, shape: [64, 1, 28, 28], steps: 16 },
}

/** Prepares a job and warms it up. Each call of the result is one timed round. */
export async function prepare(job: JobName, mode: Mode): Promise<RoundFunction> {
  return job === 'mnist' ? prepareMnist(mode) : prepareSteps(stepJobs[job], mode)
}

/** Forward, backward and step over a ring of batches; the loss is read once, at the end. */
async function prepareSteps({ model: makeModel, optimizer: makeOptimizer, shape, steps }: StepJob, mode: Mode) {
  const model = makeModel()
  const optimizer = makeOptimizer(model.parameters())
  const batchSize = shape[0] ?? 0
  const ring = Array.from({ length: ringSize }, (): [Tensor, Tensor] => [rand(shape), randint(0, 10, [batchSize])])
  const step = capture(
    (x: Tensor, y: Tensor) => {
      const loss = nn.functional.crossEntropy(model.forward(x), y)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
      return loss
    },
    { mode: captureMode[mode] },
  )
  // `full` is made for several steps a call.
  const once =
    mode === 'full' ? () => step.many(ring) : (i: number) => step(...(ring[i % ringSize] as [Tensor, Tensor]))
  const perCall = mode === 'full' ? ringSize : 1
  const run = async (count = steps) => {
    const start = performance.now()
    let loss: Tensor | undefined
    for (let i = 0; i < count; i += perCall) {
      loss?.dispose()
      loss = once(i)
    }
    loss?.itemSync()
    const seconds = (performance.now() - start) / 1000
    loss?.dispose()
    return { stepMs: (seconds / count) * 1000, samplesPerSecond: (count * batchSize) / seconds }
  }
  await run(ringSize * Math.ceil(steps / ringSize / 4))
  return run
}

/** One epoch of the main job with all default callbacks; the clock runs over the training epoch, shuffling and collation included. */
async function prepareMnist(mode: Mode) {
  const { train } = data.mnist(mnistFolder)
  const [trainDataset, evalDataset] = data.randomSplit(train, [50_000, 5_000, 5_000])
  if (!trainDataset || !evalDataset) throw new Error('the split has no parts')

  class Timed extends Trainer<Classifier, [Tensor, Tensor], Tensor> {
    seconds = 0
    #start = 0

    override trainEpochStart() {
      this.#start = performance.now()
      super.trainEpochStart()
    }

    override trainEpochEnd() {
      this.seconds = (performance.now() - this.#start) / 1000
      super.trainEpochEnd()
    }
  }

  // Both sides draw their progress bars, though no terminal is there.
  process.stderr.isTTY = true

  return async () => {
    const model = new Classifier()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.001, momentum: 0.9 })
    const trainer = new Timed({ model, loss: new nn.CrossEntropyLoss(), optimizer, capture: captureMode[mode] })
    await trainer.train({ trainDataset, evalDataset, numEpochs: 1, perDeviceBatchSize: 32 })
    return {
      stepMs: (trainer.seconds / Math.ceil(trainDataset.length / 32)) * 1000,
      samplesPerSecond: trainDataset.length / trainer.seconds,
    }
  }
}
