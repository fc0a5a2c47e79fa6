/** Runs into one of the troubles that `faults.test.ts` looks at, and prints what came of it as JSON on its last line: `fault.ts NAME`. */
import {
  capture,
  cuda,
  data,
  emptyCache,
  memory,
  nn,
  ones,
  optim,
  randint,
  randn,
  scope,
  type Tensor,
  Trainer,
  tensor,
  WickError,
  zeros,
} from '../../../ts/index.ts'

const device = 'cuda'

/** What is known of an error. */
function described(error: unknown) {
  if (!(error instanceof WickError)) throw error
  return { code: error.code, op: error.op ?? '', message: error.message }
}

/** The error that `f` throws, null without one. */
function errorOf(f: () => unknown): ReturnType<typeof described> | null {
  try {
    f()
  } catch (error) {
    return described(error)
  }
  return null
}

/** Whether a product on a device is right, so that the device still is of use. */
function works(on = device): boolean {
  return scope(
    () =>
      ones([8, 8], { device: on })
        .matmul(ones([8, 8], { device: on }))
        .sum()
        .itemSync() === 512,
  )
}

/** A kernel meets an index that is out of range, alone and in a replayed step. */
function index() {
  const x = randn([4, 3], { device })
  const wrong = tensor([0, 9], { device })
  const alone = errorOf(() => x.indexSelect(0, wrong).dataSync())
  const step = capture((rows: Tensor) => x.indexSelect(0, rows).sum())
  const right = tensor([0, 1], { device })
  for (let i = 0; i < 5; i++) step(right).itemSync()
  const replayed = errorOf(() => step(wrong).itemSync())
  const next = errorOf(() => step(right).itemSync())
  return { alone, replayed, next, works: works() }
}

/** A label that is no class, in an eager and in a replayed step, and in a Trainer. */
async function label() {
  const x = randn([4, 3], { device })
  const right = tensor([0, 1, 2, 0], { device })
  const wrong = tensor([0, 1, 7, 0], { device })
  const lossOf = (y: Tensor) => nn.F.crossEntropy(x, y)
  const alone = errorOf(() => lossOf(wrong).itemSync())
  const step = capture(lossOf)
  const replayed = [right, right, right, right, wrong, right].map(y => errorOf(() => step(y).itemSync()))
  const model = new nn.Linear(3, 3)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Trainer<nn.Linear, [Tensor, Tensor], Tensor>({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    callbacks: [],
    device,
  })
  const run = trainer.train({
    trainDataset: new data.TensorDataset(randn([4, 3]), tensor([0, 1, 7, 0])),
    numEpochs: 1,
    perDeviceBatchSize: 4,
  })
  const trained = await run.then(() => null, described)
  const finite = model.weight.dataSync().every(w => Number.isFinite(Number(w)))
  return { alone, replayed, trained, finite, works: works() }
}

/** More than there is, at once and bit by bit, with a model in training that goes on afterwards. */
function exhausted() {
  const model = new nn.Linear(64, 64)
  model.to(device)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const x = randn([32, 64], { device })
  const step = capture(() => {
    optimizer.zeroGrad()
    const loss = model.forward(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss
  })
  for (let i = 0; i < 5; i++) step().itemSync()
  const atOnce = errorOf(() => zeros([2 ** 40], { device, dtype: 'uint8' }))
  const blocks: Tensor[] = []
  const before = memory({ device }).bytes
  const bitByBit = errorOf(() => {
    for (;;) blocks.push(zeros([2 ** 31], { device, dtype: 'uint8' }))
  })
  const held = memory({ device }).bytes - before
  for (const block of blocks) block.dispose()
  const after = memory({ device }).bytes - before
  emptyCache()
  const loss = step().itemSync()
  return { atOnce, bitByBit, blocks: blocks.length, held, after, loss, works: works() }
}

/** What works without CUDA's libraries, and what the others say. */
function library() {
  const libraries = cuda.libraries()
  const image = () => randn([1, 3, 8, 8], { device })
  const filter = () => randn([4, 3, 3, 3], { device })
  const errors = {
    add: errorOf(() => ones([4], { device }).add(1).dataSync()),
    matmul: errorOf(() => works()),
    conv2d: errorOf(() => nn.F.conv2d(image(), filter()).dataSync()),
  }
  return { libraries, errors, works: works('cpu') }
}

/** Trains until somebody stops it; says so when the first epoch has ended. */
async function training() {
  class Told extends Trainer<nn.Linear, [Tensor, Tensor], Tensor> {
    override trainingRunEpochEnd() {
      if (this.runHistory.currentEpoch === 1) console.log('an epoch ended')
    }
  }
  const model = new nn.Linear(16, 4)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 })
  const trainDataset = new data.TensorDataset(randn([4096, 16]), randint(0, 4, [4096]))
  const trainer = new Told({ model, loss: new nn.CrossEntropyLoss(), optimizer, device })
  await trainer.train({ trainDataset, numEpochs: 1_000_000, perDeviceBatchSize: 32 })
  return {}
}

const troubles = { index, label, exhausted, library, training }
const name = process.argv[2]
if (!name || !(name in troubles)) throw new Error(`one of ${Object.keys(troubles).join(', ')}`)
console.log(`\n${JSON.stringify(await troubles[name as keyof typeof troubles]())}`)
