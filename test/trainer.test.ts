import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AnyTrainer,
  arange,
  type Callback,
  data,
  getDefaultCallbacks,
  InMemoryRunHistory,
  keep,
  LossTracker,
  limitBatches,
  manualSeed,
  memory,
  nn,
  optim,
  rand,
  randint,
  randn,
  StopTrainingError,
  type Tensor,
  TerminateOnNaNCallback,
  Trainer,
  tensor,
  WickError,
} from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

const makeModel = (seed = 0) => {
  manualSeed(seed)
  return new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
}
type Model = ReturnType<typeof makeModel>
type Batch = [Tensor, Tensor]
const makeData = (n: number) => {
  manualSeed(99)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}

interface Setup {
  model?: Model
  callbacks?: Callback<Trainer<Model, Batch, Tensor>>[]
  seed?: number
  capture?: 'auto' | 'full' | 'off'
  lr?: number
}
class QuietTrainer extends Trainer<Model, Batch, Tensor> {
  readonly printed: string[] = []
  override print(...values: unknown[]) {
    this.printed.push(values.join(' '))
  }
}
function makeTrainer({ model = makeModel(), callbacks = [], lr = 0.1, ...rest }: Setup = {}) {
  const optimizer = new optim.SGD(model.parameters(), { lr, momentum: 0.9 })
  return new QuietTrainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks, ...rest })
}
const weights = async (model: Model) =>
  (await Promise.all(model.parameters().map(p => p.data()))).flatMap(values => Array.from(values, Number))
const assertClose = (a: number[], b: number[], tolerance = 1e-5) => {
  assert.equal(a.length, b.length)
  a.forEach((x, i) => {
    assert.ok(Math.abs(x - b[i]!) <= tolerance, `${x} and ${b[i]} at ${i}`)
  })
}

// Order of calls

const methods = [
  'createTrainDataLoader',
  'createEvalDataLoader',
  'prepareModelOptimizerAndDataLoaders',
  'createRunConfig',
  'checkEvalBatchSize',
  'createScheduler',
  'trainingRunStart',
  'trainEpochStart',
  'calculateTrainBatchLoss',
  'updateLossTracker',
  'backwardStep',
  'clipGradients',
  'optimizerStep',
  'schedulerStep',
  'optimizerZeroGrad',
  'trainEpochEnd',
  'evalEpochStart',
  'calculateEvalBatchLoss',
  'evalEpochEnd',
  'trainingRunEpochEnd',
  'trainingRunEnd',
  'evaluationRunStart',
  'evaluationRunEnd',
]
const events = [
  'onInitEnd',
  'onTrainingRunStart',
  'onTrainEpochStart',
  'onTrainStepStart',
  'onTrainStepEnd',
  'onTrainEpochEnd',
  'onEvalEpochStart',
  'onEvalStepStart',
  'onEvalStepEnd',
  'onEvalEpochEnd',
  'onTrainingRunEpochEnd',
  'onTrainingRunEnd',
  'onEvaluationRunStart',
  'onEvaluationRunEnd',
  'onStopTrainingError',
]

/** A trainer whose methods and events write their names into `log`; `stop` names an event that stops the training. */
function recorded(stop?: string, async = false) {
  const log: string[] = []
  const recorder = Object.fromEntries(
    events.map(name => [
      name,
      () => {
        log.push(name)
        if (name === stop) throw new StopTrainingError('enough')
        return async ? new Promise<void>(resolve => setTimeout(resolve, 1)) : undefined
      },
    ]),
  )
  const trainer = makeTrainer({ callbacks: [recorder] })
  for (const name of methods) {
    const original: unknown = Reflect.get(trainer, name)
    assert.ok(typeof original === 'function', name)
    Reflect.set(trainer, name, (...args: unknown[]) => {
      log.push(name)
      return original.apply(trainer, args)
    })
  }
  return { trainer, log }
}

const setUp = ['prepareModelOptimizerAndDataLoaders', 'createRunConfig', 'checkEvalBatchSize']
const forward = ['onTrainStepStart', 'calculateTrainBatchLoss', 'updateLossTracker', 'onTrainStepEnd', 'backwardStep']
const update = ['optimizerStep', 'optimizerZeroGrad']
const evalStep = ['onEvalStepStart', 'calculateEvalBatchLoss', 'updateLossTracker', 'onEvalStepEnd']
const evalEpoch = ['evalEpochStart', 'onEvalEpochStart', ...evalStep, ...evalStep, 'evalEpochEnd', 'onEvalEpochEnd']
const runEnd = ['trainingRunEnd', 'onTrainingRunEnd']

for (const isAsync of [false, true]) {
  test(`call order of train and evaluate with ${isAsync ? 'asynchronous' : 'synchronous'} events`, async () => {
    const { trainer, log } = recorded(undefined, isAsync)
    assert.deepEqual(log.splice(0), ['onInitEnd'])
    await trainer.train({
      trainDataset: makeData(4),
      evalDataset: makeData(3),
      numEpochs: 2,
      perDeviceBatchSize: 2,
      gradientClipNorm: 1,
      createScheduler: () => ({ step() {} }),
    })
    const fullUpdate = ['clipGradients', 'optimizerStep', 'schedulerStep', 'optimizerZeroGrad']
    const step = [...forward, ...fullUpdate]
    const trainEpoch = ['trainEpochStart', 'onTrainEpochStart', ...step, ...step, 'trainEpochEnd', 'onTrainEpochEnd']
    const epoch = [...trainEpoch, ...evalEpoch, 'trainingRunEpochEnd', 'onTrainingRunEpochEnd']
    assert.deepEqual(log.splice(0), [
      'createTrainDataLoader',
      'createEvalDataLoader',
      ...setUp,
      'createScheduler',
      'trainingRunStart',
      'onTrainingRunStart',
      ...epoch,
      ...epoch,
      ...runEnd,
    ])
    assert.equal(trainer.runHistory.currentEpoch, 3)
    await trainer.evaluate({ dataset: makeData(3), perDeviceBatchSize: 2 })
    const run = ['evaluationRunStart', 'onEvaluationRunStart', ...evalEpoch, 'evaluationRunEnd', 'onEvaluationRunEnd']
    assert.deepEqual(log, ['createEvalDataLoader', ...setUp, ...run])
    assert.deepEqual(trainer.runHistory.getMetricNames(), ['evaluation_loss'])
  })
}

test('call order with accumulation: the last window is partial, clipping and updating happen once a window', async () => {
  const { trainer, log } = recorded()
  await trainer.train({
    trainDataset: makeData(6),
    numEpochs: 1,
    perDeviceBatchSize: 2,
    gradientAccumulationSteps: 2,
    gradientClipValue: 1,
  })
  const start = log.indexOf('onTrainEpochStart')
  assert.deepEqual(log.slice(start + 1, log.indexOf('trainEpochEnd')), [
    ...forward,
    ...forward,
    'clipGradients',
    ...update,
    ...forward,
    'clipGradients',
    ...update,
  ])
  assert.ok(!log.includes('schedulerStep') && !log.includes('createScheduler') && !log.includes('evalEpochStart'))
})

test('maxNumTrainSteps stops at exactly that update and closes the epoch', async () => {
  const { trainer, log } = recorded()
  await trainer.train({
    trainDataset: makeData(12),
    evalDataset: makeData(4),
    numEpochs: 5,
    perDeviceBatchSize: 2,
    gradientAccumulationSteps: 2,
    maxNumTrainSteps: 4,
  })
  assert.equal(log.filter(name => name === 'optimizerStep').length, 4)
  assert.equal(log.filter(name => name === 'backwardStep').length, 8)
  assert.deepEqual(log.slice(-4), ['trainingRunEpochEnd', 'onTrainingRunEpochEnd', ...runEnd])
  assert.equal(log.filter(name => name === 'onEvalEpochEnd').length, 2)
  assert.equal(trainer.runHistory.currentEpoch, 3)
  assert.equal(trainer.runConfig?.maxNumTrainSteps, 4)
  assert.deepEqual(trainer.printed, ['Reached max number of training steps 4 in epoch 2'])
})

test('the smaller limit holds: epochs that end before maxNumTrainSteps', async () => {
  const { trainer, log } = recorded()
  await trainer.train({ trainDataset: makeData(4), numEpochs: 2, perDeviceBatchSize: 2, maxNumTrainSteps: 100 })
  assert.equal(log.filter(name => name === 'optimizerStep').length, 4)
  assert.equal(trainer.runConfig?.maxNumTrainSteps, 4)
  assert.deepEqual(trainer.printed, [])
})

test('StopTrainingError leaves the loop, the run still ends', async () => {
  const { trainer, log } = recorded('onTrainStepEnd')
  await trainer.train({ trainDataset: makeData(4), evalDataset: makeData(4), numEpochs: 3, perDeviceBatchSize: 2 })
  const start = log.indexOf('onTrainEpochStart')
  assert.deepEqual(log.slice(start + 1), [...forward.slice(0, 4), 'onStopTrainingError', ...runEnd])
  assert.equal(trainer.runHistory.currentEpoch, 1)
  assert.deepEqual(trainer.printed, ['enough'])
})

test('StopTrainingError inside evaluate', async () => {
  const { trainer, log } = recorded('onEvalStepEnd')
  await trainer.evaluate({ dataset: makeData(4), perDeviceBatchSize: 2 })
  assert.deepEqual(log.slice(-3), ['onStopTrainingError', 'evaluationRunEnd', 'onEvaluationRunEnd'])
})

test('events carry batch, output and step; custom events and keys reach the callbacks', async () => {
  const seen: string[] = []
  class Custom extends QuietTrainer {
    override calculateTrainBatchLoss(batch: Batch) {
      const loss = this.loss as nn.CrossEntropyLoss
      const modelOutputs = this.model.forward(batch[0])
      return { loss: loss.forward(modelOutputs, batch[1]), modelOutputs, batchSize: batch[1].shape[0]!, extra: 'yes' }
    }
  }
  const model = makeModel()
  const watch: Callback<Custom> & { onVerified(t: Custom, e: { ok: boolean }): void } = {
    onTrainStepEnd(trainer, { batch, batchOutput, step }) {
      seen.push(`${step} ${batch[0].shape} ${batchOutput.modelOutputs.shape} ${batchOutput.extra}`)
      return trainer.callbackHandler.callEvent('onVerified', { ok: true })
    },
    onVerified: (_, { ok }) => void seen.push(String(ok)),
  }
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Custom({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    callbacks: [watch as Callback<Trainer<Model, Batch, Tensor>>],
  })
  await trainer.train({ trainDataset: makeData(3), numEpochs: 1, perDeviceBatchSize: 2 })
  assert.deepEqual(seen, ['0 2,4 2,3 yes', 'true', '1 1,4 1,3 yes', 'true'])
})

// Numbers

test('the epoch loss is the sample-weighted mean, also under accumulation', async () => {
  for (const gradientAccumulationSteps of [1, 3]) {
    const losses: [Tensor, number][] = []
    const trainer = makeTrainer({
      lr: 0,
      callbacks: [
        {
          onTrainStepEnd: (_, { batchOutput }) =>
            void losses.push([keep(batchOutput.loss.clone()), batchOutput.batchSize]),
        },
      ],
    })
    await trainer.train({ trainDataset: makeData(7), numEpochs: 1, perDeviceBatchSize: 3, gradientAccumulationSteps })
    const values = await Promise.all(losses.map(async ([loss, n]) => (await loss.item()) * n))
    const mean = values.reduce((a, b) => a + b, 0) / 7
    assert.ok(Math.abs(trainer.runHistory.getLatestMetric('train_loss_epoch') - mean) < 1e-6)
  }
})

for (const capture of ['auto', 'off'] as const) {
  test(`accumulating 4 x 8 equals batches of 32, a ragged end included (${capture})`, async () => {
    const dataset = makeData(32 * 4 + 13)
    const trained = async (perDeviceBatchSize: number, gradientAccumulationSteps: number) => {
      const trainer = makeTrainer({ capture })
      await trainer.train({
        trainDataset: dataset,
        numEpochs: 2,
        perDeviceBatchSize,
        gradientAccumulationSteps,
        gradientClipNorm: 0.5,
        trainDataLoaderOptions: { shuffle: false },
      })
      return weights(trainer.model)
    }
    assertClose(await trained(8, 4), await trained(32, 1))
  })
}

test('numItemsInBatch weighs micro-batches by their items', async () => {
  const counts = [1, 3, 2, 6]
  class Tokens extends QuietTrainer {
    override calculateTrainBatchLoss(batch: Batch) {
      const output = super.calculateTrainBatchLoss(batch) as { loss: Tensor; modelOutputs: Tensor; batchSize: number }
      return { ...output, numItemsInBatch: output.batchSize }
    }
  }
  const dataset = makeData(12)
  const trained = async (batches: number[][], steps: number) => {
    const model = makeModel()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
    const trainer = new Tokens({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [] })
    await trainer.train({
      trainDataset: dataset,
      numEpochs: 1,
      gradientAccumulationSteps: steps,
      trainDataLoaderOptions: { batchSampler: batches },
    })
    return weights(model)
  }
  let next = 0
  const ragged = counts.map(n => Array.from({ length: n }, () => next++))
  assertClose(await trained(ragged, 4), await trained([[...Array(12).keys()]], 1))
})

test('the same seed gives the same run, whatever was drawn before', async () => {
  const run = async (draws: number, capture: 'auto' | 'off') => {
    const trainer = makeTrainer({ model: makeModel(5), seed: 3, capture })
    rand([draws])
    await trainer.train({ trainDataset: makeData(40), evalDataset: makeData(10), numEpochs: 3, perDeviceBatchSize: 8 })
    return [
      trainer.runHistory.getMetricValues('train_loss_epoch'),
      trainer.runHistory.getMetricValues('eval_loss_epoch'),
    ]
  }
  const first = await run(1, 'auto')
  assert.deepEqual(await run(1000, 'auto'), first)
  assert.deepEqual(await run(7, 'off'), first)
  assert.ok(first[0]![2]! < first[0]![0]!)
})

test('evaluation does not shift training’s random numbers', async () => {
  const run = async (evalDataset?: data.Dataset<Batch>) => {
    const trainer = makeTrainer({ seed: 1 })
    const evalDataLoaderOptions = { shuffle: true }
    await trainer.train({
      trainDataset: makeData(20),
      evalDataset,
      numEpochs: 3,
      perDeviceBatchSize: 4,
      evalDataLoaderOptions,
    })
    return trainer.runHistory.getMetricValues('train_loss_epoch')
  }
  assert.deepEqual(await run(makeData(9)), await run())
})

test('a scheduler is stepped once an update and sets the rate of the next', async () => {
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 })
  const rates: number[] = []
  const trainer = new QuietTrainer({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    callbacks: [{ onTrainStepStart: () => void rates.push(optimizer.paramGroups[0]!.lr) }],
  })
  let context: object = {}
  await trainer.train({
    trainDataset: makeData(8),
    numEpochs: 1,
    perDeviceBatchSize: 2,
    gradientAccumulationSteps: 2,
    createScheduler: ctx => {
      context = { ...ctx, optimizer: ctx.optimizer === optimizer }
      return {
        step() {
          optimizer.paramGroups[0]!.lr /= 2
        },
      }
    },
  })
  assert.deepEqual(rates, [1, 1, 0.5, 0.5])
  assert.equal(optimizer.paramGroups[0]!.lr, 0.25)
  assert.deepEqual(context, {
    optimizer: true,
    numEpochs: 1,
    numUpdateStepsPerEpoch: 2,
    maxNumTrainSteps: 2,
    trainDataLoaderLength: 4,
    evalDataLoaderLength: 0,
  })
  await trainer.train({ trainDataset: makeData(2), numEpochs: 1 })
  assert.equal(trainer.scheduler, null)
})

test('predict joins outputs in order', async () => {
  const trainer = makeTrainer()
  const dataset = makeData(10)
  const outputs = await trainer.predict({ dataset, perDeviceBatchSize: 4 })
  assert.deepEqual(outputs.shape, [10, 3])
  const expected = await trainer.model.forward(dataset.tensors[0]).data()
  assertClose(Array.from(await outputs.data(), Number), Array.from(expected, Number), 1e-6)
})

// NaN

test('a NaN loss stops the run without a NaN update, and training can go on afterwards', async () => {
  const images = randn([400, 4])
  const dataset = new data.TensorDataset<Batch>(images, randint(0, 3, [400]))
  let steps = 0
  let poisoned = true
  class Poisoned extends QuietTrainer {
    override calculateTrainBatchLoss(batch: Batch) {
      steps++
      const [x, y] = batch
      return super.calculateTrainBatchLoss([steps === 20 && poisoned ? x.mul(Number.NaN) : x, y])
    }
  }
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
  let ended = 0
  const trainer = new Poisoned({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    callbacks: [new TerminateOnNaNCallback(), { onTrainingRunEnd: () => void ended++ }],
  })
  await assert.rejects(
    trainer.train({ trainDataset: dataset, numEpochs: 3, perDeviceBatchSize: 2 }),
    code('NAN_LOSS', /epoch 1/),
  )
  assert.equal(ended, 1)
  assert.ok(steps >= 20 && steps <= 70, `stopped after ${steps} steps`)
  assert.ok((await weights(model)).every(Number.isFinite))
  poisoned = false
  await trainer.train({ trainDataset: dataset, numEpochs: 1, perDeviceBatchSize: 2 })
  assert.ok(Number.isFinite(trainer.runHistory.getLatestMetric('train_loss_epoch')))
})

test('a NaN loss in evaluate rejects', async () => {
  const trainer = makeTrainer({ callbacks: [new TerminateOnNaNCallback()] })
  const dataset = new data.TensorDataset<Batch>(tensor([[Number.NaN, 0, 0, 0]]), tensor([0]))
  await assert.rejects(trainer.evaluate({ dataset }), code('NAN_LOSS'))
})

// Callbacks

test('an error in a callback carries its name, and the next run works', async () => {
  let broken = true
  class Faulty implements Callback {
    onTrainStepEnd() {
      if (broken) throw new TypeError('no such field')
    }
    async onEvalEpochEnd() {
      throw new WickError('BAD_OPTION', 'odd')
    }
  }
  const trainer = makeTrainer({ callbacks: [new Faulty()] })
  const run = (evalDataset?: data.Dataset<Batch>) =>
    trainer.train({ trainDataset: makeData(4), evalDataset, numEpochs: 1 })
  await assert.rejects(run(), (error: unknown) => {
    code('CALLBACK_FAILED', /^Faulty\.onTrainStepEnd: no such field/)(error)
    assert.ok(error instanceof Error && error.cause instanceof TypeError)
    return true
  })
  broken = false
  await assert.rejects(run(makeData(4)), code('BAD_OPTION', /^Faulty\.onEvalEpochEnd: odd/))
  await run()
})

test('the callback handler refuses classes and doubles', () => {
  const trainer = makeTrainer({ callbacks: getDefaultCallbacks() })
  const handler = trainer.callbackHandler
  assert.equal(handler.callbackList.length, 5)
  assert.throws(() => handler.addCallback(new TerminateOnNaNCallback()), code('BAD_OPTION', /TerminateOnNaNCallback/))
  assert.throws(
    () => handler.addCallback(TerminateOnNaNCallback as unknown as Callback),
    code('BAD_OPTION', /instance/),
  )
  handler.clearCallbacks()
  assert.deepEqual([...handler], [])
})

test('console lines of the default callbacks', async () => {
  const trainer = makeTrainer({ callbacks: getDefaultCallbacks({ progressBar: false }) })
  await trainer.train({ trainDataset: makeData(4), evalDataset: makeData(4), numEpochs: 1 })
  await trainer.evaluate({ dataset: makeData(4) })
  const lines = trainer.printed
    .join('\n')
    .replace(/(loss\w*: )[\d.]+/g, '$1N')
    .split('\n')
  assert.deepEqual(lines, [
    '',
    'Starting training run',
    '',
    'Starting epoch 1',
    '',
    'train_loss_epoch: N',
    '',
    'Starting eval epoch',
    '',
    'eval_loss_epoch: N',
    'Finishing training run',
    '',
    'Starting evaluation run',
    '',
    'Starting eval epoch',
    '',
    'evaluation_loss: N',
    'Finishing evaluation run',
  ])
})

test('WICK_LIMIT_BATCHES limits training and evaluation', async () => {
  const counts = { train: 0, evaluation: 0 }
  const counter: Callback = { onTrainStepEnd: () => void counts.train++, onEvalStepEnd: () => void counts.evaluation++ }
  const trainer = limitBatches(2, () => makeTrainer({ callbacks: [counter] }))
  await trainer.train({ trainDataset: makeData(40), evalDataset: makeData(40), numEpochs: 2, perDeviceBatchSize: 4 })
  assert.deepEqual(counts, { train: 4, evaluation: 4 })
  assert.throws(() => limitBatches(0, () => makeTrainer()), code('BAD_OPTION', /WICK_LIMIT_BATCHES/))
})

// Settings

test('runConfig is frozen, resolved and serialisable', async () => {
  const trainer = makeTrainer()
  await trainer.train({
    trainDataset: makeData(21),
    numEpochs: 2,
    perDeviceBatchSize: 4,
    gradientAccumulationSteps: 2,
    trainDataLoaderOptions: { batchSize: 5, sampler: new data.SequentialSampler(21) },
  })
  const config = trainer.runConfig
  assert.ok(config && Object.isFrozen(config))
  const json = JSON.parse(JSON.stringify(config))
  assert.deepEqual(json, {
    numEpochs: 2,
    gradientAccumulationSteps: 2,
    gradientClipValue: null,
    gradientClipNorm: null,
    maxNumTrainSteps: 6,
    trainDataLoaderOptions: { batchSize: 5 },
    evalDataLoaderOptions: null,
    trainPerDeviceBatchSize: 5,
    evalPerDeviceBatchSize: 5,
    trainTotalBatchSize: 10,
    evalTotalBatchSize: 5,
    numUpdateStepsPerEpoch: 3,
    isLocalProcessZero: true,
    isWorldProcessZero: true,
    isDistributed: false,
    numProcesses: 1,
    mixedPrecision: 'no',
  })
})

test('bad input is a typed error', async () => {
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const loss = new nn.CrossEntropyLoss()
  const good = { model, loss, optimizer, callbacks: [] }
  const construct: [string, object, string, RegExp][] = [
    ['unknown option', { los: loss }, 'BAD_OPTION', /'los'.*'loss'/],
    ['no model', { model: {} }, 'BAD_OPTION', /nn\.Module/],
    ['no optimizer', { optimizer: null }, 'BAD_OPTION', /optimizer/],
    ['loss', { loss: 3 }, 'BAD_OPTION', /loss/],
    ['precision', { precision: 'fp8' as 'fp16' }, 'BAD_OPTION', /fp8/],
    ['device', { device: 'tpu' }, 'BAD_OPTION', /tpu/],
    ['capture', { capture: 'yes' }, 'BAD_OPTION', /'auto', 'full' or 'off'/],
    ['steps per call', { stepsPerCall: 0 }, 'BAD_OPTION', /stepsPerCall/],
    ['seed', { seed: 0.5 }, 'BAD_OPTION', /seed/],
  ]
  for (const [name, change, expected, text] of construct) {
    assert.throws(() => new Trainer({ ...good, ...change } as typeof good), code(expected, text), name)
  }
  const trainer = makeTrainer()
  const run = { trainDataset: makeData(4), numEpochs: 1 }
  const train: [string, object, string, RegExp][] = [
    ['unknown option', { perDeviceBatchsize: 2 }, 'BAD_OPTION', /perDeviceBatchSize/],
    ['epochs 0', { numEpochs: 0 }, 'BAD_OPTION', /numEpochs/],
    ['epochs missing', { numEpochs: undefined }, 'BAD_OPTION', /numEpochs/],
    ['batch size NaN', { perDeviceBatchSize: Number.NaN }, 'BAD_OPTION', /perDeviceBatchSize/],
    ['batch size 0', { perDeviceBatchSize: 0 }, 'BAD_OPTION', /perDeviceBatchSize/],
    ['loader batch size', { trainDataLoaderOptions: { batchSize: 0 } }, 'BAD_OPTION', /batchSize/],
    ['loader option', { trainDataLoaderOptions: { drop_last: true } }, 'BAD_OPTION', /dropLast/],
    ['accumulation', { gradientAccumulationSteps: 1.5 }, 'BAD_OPTION', /gradientAccumulationSteps/],
    ['max steps', { maxNumTrainSteps: -1 }, 'BAD_OPTION', /maxNumTrainSteps/],
    ['clip', { gradientClipNorm: -1 }, 'BAD_OPTION', /gradientClipNorm/],
    ['clip NaN', { gradientClipValue: Number.NaN }, 'BAD_OPTION', /gradientClipValue/],
    ['empty dataset', { trainDataset: { length: 0, get: () => 0 } }, 'BAD_OPTION', /empty/],
    ['no dataset', { trainDataset: { length: 2 } }, 'BAD_OPTION', /get\(index\)/],
    [
      'form of batches',
      { trainDataset: { length: 2, get: (i: number) => ({ i }) } },
      'BAD_OPTION',
      /\[input, target\]/,
    ],
    ['shape', { trainDataset: new data.TensorDataset(randn([4, 5]), randint(0, 3, [4])) }, 'SHAPE_MISMATCH', /5/],
    ['labels', { trainDataset: new data.TensorDataset(randn([4, 4]), arange(4).add(5)) }, 'INDEX_OUT_OF_RANGE', /./],
  ]
  for (const [name, change, expected, text] of train) {
    await assert.rejects(trainer.train({ ...run, ...change } as typeof run), code(expected, text), name)
  }
  await assert.rejects(
    trainer.evaluate({ dataset: makeData(2), batchSize: 2 } as { dataset: data.Dataset<Batch> }),
    code('BAD_OPTION'),
  )
  await trainer.train(run)
})

test('run history: insertion order, prefix, latest, no write on a failed read', () => {
  const history = new InMemoryRunHistory()
  history.updateMetric('b', 1)
  history.updateMetric('a', 2)
  history.setMetricNamePrefix('ema_')
  history.updateMetric('a', 3)
  assert.deepEqual(history.getMetricNames(), ['b', 'a', 'ema_a'])
  assert.throws(() => history.getLatestMetric('c'), code('BAD_OPTION', /recorded are: b, a, ema_a/))
  assert.deepEqual(history.getMetricNames(), ['b', 'a', 'ema_a'])
  history.setEpoch(4)
  history.incrementEpoch()
  assert.deepEqual(JSON.parse(JSON.stringify(history)), { currentEpoch: 5, metrics: { b: [1], a: [2], ema_a: [3] } })
  history.reset()
  assert.equal(history.metricNamePrefix, 'ema_')
  assert.equal(history.currentEpoch, 1)
})

test('a second train continues the history and does all its updates', async () => {
  const { trainer, log } = recorded()
  const run = { trainDataset: makeData(10), numEpochs: 3, perDeviceBatchSize: 1 }
  await trainer.train(run)
  await trainer.train({ ...run, resetRunHistory: false })
  assert.equal(log.filter(name => name === 'optimizerStep').length, 60)
  assert.equal(trainer.runHistory.currentEpoch, 7)
  assert.equal(trainer.runHistory.getMetricValues('train_loss_epoch').length, 6)
})

test('LossTracker weighs by samples and notices what is not finite', async () => {
  const tracker = new LossTracker()
  tracker.update(tensor(2.5), 3)
  tracker.update(tensor(0.5), 1)
  assert.deepEqual(await tracker.read(), { total: 8, count: 4, average: 2, isFinite: true, last: 0.5 })
  tracker.update(tensor(Number.NaN), 1)
  assert.equal((await tracker.read()).isFinite, false)
  tracker.reset()
  assert.equal((await tracker.read()).isFinite, true)
  tracker.dispose()
})

// Modes and memory

test('auto matches steps, and user code runs in each of them', async () => {
  let calls = 0
  class Counting extends QuietTrainer {
    override calculateTrainBatchLoss(batch: Batch) {
      calls++
      return super.calculateTrainBatchLoss(batch)
    }
  }
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Counting({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [] })
  await trainer.train({ trainDataset: makeData(80), numEpochs: 2, perDeviceBatchSize: 4 })
  assert.equal(calls, 40)
  const { train } = trainer.captureReport()
  assert.equal(train.steps, 40)
  assert.ok(train.matched >= 0.9, JSON.stringify(train))
})

test('full gives the same weights without running JavaScript on every step', async () => {
  const run = async (capture: 'auto' | 'full') => {
    let events = 0
    let replayed = 0
    const callbacks: Callback[] = [
      {
        onTrainStepEnd: () => void events++,
        onTrainStepsReplayed(_: AnyTrainer, { steps }) {
          replayed += steps
        },
      },
    ]
    const trainer = makeTrainer({ capture, callbacks, seed: 2 })
    await trainer.train({ trainDataset: makeData(402), numEpochs: 3, perDeviceBatchSize: 4, maxNumTrainSteps: 290 })
    assert.equal(events + replayed, 290)
    if (capture === 'full') assert.ok(replayed > 200, `${replayed} replayed: ${trainer.captureReport().train.reason}`)
    return [...(await weights(trainer.model)), ...trainer.runHistory.getMetricValues('train_loss_epoch')]
  }
  assert.deepEqual(await run('full'), await run('auto'))
})

test('training leaves no tensors behind', async () => {
  const trainer = makeTrainer({ callbacks: getDefaultCallbacks({ progressBar: false }) })
  const run = { trainDataset: makeData(64), evalDataset: makeData(16), numEpochs: 2, perDeviceBatchSize: 4 }
  await trainer.train(run)
  const before = collected()
  for (let i = 0; i < 3; i++) await trainer.train({ ...run })
  assert.ok(memory().tensors - before <= 2, `${memory().tensors - before} more tensors`)
})
