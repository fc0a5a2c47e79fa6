// A ResNet on CIFAR-10 (`--data FOLDER`, the binary version), or without it on images of the same form that are made here:
// stripes of ten directions, in random colours and noise. `--limit N` trains and evaluates on N batches an epoch.
import { parseArgs } from 'node:util'
import {
  arange,
  callbacks,
  data,
  Generator,
  LossTracker,
  manualSeed,
  models,
  nn,
  optim,
  rand,
  randint,
  randn,
  scope,
  type Tensor,
  Trainer,
  tensor,
} from 'wick-ml'

const text = (value: string) => ({ type: 'string', default: value }) as const
const { values: args } = parseArgs({
  options: {
    model: text('resnet18'),
    width: text('64'),
    device: text('cpu'),
    precision: text('no'),
    epochs: text('5'),
    'batch-size': text('128'),
    lr: text('0.05'),
    seed: text('42'),
    data: { type: 'string' },
    limit: { type: 'string' },
  },
})
const batchSize = Number(args['batch-size'])
const limit = args.limit === undefined ? undefined : Number(args.limit)
manualSeed(Number(args.seed))

/** `count` images `[count, 3, 32, 32]` in 0..1 and their labels; the same for the same seed. */
function stripes(count: number, seed: number): data.ImageDataset {
  const generator = new Generator(seed)
  const tensors = scope((): [Tensor, Tensor] => {
    const labels = randint(0, 10, [count], { generator })
    const angle = labels
      .float()
      .mul(Math.PI / 10)
      .reshape([count, 1, 1, 1])
    const across = arange(32).float()
    const along = across.reshape([32, 1]).mul(angle.sin()).add(across.mul(angle.cos()))
    const phase = rand([count, 1, 1, 1], { generator }).mul(2 * Math.PI)
    const colour = rand([count, 3, 1, 1], { generator }).sub(0.5)
    const noise = randn([count, 3, 32, 32], { generator }).mul(0.1)
    const images = along.mul(0.8).add(phase).sin().mul(colour).add(noise).add(0.5).clamp(0, 1)
    return [images, labels]
  })
  return new data.TensorDataset(...tensors)
}

/** The images with the mean and the standard deviation that CIFAR-10 has over all its pixels taken out, in place. */
function normalize({ train, test }: data.ImageDatasets): data.ImageDatasets {
  const perChannel = (values: number[]) => tensor(values).reshape([3, 1, 1])
  const [mean, std] = [perChannel([0.4914, 0.4822, 0.4465]), perChannel([0.247, 0.2435, 0.2616])]
  for (const { tensors } of [train, test]) tensors[0].sub_(mean).div_(std)
  return { train, test }
}

const count = (limit ?? 80) * batchSize
const images =
  args.data === undefined ? { train: stripes(count, 1), test: stripes(count >> 2, 2) } : data.cifar10(args.data)
const { train: trainDataset, test: evalDataset } = normalize(images)

const model = models.createModel(args.model as models.ModelName, { numClasses: 10, stem: 'cifar', width: +args.width })
const optimizer = new optim.SGD(model.parameters(), {
  lr: Number(args.lr),
  momentum: 0.9,
  weightDecay: 5e-4,
  nesterov: true,
})

const hits = new LossTracker(args.device) // a running mean there
const accuracy: callbacks.Callback<Trainer<models.ResNet, [Tensor, Tensor], Tensor>> = {
  onEvalEpochStart: () => hits.reset(),
  onEvalStepEnd(_, { batch: [, labels], batchOutput: { modelOutputs, batchSize } }) {
    hits.update(modelOutputs.argmax(1).eq(labels).float().mean(), batchSize)
  },
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('eval_accuracy', (await hits.read()).average)
  },
}
const limited = limit === undefined ? [] : [new callbacks.LimitBatchesCallback({ numBatches: limit })]
const trainer = new Trainer({
  model,
  loss: new nn.CrossEntropyLoss(),
  optimizer,
  callbacks: [...limited, accuracy, ...callbacks.getDefaultCallbacks()],
  device: args.device,
  precision: args.precision as 'no' | 'bf16' | 'fp16', // others are an error of the Trainer
})
await trainer.train({ trainDataset, evalDataset, numEpochs: Number(args.epochs), perDeviceBatchSize: batchSize })
