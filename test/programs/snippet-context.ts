/** What the snippets of README.md and docs/ use without making it. */
import { existsSync } from 'node:fs'
import { data, manualSeed, models, nn, optim, rand, randint, saveSafetensors, type Tensor, Trainer } from 'wick-ml'

export class Net extends nn.Module<[Tensor], Tensor> {
  stem = new nn.Linear(64, 16)
  head = new nn.Linear(16, 10)

  forward(images: Tensor) {
    return this.head.forward(this.stem.forward(images.flatten(1)).relu())
  }
}

/** Small data and a Trainer for it; in the current folder the file of weights that `source`, a snippet's text, names. */
export function makeContext(source: string) {
  manualSeed(0)
  const weights = 'resnet18.safetensors'
  if (source.includes(weights) && !existsSync(weights)) saveSafetensors(weights, models.resnet18().stateDict())
  const images = rand([64, 1, 8, 8])
  const labels = randint(0, 10, [64])
  const dataset = new data.TensorDataset(images, labels)
  const model = new Net()
  const loss = new nn.CrossEntropyLoss()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 })
  const trainer = new Trainer({ model, loss, optimizer })
  return {
    makeModel: () => new Net(),
    model,
    loss,
    optimizer,
    trainer,
    trainDataset: dataset,
    evalDataset: dataset,
    images,
    x: images,
    y: labels,
    batch: [images, labels] as [Tensor, Tensor],
    save: () => trainer.saveCheckpoint('model'),
  }
}
