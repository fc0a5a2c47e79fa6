/** Mode `full` gives what mode `off` gives, whatever changes between two calls. */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  autocast,
  type Callback,
  type CaptureMode,
  capture,
  data,
  Generator,
  ModelEmaCallback,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  type Tensor,
  Trainer,
  tensor,
  zeros,
} from '../ts/index.ts'
import { native } from '../ts/native/index.ts'

type Program = (mode: CaptureMode) => { out: unknown[]; full?: number }

const bits = (x: unknown): unknown => {
  if (x !== null && typeof x === 'object' && 'dataSync' in x) return Array.from((x as Tensor).dataSync(), Number)
  if (Array.isArray(x)) return x.map(bits)
  if (typeof x === 'object' && x !== null) return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, bits(v)]))
  return x
}

/** `full` runs give what `off` runs give; `some`: and some calls were replayed. */
function same(name: string, program: Program, some = true): void {
  test(`full is off: ${name}`, () => {
    const { out: want } = program('off')
    const { out, full } = program('full')
    assert.deepEqual(out, want)
    if (full !== undefined) assert.equal(full > 0, some, `${full} calls were replayed`)
  })
}

const x = () => tensor([1, 2, 3], { dtype: 'float32' })

const programs: Record<string, Program> = {
  'numbers, flags, optional and null arguments': mode => {
    const f = capture((x: Tensor, k: number, y?: Tensor | null) => (y ? x.mul(k).add(y) : x.mul(k)), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), 2)))
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), 3)))
    out.push(bits(f(x(), 3, x())), bits(f(x(), 3, null)), bits(f(x(), 3, undefined)))
    return { out, full: f.report().full }
  },
  'another dtype or shape, and an argument that is only asked for its shape': mode => {
    const f = capture((x: Tensor, y: Tensor) => x.mul(y.shape[0]!), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), ones([2]))))
    out.push(bits(f(x(), ones([4]))), bits(f(tensor([1, 2, 3], { dtype: 'float64' }), ones([4]))))
    out.push(bits(f(tensor([1, 2]), ones([4]))))
    return { out, full: f.report().full }
  },
  'one tensor twice and then two, and the other way': mode => {
    const f = capture((x: Tensor, y: Tensor) => x.add(1).mul(y), { mode })
    const out: unknown[] = []
    const twice = x()
    for (let i = 0; i < 5; i++) out.push(bits(f(twice, twice)))
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), tensor([4, 5, 6]))))
    for (let i = 0; i < 5; i++) {
      const both = x()
      out.push(bits(f(both, both)), bits(f(both, both.detach())), bits(f(both, ones([3]))))
    }
    return { out, full: f.report().full }
  },
  'two tensors of one memory and then of two': mode => {
    const f = capture((x: Tensor, y: Tensor) => x.add(1).mul(y), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const given = x().mul(i)
      out.push(bits(f(given, given.detach())))
    }
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), x().mul(4))))
    return { out, full: f.report().full }
  },
  'results that are arguments, parameters and numbers': mode => {
    const w = new nn.Parameter(tensor([5, 6, 7], { dtype: 'float32' }))
    const f = capture((x: Tensor, n: number) => ({ x, y: x.mul(w.detach()), n, w, list: [x.add(1)] }), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 6; i++) {
      const given = tensor([i, i, i])
      const got = f(given, 3)
      out.push(bits(got), got.x === given, got.w === w)
    }
    const last = f.many(Array.from({ length: 7 }, (_, i): [Tensor, number] => [tensor([i, 1, 1]), 3]))
    out.push(bits(last), bits(w))
    return { out, full: f.report().full }
  },
  'seeds, generators of one seed, and states': mode => {
    manualSeed(1)
    const [a, b] = [new Generator(7), new Generator(7)]
    const f = capture((x: Tensor) => x.mul(rand([3], { generator: b })).add(nn.functional.dropout(x, { p: 0.5 })), {
      mode,
    })
    const out: unknown[] = []
    for (let i = 0; i < 12; i++) {
      if (i === 6) manualSeed(9)
      if (i === 8) b.manualSeed(3)
      out.push(bits(f(x())))
    }
    out.push(bits(rand([2], { generator: a })), bits(rand([2], { generator: b })), bits(rand([2])))
    return { out, full: f.report().full }
  },
  'a seed inside of the function': mode => {
    const f = capture(
      (x: Tensor) => {
        manualSeed(4)
        return x.mul(rand([3]))
      },
      { mode },
    )
    return { out: Array.from({ length: 6 }, () => bits(f(x()))) }
  },
  'a value that is read': mode => {
    const s = ones([])
    const f = capture((x: Tensor) => x.mul(Number(s.itemSync())), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 6; i++) {
      s.fill_(i)
      out.push(bits(f(x())))
    }
    return { out }
  },
  'grad mode': mode => {
    const w = new nn.Parameter(tensor([2, 3, 4], { dtype: 'float32' }))
    const f = capture(
      (x: Tensor) => {
        const y = x.mul(w).sum()
        if (y.requiresGrad) y.backward()
        return y
      },
      { mode },
    )
    const out: unknown[] = []
    for (let i = 0; i < 12; i++) {
      w.grad = null
      out.push(bits(i === 6 ? noGrad(() => f(x())) : f(x())), bits(w.grad))
    }
    return { out }
  },
  autocast: mode => {
    const w = new nn.Parameter(rand([3, 3], { generator: new Generator(1) }))
    const f = capture((x: Tensor) => x.matmul(w.detach()), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 8; i++) {
      const run = () => f(ones([2, 3]))
      const y = i === 5 ? autocast({}, run) : run()
      out.push(bits(y), y.dtype)
    }
    return { out, full: f.report().full }
  },
  'requiresGrad of a weight': mode => {
    const model = new nn.Linear(3, 2)
    noGrad(() => model.parameters().map(p => p.fill_(0.5)))
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
    const f = capture(
      (x: Tensor) => {
        optimizer.zeroGrad()
        const loss = model.forward(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    const out: unknown[] = []
    for (let i = 0; i < 14; i++) {
      if (i === 6) model.bias!.requiresGrad = false
      if (i === 10) model.bias!.requiresGrad = true
      out.push(bits(f(ones([2, 3]))), bits(model.parameters()))
    }
    return { out, full: f.report().full }
  },
  'options of SGD': mode => {
    const model = new nn.Linear(3, 2)
    noGrad(() => model.parameters().map(p => p.fill_(0.5)))
    const optimizer = new optim.SGD([{ params: [model.weight] }, { params: [model.bias!], lr: 0.01 }], {
      lr: 0.1,
      momentum: 0.9,
    })
    const f = capture(
      (x: Tensor) => {
        optimizer.zeroGrad()
        const loss = model.forward(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    const out: unknown[] = []
    const [first, second] = optimizer.paramGroups
    for (let i = 0; i < 24; i++) {
      if (i === 5) first!.lr = 0.05
      if (i === 7) second!.momentum = 0
      if (i === 9) second!.weightDecay = 0.1
      if (i === 11) first!.nesterov = true
      if (i === 14) first!.maximize = true
      if (i === 18) optimizer.loadStateDict(optimizer.stateDict())
      out.push(bits(f(ones([2, 3]))), bits(model.parameters()))
    }
    return { out, full: f.report().full }
  },
  'options and counts of AdamW': mode => {
    const model = new nn.Linear(3, 2)
    noGrad(() => model.parameters().map(p => p.fill_(0.5)))
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1 })
    const f = capture(
      (x: Tensor) => {
        optimizer.zeroGrad()
        const loss = model.forward(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    const out: unknown[] = []
    const [group] = optimizer.paramGroups
    for (let i = 0; i < 14; i++) {
      if (i === 5) group!.betas = [0.8, 0.9]
      if (i === 7) Object.assign(group!, { eps: 0.1, weightDecay: 0 })
      if (i === 9) optimizer.loadStateDict({ ...optimizer.stateDict(), state: {} })
      out.push(bits(f(ones([2, 3]))), bits(model.parameters()))
    }
    const many = f.many(Array.from({ length: 9 }, (): [Tensor] => [ones([2, 3])]))
    out.push(bits(many), bits(model.parameters()))
    return { out, full: f.report().full }
  },
  'a plan made after a divergence': mode => {
    const f = capture((x: Tensor, twice: boolean) => (twice ? x.add(1).mul(2) : x.add(1).sub(2)), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 5; i++) out.push(bits(f(x(), true)))
    for (let i = 0; i < 8; i++) out.push(bits(f(x(), false)))
    return { out, full: f.report().full > 5 ? 1 : 0 }
  },
  "a module's mode, and averages in place of its weights": mode => {
    manualSeed(3)
    const model = new nn.Sequential(new nn.Linear(3, 3), new nn.Dropout(0.5))
    noGrad(() => model.parameters().map(p => p.fill_(0.5)))
    const ema = new optim.EMA(model)
    noGrad(() => model.parameters().map(p => p.fill_(0.25)))
    const f = capture((x: Tensor) => model.forward(x), { mode })
    const out: unknown[] = []
    for (let i = 0; i < 16; i++) {
      if (i === 5) model.eval()
      out.push(bits(i === 11 ? ema.using(() => f(ones([2, 3]))) : f(ones([2, 3]))))
    }
    return { out, full: f.report().full }
  },
  'results that share memory': mode => {
    const f = capture(
      (x: Tensor) => {
        const y = x.add(1)
        return [y, y.reshape([3, 1]), y]
      },
      { mode },
    )
    const out: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const [y, view, again] = f(x())
      y!.add_(1)
      out.push(bits(view), y === again)
    }
    return { out, full: f.report().full }
  },
}
for (const [name, program] of Object.entries(programs)) same(name, program)

/** What each broken rule must make wrong. */
const mutants: [number: number, rule: string, programs: string[]][] = [
  [60, 'only what the last run matched is launched', ['a plan made after a divergence', 'grad mode']],
  [61, 'grad mode is compared', ['grad mode']],
  [62, 'streams go by number', ['seeds, generators of one seed, and states']],
  [63, 'requiresGrad is compared', ['requiresGrad of a weight']],
  [64, 'aliases among arguments are compared', ['two tensors of one memory and then of two']],
]
for (const [number, rule, names] of mutants) {
  test(`broken on purpose: ${rule}`, () => {
    const differs = names.some(name => {
      const { out: want } = programs[name]!('off')
      native.setDebug(false, false, false, number)
      try {
        assert.deepEqual(programs[name]!('full').out, want)
        return false
      } catch {
        return true
      } finally {
        native.setDebug(false, false, false, 0)
      }
    })
    assert.ok(differs, `nothing notices mutant ${number}`)
  })
}

// ---- the Trainer

type Batch = [Tensor, Tensor]

/** A run of 3 epochs of 20 steps; `change` may alter anything. Its weights, losses and share of replayed steps. */
async function trained(
  capture: CaptureMode,
  change: (trainer: Trainer<nn.Sequential, Batch>, at: string) => void,
  more: { callbacks?: Callback[]; stepsPerCall?: number; momentum?: number } = {},
): Promise<{ out: unknown[]; replayed: number }> {
  manualSeed(5)
  const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(8, 2))
  const inputs = rand([80, 4], { generator: new Generator(1) })
  const dataset = new data.TensorDataset(inputs, inputs.narrow(1, 0, 2).mul(2))
  let trainer: Trainer<nn.Sequential, Batch>
  const changing: Callback = {
    onTrainEpochStart: () => change(trainer, `epoch ${trainer.runHistory.currentEpoch}`),
    onTrainBatchEnd: () => change(trainer, `step ${trainer.globalStep}`),
  }
  trainer = new Trainer<nn.Sequential, Batch>({
    model,
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.05, momentum: more.momentum ?? 0.9 }),
    capture,
    stepsPerCall: more.stepsPerCall ?? 4,
    seed: 3,
    callbacks: [changing, ...(more.callbacks ?? [])] as never,
  })
  await trainer.train({ trainDataset: dataset, numEpochs: 3, perDeviceBatchSize: 4 })
  const losses = trainer.runHistory.getMetricValues('train_loss_epoch')
  return { out: [bits(model.parameters()), losses], replayed: trainer.captureReport().train.replayed }
}

const runs: Record<string, (trainer: Trainer<nn.Sequential, Batch>, at: string) => void> = {
  nothing: () => {},
  'frozen layers': ({ model }, at) => {
    if (at === 'epoch 2') for (const p of model.parameters().slice(0, 2)) p.requiresGrad = false
  },
  'another loss': (trainer, at) => {
    if (at === 'epoch 2') trainer.loss = new nn.L1Loss()
    if (at === 'epoch 3') trainer.loss = (y, target) => y.sub(target).square().sum()
  },
  'another optimizer': (trainer, at) => {
    if (at === 'epoch 2') trainer.optimizer = new optim.AdamW(trainer.model.parameters(), { lr: 0.01 })
  },
  'no dropout': ({ model }, at) => {
    if (at === 'epoch 2') model.modules().find(m => m instanceof nn.Dropout)!.training = false
  },
}
for (const [name, change] of Object.entries(runs)) {
  test(`full is off in a Trainer: ${name} from an epoch on`, async () => {
    const { out, replayed } = await trained('full', change)
    assert.deepEqual(out, (await trained('off', change)).out)
    assert.ok(replayed > 0.3, `${replayed} replayed`)
  })
}

test('full is off in a Trainer: changes between two steps', async () => {
  const changes = ({ model, optimizer }: Trainer<nn.Sequential, Batch>, at: string) => {
    const [group] = optimizer.paramGroups as unknown as { lr: number; momentum: number }[]
    if (at.startsWith('step ')) group!.lr = 0.05 / (1 + Number(at.slice(5)))
    if (at === 'step 10') group!.momentum = 0.5
    if (at === 'step 12') model.modules().find(m => m instanceof nn.Dropout)!.training = false
    if (at === 'step 15') model.parameters()[0]!.requiresGrad = false
    if (at === 'step 30') manualSeed(8)
  }
  const { out, replayed } = await trained('full', changes, { stepsPerCall: 1 })
  assert.deepEqual(out, (await trained('off', changes, { stepsPerCall: 1 })).out)
  assert.ok(replayed > 0.3, `${replayed} replayed`)
})

test('full is off in a Trainer: averages, a plain one needs its JavaScript', async () => {
  const savePath = join(mkdtempSync(join(tmpdir(), 'wick-full-')), 'ema.safetensors')
  for (const modelEma of [optim.EMA, optim.SWA] as const) {
    const run = async (mode: CaptureMode) => {
      const ema = new ModelEmaCallback({ modelEma: modelEma as never, evaluateDuringTraining: false, savePath })
      const { out, replayed } = await trained(mode, () => {}, { callbacks: [ema] as never })
      return { out: [out, bits(ema.emaModel!.parameters()), (await ema.stateDict()).ema], replayed }
    }
    const [off, full] = [await run('off'), await run('full')]
    assert.deepEqual(bits(full.out), bits(off.out))
    assert.equal(full.replayed > 0, modelEma === optim.EMA)
  }
})

test('a step that counts in a field of the trainer runs its JavaScript', async () => {
  class Counting extends Trainer<nn.Linear, Batch> {
    steps = 0
    override calculateTrainBatchLoss([x, y]: Batch) {
      this.steps++
      return {
        loss: this.model
          .forward(x)
          .sub(y)
          .square()
          .mean()
          .mul(1 / this.steps),
        modelOutputs: x,
        batchSize: 4,
      }
    }
  }
  const model = new nn.Linear(4, 4)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Counting({ model, loss: null, optimizer, capture: 'full', callbacks: [] })
  const trainDataset = new data.TensorDataset(ones([40, 4]), zeros([40, 4]))
  await trainer.train({ trainDataset, numEpochs: 1, perDeviceBatchSize: 4 })
  assert.equal(trainer.steps, 10)
  assert.match(trainer.captureReport().train.reason, /changes fields/)
})
