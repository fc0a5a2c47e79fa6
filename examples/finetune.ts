// Transfer learning with gradual unfreezing: a model that knows the digits 0 to 4 learns 5 to 9, first with a new head only.
import { data, ModelFreezer, manualSeed, nn, optim, type Tensor, Trainer } from 'wick-ml'

manualSeed(42)
const [images, labels] = data.mnist().train.tensors
const digits = Array.from(labels.dataSync(), Number)
/** The digits from `first` on, as classes 0 to 4. */
function fiveDigits(first: number) {
  const indices = digits.flatMap((digit, i) => (digit >= first && digit < first + 5 ? [i] : []))
  const relabelled = new data.TensorDataset<[Tensor, Tensor]>(images, labels.sub(first))
  return data.randomSplit(new data.Subset(relabelled, indices), [0.9, 0.1])
}

class Net extends nn.Module<[Tensor], Tensor> {
  stem = new nn.Sequential(new nn.Conv2d(1, 16, { kernelSize: 3 }), new nn.ReLU(), new nn.MaxPool2d(2))
  body = new nn.Sequential(new nn.Conv2d(16, 32, { kernelSize: 3 }), new nn.ReLU(), new nn.MaxPool2d(2))
  head = new nn.Sequential(new nn.Flatten(), new nn.Linear(32 * 5 * 5, 5))

  forward(images: Tensor) {
    return this.head.forward(this.body.forward(this.stem.forward(images)))
  }
}

const model = new Net()
const loss = new nn.CrossEntropyLoss()
const first = new Trainer({ model, loss, optimizer: new optim.AdamW(model.parameters(), { lr: 1e-3 }) })
const [knownTrain, knownEval] = fiveDigits(0)
await first.train({ trainDataset: knownTrain!, evalDataset: knownEval, numEpochs: 1, perDeviceBatchSize: 64 })

model.head = new nn.Sequential(new nn.Flatten(), new nn.Linear(32 * 5 * 5, 5))
const freezer = new ModelFreezer(model)
freezer.freeze()
const optimizer = new optim.AdamW(freezer.getTrainableParameters(), { lr: 1e-3 })
const trainer = new Trainer({ model, loss, optimizer })
const [trainDataset, evalDataset] = fiveDigits(5)
const run = { trainDataset: trainDataset!, evalDataset, perDeviceBatchSize: 64 }
await trainer.train({ ...run, numEpochs: 1 })

for (const group of Object.values(freezer.unfreeze({ fromIndex: -2 }))) optimizer.addParamGroup({ ...group, lr: 1e-4 })
await trainer.fitOneCycle({ ...run, numEpochs: 2, resetRunHistory: false })
