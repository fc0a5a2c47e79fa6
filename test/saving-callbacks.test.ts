/** Callbacks that save: best model, retention, moving averages, WSD; and their states in a resumed run. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  type AnyTrainer,
  type Callback,
  data,
  EarlyStoppingCallback,
  FastDevRunCallback,
  GradientNormMonitorCallback,
  loadSafetensors,
  ModelCheckpointCallback,
  ModelEmaCallback,
  manualSeed,
  memory,
  nn,
  optim,
  randint,
  randn,
  SaveBestModelCallback,
  SaveTrainingStateCallback,
  StepBasedEvaluationCallback,
  StochasticWeightAveragingCallback,
  StopTrainingError,
  schedulers,
  type Tensor,
  Trainer,
  WSDCheckpointCallback,
} from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

const folder = mkdtempSync(join(tmpdir(), 'wick-callbacks-'))
after(() => rmSync(folder, { recursive: true }))
let folders = 0
const newFolder = () => join(folder, String(folders++))

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(99)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}
const makeModel = () => {
  manualSeed(0)
  return new nn.Sequential(new nn.Linear(4, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Linear(8, 3))
}
type Model = ReturnType<typeof makeModel>
class QuietTrainer extends Trainer<Model, Batch, Tensor> {
  readonly printed: string[] = []
  override print(...values: unknown[]) {
    this.printed.push(values.join(' '))
  }
}
type Callbacks = Callback<Trainer<Model, Batch, Tensor>>[]
function makeTrainer(callbacks: Callbacks, { capture = 'auto' as 'auto' | 'off' } = {}) {
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
  return new QuietTrainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks, capture, seed: 5 })
}
const values = (t: Tensor) => Array.from(t.dataSync(), Number)
const weights = (model: nn.Module) => Object.values(model.stateDict()).flatMap(values)
const close = (a: number[], b: number[], tolerance = 1e-5) => {
  assert.equal(a.length, b.length)
  for (const [i, x] of a.entries()) assert.ok(Math.abs(x - b[i]!) <= tolerance, `${x} and ${b[i]} at ${i}`)
}
const scripted = (name: string, series: number[]): Callback => ({
  onEvalEpochEnd({ runHistory }: AnyTrainer) {
    runHistory.updateMetric(name, series[runHistory.currentEpoch - 1] ?? 0)
  },
})
const run = { trainDataset: dataset(16), evalDataset: dataset(6), perDeviceBatchSize: 4 }

test('save best: strict improvements are saved, the best is loaded at the end, options hold on every save', async () => {
  const savePath = join(newFolder(), 'best.safetensors')
  const seen: number[][] = []
  const saving = new SaveBestModelCallback({
    savePath,
    watchMetric: 'score',
    greaterIsBetter: true,
    saveScheduler: false,
  })
  const trainer = makeTrainer([
    scripted('score', [Number.NaN, 0.5, 0.7, 0.7, 0.6]),
    saving,
    { onTrainingRunEpochEnd: t => void seen.push(weights(t.model)) },
  ])
  const createScheduler = (ctx: { optimizer: schedulers.ScheduledOptimizer }) =>
    new schedulers.ExponentialLR(ctx.optimizer, { gamma: 0.9 })
  await trainer.train({ ...run, numEpochs: 5, createScheduler })
  assert.deepEqual([saving.bestMetric, saving.bestMetricEpoch], [0.7, 3])
  assert.deepEqual(trainer.printed, ['Loading checkpoint with score: 0.7 from epoch 3'])
  assert.deepEqual(weights(trainer.model), seen[2])
  // No scheduler is in the file, so a trainer without one can load it; the optimizer is.
  const other = makeTrainer([])
  const { extra } = await other.loadCheckpoint(savePath)
  assert.deepEqual(extra, { score: 0.7, epoch: 3 })
  assert.deepEqual(weights(other.model), seen[2])
  assert.ok(Object.keys(other.optimizer.paramGroups).length === 1)
  // The next run begins without a best value.
  await trainer.train({ ...run, numEpochs: 1 })
  assert.equal(saving.bestMetricEpoch, 1)
})

test('save best: nothing is loaded where nothing was saved; a missing metric names the known ones', async () => {
  const trainer = makeTrainer([new SaveBestModelCallback({ savePath: join(newFolder(), 'a.safetensors') })])
  await assert.rejects(
    trainer.train({ trainDataset: dataset(4), numEpochs: 1 }),
    code('BAD_OPTION', /SaveBestModelCallback.*eval_loss_epoch.*train_loss_epoch/),
  )
  assert.throws(() => new SaveBestModelCallback({ savepath: 'x' } as object), code('BAD_OPTION', /'savePath'/))
})

test('model checkpoints: the best k, the latest n, last', async () => {
  const saveDir = newFolder()
  const series = [0.5, 0.9, 0.3, 0.4, 0.8]
  const saving = new ModelCheckpointCallback({
    saveDir,
    watchMetric: 'score',
    saveTopK: 2,
    keepLast: 1,
    saveLast: true,
  })
  const trainer = makeTrainer([scripted('score', series), saving])
  await trainer.train({ ...run, numEpochs: 5 })
  const names = ['epoch_3_step_12', 'epoch_4_step_16', 'epoch_5_step_20', 'last'].map(name => `${name}.safetensors`)
  assert.deepEqual(readdirSync(saveDir).sort(), names)
  assert.deepEqual(saving.bestPaths, [join(saveDir, names[0]!), join(saveDir, names[1]!)])
  const { extra } = await makeTrainer([]).loadCheckpoint(join(saveDir, names[0]!))
  assert.deepEqual(extra, { epoch: 3, global_step: 12, score: 0.3 })
  // The folder decides what the latest are, so those of an earlier process go.
  const later = makeTrainer([new ModelCheckpointCallback({ saveDir, everyNSteps: 3, keepLast: 2 })])
  await later.train({ ...run, numEpochs: 2 })
  assert.deepEqual(readdirSync(saveDir).sort(), [
    'epoch_4_step_16.safetensors',
    'epoch_5_step_20.safetensors',
    'last.safetensors',
  ])
})

test('model checkpoints by time and by steps', async () => {
  const both = newFolder()
  const options = { watchMetric: 'score', saveTopK: 1, everyNSteps: 3, keepLast: 1 }
  await makeTrainer([scripted('score', [1, 2, 3]), new ModelCheckpointCallback({ saveDir: both, ...options })]).train({
    ...run,
    numEpochs: 3,
  })
  assert.deepEqual(readdirSync(both).sort(), ['epoch_1_step_4.safetensors', 'epoch_3_step_12.safetensors'])
  const saveDir = newFolder()
  const trainer = makeTrainer([new ModelCheckpointCallback({ saveDir, everyNSeconds: 1e-9 })])
  await trainer.train({ ...run, numEpochs: 1 })
  assert.equal(readdirSync(saveDir).length, 4)
  const bad: object[] = [
    { saveTopK: 2 },
    { everyNSteps: 0 },
    { everyNSeconds: -1 },
    { savedir: 'x' },
    { saveTopK: 2, watchMetric: 'score', everyNSteps: 5 },
  ]
  for (const options of bad) assert.throws(() => new ModelCheckpointCallback(options), code('BAD_OPTION'))
})

for (const capture of ['auto', 'off'] as const) {
  test(`EMA: updated with every optimizer step, evaluated and saved beside the model (${capture})`, async () => {
    const savePath = join(newFolder(), 'ema.safetensors')
    let average: number[] = []
    const evaluated: string[] = []
    const ema = new ModelEmaCallback({
      decay: 0.9,
      savePath,
      callbacks: [{ onEvalEpochEnd: (t: AnyTrainer) => void evaluated.push(t.runHistory.metricNamePrefix) }],
    })
    const isFloat = (model: nn.Module) => Object.values(model.stateDict()).map(t => t.dtype !== 'int64')
    const trainer = makeTrainer(
      [
        {
          onTrainingRunStart: t => {
            average = weights(t.model)
          },
        },
        ema,
        {
          onTrainBatchEnd: t => {
            const flags = Object.values(t.model.stateDict()).flatMap((s, i) => values(s).map(() => isFloat(t.model)[i]))
            average = weights(t.model).map((w, i) => (flags[i] ? 0.9 * average[i]! + 0.1 * w : w))
          },
        },
      ],
      { capture },
    )
    const plain = makeTrainer([], { capture })
    await trainer.train({ ...run, numEpochs: 4 })
    await plain.train({ ...run, numEpochs: 4 })
    assert.deepEqual(weights(trainer.model), weights(plain.model), 'the model is as without it')
    const byName = (model: nn.Module) => Object.entries(model.stateDict()).sort(([a], [b]) => (a < b ? -1 : 1))
    const order = byName(trainer.model).map(([name]) => Object.keys(trainer.model.stateDict()).indexOf(name))
    const parts: number[][] = []
    let at = 0
    for (const t of Object.values(trainer.model.stateDict())) {
      parts.push(average.slice(at, at + t.numel))
      at += t.numel
    }
    close(
      byName(ema.emaModel!).flatMap(([, t]) => values(t)),
      order.flatMap(i => parts[i]!),
    )
    const history = trainer.runHistory
    assert.equal(history.getMetricValues('ema_model_eval_loss_epoch').length, 4)
    assert.equal(history.metricNamePrefix, '')
    assert.deepEqual(evaluated, new Array(4).fill('ema_model_'))
    assert.deepEqual(trainer.printed, new Array(4).fill('Running evaluation on EMA model'))
    // The last evaluation of the average, once more, with its weights in a model of its own.
    const alone = makeTrainer([])
    alone.model.loadStateDict(ema.emaModel!.stateDict())
    await alone.evaluate({ dataset: run.evalDataset, perDeviceBatchSize: 4 })
    const last = history.getLatestMetric('ema_model_eval_loss_epoch')
    assert.ok(Math.abs(alone.runHistory.getLatestMetric('evaluation_loss') - last) < 1e-6)
    const best = Math.min(...history.getMetricValues('ema_model_eval_loss_epoch'))
    const { extra } = await alone.loadCheckpoint(savePath)
    assert.equal(extra.ema_model_eval_loss_epoch, best)
    assert.deepEqual(
      Object.keys(await loadSafetensors(savePath))
        .filter(k => !k.startsWith('__'))
        .sort(),
      byName(plain.model).map(([k]) => k),
    )
    // evaluate() is about the model alone.
    await trainer.evaluate({ dataset: run.evalDataset })
    assert.equal(history.getMetricNames().length, 1)
  })
}

test('EMA without evaluation saves every epoch, and is updated once a window', async () => {
  const savePath = join(newFolder(), 'ema.safetensors')
  let updates = 0
  class Counted extends optim.EMA {
    override update() {
      updates++
      super.update()
    }
  }
  const trainer = makeTrainer([new ModelEmaCallback({ savePath, evaluateDuringTraining: false, modelEma: Counted })])
  await trainer.train({ ...run, numEpochs: 2, gradientAccumulationSteps: 3 })
  assert.equal(updates, 4)
  const { extra } = await trainer.loadCheckpoint(savePath, { loadOptimizer: false })
  assert.deepEqual(extra, { epoch: 2 })
  assert.deepEqual(trainer.printed, [])
})

test('SWA: the model ends with the mean of the late epochs and fitting statistics', async () => {
  const late: number[][] = []
  const swa = new StochasticWeightAveragingCallback({ startEpoch: 2 })
  const trainer = makeTrainer([{ onTrainEpochEnd: t => void late.push(values(t.model.parameters()[0]!)) }, swa])
  await trainer.train({ ...run, numEpochs: 4 })
  const mean = late[0]!.map((_, i) => (late[1]![i]! + late[2]![i]! + late[3]![i]!) / 3)
  close(values(trainer.model.parameters()[0]!), mean)
  assert.deepEqual(values(swa.averagedModel!.parameters()[0]!), values(trainer.model.parameters()[0]!))
  const tracked = trainer.model.stateDict()['1.num_batches_tracked']!
  assert.deepEqual(values(tracked), [4])
})

test('WSD: a state before each decay, a checkpoint after it, and a continuation from the state', async () => {
  const saveDir = newFolder()
  const options = { lrMin: 0.01, decayPhaseRatio: 0.25, numCheckpoints: 2 }
  const trainer = makeTrainer([new WSDCheckpointCallback({ saveDir })])
  const createScheduler = (ctx: { optimizer: schedulers.ScheduledOptimizer }) =>
    new schedulers.WSDLrScheduler(ctx.optimizer, { totalSteps: 16, ...options })
  await trainer.train({ ...run, numEpochs: 8, gradientAccumulationSteps: 2, createScheduler })
  assert.deepEqual(readdirSync(saveDir).sort(), [
    'checkpoint_14_wsd_pre_decay',
    'checkpoint_16_wsd_post_decay.safetensors',
    'checkpoint_6_wsd_pre_decay',
    'checkpoint_8_wsd_post_decay.safetensors',
  ])
  assert.deepEqual(trainer.printed.slice(0, 3), [
    '\nWSD Lr Scheduler entering decay phase at step 6',
    '\nSaved wsd_pre_decay training state at step 6',
    '\nSaved wsd_post_decay checkpoint at step 8',
  ])
  for (const [initial, kind] of [
    ['checkpoint_14_wsd_pre_decay', 'wsd_pre_decay training state from step 14'],
    ['checkpoint_16_wsd_post_decay.safetensors', 'wsd_post_decay checkpoint from step 16'],
  ] as const) {
    const rates: number[] = []
    const initialCheckpoint = join(saveDir, initial)
    const next = makeTrainer([
      new WSDCheckpointCallback({ saveDir: newFolder(), initialCheckpoint }),
      { onTrainStepStart: t => void rates.push(Number(Reflect.get(t.optimizer.paramGroups[0]!, 'lr'))) },
    ])
    await next.train({
      ...run,
      numEpochs: 10,
      createScheduler: ctx =>
        new schedulers.WSDLrScheduler(ctx.optimizer, {
          totalSteps: 40,
          decayPhaseRatio: 0.25,
          isContinuationFromCheckpoint: true,
        }),
    })
    assert.deepEqual(next.printed.slice(0, 2), [`\nLoading checkpoint from ${initialCheckpoint}`, `Loaded ${kind}`])
    assert.deepEqual(rates.slice(0, 31), new Array(31).fill(0.1))
    assert.ok(rates[31]! < 0.1 && rates.length === 40)
  }
  const wrong = makeTrainer([new WSDCheckpointCallback({ saveDir })])
  await assert.rejects(wrong.train({ ...run, numEpochs: 1 }), code('BAD_OPTION', /getCheckpointSteps/))
})

test('a resumed run goes on with best values, counters and averages', async () => {
  const build = (saveDir: string, savePath: string) => {
    const stopping = new EarlyStoppingCallback({ earlyStoppingPatience: 3, earlyStoppingThreshold: 0 })
    const saving = new SaveBestModelCallback({ savePath: `${savePath}-best.safetensors`, loadSavedCheckpoint: false })
    const ema = new ModelEmaCallback({ decay: 0.8, savePath: `${savePath}-ema.safetensors` })
    const states = new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 7, saveAtEnd: false })
    const norms = new GradientNormMonitorCallback({ everyNUpdates: 3 })
    return { stopping, saving, ema, trainer: makeTrainer([ema, saving, stopping, states, norms]) }
  }
  const [saveDir, paths] = [newFolder(), newFolder()]
  const straight = build(saveDir, join(paths, 'a'))
  await straight.trainer.train({ ...run, numEpochs: 5 })
  assert.ok(existsSync(join(saveDir, 'step_14')))
  const resumed = build(newFolder(), join(paths, 'b'))
  await resumed.trainer.train({ ...run, numEpochs: 5, resumeFrom: join(saveDir, 'step_14') })
  assert.deepEqual(weights(resumed.trainer.model), weights(straight.trainer.model))
  assert.deepEqual(weights(resumed.ema.emaModel!), weights(straight.ema.emaModel!))
  assert.equal(resumed.saving.bestMetric, straight.saving.bestMetric)
  assert.equal(resumed.saving.bestMetricEpoch, straight.saving.bestMetricEpoch)
  assert.deepEqual(resumed.stopping.stateDict(), straight.stopping.stateDict())
  assert.equal(resumed.ema.bestMetric, straight.ema.bestMetric)
  assert.deepEqual(JSON.stringify(resumed.trainer.runHistory), JSON.stringify(straight.trainer.runHistory))
})

test('a fast development run writes nothing', async () => {
  const saveDir = newFolder()
  const callbacks = [
    new SaveBestModelCallback({ savePath: join(saveDir, 'best.safetensors') }),
    new ModelCheckpointCallback({ saveDir }),
    new SaveTrainingStateCallback({ saveDir }),
    new FastDevRunCallback(),
  ]
  await makeTrainer(callbacks).train({ ...run, numEpochs: 3 })
  assert.ok(!existsSync(saveDir))
})

test('several runs with averages leave no tensors behind', async () => {
  const trainer = makeTrainer([new ModelEmaCallback({ savePath: join(newFolder(), 'e.safetensors') })])
  await trainer.train({ ...run, numEpochs: 2 })
  const before = collected()
  for (let i = 0; i < 3; i++) await trainer.train({ ...run, numEpochs: 2 })
  assert.ok(memory().tensors - before <= 2, `${memory().tensors - before} more tensors`)
})

test('a state that is asked for while the average is evaluated is saved where a run resumes exactly', async () => {
  const build = (saveDir: string, asks: boolean) => {
    let asked = 0
    const inner: Callback = {
      onEvalStepEnd(t: AnyTrainer) {
        if (!asks || ++asked !== 3) return
        t.whenSettled(() => t.saveTrainingState(saveDir))
      },
    }
    const ema = new ModelEmaCallback({ decay: 0.8, savePath: `${saveDir}.safetensors`, callbacks: [inner] })
    return { ema, trainer: makeTrainer([ema]) }
  }
  const saveDir = newFolder()
  const straight = build(saveDir, true)
  await straight.trainer.train({ ...run, numEpochs: 3 })
  const resumed = build(newFolder(), false)
  await resumed.trainer.train({ ...run, numEpochs: 3, resumeFrom: saveDir })
  assert.deepEqual(weights(resumed.trainer.model), weights(straight.trainer.model))
  assert.deepEqual(weights(resumed.ema.emaModel!), weights(straight.ema.emaModel!))
  assert.equal(JSON.stringify(resumed.trainer.runHistory), JSON.stringify(straight.trainer.runHistory))
})

test('a resumed run evaluates at the same steps as one that was never stopped', async () => {
  const build = (saveDir: string) => {
    const at: number[] = []
    const watch: Callback = {
      onEvalEpochStart(t: AnyTrainer, { isIntermediate }: { isIntermediate: boolean }) {
        at.push(isIntermediate ? t.globalStep : -t.globalStep)
      },
    }
    const states = new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 5, saveAtEnd: false })
    return { at, trainer: makeTrainer([new StepBasedEvaluationCallback({ evalEveryNSteps: 3 }), watch, states]) }
  }
  const saveDir = newFolder()
  const straight = build(saveDir)
  const long = { ...run, trainDataset: dataset(32), numEpochs: 2, gradientAccumulationSteps: 2 }
  await straight.trainer.train(long)
  assert.deepEqual(straight.at, [3, 6, -8, 11, 14, -16])
  for (const step of [5, 10, 15]) {
    const resumed = build(newFolder())
    await resumed.trainer.train({ ...long, resumeFrom: join(saveDir, `step_${step}`) })
    assert.deepEqual(
      resumed.at,
      straight.at.filter(at => Math.abs(at) > step),
    )
    assert.deepEqual(weights(resumed.trainer.model), weights(straight.trainer.model))
  }
})

test('runs that fail leave no listeners of signals', async () => {
  const listeners = () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT')
  const before = listeners()
  const failures: (() => never)[] = [
    () => {
      throw new Error('no')
    },
    () => {
      throw new StopTrainingError('enough')
    },
  ]
  for (const event of ['onTrainingRunStart', 'onTrainStepEnd', 'onTrainingRunEpochEnd']) {
    for (const [i, failure] of failures.entries()) {
      const saving = new SaveTrainingStateCallback({ saveDir: newFolder(), saveAtEnd: false })
      const during: number[] = []
      const failing = {
        onTrainEpochStart: () => void during.push(listeners()),
        [event]: failure,
      } as Callback
      const trainer = makeTrainer([saving, failing])
      const training = trainer.train({ ...run, numEpochs: 1 })
      if (i === 0) await assert.rejects(training, /no/)
      else await training
      assert.deepEqual(during, event === 'onTrainingRunStart' ? [] : [before + 2])
      assert.equal(listeners(), before, event)
    }
  }
})

test('a stop at the start of a run ends it in an orderly way', async () => {
  const calls: string[] = []
  const note = (name: string): Callback => ({
    onTrainingRunStart: () => void calls.push(`${name} start`),
    onStopTrainingError: () => void calls.push(`${name} stop`),
    onTrainEpochStart: () => void calls.push(`${name} epoch`),
    onTrainingRunEnd: () => void calls.push(`${name} end`),
  })
  const stop: Callback = {
    onTrainingRunStart() {
      throw new StopTrainingError('enough')
    },
  }
  await makeTrainer([note('a'), stop, note('b')]).train({ ...run, numEpochs: 1 })
  assert.deepEqual(calls, ['a start', 'b start', 'a stop', 'b stop', 'a end', 'b end'])
})
