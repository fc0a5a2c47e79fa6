/** Schedules against PyTorch's and pytorch-accelerated's values, their states, and how a Trainer steps them. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type AnyTrainer,
  data,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  schedulers,
  type Tensor,
  Trainer,
} from '../ts/index.ts'
import { code } from './programs/wick-error.ts'

interface Case {
  name: string
  kind: string
  options: object
  optimizer: 'sgd' | 'adamw'
  values: number[][]
  momentum?: number[][]
  metrics?: number[]
}
const cases: Case[] = JSON.parse(readFileSync(join(process.cwd(), 'test/golden/schedulers.json'), 'utf8'))

type Scheduler = schedulers.StatefulSchedulerBase | schedulers.ReduceLROnPlateau
function makeOptimizer(kind: 'sgd' | 'adamw' = 'sgd') {
  const [a, b] = [new nn.Linear(1, 1), new nn.Linear(1, 1)]
  const groups = [
    { params: a.parameters(), lr: 0.1 },
    { params: b.parameters(), lr: 0.02 },
  ]
  return kind === 'adamw' ? new optim.AdamW(groups) : new optim.SGD(groups, { momentum: 0.9 })
}
type Optimizer = ReturnType<typeof makeOptimizer>

function make({ kind, options }: Pick<Case, 'kind' | 'options'>, optimizer: Optimizer): Scheduler {
  const s = schedulers
  if (kind === 'LambdaLR') return new s.LambdaLR(optimizer, { lrLambda: [n => 0.95 ** n, n => 1 / (1 + n)] })
  if (kind === 'ChainedScheduler') {
    return new s.ChainedScheduler([
      new s.ConstantLR(optimizer, { factor: 0.1, totalIters: 20 }),
      new s.ExponentialLR(optimizer, { gamma: 0.99 }),
      new s.StepLR(optimizer, { stepSize: 60 }),
    ])
  }
  if (kind === 'SequentialLR') {
    const parts = [
      new s.LinearLR(optimizer, { startFactor: 0.1, totalIters: 20 }),
      new s.CosineAnnealingLR(optimizer, { tMax: 80 }),
      new s.ExponentialLR(optimizer, { gamma: 0.97 }),
    ]
    return new s.SequentialLR(optimizer, { schedulers: parts, milestones: [20, 100] })
  }
  const made: unknown = Reflect.get(s, kind)
  assert.ok(typeof made === 'function', kind)
  return kind.startsWith('l') || kind.startsWith('cosine')
    ? made(optimizer, options)
    : Reflect.construct(made, [optimizer, options])
}

const close = (a: number, b: number, where: string) =>
  assert.ok(Math.abs(a - b) <= 1e-12 + 1e-10 * Math.abs(b), `${where}: ${a}, expected ${b}`)

const rates = (optimizer: Optimizer) => optimizer.paramGroups.map(({ lr }) => lr)
const momenta = (optimizer: Optimizer) =>
  optimizer.paramGroups.map(group => ('betas' in group ? group.betas[0] : group.momentum))

for (const [i, c] of cases.entries()) {
  test(`${c.name}: the values of ${c.values.length} updates, also when resumed from a state`, () => {
    let optimizer = makeOptimizer(c.optimizer)
    let scheduler = make(c, optimizer)
    for (const [n, expected] of c.values.entries()) {
      if (n % 17 === i % 17) {
        // A fresh process: only the state and the constructors' arguments are left.
        const state = JSON.parse(JSON.stringify(scheduler.stateDict()))
        optimizer = makeOptimizer(c.optimizer)
        scheduler = make(c, optimizer)
        scheduler.loadStateDict(state)
      }
      for (const [g, rate] of rates(optimizer).entries()) close(rate, expected[g]!, `update ${n}, group ${g}`)
      const momentum = c.momentum?.[n]
      // Momentum is the optimizer's state; a resumed schedule sets it at its next step.
      if (momentum && n % 17 !== i % 17) {
        for (const [g, m] of momenta(optimizer).entries()) close(m, momentum[g]!, `momentum ${n}`)
      }
      if (n + 1 < c.values.length) scheduler.step(c.metrics?.[n] ?? 0)
    }
  })
}

test('cosine: warmup from a ratio, the peak at its end, then a whole cosine, then the lowest value', () => {
  const optimizer = makeOptimizer()
  const scheduler = new schedulers.CosineLrScheduler(optimizer, {
    totalNumEpochs: 10,
    numUpdateStepsPerEpoch: 10,
    numWarmupEpochs: 2,
    numCooldownEpochs: 1,
    warmupStartingLrRatio: 0.5,
    minLrRatio: 0.1,
  })
  const values: number[] = []
  for (let n = 0; n < 110; n++) {
    values.push(optimizer.paramGroups[0]!.lr)
    scheduler.step()
  }
  close(values[0]!, 0.05, 'start')
  close(values[10]!, 0.075, 'middle of the warmup')
  close(values[20]!, 0.1, 'peak')
  assert.equal(Math.max(...values), values[20])
  close(values[55]!, 0.055, 'middle of the cosine')
  assert.ok(values[89]! > 0.01 && values[89]! < 0.0101)
  for (const value of values.slice(90)) close(value, 0.01, 'cooldown and after')
})

test('wsd: the series of checkpoints ends at the total, with as many as asked for', () => {
  const at = (numCheckpoints: number) =>
    new schedulers.WSDLrScheduler(makeOptimizer(), { totalSteps: 800, numCheckpoints }).getCheckpointSteps()
  assert.deepEqual(at(1), [800])
  assert.deepEqual(at(2), [400, 800])
  assert.deepEqual(at(3), [200, 400, 800])
  assert.deepEqual(at(4), [100, 200, 400, 800])
  assert.deepEqual(schedulers.estimateCheckpointSteps(100, 4), [12, 25, 50, 100])
})

test('wsd: phases, warmup of a tenth, the lowest value past the end', () => {
  const optimizer = makeOptimizer()
  const scheduler = new schedulers.WSDLrScheduler(optimizer, {
    totalSteps: 200,
    numWarmupSteps: null,
    numCheckpoints: 2,
    decayPhaseRatio: 0.2,
    lrMin: 0.01,
  })
  assert.equal(scheduler.numWarmupSteps, 20)
  assert.deepEqual(scheduler.getDecayInfo(), [
    { periodStart: 0, periodEnd: 100, decaySteps: 20, preDecayStep: 80 },
    { periodStart: 100, periodEnd: 200, decaySteps: 20, preDecayStep: 180 },
  ])
  assert.equal(scheduler.getPhaseInfo(100).periodEnd, 100)
  const values: number[] = []
  for (let n = 0; n < 220; n++) {
    assert.equal(scheduler.getCurrentStep(), n)
    values.push(optimizer.paramGroups[0]!.lr)
    scheduler.step()
  }
  close(values[0]!, 1e-6, 'warmup')
  for (const n of [20, 79, 80, 100, 150, 180]) close(values[n]!, 0.1, `stable at ${n}`)
  for (let n = 81; n < 100; n++) assert.ok(values[n]! < values[n - 1]!)
  close(values[90]!, 0.1 * (0.01 + 0.99 * (1 - Math.SQRT1_2)), 'decay')
  for (const value of values.slice(200)) close(value, 0.001, 'past the end')
  assert.deepEqual(scheduler.getCurrentPhaseInfo(), scheduler.getPhaseInfo(200))
})

for (const stop of [7, 50, 90]) {
  test(`wsd resumed after ${stop} updates goes on in its phase; a continuation starts a stable phase`, () => {
    const build = (totalSteps: number, isContinuationFromCheckpoint = false) => {
      const optimizer = makeOptimizer()
      const options = { totalSteps, numWarmupSteps: 20, decayPhaseRatio: 0.2, isContinuationFromCheckpoint }
      return { optimizer, scheduler: new schedulers.WSDLrScheduler(optimizer, options) }
    }
    const first = build(100)
    for (let n = 0; n < stop; n++) first.scheduler.step()
    const state = first.scheduler.stateDict()
    const resumed = build(100)
    resumed.scheduler.loadStateDict(state)
    for (let n = stop; n < 100; n++) {
      assert.deepEqual(rates(resumed.optimizer), rates(first.optimizer))
      resumed.scheduler.step()
      first.scheduler.step()
    }
    const next = build(300, true)
    next.scheduler.loadStateDict(state)
    assert.equal(next.scheduler.getCurrentStep(), 0)
    assert.deepEqual(rates(next.optimizer), [0.1, 0.02])
    for (let n = 0; n < 250; n++) next.scheduler.step()
    assert.ok(rates(next.optimizer)[0]! < 0.1)
    // The continued run's own state resumes it.
    const again = build(300, true)
    again.scheduler.loadStateDict(next.scheduler.stateDict())
    assert.equal(again.scheduler.getCurrentStep(), 250)
  })
}

test('any field of the groups: weight decay alone, and together with the rate', () => {
  const optimizer = makeOptimizer('adamw')
  const decay = new schedulers.LinearLR(optimizer, { paramGroupField: 'weightDecay', endFactor: 0.5, startFactor: 1 })
  const both = new schedulers.ChainedScheduler([decay, new schedulers.ExponentialLR(optimizer, { gamma: 0.5 })])
  both.step()
  assert.deepEqual(rates(optimizer), [0.05, 0.01])
  optimizer.paramGroups.forEach(group => {
    close(group.weightDecay, 0.009, 'weight decay')
  })
})

test('SchedulerBase: initial values, one value for all groups or each, null leaves them alone', () => {
  const optimizer = makeOptimizer()
  let next: number | number[] | null = null
  class Mine extends schedulers.StatefulSchedulerBase {
    getUpdatedValues() {
      return next
    }
  }
  const mine = new Mine(optimizer)
  assert.deepEqual(mine.baseValues, [0.1, 0.02])
  assert.equal(mine.numUpdates, 0)
  mine.step()
  assert.deepEqual(rates(optimizer), [0.1, 0.02])
  next = 0.5
  mine.step()
  assert.deepEqual(mine.getLastLr(), [0.5, 0.5])
  next = [1, 2]
  mine.stepUpdate(7)
  assert.deepEqual(rates(optimizer), [1, 2])
  assert.equal(mine.numUpdates, 2)
  // A group of later starts from its own value, and the initial values are in the optimizer's state as PyTorch's are.
  optimizer.addParamGroup({ params: new nn.Linear(1, 1).parameters(), lr: 3 } as never)
  assert.deepEqual(mine.baseValues, [0.1, 0.02, 3])
  assert.equal(optimizer.stateDict().param_groups[1]?.initial_lr, 0.02)
})

test('bad options are typed errors', () => {
  const optimizer = makeOptimizer()
  const s = schedulers
  const bad: [() => unknown, RegExp][] = [
    [() => new s.StepLR(optimizer, { stepSize: 0 }), /stepSize/],
    [() => new s.StepLR(optimizer, { step_size: 3 } as unknown as { stepSize: number }), /'stepSize'/],
    [() => new s.StepLR({} as Optimizer, { stepSize: 1 }), /optimizer/],
    [() => new s.ExponentialLR(optimizer, { gamma: 1, paramGroupField: 'momentun' }), /'momentum'/],
    [() => new s.ExponentialLR(optimizer, { gamma: 1, interval: 'batch' as 'epoch' }), /interval/],
    [() => new s.LinearLR(optimizer, { startFactor: 0 }), /startFactor/],
    [() => new s.ConstantLR(optimizer, { factor: 2 }), /factor/],
    [() => new s.OneCycleLR(optimizer, { maxLr: 1 }), /totalSteps/],
    [() => new s.OneCycleLR(optimizer, { maxLr: [1], totalSteps: 3 }), /maxLr/],
    [() => new s.CyclicLR(optimizer, { baseLr: 1, maxLr: 2, mode: 'up' as 'triangular' }), /mode/],
    [() => new s.ReduceLROnPlateau(optimizer, { factor: 1 }), /factor/],
    [() => new s.LambdaLR(optimizer, { lrLambda: [] }), /lrLambda/],
    [() => new s.SequentialLR(optimizer, { schedulers: [], milestones: [] }), /at least one/],
    [() => new s.ChainedScheduler([new s.ReduceLROnPlateau(optimizer) as unknown as never]), /metric/],
    [() => new s.CosineLrScheduler(optimizer, { totalNumEpochs: 2, numUpdateStepsPerEpoch: 0 }), /numUpdateSteps/],
    [
      () => new s.CosineLrScheduler(optimizer, { totalNumEpochs: 2, numUpdateStepsPerEpoch: 1, numWarmupEpochs: 3 }),
      /warmup/,
    ],
    [() => new s.WSDLrScheduler(optimizer, {}), /totalSteps/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 9, numEpochs: 1, numUpdateStepsPerEpoch: 9 }), /totalSteps/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 0 }), /totalSteps/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 9, warmupStartingLr: 1 }), /warmupStartingLr/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 90, decayPhaseRatio: 0.5, numCheckpoints: 2 }), /1\/3/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 9, decayPhaseRatio: 2 }), /decayPhaseRatio/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 9, lrMin: -1 }), /lrMin/],
    [() => new s.WSDLrScheduler(optimizer, { totalSteps: 9, numCheckpoints: 0 }), /numCheckpoints/],
  ]
  for (const [make, text] of bad) assert.throws(make, code('BAD_OPTION', text))
  const one = new s.StepLR(optimizer, { stepSize: 1 })
  assert.throws(() => one.loadStateDict({ num_updates: 1 }), code('STATE_DICT_MISMATCH'))
})

// In a Trainer

type Batch = [Tensor, Tensor]
const dataset = (n: number) => {
  manualSeed(4)
  return new data.TensorDataset<Batch>(randn([n, 4]), randint(0, 3, [n]))
}
function makeTrainer(precision: 'no' | 'fp16' = 'no') {
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const seen: number[] = []
  const callbacks = [{ onTrainStepStart: () => void seen.push(optimizer.paramGroups[0]!.lr) }]
  const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks, precision })
  return { trainer, seen, optimizer }
}

test('a Trainer runs update u at value u, with the context’s numbers', async () => {
  const { trainer, seen } = makeTrainer()
  await trainer.train({
    trainDataset: dataset(12),
    numEpochs: 2,
    perDeviceBatchSize: 2,
    gradientAccumulationSteps: 2,
    createScheduler: ctx => new schedulers.StepLR(ctx.optimizer, { stepSize: ctx.numUpdateStepsPerEpoch, gamma: 0.5 }),
  })
  assert.deepEqual(seen, [...new Array(6).fill(0.1), ...new Array(6).fill(0.05)])
  assert.deepEqual((trainer.scheduler as schedulers.StepLR).numUpdates, 6)
})

test('factories take epochs and steps of the run', async () => {
  for (const createScheduler of [
    schedulers.CosineLrScheduler.createSchedulerFn({ lrMin: 0 }),
    schedulers.WSDLrScheduler.createSchedulerFn({ lrMin: 0, numWarmupEpochs: 0 }),
  ]) {
    const { trainer, seen, optimizer } = makeTrainer()
    await trainer.train({ trainDataset: dataset(40), numEpochs: 2, perDeviceBatchSize: 4, createScheduler })
    assert.equal(seen[0], 0.1)
    assert.ok(seen.at(-1)! > 0 && seen.at(-1)! < 0.1)
    close(optimizer.paramGroups[0]!.lr, 0, 'the end')
  }
})

test('epoch schedules step every epoch, with and without evaluation; plateau follows its metric', async () => {
  for (const evalDataset of [dataset(4), undefined]) {
    const { trainer, seen } = makeTrainer()
    await trainer.train({
      trainDataset: dataset(4),
      evalDataset,
      numEpochs: 3,
      perDeviceBatchSize: 2,
      createScheduler: ctx => new schedulers.ExponentialLR(ctx.optimizer, { gamma: 0.5, interval: 'epoch' }),
    })
    assert.deepEqual(seen, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
  }
  const { trainer, seen } = makeTrainer()
  trainer.callbackHandler.addCallback({
    onTrainEpochEnd: (t: AnyTrainer) => t.runHistory.updateMetric('constant', 1),
  })
  await trainer.train({
    trainDataset: dataset(2),
    numEpochs: 4,
    perDeviceBatchSize: 2,
    createScheduler: ctx =>
      new schedulers.ReduceLROnPlateau(ctx.optimizer, { metric: 'constant', patience: 0, factor: 0.5 }),
  })
  assert.deepEqual(seen, [0.1, 0.1, 0.05, 0.025])
  const plain = makeTrainer()
  await plain.trainer.train({
    trainDataset: dataset(2),
    numEpochs: 1,
    createScheduler: ctx => new schedulers.ReduceLROnPlateau(ctx.optimizer),
  })
})

test('fp16: the scheduler isn’t stepped on an update that the scaler left out', async () => {
  const { trainer, optimizer } = makeTrainer('fp16')
  let step = 0
  const original = trainer.calculateTrainBatchLoss.bind(trainer)
  trainer.calculateTrainBatchLoss = ([x, y]) => original([++step === 3 ? x.mul(Number.POSITIVE_INFINITY) : x, y])
  await trainer.train({
    trainDataset: dataset(12),
    numEpochs: 1,
    perDeviceBatchSize: 2,
    createScheduler: ctx => new schedulers.ExponentialLR(ctx.optimizer, { gamma: 0.5 }),
  })
  assert.equal((trainer.scheduler as schedulers.ExponentialLR).numUpdates, 5)
  close(optimizer.paramGroups[0]!.lr, 0.1 / 32, 'rate')
})

test('a subclass may make the scheduler; one of a user’s own sets its first values when the run starts', async () => {
  class Falling extends schedulers.StatefulSchedulerBase {
    readonly steps: number
    constructor(optimizer: schedulers.ScheduledOptimizer, steps: number) {
      super(optimizer)
      this.steps = steps
    }
    getUpdatedValues(n: number) {
      return this.baseValues.map(base => base * (1 - n / this.steps))
    }
  }
  class Scheduled extends Trainer<nn.Linear, Batch, Tensor> {
    override createScheduler() {
      return new Falling(this.optimizer, this.scheduleContext().maxNumTrainSteps + 1)
    }
  }
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 })
  const seen: number[] = []
  const callbacks = [{ onTrainStepStart: () => void seen.push(optimizer.paramGroups[0]!.lr) }]
  const trainer = new Scheduled({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks })
  await trainer.train({ trainDataset: dataset(6), numEpochs: 1, perDeviceBatchSize: 2 })
  assert.deepEqual(seen, [1, 0.75, 0.5])
})
