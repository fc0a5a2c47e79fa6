/** `optim.EMA`, `optim.SWA`: averages of a model that stand in for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualSeed, memory, nn, noGrad, optim, randn, type Tensor, WickError } from '../ts/index.ts'
import { collected } from './collected.ts'

const values = (t: Tensor) => Array.from(t.dataSync(), Number)
const close = (a: number[], b: number[], tolerance = 1e-6) => {
  assert.equal(a.length, b.length)
  for (const [i, x] of a.entries()) assert.ok(Math.abs(x - b[i]!) <= tolerance, `${x} and ${b[i]} at ${i}`)
}
const makeModel = () => {
  manualSeed(7)
  return new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.ReLU(), new nn.Linear(4, 2))
}
const shift = (model: nn.Module, by: number) =>
  noGrad(() => {
    for (const p of model.parameters()) p.add_(by)
  })

test('EMA: the formula over parameters and buffers; integers are the latest', () => {
  const model = makeModel()
  const ema = new optim.EMA(model, { decay: 0.75 })
  const expected = Object.fromEntries(Object.entries(model.stateDict()).map(([k, v]) => [k, values(v)]))
  for (let n = 0; n < 5; n++) {
    shift(model, 0.5 + n)
    model.forward(randn([8, 3]))
    ema.update()
    for (const [key, own] of Object.entries(model.stateDict())) {
      const latest = values(own)
      expected[key] = expected[key]!.map((x, i) => (own.dtype === 'int64' ? latest[i]! : 0.75 * x + 0.25 * latest[i]!))
    }
  }
  assert.equal(ema.numUpdates, 5)
  const averages = ema.module.stateDict()
  assert.deepEqual(Object.keys(averages).sort(), Object.keys(model.stateDict()).sort())
  for (const [key, average] of Object.entries(averages)) close(values(average), expected[key]!, 1e-5)
  assert.equal(values(averages['1.num_batches_tracked']!)[0], 5)
})

test('the averaged module computes with the averages, in evaluation mode, and leaves the model as it was', async () => {
  const model = makeModel()
  const x = randn([6, 3])
  model.forward(x)
  const reference = makeModel()
  reference.loadStateDict(model.stateDict())
  const ema = new optim.EMA(model, { decay: 0.5 })
  shift(model, 3)
  const before = values(model.forward(x))
  assert.deepEqual(values(ema.module.forward(x) as Tensor), values(reference.eval().forward(x)))
  assert.ok(model.training && model.modules().every(m => m.training))
  close(values(model.forward(x)), before)
  // The same for whatever the program does with the model, also over an await.
  const inside = await ema.using(async () => {
    await Promise.resolve()
    return model.forward(x)
  })
  assert.deepEqual(values(inside), values(reference.forward(x)))
  assert.ok(model.modules().every(m => m.training))
  await assert.rejects(
    ema.using(async () => Promise.reject(new Error('inside'))),
    /inside/,
  )
  close(values(model.forward(x)), before)
  ema.applyTo(model)
  assert.deepEqual(values(model.parameters()[0]!), values(reference.parameters()[0]!))
  assert.equal(ema.module.parameters().length, model.parameters().length)
  assert.ok(ema.module.parameters().every(p => !p.requiresGrad))
})

test('an optimizer goes on with its own weights after the averages stood in', () => {
  const run = (withAverages: boolean) => {
    const model = makeModel()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const ema = new optim.EMA(model, { decay: 0.9 })
    const x = randn([6, 3])
    for (let n = 0; n < 4; n++) {
      optimizer.zeroGrad()
      model.forward(x).square().mean().backward()
      if (withAverages) ema.using(() => noGrad(() => model.forward(x)))
      optimizer.step()
      ema.update()
    }
    return [...model.parameters(), ...ema.module.parameters()].flatMap(values)
  }
  assert.deepEqual(run(true), run(false))
})

test('SWA: the mean of the weights; batch norms get the statistics of the averaged weights', async () => {
  const model = makeModel()
  const swa = new optim.SWA(model)
  const weights: number[][] = []
  for (let n = 0; n < 3; n++) {
    shift(model, n - 0.7)
    weights.push(values(model.parameters()[0]!))
    swa.update()
  }
  const mean = weights[0]!.map((_, i) => (weights[0]![i]! + weights[1]![i]! + weights[2]![i]!) / 3)
  close(values(swa.module.parameters()[0]!), mean)
  const batches = [randn([5, 3]), randn([5, 3])]
  const untouched = values(model.getSubmodule('1').buffers()[0]!)
  await swa.updateBatchNorm(batches)
  const [weight, bias] = swa.module.parameters() as unknown as [Tensor, Tensor]
  const means = batches.map(x => x.matmul(weight.t()).add(bias).mean(0))
  const state = swa.module.stateDict()
  close(values(state['1.running_mean']!), values(means[0]!.add(means[1]!).div(2)), 1e-5)
  assert.equal(values(state['1.num_batches_tracked']!)[0], 2)
  assert.deepEqual(values(model.getSubmodule('1').buffers()[0]!), untouched)
  assert.equal((model.getSubmodule('1') as nn.BatchNorm1d).momentum, 0.1)
})

test('state, options and memory', () => {
  const model = makeModel()
  const before = collected()
  new optim.EMA(model).dispose()
  assert.equal(memory().tensors, before)
  const ema = new optim.EMA(model, { decay: 0.5 })
  shift(model, 1)
  ema.update()
  const restored = new optim.EMA(model, { decay: 0.5 })
  restored.loadStateDict(ema.stateDict())
  assert.equal(restored.numUpdates, 1)
  assert.deepEqual(values(restored.module.parameters()[0]!), values(ema.module.parameters()[0]!))
  restored.set()
  assert.deepEqual(values(restored.module.parameters()[0]!), values(model.parameters()[0]!))
  assert.throws(() => new optim.EMA(model, { decay: 1.5 }), /decay/)
  assert.throws(() => new optim.EMA(model, { deca: 1 } as object), /'decay'/)
  assert.throws(
    () => new optim.EMA({} as nn.Module),
    (e: unknown) => e instanceof WickError && e.code === 'BAD_OPTION',
  )
})
