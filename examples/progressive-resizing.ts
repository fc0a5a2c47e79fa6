// Progressive resizing: one Trainer trains a ResNet on images of 7, 14 and 28 pixels, in three runs. Each run stops early or keeps the
// weights of its best epoch, with which the next one begins.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Callback,
  data,
  EarlyStoppingCallback,
  getDefaultCallbacks,
  manualSeed,
  metrics,
  models,
  nn,
  optim,
  SaveBestModelCallback,
  type Tensor,
  Trainer,
} from 'wick-ml'

manualSeed(42)
const { train, test } = data.mnist()

/** The images, `size` pixels high and wide. */
function resized({ tensors: [images, labels] }: data.ImageDataset, size: number): data.ImageDataset {
  return new data.TensorDataset(nn.F.adaptiveAvgPool2d(images, size), labels)
}

const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 10 })
const measure: Callback<Trainer<models.ResNet, [Tensor, Tensor], Tensor>> = {
  onEvalStepEnd: (_, { batch: [, labels], batchOutput }) => accuracy.update(batchOutput.modelOutputs, labels),
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('accuracy', await accuracy.compute())
    accuracy.reset()
  },
}

const model = models.resnet18({ numClasses: 10, inChannels: 1, stem: 'cifar', width: 8 })
const savePath = join(mkdtempSync(join(tmpdir(), 'wick-')), 'best_model.safetensors')
const trainer = new Trainer({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer: new optim.AdamW(model.parameters(), { lr: 1e-3 }),
  callbacks: [
    measure,
    ...getDefaultCallbacks(),
    new SaveBestModelCallback({ savePath, watchMetric: 'accuracy', greaterIsBetter: true }),
    new EarlyStoppingCallback({ earlyStoppingPatience: 2 }),
  ],
})
for (const [size, numEpochs] of [
  [7, 2],
  [14, 3],
  [28, 6],
] as const) {
  trainer.print(`\nImages of ${size} pixels`)
  const [trainDataset, evalDataset] = [resized(train, size), resized(test, size)]
  await trainer.train({ trainDataset, evalDataset, numEpochs, perDeviceBatchSize: 64 })
}
