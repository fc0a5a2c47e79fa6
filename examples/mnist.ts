import { parseArgs } from 'node:util'
import { callbacks, data, LossTracker, manualSeed, nn, optim, type Tensor, Trainer } from 'wick-ml'

const str = (value: string) => ({ type: 'string', default: value }) as const
const options = { epochs: str('8'), 'batch-size': str('32'), lr: str('0.001'), seed: str('42'), device: str('cpu') }
const { values: args } = parseArgs({ options })
manualSeed(Number(args.seed))

const { Linear, ReLU } = nn
class MNISTModel extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(new Linear(784, 128), new ReLU(), new Linear(128, 64), new ReLU(), new Linear(64, 10))

  forward(images: Tensor) {
    return this.main.forward(images.flatten(1))
  }
}

const [trainDataset, evalDataset, testDataset] = data.randomSplit(data.mnist().train, [50_000, 5_000, 5_000])
const model = new MNISTModel()
const optimizer = new optim.SGD(model.parameters(), { lr: Number(args.lr), momentum: 0.9 })
const hits = new LossTracker(args.device) // a running mean there
const accuracy: callbacks.Callback<Trainer<MNISTModel>> = {
  onEvalEpochStart: () => hits.reset(),
  onEvalStepEnd(_, { batch: [, labels], batchOutput: { modelOutputs, batchSize } }) {
    hits.update(modelOutputs.argmax(1).eq(labels).float().mean(), batchSize)
  },
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('eval_accuracy', (await hits.read()).average)
  },
}
const trainer = new Trainer({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer,
  callbacks: [accuracy, ...callbacks.getDefaultCallbacks()],
  device: args.device,
})
await trainer.train({ trainDataset, evalDataset, numEpochs: +args.epochs, perDeviceBatchSize: +args['batch-size'] })
await trainer.evaluate({ dataset: testDataset, perDeviceBatchSize: 64 })
