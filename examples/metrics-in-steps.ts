// The metrics of metrics-in-callback.ts, by overriding the steps of the Trainer.
import { data, manualSeed, metrics, nn, optim, type Tensor, Trainer } from 'wick-ml'

manualSeed(42)
const [trainDataset, evalDataset] = data.randomSplit(data.mnist().train, [50_000, 10_000])

class MNISTModel extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))

  forward(images: Tensor) {
    return this.main.forward(images.flatten(1))
  }
}

class TrainerWithMetrics extends Trainer<MNISTModel, [Tensor, Tensor], Tensor> {
  readonly metrics = new metrics.MetricCollection({
    accuracy: new metrics.Accuracy({ task: 'multiclass', numClasses: 10 }),
    precision: new metrics.Precision({ task: 'multiclass', numClasses: 10, average: 'macro' }),
    recall: new metrics.Recall({ task: 'multiclass', numClasses: 10, average: 'macro' }),
  })

  override async calculateEvalBatchLoss(batch: [Tensor, Tensor]) {
    const output = await super.calculateEvalBatchLoss(batch)
    this.metrics.update(output.modelOutputs, batch[1])
    return output
  }

  override async evalEpochEnd() {
    for (const [name, value] of Object.entries(await this.metrics.compute())) this.runHistory.updateMetric(name, value)
    this.metrics.reset()
  }
}

const model = new MNISTModel()
const trainer = new TrainerWithMetrics({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer: new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }),
})
await trainer.train({ trainDataset, evalDataset, numEpochs: 2, perDeviceBatchSize: 32 })
