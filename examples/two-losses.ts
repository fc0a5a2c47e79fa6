// A recipe for training from scratch: smoothed labels in training and plain ones in evaluation, weight decay for weights only, and a
// cosine with warmup and cooldown.
import {
  data,
  getDefaultCallbacks,
  LearningRateMonitorCallback,
  manualSeed,
  nn,
  optim,
  schedulers,
  type Tensor,
  Trainer,
} from 'wick-ml'

manualSeed(42)
const [trainDataset, evalDataset] = data.randomSplit(data.mnist().train, [55_000, 5_000])

class Net extends nn.Module<[Tensor], Tensor> {
  features = new nn.Sequential(
    ...[new nn.Conv2d(1, 16, { kernelSize: 3, stride: 2 }), new nn.BatchNorm2d(16), new nn.SiLU()],
    ...[new nn.Conv2d(16, 32, { kernelSize: 3, stride: 2 }), new nn.BatchNorm2d(32), new nn.SiLU()],
  )
  head = new nn.Sequential(new nn.AdaptiveAvgPool2d(2), new nn.Flatten(), new nn.Dropout(0.1), new nn.Linear(128, 10))

  forward(images: Tensor) {
    return this.head.forward(this.features.forward(images))
  }
}

class TwoLossTrainer extends Trainer<Net, [Tensor, Tensor], Tensor> {
  readonly evalLoss = new nn.CrossEntropyLoss()

  override calculateEvalBatchLoss([images, labels]: [Tensor, Tensor]) {
    const modelOutputs = this.model.forward(images)
    return { loss: this.evalLoss.forward(modelOutputs, labels), modelOutputs, batchSize: labels.shape[0]! }
  }
}

const model = new Net()
// Biases and the parameters of normalisations have one dimension.
const weights = model.parameters().filter(parameter => parameter.ndim > 1)
const others = model.parameters().filter(parameter => parameter.ndim === 1)
const groups = [{ params: weights }, { params: others, weightDecay: 0 }]
const trainer = new TwoLossTrainer({
  model,
  loss: new nn.CrossEntropyLoss({ labelSmoothing: 0.1 }),
  optimizer: new optim.AdamW(groups, { lr: 5e-3, weightDecay: 0.05 }),
  callbacks: [new LearningRateMonitorCallback(), ...getDefaultCallbacks()],
})
await trainer.train({
  trainDataset,
  evalDataset,
  numEpochs: 10,
  perDeviceBatchSize: 64,
  createScheduler: schedulers.CosineLrScheduler.createSchedulerFn({ numWarmupEpochs: 2, numCooldownEpochs: 2 }),
})
