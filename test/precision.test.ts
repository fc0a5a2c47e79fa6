/** Mixed precision: autocast's dtypes, the loss scaler's rule, a Trainer in bf16 and fp16. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  amp,
  autocast,
  data,
  GradScaler,
  manualSeed,
  nn,
  ones,
  optim,
  randn,
  type Tensor,
  Trainer,
  tensor,
} from '../ts/index.ts'

const values = (t: Tensor) => Array.from(t.dataSync(), Number)

test('autocast: products run in the low dtype, losses in float32, gradients stay float32', () => {
  manualSeed(1)
  const model = new nn.Linear(8, 4)
  const x = randn([3, 8])
  const { y, loss } = autocast({ dtype: 'bfloat16' }, () => {
    const y = model.forward(x)
    return { y, loss: nn.functional.crossEntropy(y, tensor([0, 1, 2])) }
  })
  assert.equal(y.dtype, 'bfloat16')
  assert.equal(loss.dtype, 'float32')
  assert.equal(amp.autocastDtype(), null)
  loss.backward()
  assert.equal(model.weight.grad?.dtype, 'float32')
  const exact = values(model.forward(x))
  for (const [i, v] of values(y.float()).entries()) assert.ok(Math.abs(v - exact[i]!) < 0.03)
})

test('autocast: another dtype is an error, and a region that throws ends', () => {
  assert.throws(() => autocast({ dtype: 'float64' }, () => 1), /autocast takes/)
  const inside = () => {
    throw new Error('inside')
  }
  assert.throws(() => autocast({}, inside), /inside/)
  assert.equal(amp.autocastDtype(), null)
})

test('GradScaler leaves out an update with an infinite gradient and halves the scale', async () => {
  const model = new nn.Linear(2, 1, { bias: false })
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 })
  const scaler = new GradScaler({ initScale: 8, growthInterval: 2 })
  const before = values(model.weight)
  const step = (x: number) => {
    optimizer.zeroGrad()
    scaler.scale(model.forward(ones([1, 2]).mul(x)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
  }
  step(Number.POSITIVE_INFINITY)
  assert.deepEqual(values(model.weight), before)
  assert.equal(await scaler.getScale(), 4)
  step(1)
  step(1)
  assert.equal(await scaler.getScale(), 8)
  // the gradient is 1, whatever the scale
  for (const [i, w] of values(model.weight).entries()) assert.ok(Math.abs(w - (before[i]! - 2)) < 1e-5)
})

for (const precision of ['bf16', 'fp16'] as const) {
  test(`a Trainer learns in ${precision}`, async () => {
    manualSeed(3)
    const x = randn([64, 4])
    const y = x.select(1, 0).gt(0).to('int64')
    const model = new nn.Sequential(new nn.Linear(4, 16), new nn.ReLU(), new nn.Linear(16, 2))
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.5, momentum: 0.9 })
    const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [], precision })
    await trainer.train({ trainDataset: new data.TensorDataset(x, y), numEpochs: 12, perDeviceBatchSize: 16 })
    const losses = trainer.runHistory.getMetricValues('train_loss_epoch')
    assert.ok((losses.at(-1) ?? 1) < 0.2, String(losses))
    for (const p of model.parameters()) assert.equal(p.dtype, 'float32')
  })
}
