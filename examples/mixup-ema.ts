// Mixup, and a moving average of the weights that is evaluated and saved beside the model. Training takes the binary cross-entropy of
// mixed targets, evaluation the cross-entropy of labels.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Callback,
  data,
  getDefaultCallbacks,
  ModelEmaCallback,
  manualSeed,
  metrics,
  nn,
  optim,
  rand,
  schedulers,
  type Tensor,
  Trainer,
} from 'wick-ml'

manualSeed(42)
const [trainDataset, evalDataset] = data.randomSplit(data.mnist().train, [55_000, 5_000])

class Net extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(new nn.Linear(784, 256), new nn.GELU(), new nn.Dropout(0.1), new nn.Linear(256, 10))

  forward(images: Tensor) {
    return this.main.forward(images.flatten(1))
  }
}

class MixupTrainer extends Trainer<Net, [Tensor, Tensor], Tensor> {
  override calculateTrainBatchLoss([images, labels]: [Tensor, Tensor]) {
    // Each image with its opposite in the batch; the share, drawn on the device, has the distribution Beta(1, 1).
    const share = rand([1], { device: images.device })
    const targets = labels.oneHot(10).float()
    return super.calculateTrainBatchLoss([images.lerp(images.flip(0), share), targets.lerp(targets.flip(0), share)])
  }

  override calculateEvalBatchLoss([images, labels]: [Tensor, Tensor]) {
    const modelOutputs = this.model.forward(images)
    return { loss: nn.F.crossEntropy(modelOutputs, labels), modelOutputs, batchSize: labels.shape[0]! }
  }
}

const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 10 })
const measure: Callback<MixupTrainer> = {
  onEvalStepEnd: (_, { batch: [, labels], batchOutput }) => accuracy.update(batchOutput.modelOutputs, labels),
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('accuracy', await accuracy.compute())
    accuracy.reset()
  },
}

const model = new Net()
const savePath = join(mkdtempSync(join(tmpdir(), 'wick-')), 'ema_model.safetensors')
const watched = { watchMetric: 'ema_model_accuracy', greaterIsBetter: true } as const
const trainer = new MixupTrainer({
  model,
  loss: new nn.BCEWithLogitsLoss(),
  optimizer: new optim.AdamW(model.parameters(), { lr: 2e-3 }),
  callbacks: [
    measure,
    new ModelEmaCallback({ decay: 0.99, savePath, ...watched, callbacks: [measure] }),
    ...getDefaultCallbacks(),
  ],
})
await trainer.train({
  trainDataset,
  evalDataset,
  numEpochs: 5,
  perDeviceBatchSize: 64,
  createScheduler: schedulers.CosineLrScheduler.createSchedulerFn({ numWarmupEpochs: 1 }),
})
