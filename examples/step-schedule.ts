// Transfer learning from a file of weights with a stepwise schedule: a ResNet that knows the digits 0 to 7 tells 8 from 9, of which it
// gets 240 images. torchvision's weights load in the same way.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  data,
  getDefaultCallbacks,
  LearningRateMonitorCallback,
  manualSeed,
  models,
  nn,
  optim,
  saveSafetensors,
  schedulers,
  type Tensor,
  Trainer,
} from 'wick-ml'

manualSeed(42)
const { train, test } = data.mnist()

/** The first `count` images of digits from `first` to `last`, as classes from 0. */
function digits({ tensors: [images, labels] }: data.ImageDataset, first: number, last: number, count = Infinity) {
  const values = Array.from(labels.dataSync(), Number)
  const indices = values.flatMap((digit, i) => (digit >= first && digit <= last ? [i] : [])).slice(0, count)
  return new data.Subset(new data.TensorDataset<[Tensor, Tensor]>(images, labels.sub(first)), indices)
}

const small = { inChannels: 1, stem: 'cifar', width: 8 } as const
const loss = new nn.CrossEntropyLoss()
const folder = mkdtempSync(join(tmpdir(), 'wick-digits-'))
const pretrained = join(folder, 'digits.safetensors')
{
  const model = models.resnet18({ ...small, numClasses: 8 })
  const trainer = new Trainer({ model, loss, optimizer: new optim.AdamW(model.parameters(), { lr: 2e-3 }) })
  await trainer.train({ trainDataset: digits(train, 0, 7), numEpochs: 1, perDeviceBatchSize: 64 })
  saveSafetensors(pretrained, model.stateDict())
}

// Two classes instead of the file's eight: the head is new, everything else is the file's.
const model = models.resnet18({ ...small, pretrained, numClasses: 2 })
rmSync(folder, { recursive: true })
const trainer = new Trainer({
  model,
  loss,
  optimizer: new optim.SGD(model.parameters(), { lr: 0.001, momentum: 0.9 }),
  callbacks: [new LearningRateMonitorCallback(), ...getDefaultCallbacks()],
})
await trainer.train({
  trainDataset: digits(train, 8, 9, 240),
  evalDataset: digits(test, 8, 9, 150),
  numEpochs: 8,
  perDeviceBatchSize: 4,
  createScheduler: ctx => new schedulers.StepLR(ctx.optimizer, { stepSize: 7 * ctx.numUpdateStepsPerEpoch }),
})
