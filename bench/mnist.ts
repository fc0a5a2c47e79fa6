/** The main job: one epoch of MNIST with the Trainer and all its default callbacks. */
import { cuda, data, nn, optim, type Tensor, Trainer } from '../ts/index.ts'
import { type DeviceName, type Mode, mnistFolder } from './names.ts'
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

/** Each round is a run of its own; the clock runs over the training epoch, shuffling, collation and the way to the device included. */
export function prepareMnist(mode: Mode, device: DeviceName): Prepared {
  const { train } = data.mnist(mnistFolder)
  const [trainDataset, evalDataset] = data.randomSplit(train, [50_000, 5_000, 5_000])
  if (!trainDataset || !evalDataset) throw new Error('the split has no parts')

  // Both sides draw their progress bars, though no terminal is there.
  process.stderr.isTTY = true

  const round = async () => {
    const model = new Classifier()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.001, momentum: 0.9 })
    const loss = new nn.CrossEntropyLoss()
    const trainer = new Timed({ model, loss, optimizer, device, capture: captureMode[mode] })
    await trainer.train({ trainDataset, evalDataset, numEpochs: 1, perDeviceBatchSize: batchSize })
    return {
      stepMs: (trainer.seconds / Math.ceil(trainDataset.length / batchSize)) * 1000,
      perSecond: trainDataset.length / trainer.seconds,
    }
  }
  return { round, few: round }
}
