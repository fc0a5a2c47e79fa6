/** Metrics against torchmetrics' values; states; use in callbacks, in overridden steps and under replay. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type AnyTrainer,
  type Callback,
  data,
  manualSeed,
  memory,
  metrics,
  nn,
  optim,
  randint,
  randn,
  Tensor,
  Trainer,
  tensor,
} from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

type Json = number | string | Json[] | { [key: string]: Json }
interface Case {
  name: string
  kind: string
  options: object
  inputs: number
  values: Json[]
}
const golden: { inputs: Json[][][]; cases: Case[] } = JSON.parse(
  readFileSync(join(process.cwd(), 'test/golden/metrics.json'), 'utf8'),
)
type AnyMetric = metrics.Metric<never, unknown>
const make = ({ kind, options }: Case): AnyMetric => {
  const made: unknown = Reflect.get(metrics, kind)
  assert.ok(typeof made === 'function', kind)
  return Reflect.construct(made, [options])
}
function decode(json: Json): unknown {
  if (Array.isArray(json)) return json.map(decode)
  if (typeof json !== 'object') return json
  if ('dtype' in json)
    return tensor(json.data as number[], { dtype: json.dtype as 'float32' }).reshape(json.shape as number[])
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, decode(value)]))
}
function compare(actual: unknown, expected: Json, where: string): void {
  if (actual instanceof Tensor) {
    compare(
      Array.from(actual.dataSync(), Number),
      Array.isArray(expected) ? (expected.flat(3) as Json) : [expected],
      where,
    )
  } else if (typeof expected === 'number' || expected === null) {
    const close = Number.isNaN(actual)
      ? expected === null
      : Math.abs(Number(actual) - Number(expected)) <= 1e-6 + 1e-6 * Math.abs(Number(expected))
    assert.ok(close, `${where}: ${actual}, expected ${expected}`)
  } else if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual) && actual.length === expected.length, `${where}: ${actual}`)
    for (const [i, value] of expected.entries()) compare(actual[i], value, `${where}[${i}]`)
  } else {
    assert.ok(typeof actual === 'object' && actual !== null && typeof expected === 'object', where)
    assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), where)
    for (const [key, value] of Object.entries(expected)) compare(Reflect.get(actual, key), value, `${where}.${key}`)
  }
}
const feed = (metric: AnyMetric, update: Json[]) => {
  const { update: run } = metric as unknown as { update(...args: unknown[]): void }
  run.apply(metric, decode(update) as unknown[])
}

for (const kind of new Set(golden.cases.map(c => c.kind))) {
  test(`${kind} has torchmetrics’ values after each update`, async () => {
    for (const c of golden.cases.filter(c => c.kind === kind)) {
      const metric = make(c)
      const updates = golden.inputs[c.inputs]!
      for (const [i, update] of updates.entries()) {
        feed(metric, update)
        compare(await metric.compute(), c.values[i]!, `${c.name}, update ${i}`)
      }
      metric.reset()
      feed(metric, updates[0]!)
      compare(await metric.compute(), c.values[0]!, `${c.name}, after a reset`)
      metric.dispose()
    }
  })

  test(`${kind}: two halves merge to the whole, also from their states`, async () => {
    for (const c of golden.cases.filter(c => c.kind === kind)) {
      const updates = golden.inputs[c.inputs]!
      const [first, second, restored] = [make(c), make(c), make(c)]
      for (const [i, update] of updates.entries()) feed(i % 2 === 0 ? first : second, update)
      restored.loadStateDict(second.stateDict())
      assert.equal(restored.numUpdates, second.numUpdates)
      first.merge(restored)
      assert.equal(first.numUpdates, updates.length)
      compare(await first.compute(), c.values.at(-1)!, c.name)
      assert.ok(Object.values(first.stateReductions).every(r => r === 'sum' || r === 'cat'))
      for (const metric of [first, second, restored]) metric.dispose()
    }
  })
}

test('average none gives a Tensor, others numbers, as types and as values', async () => {
  const task = { task: 'multiclass', numClasses: 3 } as const
  const all = new metrics.Recall({ ...task, average: 'none' })
  const one = new metrics.Recall({ ...task, average: 'macro' })
  for (const metric of [all, one]) metric.update(tensor([0, 1, 2]), tensor([0, 1, 1]))
  const each: Tensor = await all.compute()
  const mean: number = await one.compute()
  assert.deepEqual(Array.from(each.dataSync(), Number), [1, 0.5, 0])
  assert.equal(mean, 0.5)
})

test('NaN strategies of MeanMetric and SumMetric', async () => {
  const values = tensor([1, Number.NaN, 3])
  const result = async (nanStrategy: 'ignore' | 'error' | number | undefined) => {
    const metric = new metrics.MeanMetric({ nanStrategy })
    metric.update(values)
    metric.update(8, 2)
    return metric.compute()
  }
  assert.equal(await result('ignore'), 5)
  assert.equal(await result(10), 6)
  await assert.rejects(result('error'), code('BAD_OPTION', /NaN/))
  const sum = new metrics.SumMetric()
  sum.update(values)
  sum.update(2)
  assert.equal(await sum.compute(), 6)
})

test('rougeLsum takes lines as sentences', async () => {
  const rouge = new metrics.ROUGE()
  rouge.update(['the cat sat\nthe dog ran'], ['the dog ran\nthe cat sat'])
  const { rougeLFmeasure, rougeLsumFmeasure, rouge1Precision } = await rouge.compute()
  assert.equal(rougeLsumFmeasure, 1)
  assert.equal(rougeLFmeasure, 0.5)
  assert.equal(rouge1Precision, 1)
})

test('MetricCollection: one call for all, names with prefix and postfix, states', async () => {
  const task = { task: 'multiclass', numClasses: 3 } as const
  const build = () =>
    new metrics.MetricCollection(
      { accuracy: new metrics.Accuracy(task), recall: new metrics.Recall({ ...task, average: 'none' }) },
      { prefix: 'eval_' },
    )
  const collection = build()
  collection.update(tensor([0, 1, 2, 2]), tensor([0, 1, 1, 2]))
  const { eval_accuracy, eval_recall } = await collection.compute()
  const [a, r]: [number, Tensor] = [eval_accuracy, eval_recall]
  assert.equal(a, 0.75)
  assert.deepEqual(Array.from(r.dataSync(), Number), [1, 0.5, 1])
  const other = build()
  other.loadStateDict(collection.stateDict())
  assert.equal((await other.compute()).eval_accuracy, 0.75)
  collection.reset()
  assert.equal((await collection.compute()).eval_accuracy, 0)
})

test('MetricCollection of a list: the classes’ names; a copy of one goes its own way', async () => {
  const task = { task: 'multiclass', numClasses: 3 } as const
  const collection = new metrics.MetricCollection([new metrics.Accuracy(task), new metrics.AUROC(task)], {
    postfix: '_x',
  })
  collection.update(randn([4, 3]), tensor([0, 1, 1, 2]))
  const copy = collection.clone({ prefix: 'test_' })
  const [values, copied] = [await collection.compute(), await copy.compute()]
  assert.deepEqual(Object.keys(values), ['Accuracy_x', 'AUROC_x'])
  assert.deepEqual(copied, { test_Accuracy_x: values.Accuracy_x, test_AUROC_x: values.AUROC_x })
  copy.update(tensor([[1, 0, 0]]).float(), tensor([2]))
  assert.equal(copy.metrics.Accuracy!.numUpdates, 2)
  assert.deepEqual(await collection.compute(), values)
  const twice = () => new metrics.MetricCollection([new metrics.Accuracy(task), new metrics.Accuracy(task)])
  assert.throws(twice, code('BAD_OPTION', /two metrics are called 'Accuracy'/))
})

for (const kind of ['FBeta', 'AUROC', 'R2Score', 'BLEU', 'MeanAveragePrecision', 'SumMetric']) {
  test(`${kind}: clone keeps options and what was seen`, async () => {
    for (const c of golden.cases.filter(c => c.kind === kind)) {
      const metric = make(c)
      const [first, ...rest] = golden.inputs[c.inputs]!
      feed(metric, first!)
      const copy = metric.clone()
      metric.dispose()
      for (const update of rest) feed(copy, update)
      compare(await copy.compute(), c.values.at(-1)!, c.name)
      copy.dispose()
    }
  })
}

test('multidimAverage samplewise gives a Tensor, as type and as value', async () => {
  const metric = new metrics.Accuracy({ task: 'binary', multidimAverage: 'samplewise' })
  metric.update(
    tensor([
      [1, 0],
      [1, 1],
    ]),
    tensor([
      [1, 1],
      [1, 1],
    ]),
  )
  const values: Tensor = await metric.compute()
  assert.deepEqual(Array.from(values.dataSync(), Number), [0.5, 1])
  assert.throws(() => metric.update(tensor([1]), tensor([1])), code('SHAPE_MISMATCH'))
})

test('thresholds keep no scores', async () => {
  const metric = new metrics.AUROC({ task: 'binary', thresholds: 100 })
  const shapes = () => Object.values(metric.stateDict()).map(state => (state instanceof Tensor ? state.numel : 0))
  const before = shapes()
  for (let i = 0; i < 3; i++) metric.update(tensor([0.1, 0.9]), tensor([0, 1]))
  assert.deepEqual(shapes().slice(1), before.slice(1))
  assert.equal(await metric.compute(), 1)
})

test('bad options, shapes and states are typed errors', () => {
  const m = metrics
  const bad: [() => unknown, RegExp][] = [
    [() => new m.Accuracy({} as never), /task must be/],
    [() => new m.Accuracy({ task: 'multiclass' } as never), /numClasses/],
    [() => new m.Accuracy({ task: 'multiclass', numClasses: 3, numClases: 3 } as never), /'numClasses'/],
    [() => new m.Accuracy({ task: 'binary', average: 'mean' } as never), /average/],
    [() => new m.Accuracy({ task: 'multiclass', numClasses: 3, topK: 4 }), /topK/],
    [() => new m.Accuracy({ task: 'binary', threshold: 2 }), /threshold/],
    [() => new m.FBeta({ task: 'binary', beta: 0 }), /beta/],
    [() => new m.CohenKappa({ task: 'multilabel', numLabels: 2 } as never), /task/],
    [() => new m.AUROC({ task: 'multiclass', numClasses: 3, average: 'micro' }), /micro/],
    [() => new m.AUROC({ task: 'binary', thresholds: 1 }), /thresholds/],
    [() => new m.AveragePrecision({ task: 'binary', thresholds: [0.5, 2] }), /thresholds/],
    [() => new m.Recall({ task: 'binary', multidimAverage: 'each' as 'global' }), /multidimAverage/],
    [() => new m.CalibrationError({ task: 'binary', norm: 'l3' } as never), /norm/],
    [() => new m.BLEU({ weights: [1] }), /weights/],
    [() => new m.ROUGE({ rougeKeys: ['rougeX' as 'rougeL'] }), /rougeX/],
    [() => new m.MeanAveragePrecision({ boxFormat: 'yxyx' } as never), /boxFormat/],
    [() => new m.MeanMetric({ nanStrategy: 'warn' as 'error' }), /nanStrategy/],
    [() => new m.MetricCollection({}), /at least one/],
  ]
  for (const [make, text] of bad) assert.throws(make, code('BAD_OPTION', text))
  const accuracy = new m.Accuracy({ task: 'multiclass', numClasses: 3 })
  assert.throws(() => accuracy.update(randn([2, 4]), tensor([0, 1])), code('SHAPE_MISMATCH', /float32\[2, 4\]/))
  const labels = (values: number[]) => tensor(values, { device: 'cpu' })
  assert.throws(() => accuracy.update(labels([0, 1]), labels([0, 7])), code('INDEX_OUT_OF_RANGE'))
  assert.throws(() => new m.MeanSquaredError().update(randn([2]), randn([3])), code('SHAPE_MISMATCH'))
  assert.throws(() => accuracy.loadStateDict({ num_updates: 1 }), code('STATE_DICT_MISMATCH', /'tp'/))
  assert.throws(() => accuracy.merge(new m.Recall({ task: 'multiclass', numClasses: 3 }) as never), code('BAD_OPTION'))
})

// In a Trainer

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(3)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}
const task = { task: 'multiclass', numClasses: 3 } as const
const options = (callbacks: Callback[], capture: 'auto' | 'off' = 'auto') => {
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  return {
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    callbacks,
    capture,
    seed: 1,
  }
}
class MetricsInSteps extends Trainer<nn.Linear, Batch, Tensor> {
  readonly accuracy = new metrics.Accuracy(task)
  readonly auroc = new metrics.AUROC(task)

  override calculateEvalBatchLoss(batch: Batch) {
    const output = super.calculateEvalBatchLoss(batch) as { loss: Tensor; modelOutputs: Tensor; batchSize: number }
    this.accuracy.update(output.modelOutputs, batch[1])
    this.auroc.update(output.modelOutputs, batch[1])
    return output
  }

  override async evalEpochEnd() {
    this.runHistory.updateMetric('accuracy', await this.accuracy.compute())
    this.runHistory.updateMetric('auroc', await this.auroc.compute())
    this.accuracy.reset()
    this.auroc.reset()
  }
}
class MetricsInCallback implements Callback<Trainer<nn.Linear, Batch, Tensor>> {
  readonly metrics = new metrics.MetricCollection({
    accuracy: new metrics.Accuracy(task),
    auroc: new metrics.AUROC(task),
  })

  onEvalStepEnd(_trainer: AnyTrainer, { batch, batchOutput }: { batch: Batch; batchOutput: { modelOutputs: Tensor } }) {
    this.metrics.update(batchOutput.modelOutputs, batch[1])
  }

  async onEvalEpochEnd({ runHistory }: AnyTrainer) {
    for (const [name, value] of Object.entries(await this.metrics.compute())) runHistory.updateMetric(name, value)
    this.metrics.reset()
  }
}

test('the same values from a callback and from overridden steps, eager and replayed', async () => {
  const run = { trainDataset: dataset(40), evalDataset: dataset(75), numEpochs: 3, perDeviceBatchSize: 5 }
  const histories: object[] = []
  for (const capture of ['auto', 'off'] as const) {
    const inSteps = new MetricsInSteps(options([], capture))
    const inCallback = new Trainer<nn.Linear, Batch, Tensor>(options([new MetricsInCallback() as Callback], capture))
    for (const trainer of [inSteps, inCallback]) {
      await trainer.train(run)
      const { runHistory } = trainer
      histories.push([runHistory.getMetricValues('accuracy'), runHistory.getMetricValues('auroc')])
      if (capture === 'auto' && trainer === inSteps) {
        const { evaluation } = trainer.captureReport()
        assert.ok(evaluation.matched > 0.7, JSON.stringify(evaluation))
      }
    }
    // What the last epoch measured, once more and all at once.
    inSteps.model.eval()
    const whole = new metrics.Accuracy(task)
    const [x, y] = dataset(75).tensors
    whole.update(inSteps.model.forward(x), y)
    assert.equal(inSteps.runHistory.getLatestMetric('accuracy'), await whole.compute())
  }
  for (const history of histories) assert.deepEqual(history, histories[0])
})

test('metrics leave no tensors behind', async () => {
  const trainer = new MetricsInSteps(options([]))
  const run = { trainDataset: dataset(20), evalDataset: dataset(20), numEpochs: 2, perDeviceBatchSize: 5 }
  await trainer.train(run)
  const before = collected()
  for (let i = 0; i < 3; i++) await trainer.train(run)
  assert.ok(memory().tensors - before <= 2, `${memory().tensors - before} more tensors`)
})
