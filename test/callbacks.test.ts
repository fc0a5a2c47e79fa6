/** The callbacks that come with wick, and typed events of one's own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AnyTrainer,
  type Callback,
  CallbackHandler,
  data,
  EarlyStoppingCallback,
  FastDevRunCallback,
  GradientNormMonitorCallback,
  getDefaultCallbacks,
  LambdaCallback,
  LearningRateMonitorCallback,
  LimitBatchesCallback,
  LimitEvalStepsCallback,
  MemoryMonitorCallback,
  manualSeed,
  memory,
  nn,
  OverfitBatchesCallback,
  optim,
  ProgressBarCallback,
  randint,
  randn,
  type ScheduleContext,
  StepBasedEvaluationCallback,
  schedulers,
  type Tensor,
  ThroughputMonitorCallback,
  Trainer,
} from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(99)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}
const makeModel = () => {
  manualSeed(0)
  return new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
}
class QuietTrainer extends Trainer<ReturnType<typeof makeModel>, Batch, Tensor> {
  readonly printed: string[] = []
  override print(...values: unknown[]) {
    this.printed.push(values.join(' '))
  }
}
interface Setup {
  capture?: 'auto' | 'full' | 'off'
  lr?: number
  precision?: 'no' | 'fp16'
}
function makeTrainer(callbacks: Callback<Trainer<ReturnType<typeof makeModel>, Batch, Tensor>>[], setup: Setup = {}) {
  const { lr = 0.1, ...rest } = setup
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr, momentum: 0.9 })
  return new QuietTrainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks, ...rest })
}
/** Records a metric with the given values, one an epoch. */
const scripted = (name: string, values: number[]): Callback => ({
  onEvalEpochEnd({ runHistory }: AnyTrainer) {
    runHistory.updateMetric(name, values[runHistory.currentEpoch - 1] ?? 0)
  },
})

test('early stopping: an improvement must exceed the threshold, the counter stops at the patience', async () => {
  const stopping = new EarlyStoppingCallback({
    earlyStoppingPatience: 2,
    earlyStoppingThreshold: 0.1,
    watchMetric: 'score',
    greaterIsBetter: true,
  })
  const trainer = makeTrainer([scripted('score', [0.5, 0.75, 0.8, 0.7, 0.9]), stopping])
  const run = { trainDataset: dataset(4), evalDataset: dataset(4), numEpochs: 9 }
  await trainer.train(run)
  assert.deepEqual(trainer.printed, [
    '\nImprovement of 0.25 observed, resetting counter. ',
    'Early stopping counter: 0/2',
    'No improvement above threshold observed, incrementing counter. ',
    'Early stopping counter: 1/2',
    'No improvement above threshold observed, incrementing counter. ',
    'Early stopping counter: 2/2',
    'Stopping training due to no improvement after 2 epochs',
  ])
  assert.equal(trainer.runHistory.currentEpoch, 4)
  assert.equal(stopping.bestMetric, 0.75)
  const state = stopping.stateDict()
  await trainer.train(run)
  assert.equal(trainer.runHistory.currentEpoch, 4, 'the next run begins anew')
  const kept = new EarlyStoppingCallback({ watchMetric: 'score', greaterIsBetter: true, resetOnTrain: false })
  kept.loadStateDict(JSON.parse(JSON.stringify(state)))
  const resumed = makeTrainer([scripted('score', [0.5]), kept])
  await resumed.train(run)
  assert.equal(kept.earlyStoppingPatienceCounter, 3)
})

test('a watched metric that isn’t recorded is an error that names the recorded ones', async () => {
  const trainer = makeTrainer([new EarlyStoppingCallback({ watchMetric: 'acuracy' })])
  await assert.rejects(
    trainer.train({ trainDataset: dataset(4), numEpochs: 2 }),
    code('BAD_OPTION', /EarlyStoppingCallback\.onTrainingRunEpochEnd.*'acuracy'.*train_loss_epoch/),
  )
})

for (const [capture, accumulation] of [
  ['auto', 1],
  ['off', 3],
] as const) {
  test(`step-based evaluation: after exactly N micro-batches, between steps, mode restored (${capture}, ${accumulation})`, async () => {
    const log: string[] = []
    const losses: number[] = []
    const trainer = makeTrainer(
      [
        new LimitEvalStepsCallback({ numEvalSteps: 2 }),
        new StepBasedEvaluationCallback({ evalEveryNSteps: 4 }),
        {
          onTrainStepStart: t => void log.push(t.model.training ? 'train' : 'train in evaluation mode'),
          onTrainUpdateEnd: () => void log.push('update'),
          onEvalStepEnd: () => void log.push('eval'),
          onEvalEpochEnd({ runHistory }, { isIntermediate }) {
            if (isIntermediate) losses.push(runHistory.getLatestMetric('intermediate_eval_loss'))
          },
        },
      ],
      { capture },
    )
    await trainer.train({
      trainDataset: dataset(9),
      evalDataset: dataset(5),
      numEpochs: 1,
      perDeviceBatchSize: 1,
      gradientAccumulationSteps: accumulation,
    })
    const step = (n: number) => ((n + 1) % accumulation === 0 ? ['train', 'update'] : ['train'])
    const steps = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => step(from + i)).flat()
    assert.deepEqual(log, [
      ...steps(0, 4),
      ...['eval', 'eval'],
      ...steps(4, 8),
      ...['eval', 'eval'],
      ...steps(8, 9),
      ...new Array(5).fill('eval'),
    ])
    assert.equal(losses.length, 2)
    assert.deepEqual(trainer.runHistory.getMetricNames(), ['train_loss_epoch', 'eval_loss_epoch'])
    assert.deepEqual(trainer.printed, [
      '\nRunning evaluation after 4 training steps',
      '\nResuming training...',
      '\nRunning evaluation after 8 training steps',
      '\nResuming training...',
    ])
  })
}

test('an intermediate evaluation changes nothing of the training', async () => {
  const run = async (callbacks: Callback[]) => {
    const trainer = makeTrainer(callbacks)
    await trainer.train({ trainDataset: dataset(20), evalDataset: dataset(6), numEpochs: 2, perDeviceBatchSize: 2 })
    return [...trainer.model.parameters().flatMap(p => Array.from(p.dataSync(), Number)), trainer.runHistory]
  }
  const plain = await run([])
  assert.deepEqual(await run([new StepBasedEvaluationCallback({ evalEveryNSteps: 3 })]), plain)
})

test('LimitEvalSteps caps all evaluations if asked to, and has its place in the list', async () => {
  let evaluated = 0
  const trainer = makeTrainer([
    new LimitEvalStepsCallback({ numEvalSteps: 3, limitIntermediateOnly: false }),
    { onEvalStepEnd: () => void evaluated++ },
  ])
  await trainer.train({ trainDataset: dataset(2), evalDataset: dataset(9), numEpochs: 1, perDeviceBatchSize: 1 })
  await trainer.evaluate({ dataset: dataset(2), perDeviceBatchSize: 1 })
  assert.equal(evaluated, 5)
  for (const later of [new StepBasedEvaluationCallback({ evalEveryNSteps: 1 }), new ProgressBarCallback()]) {
    assert.throws(
      () => makeTrainer([later, new LimitEvalStepsCallback({ numEvalSteps: 1 })]),
      code('BAD_OPTION', new RegExp(`before ${later.constructor.name}`)),
    )
  }
})

test('learning-rate monitor: by epoch, by update, several groups and fields', async () => {
  const trainer = makeTrainer([new LearningRateMonitorCallback({ fields: ['lr', 'momentum'], interval: 'update' })])
  const createScheduler = (ctx: { optimizer: schedulers.ScheduledOptimizer }) =>
    new schedulers.ExponentialLR(ctx.optimizer, { gamma: 0.5 })
  await trainer.train({ trainDataset: dataset(6), numEpochs: 1, perDeviceBatchSize: 2, createScheduler })
  assert.deepEqual(trainer.runHistory.getMetricValues('lr'), [0.1, 0.05, 0.025])
  assert.deepEqual(trainer.runHistory.getMetricValues('momentum'), [0.9, 0.9, 0.9])
  const epochs = makeTrainer([new LearningRateMonitorCallback()])
  await epochs.train({ trainDataset: dataset(6), numEpochs: 2, perDeviceBatchSize: 6, createScheduler })
  assert.deepEqual(epochs.runHistory.getMetricValues('lr'), [0.05, 0.025])
  const wrong = makeTrainer([new LearningRateMonitorCallback({ fields: ['betas'] })])
  await assert.rejects(wrong.train({ trainDataset: dataset(2), numEpochs: 1 }), code('BAD_OPTION', /betas/))
})

test('throughput and memory monitors record each epoch', async () => {
  for (const capture of ['auto', 'full'] as const) {
    const trainer = makeTrainer([new ThroughputMonitorCallback(), new MemoryMonitorCallback()], { capture })
    await trainer.train({ trainDataset: dataset(60), evalDataset: dataset(4), numEpochs: 2, perDeviceBatchSize: 2 })
    const { runHistory } = trainer
    for (const name of ['train_samples_per_second', 'eval_samples_per_second', 'memory_peak_bytes', 'memory_tensors']) {
      assert.equal(runHistory.getMetricValues(name).length, 2, name)
      assert.ok(runHistory.getLatestMetric(name) > 0, name)
    }
    const ratio =
      runHistory.getLatestMetric('train_samples_per_second') / runHistory.getLatestMetric('train_steps_per_second')
    assert.ok(Math.abs(ratio - 2) < 1e-9)
  }
})

for (const precision of ['no', 'fp16'] as const) {
  test(`gradient-norm monitor records the norm before clipping (${precision})`, async () => {
    const norms: number[] = []
    const watch: Callback<Trainer<ReturnType<typeof makeModel>, Batch, Tensor>> = {
      onGradientsReady({ model, scaler, optimizer }) {
        scaler?.unscale_(optimizer as optim.SGD)
        const squares = model.parameters().map(p => (p.grad ? p.grad.square().sum().itemSync() : 0))
        norms.push(Math.sqrt(squares.reduce((a, b) => a + b, 0)))
      },
    }
    const trainer = makeTrainer([watch, new GradientNormMonitorCallback()], { precision, lr: 0.01 })
    const run = { numEpochs: 1, perDeviceBatchSize: 2, gradientClipNorm: 0.1, gradientAccumulationSteps: 2 }
    await trainer.train({ trainDataset: dataset(12), ...run })
    assert.equal(norms.length, 3)
    const mean = norms.reduce((a, b) => a + b, 0) / 3
    assert.ok(Math.abs(trainer.runHistory.getLatestMetric('train_gradient_norm') - mean) < 1e-5)
  })
}

test('the gradient-norm monitor changes no weights', async () => {
  const run = async (callbacks: Callback[]) => {
    const trainer = makeTrainer(callbacks)
    await trainer.train({ trainDataset: dataset(20), numEpochs: 2, perDeviceBatchSize: 2, gradientClipNorm: 1 })
    return trainer.model.parameters().flatMap(p => Array.from(p.dataSync(), Number))
  }
  assert.deepEqual(await run([new GradientNormMonitorCallback()]), await run([]))
})

test('LambdaCallback: several in one trainer; a name that is no event is an error', async () => {
  const seen: string[] = []
  const trainer = makeTrainer([
    new LambdaCallback({ onTrainEpochEnd: () => void seen.push('first') }),
    new LambdaCallback({
      onTrainEpochEnd: () => void seen.push('second'),
      onTrainingRunEnd: () => void seen.push('end'),
    }),
  ])
  await trainer.train({ trainDataset: dataset(2), numEpochs: 1 })
  assert.deepEqual(seen, ['first', 'second', 'end'])
  assert.throws(
    () => new LambdaCallback({ onTrainEpochend: () => {} } as object),
    code('BAD_OPTION', /'onTrainEpochEnd'/),
  )
})

test('overfitting a few batches: the same ones in each epoch, evaluated too', async () => {
  const seen = new Set<string>()
  const before = collected()
  const trainer = makeTrainer([
    new OverfitBatchesCallback({ numBatches: 2 }),
    { onTrainStepEnd: (_, { batch }) => void seen.add(String(batch[0].dataSync())) },
  ])
  await trainer.train({ trainDataset: dataset(64), evalDataset: dataset(8), numEpochs: 150, perDeviceBatchSize: 4 })
  assert.equal(seen.size, 2)
  assert.ok(trainer.runHistory.getLatestMetric('eval_loss_epoch') < 0.1)
  assert.ok(memory().tensors - before < 60)
})

test('a fast development run: one epoch of a few batches, nothing that writes files', async () => {
  const log: string[] = []
  const writer = { writesFiles: true, onTrainEpochEnd: () => void log.push('written') }
  const trainer = makeTrainer([
    writer,
    new FastDevRunCallback({ numBatches: 2 }),
    { onTrainStepEnd: () => void log.push('train'), onEvalStepEnd: () => void log.push('eval') },
  ])
  await trainer.train({ trainDataset: dataset(50), evalDataset: dataset(50), numEpochs: 20 })
  assert.deepEqual(log, ['train', 'train', 'eval', 'eval'])
})

test('the run’s configuration and schedule count the batches that callbacks leave', async () => {
  for (const [limit, batches] of [
    [new LimitBatchesCallback({ numBatches: 3 }), 3],
    [new FastDevRunCallback({ numBatches: 2 }), 2],
    [new OverfitBatchesCallback({ numBatches: 4 }), 4],
  ] as const) {
    const contexts: ScheduleContext[] = []
    const trainer = makeTrainer([limit])
    await trainer.train({
      trainDataset: dataset(50),
      evalDataset: dataset(20),
      numEpochs: 2,
      perDeviceBatchSize: 5,
      trainDataLoaderOptions: { batchSize: 10 },
      createScheduler(context) {
        contexts.push(context)
        return new schedulers.ConstantLR(context.optimizer)
      },
    })
    const [context] = contexts
    assert.equal(context!.numUpdateStepsPerEpoch, batches)
    assert.equal(context!.maxNumTrainSteps, 2 * batches)
    assert.equal(context!.trainDataLoaderLength, batches)
    assert.equal(context!.evalDataLoaderLength, batches)
    const { numUpdateStepsPerEpoch, maxNumTrainSteps, trainPerDeviceBatchSize } = trainer.runConfig!
    assert.deepEqual([numUpdateStepsPerEpoch, maxNumTrainSteps, trainPerDeviceBatchSize], [batches, 2 * batches, 10])
  }
})

test('unknown options of callbacks name the nearest known one', () => {
  const wrong: [() => unknown, RegExp][] = [
    [() => new EarlyStoppingCallback({ patience: 2 } as object), /earlyStoppingPatience|known/],
    [() => new EarlyStoppingCallback({ earlyStoppingPatience: 0 }), /earlyStoppingPatience/],
    [() => new StepBasedEvaluationCallback({ evalEveryNStep: 2 } as never), /'evalEveryNSteps'/],
    [() => new StepBasedEvaluationCallback({ evalEveryNSteps: 0 }), /evalEveryNSteps/],
    [() => new LimitEvalStepsCallback({} as never), /numEvalSteps/],
    [() => new OverfitBatchesCallback({ numBatches: 0.5 }), /numBatches/],
    [() => new LearningRateMonitorCallback({ interval: 'step' as 'epoch' }), /interval/],
    [() => new GradientNormMonitorCallback({ everyNUpdates: 0 }), /everyNUpdates/],
    [() => new FastDevRunCallback({ batches: 1 } as object), /'numBatches'/],
  ]
  for (const [make, text] of wrong) assert.throws(make, code('BAD_OPTION', text))
})

test('a misspelt field inside a callback is an error with the callback’s name', async () => {
  class Misspelt implements Callback {
    onEvalEpochEnd(trainer: AnyTrainer) {
      ;(trainer as unknown as { runHistry: { reset(): void } }).runHistry.reset()
    }
  }
  const trainer = makeTrainer([...getDefaultCallbacks({ progressBar: false }), new Misspelt()])
  await assert.rejects(
    trainer.train({ trainDataset: dataset(2), evalDataset: dataset(2), numEpochs: 1 }),
    code('CALLBACK_FAILED', /^Misspelt\.onEvalEpochEnd: /),
  )
})

test('evaluations within evaluations have losses of their own, and their steps match plans', async () => {
  const losses: number[] = []
  const trainer = makeTrainer([
    {
      async onEvalEpochEnd(t, { isIntermediate }) {
        if (!isIntermediate) await t.evaluateInRun({ callbackHandler: new CallbackHandler(t) })
        losses.push((await t.lossTracker.read()).average)
      },
    },
    new StepBasedEvaluationCallback({ evalEveryNSteps: 4 }),
  ])
  await trainer.train({ trainDataset: dataset(60), evalDataset: dataset(12), numEpochs: 2, perDeviceBatchSize: 2 })
  const recorded = trainer.runHistory.getMetricValues('eval_loss_epoch')
  assert.equal(recorded.length, 4)
  assert.equal(losses.length, 16)
  assert.equal(losses.at(-1), recorded.at(-1))
  const { evaluation } = trainer.captureReport()
  assert.equal(evaluation.steps, 18 * 6)
  assert.ok(evaluation.matched > 0.85, JSON.stringify(evaluation))
})
