// An event of one's own: the Trainer calls it for each training batch, and a callback looks at the batch.
import { type Callback, data, getDefaultCallbacks, manualSeed, nn, optim, type Tensor, Trainer } from 'wick-ml'

declare module 'wick-ml' {
  interface CustomEvents {
    onVerifyTrainBatch: { images: Tensor; labels: Tensor }
  }
}

manualSeed(42)
const [trainDataset, evalDataset] = data.randomSplit(data.mnist().train, [55_000, 5_000])

class MNISTModel extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))

  forward(images: Tensor) {
    return this.main.forward(images.flatten(1))
  }
}

class VerifyingTrainer extends Trainer<MNISTModel, [Tensor, Tensor], Tensor> {
  override async calculateTrainBatchLoss(batch: [Tensor, Tensor]) {
    const [images, labels] = batch
    await this.callbackHandler.callEvent('onVerifyTrainBatch', { images, labels })
    return super.calculateTrainBatchLoss(batch)
  }
}

let verified = 0
const verify: Callback<Trainer<MNISTModel>> = {
  onVerifyTrainBatch(_, { images, labels }) {
    // Shapes are known without waiting for the device.
    if (images.shape[0] !== 32 || labels.shape[0] !== 32) throw new Error(`a batch of ${labels.shape[0]} samples`)
    verified++
  },
  onTrainEpochEnd: trainer => trainer.print(`\nVerified ${verified} batches`),
}

const model = new MNISTModel()
const trainer = new VerifyingTrainer({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer: new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }),
  callbacks: [verify, ...getDefaultCallbacks()],
})
const trainDataLoaderOptions = { dropLast: true }
await trainer.train({ trainDataset, evalDataset, numEpochs: 8, perDeviceBatchSize: 32, trainDataLoaderOptions })
