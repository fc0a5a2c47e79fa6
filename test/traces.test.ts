/** Order of methods and events where callbacks change a run's course: NaN, early stop, best model, intermediate evaluation, EMA. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  type AnyTrainer,
  type Callback,
  data,
  EarlyStoppingCallback,
  ModelEmaCallback,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  SaveBestModelCallback,
  StepBasedEvaluationCallback,
  StopTrainingError,
  type Tensor,
  TerminateOnNaNCallback,
  Trainer,
  WickError,
} from '../ts/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'wick-traces-'))
after(() => rmSync(folder, { recursive: true }))

type Batch = [Tensor, Tensor]
const dataset = (n: number, value = 1) => {
  manualSeed(9)
  return new data.TensorDataset<Batch>(randn([n, 4]).mul(value), randint(0, 3, [n]))
}
const methods = [
  'trainingRunStart',
  'trainEpochStart',
  'calculateTrainBatchLoss',
  'backwardStep',
  'optimizerStep',
  'trainEpochEnd',
  'evalEpochStart',
  'calculateEvalBatchLoss',
  'evalEpochEnd',
  'trainingRunEpochEnd',
  'trainingRunEnd',
  'evaluationRunEnd',
  'saveCheckpoint',
  'loadCheckpoint',
]
const events = [
  'onTrainingRunStart',
  'onTrainEpochStart',
  'onTrainStepEnd',
  'onTrainUpdateEnd',
  'onTrainBatchEnd',
  'onTrainEpochEnd',
  'onEvalEpochStart',
  'onEvalStepEnd',
  'onEvalEpochEnd',
  'onTrainingRunEpochEnd',
  'onTrainingRunEnd',
  'onEvaluationRunEnd',
  'onStopTrainingError',
]

/** A trainer that writes down its methods and, after `callbacks`, its events. */
function recorded(callbacks: Callback[], { capture = 'auto' as 'auto' | 'off' } = {}) {
  const log: string[] = []
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  const recorder = Object.fromEntries(events.map(name => [name, () => void log.push(name)]))
  const trainer = new Trainer<nn.Linear, Batch, Tensor>({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    callbacks: [...callbacks, recorder],
    capture,
    seed: 1,
  })
  trainer.print = () => {}
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

const step = [
  'calculateTrainBatchLoss',
  'onTrainStepEnd',
  'backwardStep',
  'optimizerStep',
  'onTrainUpdateEnd',
  'onTrainBatchEnd',
]
const trainEpoch = (steps: number) => [
  'trainEpochStart',
  'onTrainEpochStart',
  ...new Array(steps).fill(step).flat(),
  'trainEpochEnd',
  'onTrainEpochEnd',
]
const evalEpoch = (steps: number) => [
  'evalEpochStart',
  'onEvalEpochStart',
  ...new Array(steps).fill(['calculateEvalBatchLoss', 'onEvalStepEnd']).flat(),
  'evalEpochEnd',
  'onEvalEpochEnd',
]
const start = ['trainingRunStart', 'onTrainingRunStart']
const epochEnd = ['trainingRunEpochEnd', 'onTrainingRunEpochEnd']
const end = ['trainingRunEnd', 'onTrainingRunEnd']
const run = { trainDataset: dataset(4), evalDataset: dataset(4), perDeviceBatchSize: 2 }

test('trace of a NaN: no evaluation, the run ends, then train rejects', async () => {
  const { trainer, log } = recorded([new TerminateOnNaNCallback()])
  const before = Array.from(trainer.model.weight.dataSync(), Number)
  await assert.rejects(
    trainer.train({ ...run, trainDataset: dataset(4, Number.NaN), numEpochs: 3 }),
    (error: unknown) => error instanceof WickError && error.code === 'NAN_LOSS',
  )
  // The callback throws at the epoch's end, so those after it don't see the event.
  assert.deepEqual(log, [...start, ...trainEpoch(2).slice(0, -1), ...end])
  assert.deepEqual(Array.from(trainer.model.weight.dataSync(), Number), before, 'no NaN update is applied')
  assert.equal(trainer.runHistory.currentEpoch, 1)
})

test('trace of an early stop: the event of stopping, the run’s end, no further epoch', async () => {
  const { trainer, log } = recorded([new EarlyStoppingCallback({ earlyStoppingThreshold: 100 })])
  await trainer.train({ ...run, numEpochs: 9 })
  const epoch = [...trainEpoch(2), ...evalEpoch(2), ...epochEnd]
  assert.deepEqual(log, [...start, ...epoch, ...epoch, 'onStopTrainingError', ...end])
  assert.equal(trainer.runHistory.currentEpoch, 2, 'the epoch that stopped is not counted')
})

test('trace of saving the best: after the epoch’s evaluation, loading at the run’s end', async () => {
  const scores = [1, 3, 2]
  const score: Callback = {
    onEvalEpochEnd: ({ runHistory }: AnyTrainer) =>
      runHistory.updateMetric('score', scores[runHistory.currentEpoch - 1]!),
  }
  const savePath = join(folder, 'best.safetensors')
  const { trainer, log } = recorded([
    score,
    new SaveBestModelCallback({ savePath, watchMetric: 'score', greaterIsBetter: true }),
  ])
  await trainer.train({ ...run, numEpochs: 3 })
  const epoch = (saves: boolean) => [
    ...trainEpoch(2),
    ...evalEpoch(2),
    'trainingRunEpochEnd',
    ...(saves ? ['saveCheckpoint'] : []),
    'onTrainingRunEpochEnd',
  ]
  const ending = ['trainingRunEnd', 'loadCheckpoint', 'onTrainingRunEnd']
  assert.deepEqual(log, [...start, ...epoch(true), ...epoch(true), ...epoch(false), ...ending])
})

for (const capture of ['auto', 'off'] as const) {
  test(`trace of an evaluation by steps: between updates, training mode restored (${capture})`, async () => {
    const { trainer, log } = recorded([new StepBasedEvaluationCallback({ evalEveryNSteps: 2 })], { capture })
    await trainer.train({ ...run, trainDataset: dataset(10), numEpochs: 1 })
    const evaluated = [...step.slice(0, -1), ...evalEpoch(2), 'onTrainBatchEnd']
    assert.deepEqual(log, [
      ...start,
      'trainEpochStart',
      'onTrainEpochStart',
      ...[...step, ...evaluated, ...step, ...evaluated, ...step],
      'trainEpochEnd',
      'onTrainEpochEnd',
      ...evalEpoch(2),
      ...epochEnd,
      ...end,
    ])
  })
}

test('trace of EMA: a second evaluation whose events only its own callbacks see, then saving', async () => {
  const own: string[] = []
  const inner: Callback = { onEvalStepEnd: () => void own.push('step'), onEvalEpochEnd: () => void own.push('end') }
  const { trainer, log } = recorded([
    new ModelEmaCallback({ savePath: join(folder, 'ema.safetensors'), callbacks: [inner] }),
  ])
  await trainer.train({ ...run, numEpochs: 1 })
  const second = ['evalEpochStart', 'calculateEvalBatchLoss', 'calculateEvalBatchLoss', 'evalEpochEnd']
  assert.deepEqual(log, [
    ...start,
    ...trainEpoch(2),
    ...evalEpoch(2).slice(0, -1),
    ...second,
    'onEvalEpochEnd',
    'trainingRunEpochEnd',
    'saveCheckpoint',
    'onTrainingRunEpochEnd',
    ...end,
  ])
  assert.deepEqual(own, ['step', 'step', 'end'])
})

test('trace of accumulation: events of updates and micro-batches, the last window partial', async () => {
  const { trainer, log } = recorded([])
  await trainer.train({ trainDataset: dataset(6), numEpochs: 1, perDeviceBatchSize: 2, gradientAccumulationSteps: 2 })
  const micro = ['calculateTrainBatchLoss', 'onTrainStepEnd', 'backwardStep', 'onTrainBatchEnd']
  const [from, to] = [log.indexOf('onTrainEpochStart') + 1, log.indexOf('trainEpochEnd')]
  assert.deepEqual(log.slice(from, to), [...micro, ...step, ...step])
})

test('trace of a stop between two steps: what is done gets its events, nothing further runs', async () => {
  const stop: Callback = {
    onTrainBatchEnd(_: AnyTrainer, { step }: { step: number }) {
      if (step === 1) throw new StopTrainingError('enough')
    },
  }
  const { trainer, log } = recorded([stop])
  await trainer.train({ ...run, trainDataset: dataset(8), numEpochs: 2 })
  const stopped = [...step, ...step, 'onStopTrainingError']
  assert.deepEqual(log, [...start, 'trainEpochStart', 'onTrainEpochStart', ...stopped, ...end])
})

test('trace of an evaluation that finds NaN', async () => {
  const { trainer, log } = recorded([new TerminateOnNaNCallback()])
  await assert.rejects(
    trainer.evaluate({ dataset: dataset(2, Number.NaN) }),
    (error: unknown) => error instanceof WickError && error.code === 'NAN_LOSS',
  )
  assert.deepEqual(log.slice(-3), ['evalEpochEnd', 'evaluationRunEnd', 'onEvaluationRunEnd'])
})
