// Two models with an optimizer each, by overriding what a step consists of: a generator and a discriminator of digits.
import { parseArgs } from 'node:util'
import { data, full, manualSeed, nn, noGrad, optim, randn, saveSafetensors, type Tensor, Trainer } from 'wick-ml'

const { values: args } = parseArgs({ options: { epochs: { type: 'string', default: '5' }, save: { type: 'string' } } })
manualSeed(42)
const LATENT = 64

class Generator extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(
    ...[new nn.Linear(LATENT, 256), new nn.LeakyReLU(0.2), new nn.Linear(256, 512), new nn.LeakyReLU(0.2)],
    ...[new nn.Linear(512, 784), new nn.Tanh()],
  )

  forward(noise: Tensor) {
    return this.main.forward(noise)
  }
}

class Discriminator extends nn.Module<[Tensor], Tensor> {
  main = new nn.Sequential(
    ...[new nn.Linear(784, 512), new nn.LeakyReLU(0.2), new nn.Dropout(0.3)],
    ...[new nn.Linear(512, 256), new nn.LeakyReLU(0.2), new nn.Linear(256, 1)],
  )

  forward(images: Tensor) {
    return this.main.forward(images).flatten()
  }
}

const entropy = new nn.BCEWithLogitsLoss()
const options = { lr: 2e-4, betas: [0.5, 0.999], weightDecay: 0 } as const

class GanTrainer extends Trainer<Generator, [Tensor, Tensor], Tensor> {
  // Fields with state are a part of training states, so a run with both models resumes exactly.
  readonly discriminator = new Discriminator()
  readonly discriminatorOptimizer = new optim.AdamW(this.discriminator.parameters(), options)
  #discriminatorLoss: Tensor | undefined

  override calculateTrainBatchLoss([images]: [Tensor, Tensor]) {
    const batchSize = images.shape[0]!
    const [real, fake] = [full([batchSize], 0.9), full([batchSize], 0)]
    const modelOutputs = this.model.forward(randn([batchSize, LATENT]))
    const judged = this.discriminator.forward(images.flatten(1).mul(2).sub(1))
    const ofFakes = entropy.forward(this.discriminator.forward(modelOutputs.detach()), fake)
    this.#discriminatorLoss = entropy.forward(judged, real).add(ofFakes)
    return { loss: entropy.forward(this.discriminator.forward(modelOutputs), real), modelOutputs, batchSize }
  }

  override backwardStep(loss: Tensor) {
    super.backwardStep(loss)
    // What the generator's loss left in the discriminator isn't the discriminator's.
    this.discriminatorOptimizer.zeroGrad()
    this.#discriminatorLoss?.backward()
    this.#discriminatorLoss = undefined
  }

  override optimizerStep() {
    this.discriminatorOptimizer.step()
    return super.optimizerStep()
  }

  override optimizerZeroGrad() {
    this.discriminatorOptimizer.zeroGrad()
    return super.optimizerZeroGrad()
  }
}

const model = new Generator()
const trainer = new GanTrainer({ model, loss: null, optimizer: new optim.AdamW(model.parameters(), options) })
const trainDataset = data.mnist().train
await trainer.train({ trainDataset, numEpochs: Number(args.epochs), perDeviceBatchSize: 64 })
model.eval()
const images = noGrad(() =>
  model
    .forward(randn([64, LATENT]))
    .add(1)
    .div(2)
    .reshape([64, 1, 28, 28]),
)
trainer.print(`\n64 images with a mean of ${(await images.mean().item()).toFixed(3)}`)
if (args.save) saveSafetensors(args.save, { images })
