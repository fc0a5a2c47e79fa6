/** The main job: one epoch of MNIST with the Trainer and all its default callbacks, and beside it the same loop written by hand. */
import { capture, cuda, data, nn, optim, type Tensor, Trainer } from '../ts/index.ts'
import { type DeviceName, type MnistJobName, type Mode, mnistFolder } from './names.ts'
import { mlp } from './networks.ts'
import { captureMode } from './steps.ts'
import type { Prepared } from './timing.ts'

const batchSize = 32

class Classifier extends nn.Module<[Tensor], Tensor> {
  main = mlp()

  forward(x: Tensor) {
    return this.main.forward(x.flatten(1))
  }
}

class Timed extends Trainer<Classifier, [Tensor, Tensor], Tensor> {
  seconds = 0
  #start = 0

  override trainEpochStart() {
    this.#start = performance.now()
    super.trainEpochStart()
  }

  /** Waits for the device: the epoch's loss is read only afterwards. */
  override trainEpochEnd() {
    if (this.device !== 'cpu') cuda.synchronize(this.device)
    this.seconds = (performance.now() - this.#start) / 1000
    super.trainEpochEnd()
  }
}

/** Trains a fresh model for an epoch; gives the seconds of the epoch, shuffling, collation and the way to the device included. */
type Epoch = (trainDataset: Digits, evalDataset: Digits) => Promise<number>
type Digits = data.Subset<[Tensor, Tensor]>

function ingredients() {
  const model = new Classifier()
  return {
    model,
    optimizer: new optim.SGD(model.parameters(), { lr: 0.001, momentum: 0.9 }),
    loss: new nn.CrossEntropyLoss(),
  }
}

/** An epoch of the Trainer with its default callbacks. */
function trainerEpoch(mode: Mode, device: DeviceName): Epoch {
  return async (trainDataset, evalDataset) => {
    const trainer = new Timed({ ...ingredients(), device, capture: captureMode[mode] })
    await trainer.train({ trainDataset, evalDataset, numEpochs: 1, perDeviceBatchSize: batchSize })
    return trainer.seconds
  }
}

/** The same without a Trainer: a captured step over the loader's batches, in `full` 16 a call as in the Trainer. */
function loopEpoch(mode: Mode, device: DeviceName): Epoch {
  const perCall = mode === 'full' ? 16 : 1
  return async trainDataset => {
    const { model, optimizer, loss } = ingredients()
    model.to(device)
    optimizer.followParameters()
    const step = capture(
      (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad()
        const value = loss.forward(model.forward(x), y)
        value.backward()
        optimizer.step()
        return value
      },
      { mode: captureMode[mode] },
    )
    const batches: [Tensor, Tensor][] = []
    const run = () => {
      step.many(batches).dispose()
      for (const tensors of batches.splice(0)) for (const t of tensors) t.dispose()
    }
    const start = performance.now()
    for await (const batch of new data.DataLoader(trainDataset, { batchSize, shuffle: true, device })) {
      if (batches.push(batch) === perCall) run()
    }
    if (batches.length > 0) run()
    if (device !== 'cpu') cuda.synchronize(device)
    return (performance.now() - start) / 1000
  }
}

/** Each round is a run of its own. */
export function prepareMnist(job: MnistJobName, mode: Mode, device: DeviceName): Prepared {
  const { train } = data.mnist(mnistFolder)
  const [trainDataset, evalDataset] = data.randomSplit(train, [50_000, 5_000, 5_000])
  if (!trainDataset || !evalDataset) throw new Error('the split has no parts')

  // Both sides draw their progress bars, though no terminal is there.
  process.stderr.isTTY = true

  const epoch = job === 'mnist' ? trainerEpoch(mode, device) : loopEpoch(mode, device)
  const round = async () => {
    const seconds = await epoch(trainDataset, evalDataset)
    return {
      stepMs: (seconds / Math.ceil(trainDataset.length / batchSize)) * 1000,
      perSecond: trainDataset.length / seconds,
    }
  }
  return { round, few: round }
}
