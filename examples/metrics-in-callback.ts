// Accuracy, precision and recall of each evaluation, by a callback that stands before the default ones, which print them.
import { type Callback, data, getDefaultCallbacks, manualSeed, metrics, nn, optim, type Tensor, Trainer } from 'wick-ml'

manualSeed(42)
const [trainDataset, evalDataset] = data.randomSplit(data.mnist().train, [50_000, 10_000])

class MNISTModel extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))

  forward(images: Tensor) {
    return this.main.forward(images.flatten(1))
  }
}

class ClassificationMetrics implements Callback<Trainer<MNISTModel>> {
  readonly #metrics: ReturnType<typeof ClassificationMetrics.make>

  constructor(numClasses: number) {
    this.#metrics = ClassificationMetrics.make(numClasses)
  }

  static make(numClasses: number) {
    const task = { task: 'multiclass', numClasses, average: 'macro' } as const
    return new metrics.MetricCollection({
      accuracy: new metrics.Accuracy({ task: 'multiclass', numClasses }),
      precision: new metrics.Precision(task),
      recall: new metrics.Recall(task),
    })
  }

  onEvalStepEnd(
    _: Trainer<MNISTModel>,
    { batch: [, labels], batchOutput }: { batch: [Tensor, Tensor]; batchOutput: { modelOutputs: Tensor } },
  ) {
    this.#metrics.update(batchOutput.modelOutputs, labels)
  }

  async onEvalEpochEnd({ runHistory }: Trainer<MNISTModel>) {
    for (const [name, value] of Object.entries(await this.#metrics.compute())) runHistory.updateMetric(name, value)
    this.#metrics.reset()
  }
}

const model = new MNISTModel()
const trainer = new Trainer({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer: new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }),
  callbacks: [new ClassificationMetrics(10), ...getDefaultCallbacks()],
})
await trainer.train({ trainDataset, evalDataset, numEpochs: 2, perDeviceBatchSize: 32 })
