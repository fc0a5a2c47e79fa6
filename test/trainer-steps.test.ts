/** What a Trainer can do beyond plain runs: data without a length, learning-rate search, 1cycle, smaller batches without memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AnyTrainer,
  type BatchLoader,
  data,
  getDefaultCallbacks,
  lrFinder,
  manualSeed,
  memory,
  nn,
  optim,
  randint,
  randn,
  removePadding,
  schedulers,
  type Tensor,
  Trainer,
  tensor,
  WickError,
} from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(99)
  const x = randn([n, 4])
  return new data.TensorDataset<Batch>(x, x.select(1, 0).gt(0).to('int64'))
}
const makeModel = () => {
  manualSeed(0)
  return new nn.Sequential(new nn.Linear(4, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Linear(8, 3))
}
type Model = ReturnType<typeof makeModel>
class QuietTrainer extends Trainer<Model, Batch, Tensor> {
  readonly printed: string[] = []
  readonly log: string[] = []
  override print(...values: unknown[]) {
    this.printed.push(values.join(' '))
  }
  override optimizerStep() {
    this.log.push('update')
    return super.optimizerStep()
  }
}
const setup = ({ lr = 0.1, momentum = 0.9 } = {}) => {
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr, momentum })
  return { model, optimizer, loss: new nn.CrossEntropyLoss(), callbacks: [], seed: 4 }
}
const weights = (model: nn.Module) => Object.values(model.stateDict()).flatMap(t => Array.from(t.dataSync(), Number))

/** Batches of 2 samples, as many as `count`, from an iterable that says that it has `length`. */
class Streaming extends QuietTrainer {
  readonly count: number
  readonly says: number
  constructor(count: number, says: number) {
    super(setup())
    this.count = count
    this.says = says
  }
  override createTrainDataLoader(): BatchLoader<Batch> {
    const { count, says: length } = this
    const [x, y] = dataset(64).tensors
    return {
      length,
      async *[Symbol.asyncIterator]() {
        for (let i = 0; i < count; i++) yield [x.narrow(0, 2 * i, 2), y.narrow(0, 2 * i, 2)]
      },
    }
  }
}

test('data without a length: exactly maxNumTrainSteps updates, also within an epoch', async () => {
  const trainer = new Streaming(1e6, Number.POSITIVE_INFINITY)
  let context: object = {}
  await trainer.train({
    trainDataset: dataset(1),
    numEpochs: 3,
    maxNumTrainSteps: 5,
    gradientAccumulationSteps: 3,
    createScheduler: ctx => {
      context = ctx
      return new schedulers.CosineLrScheduler(ctx.optimizer, {
        totalNumEpochs: 1,
        numUpdateStepsPerEpoch: ctx.numUpdateStepsPerEpoch,
      })
    },
  })
  assert.equal(trainer.log.length, 5)
  assert.equal(Reflect.get(context, 'numUpdateStepsPerEpoch'), 5)
  assert.deepEqual(trainer.printed, ['Reached max number of training steps 5 in epoch 1'])
  const endless = new Streaming(1e6, Number.POSITIVE_INFINITY)
  await assert.rejects(
    endless.train({ trainDataset: dataset(1), numEpochs: 1 }),
    code('BAD_OPTION', /maxNumTrainSteps/),
  )
})

for (const says of [Number.POSITIVE_INFINITY, 50]) {
  test(`a last window that ends early is applied, weighted by what it holds (length ${says})`, async () => {
    const run = async (count: number, length: number) => {
      const trainer = new Streaming(count, length)
      await trainer.train({ trainDataset: dataset(1), numEpochs: 2, gradientAccumulationSteps: 3, maxNumTrainSteps: 9 })
      return { updates: trainer.log.length, weights: weights(trainer.model), epoch: trainer.runHistory.currentEpoch }
    }
    const stream = await run(7, says)
    assert.deepEqual({ ...stream, weights: 0 }, { updates: 6, weights: 0, epoch: 3 })
    const sized = await run(7, 7)
    for (const [i, w] of sized.weights.entries()) assert.ok(Math.abs(w - stream.weights[i]!) < 1e-6)
  })
}

test('lrFinder: rates rise by one factor, the loss is smoothed, and nothing has changed afterwards', async () => {
  const trainer = new QuietTrainer(setup())
  await trainer.train({ trainDataset: dataset(32), numEpochs: 1 })
  const state = () =>
    JSON.stringify([weights(trainer.model), trainer.runHistory, { ...trainer.optimizer.paramGroups[0], params: null }])
  const momentum = () =>
    Object.values((trainer.optimizer as optim.SGD).stateDict().state)
      .flatMap(s => Object.values(s))
      .map(String)
  const [before, buffers] = [state(), momentum()]
  const live = collected()
  const { lrs, losses, suggestion } = await trainer.lrFinder({
    trainDataset: dataset(64),
    startLr: 1e-5,
    endLr: 100,
    numSteps: 60,
    perDeviceBatchSize: 8,
  })
  assert.equal(state(), before)
  assert.deepEqual(momentum(), buffers)
  assert.ok(memory().tensors - live < 200)
  assert.ok(lrs.length > 20 && lrs.length === losses.length)
  for (const [i, lr] of lrs.entries()) assert.ok(Math.abs(lr / (1e-5 * 1e7 ** (i / 59)) - 1) < 1e-9)
  assert.ok(suggestion !== null && suggestion > 1e-4 && suggestion < 10, String(suggestion))
  assert.ok(Math.max(...losses) <= 4 * Math.min(...losses) + 1e-9)
  assert.equal(trainer.scheduler, null)
  trainer.print('still itself')
  assert.deepEqual(trainer.printed, ['still itself'])
  // The function is the same; a fresh optimizer is as fresh as before.
  const fresh = new QuietTrainer(setup())
  await lrFinder(fresh, { trainDataset: dataset(32), numSteps: 5 })
  assert.deepEqual((fresh.optimizer as optim.SGD).stateDict().state, {})
  assert.ok(!('initialLr' in fresh.optimizer.paramGroups[0]!))
  await assert.rejects(trainer.lrFinder({ trainDataset: dataset(4), startLr: 2, endLr: 1 }), code('BAD_OPTION'))
  await assert.rejects(trainer.lrFinder({ trainDataset: dataset(4), stepss: 2 } as never), code('BAD_OPTION'))
})

test('fitOneCycle: up to the highest rate and down over the whole run', async () => {
  const trainer = new QuietTrainer(setup())
  const rates: number[] = []
  trainer.callbackHandler.addCallback({
    onTrainStepStart: (t: AnyTrainer) => void rates.push(Number(Reflect.get(t.optimizer.paramGroups[0]!, 'lr'))),
  })
  await trainer.fitOneCycle({ trainDataset: dataset(40), numEpochs: 2, perDeviceBatchSize: 4, maxLr: 1 })
  assert.equal(rates.length, 20)
  assert.ok(Math.abs(rates[0]! - 1 / 25) < 1e-12 && rates.at(-1)! < 1e-5)
  assert.equal(Math.max(...rates), rates[5])
  const own = new QuietTrainer(setup({ lr: 0.3 }))
  const oneCycle = { pctStart: 0.5, divFactor: 10 }
  await own.fitOneCycle({ trainDataset: dataset(40), numEpochs: 1, perDeviceBatchSize: 4, oneCycle })
  assert.ok(own.scheduler instanceof schedulers.OneCycleLR)
  await assert.rejects(
    own.fitOneCycle({ trainDataset: dataset(4), numEpochs: 1, maxLR: 1 } as never),
    code('BAD_OPTION', /maxLR/),
  )
})

/** Has memory for batches of up to `limit` only, from update `from` on. */
class Scarce extends QuietTrainer {
  limit = 4
  from = 3
  override calculateTrainBatchLoss(batch: Batch) {
    if (batch[1].shape[0]! > this.limit && this.log.length >= this.from) {
      throw new WickError('OUT_OF_MEMORY', 'no memory left')
    }
    return super.calculateTrainBatchLoss(batch)
  }
}

test('autoBatchSize: begins again with smaller batches, says so, records it, as if the larger ones had never been', async () => {
  const run = { trainDataset: dataset(64), evalDataset: dataset(8), numEpochs: 2 }
  const scarce = new Scarce(setup())
  await scarce.train({ ...run, perDeviceBatchSize: 16, autoBatchSize: true })
  assert.deepEqual(scarce.printed, [
    'Out of memory with batches of 16: starting again with 8',
    'Out of memory with batches of 8: starting again with 4',
  ])
  assert.deepEqual(scarce.runHistory.getMetricValues('per_device_batch_size'), [16, 8, 4])
  assert.equal(scarce.runConfig?.trainPerDeviceBatchSize, 4)
  const plain = new QuietTrainer(setup())
  await plain.train({ ...run, perDeviceBatchSize: 4 })
  assert.deepEqual(weights(scarce.model), weights(plain.model))
  assert.deepEqual(
    scarce.runHistory.getMetricValues('train_loss_epoch'),
    plain.runHistory.getMetricValues('train_loss_epoch'),
  )
  const byLoader = new Scarce(setup())
  await byLoader.train({ ...run, autoBatchSize: true, trainDataLoaderOptions: { batchSize: 8 } })
  assert.equal(byLoader.runConfig?.trainPerDeviceBatchSize, 4)
})

test('without autoBatchSize, without smaller batches and for other errors the error remains', async () => {
  const run = { trainDataset: dataset(64), numEpochs: 1, perDeviceBatchSize: 16 }
  await assert.rejects(new Scarce(setup()).train(run), code('OUT_OF_MEMORY'))
  const none = new Scarce(setup())
  none.limit = 0
  none.from = 0
  await assert.rejects(none.train({ ...run, autoBatchSize: true }), code('OUT_OF_MEMORY'))
  assert.equal(none.printed.length, 4)
  const wrong = new QuietTrainer(setup())
  const trainDataset = new data.TensorDataset<Batch>(randn([4, 5]), randint(0, 3, [4]))
  await assert.rejects(wrong.train({ ...run, trainDataset, autoBatchSize: true }), code('SHAPE_MISMATCH'))
  assert.deepEqual(wrong.printed, [])
  await assert.rejects(wrong.train({ ...run, autoBatchsize: true } as typeof run), code('BAD_OPTION', /autoBatchSize/))
})

test('the bar of data without a length counts', async () => {
  const written: string[] = []
  const original = process.stderr.write
  process.stderr.write = (text: string | Uint8Array) => {
    written.push(String(text))
    return true
  }
  try {
    const trainer = new Streaming(1e6, Number.POSITIVE_INFINITY)
    trainer.callbackHandler.addCallbacks(getDefaultCallbacks())
    await trainer.train({ trainDataset: dataset(1), numEpochs: 1, maxNumTrainSteps: 4 })
  } finally {
    process.stderr.write = original
  }
  assert.match(written.join(''), /4it \[00:00, [\d.]+it\/s\]/)
})

test('gather: rows of nothing but the padding go, for 1 to 4 dimensions', () => {
  const trainer = new QuietTrainer(setup())
  const shapes: [number[], number[]][] = [
    [[1, -1, 0, -1], [4]],
    [
      [1, -1, -1, -1, -1, 5],
      [3, 2],
    ],
    [
      [-1, -1, -1, -1, 0, -1, 7, 8],
      [2, 2, 2],
    ],
    [
      [-1, -1, -1, -1, 0, -1, 7, 8],
      [2, 2, 2, 1],
    ],
  ]
  const left = [
    [1, 0],
    [1, -1, -1, 5],
    [0, -1, 7, 8],
    [0, -1, 7, 8],
  ]
  for (const [i, [values, shape]] of shapes.entries()) {
    const padded = tensor(values).reshape(shape)
    assert.deepEqual(Array.from(trainer.gather(padded, { paddingValue: -1 }).dataSync(), Number), left[i])
    assert.equal(trainer.gather(padded), padded)
  }
  assert.deepEqual(removePadding(tensor([[3, 3]]), 3).shape, [0, 2])
})

test('the run configuration says the precision', async () => {
  for (const precision of ['no', 'bf16', 'fp16'] as const) {
    const trainer = new QuietTrainer({ ...setup(), precision })
    await trainer.train({ trainDataset: dataset(8), numEpochs: 1 })
    assert.equal(trainer.runConfig?.mixedPrecision, precision)
  }
})

test('lrFinder and fitOneCycle have schedulers of their own, whatever a subclass makes', async () => {
  class Constant extends QuietTrainer {
    override createScheduler() {
      return new schedulers.ConstantLR(this.optimizer)
    }
  }
  const trainer = new Constant(setup())
  const { lrs } = await trainer.lrFinder({ trainDataset: dataset(16), startLr: 1e-4, endLr: 1e-2, numSteps: 3 })
  for (const [i, lr] of lrs.entries()) assert.ok(Math.abs(lr - 10 ** (i - 4)) < 1e-9)
  await trainer.fitOneCycle({ trainDataset: dataset(16), numEpochs: 1 })
  assert.ok(trainer.scheduler instanceof schedulers.OneCycleLR)
  await trainer.train({ trainDataset: dataset(16), numEpochs: 1 })
  assert.ok(trainer.scheduler instanceof schedulers.ConstantLR)
})
