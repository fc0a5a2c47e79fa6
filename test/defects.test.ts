/**
 * Defects of pytorch-accelerated that must not come back, by their numbers in the list of its mistakes.
 *
 * Tested elsewhere: 1 a second run that stops early (trainer.test), 2 resuming repeats an epoch (resume.test), 5 and 6 cosine's
 * warmup and WSD's series (schedulers.test), 8 and 9 limits and mode of intermediate evaluations (callbacks.test), 11 the
 * freezer's flags (model-freezer.test), 21 epoch schedules (schedulers.test). Not applicable with one process: 13, 14, 15.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  type AnyTrainer,
  type Callback,
  DataLoaderSlice,
  data,
  InMemoryRunHistory,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  SaveBestModelCallback,
  SaveTrainingStateCallback,
  schedulers,
  type Tensor,
  Trainer,
  WickError,
} from '../ts/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'wick-defects-'))
after(() => rmSync(folder, { recursive: true }))

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(9)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}
class QuietTrainer extends Trainer<nn.Linear, Batch, Tensor> {
  clips = 0
  updates = 0
  override print() {}
  override clipGradients() {
    this.clips++
    return super.clipGradients()
  }
  override optimizerStep() {
    this.updates++
    return super.optimizerStep()
  }
}
function makeTrainer(callbacks: Callback[] = [], precision: 'no' | 'fp16' = 'no') {
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
  return new QuietTrainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks, precision, seed: 1 })
}
const weights = ({ model }: QuietTrainer) => model.parameters().flatMap(p => Array.from(p.dataSync(), Number))
const run = { trainDataset: dataset(12), evalDataset: dataset(4), perDeviceBatchSize: 2 }
const createScheduler = (ctx: { optimizer: schedulers.ScheduledOptimizer }) =>
  new schedulers.WSDLrScheduler(ctx.optimizer, { totalSteps: 18, decayPhaseRatio: 0.5 })

test('3, 4: every checkpoint of a run with a scheduler loads in a fresh process, in every phase of the schedule', async () => {
  const saveDir = join(folder, 'states')
  const straight = makeTrainer([new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 4 })])
  await straight.train({ ...run, numEpochs: 3, createScheduler })
  const names = readdirSync(saveDir).sort()
  assert.deepEqual(names, ['final', 'step_12', 'step_16', 'step_4', 'step_8'])
  for (const name of names) {
    const resumed = makeTrainer()
    await resumed.train({ ...run, numEpochs: 3, createScheduler, resumeFrom: join(saveDir, name) })
    assert.deepEqual(weights(resumed), weights(straight), name)
    assert.equal((resumed.scheduler as schedulers.WSDLrScheduler).getCurrentStep(), 18)
  }
})

test('7: steps are counted once, in updates, whatever the accumulation', async () => {
  for (const gradientAccumulationSteps of [1, 2, 4]) {
    const trainer = makeTrainer()
    let numUpdateStepsPerEpoch = 0
    await trainer.train({
      ...run,
      numEpochs: 2,
      gradientAccumulationSteps,
      createScheduler: ctx => {
        numUpdateStepsPerEpoch = ctx.numUpdateStepsPerEpoch
        return schedulers.CosineLrScheduler.createSchedulerFn({ lrMin: 0 })(ctx)
      },
    })
    assert.equal(trainer.updates, 2 * numUpdateStepsPerEpoch)
    assert.equal(trainer.runConfig?.maxNumTrainSteps, trainer.updates)
    const lr = (trainer.optimizer as optim.SGD).paramGroups[0]?.lr
    assert.equal(lr, 0, 'the curve ends with the run')
  }
})

test('10: a misspelt attribute inside a callback is an error with its name, in every event', async () => {
  for (const event of ['onTrainStepEnd', 'onEvalEpochEnd', 'onTrainingRunEnd']) {
    class Misspelt {}
    Reflect.set(Misspelt.prototype, event, (trainer: { runHistry: { reset(): void } }) => trainer.runHistry.reset())
    await assert.rejects(makeTrainer([new Misspelt()]).train({ ...run, numEpochs: 1 }), (error: unknown) => {
      assert.ok(error instanceof WickError)
      assert.match(error.message, new RegExp(`^Misspelt\\.${event}: `))
      return true
    })
  }
})

test('12: accumulation clips once an update, also in fp16 where gradients are unscaled once', async () => {
  for (const precision of ['no', 'fp16'] as const) {
    const trainer = makeTrainer([], precision)
    await trainer.train({ ...run, numEpochs: 1, gradientAccumulationSteps: 4, gradientClipNorm: 1e-3 })
    assert.deepEqual([trainer.clips, trainer.updates], [2, 2])
    const plain = makeTrainer([], precision)
    await plain.train({ ...run, numEpochs: 1, perDeviceBatchSize: 8, gradientClipNorm: 1e-3 })
    for (const [i, w] of weights(trainer).entries()) assert.ok(Math.abs(w - weights(plain)[i]!) < 1e-4)
  }
})

test('16: options without an effect don’t exist', async () => {
  const trainer = makeTrainer()
  const options = { savePerNode: true } as object
  await assert.rejects(
    trainer.saveCheckpoint(join(folder, 'x.safetensors'), options),
    (error: unknown) => error instanceof WickError && error.code === 'BAD_OPTION',
  )
})

test('17: retention counts the states of earlier processes, and only complete ones are kept', async () => {
  const saveDir = join(folder, 'kept')
  const options = { saveDir, saveEveryNEpochs: 1, saveAtEnd: false, maxCheckpoints: 2 }
  await makeTrainer([new SaveTrainingStateCallback(options)]).train({ ...run, numEpochs: 2 })
  const next = makeTrainer([new SaveTrainingStateCallback(options)])
  await next.train({ ...run, numEpochs: 3, resumeFrom: saveDir })
  assert.deepEqual(readdirSync(saveDir).sort(), ['epoch_2', 'epoch_3'])
})

test('18: a state of a step holds that step’s update', async () => {
  const saveDir = join(folder, 'steps')
  let after: number[] = []
  const watch: Callback = {
    onTrainBatchEnd(trainer: AnyTrainer, { step }: { step: number }) {
      if (step === 2) after = weights(trainer as QuietTrainer)
    },
  }
  const saving = new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 3, saveAtEnd: false })
  await makeTrainer([watch, saving]).train({ ...run, numEpochs: 1 })
  const loaded = makeTrainer()
  const { globalStep } = await loaded.loadTrainingState(join(saveDir, 'step_3'))
  assert.equal(globalStep, 3)
  assert.deepEqual(weights(loaded), after)
})

test('20: a slice longer than its loader has the loader’s length, and the last window is applied', async () => {
  const loader = new data.DataLoader(dataset(10), { batchSize: 2 })
  assert.equal(new DataLoaderSlice(loader, 100).length, 5)
  const trainer = makeTrainer()
  trainer.callbackHandler.addCallback({
    onTrainingRunStart(t: AnyTrainer) {
      if (t.trainDataLoader) t.trainDataLoader = new DataLoaderSlice(t.trainDataLoader, 100)
    },
  })
  await trainer.train({ ...run, trainDataset: dataset(10), numEpochs: 1, gradientAccumulationSteps: 3 })
  assert.equal(trainer.updates, 2)
})

test('22: failed reads leave no names; the options of saving the best hold on every save', async () => {
  const history = new InMemoryRunHistory()
  assert.throws(() => history.getLatestMetric('nothing'))
  assert.deepEqual(history.getMetricNames(), [])
  const saved: object[] = []
  const savePath = join(folder, 'best.safetensors')
  const watchMetric = 'train_loss_epoch'
  const saving = new SaveBestModelCallback({ savePath, watchMetric, saveScheduler: false, greaterIsBetter: true })
  const trainer = makeTrainer([
    { onTrainEpochEnd: (t: AnyTrainer) => t.runHistory.updateMetric(watchMetric, 10 + t.runHistory.currentEpoch) },
    saving,
  ])
  const original = trainer.saveCheckpoint.bind(trainer)
  trainer.saveCheckpoint = (path, options = {}) => {
    saved.push({ saveOptimizer: options.saveOptimizer, saveScheduler: options.saveScheduler })
    return original(path, options)
  }
  await trainer.train({ ...run, numEpochs: 3, createScheduler })
  assert.deepEqual(saved, new Array(3).fill({ saveOptimizer: true, saveScheduler: false }))
})
