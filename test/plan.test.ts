/** Step windows in the situations that loops run into: what changes in the middle, what fails in a replayed step, what never repeats. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type CaptureMode,
  capture,
  data,
  manualSeed,
  memory,
  nn,
  optim,
  randn,
  type Tensor,
  Trainer,
  tensor,
  WickError,
} from '../ts/index.ts'
import { collected } from './collected.ts'

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(6, 8)
  last = new nn.Linear(8, 3)
  calls = 0
  scale = 1

  forward(x: Tensor) {
    this.calls++
    const h = this.first.forward(x).relu().mul(this.scale)
    return this.last.forward(this.calls > 40 ? h.tanh() : h)
  }
}

const labels = (values: number[]) => tensor(BigInt64Array.from(values, BigInt))
const bytes = (x: Tensor) => Buffer.from(x.dataSync().buffer).toString('hex')
const code = (expected: string) => (e: unknown) => e instanceof WickError && e.code === expected

test('a Trainer calls user code on every step while the step’s control flow, a scalar and a shape change', async () => {
  const run = async (mode: CaptureMode) => {
    manualSeed(1)
    const counts = { loss: 0, ends: 0 }
    const model = new Net()
    class Counting extends Trainer<Net> {
      override calculateTrainBatchLoss(batch: [Tensor, Tensor]) {
        if (++counts.loss === 20) this.model.scale = 0.5
        return super.calculateTrainBatchLoss(batch)
      }
    }
    const trainer = new Counting({
      model,
      loss: new nn.CrossEntropyLoss(),
      optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }),
      callbacks: [
        {
          onTrainStepEnd: () => {
            counts.ends++
          },
        },
      ],
      capture: mode,
      seed: 3,
    })
    // 30 batches of 4 and one of 2, twice; the model changes at step 40
    const images = randn([122, 6])
    const dataset = new data.TensorDataset(images, labels(Array.from({ length: 122 }, (_, i) => i % 3)))
    await trainer.train({ trainDataset: dataset, numEpochs: 2, perDeviceBatchSize: 4 })
    assert.deepEqual(counts, { loss: 62, ends: 62 })
    assert.equal(model.calls, 62)
    return { weights: model.parameters().map(bytes), report: trainer.captureReport().train }
  }
  const eager = await run('off')
  const auto = await run('auto')
  assert.deepEqual(auto.weights, eager.weights)
  assert.equal(eager.report.matched, 0)
  assert.ok(auto.report.matched > 0.5, `matched ${auto.report.matched}`)
})

test('a label out of range in a replayed step is a typed error, updates nothing, and training goes on', () => {
  const run = (mode: CaptureMode) => {
    manualSeed(2)
    const model = new Net()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const x = randn([4, 6])
    const good = labels([0, 1, 2, 0])
    const bad = labels([0, 1, 7, 0])
    const step = capture(
      (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad()
        const loss = nn.functional.crossEntropy(model.forward(x), y)
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    const values: number[] = []
    for (let i = 0; i < 12; i++) {
      if (i === 8) {
        const before = model.parameters().map(bytes)
        const live = collected()
        // A GPU says so at the next read.
        const read = () => {
          const loss = step(x, bad)
          try {
            loss.itemSync()
          } finally {
            loss.dispose()
          }
        }
        assert.throws(read, code('INDEX_OUT_OF_RANGE'))
        assert.deepEqual(model.parameters().map(bytes), before)
        assert.equal(memory().tensors, live)
      }
      const loss = step(x, good)
      values.push(loss.itemSync())
      loss.dispose()
    }
    return { values, weights: model.parameters().map(bytes), matched: step.report().matched }
  }
  const eager = run('off')
  const auto = run('auto')
  assert.deepEqual({ ...auto, matched: 0 }, { ...eager, matched: 0 })
  assert.ok(auto.matched >= 8)
})

test('a step that never repeats is given up on for a while, with the reason', () => {
  let n = 0
  const step = capture((x: Tensor) => {
    let y = x
    // another number of ops on every call
    for (let i = 0; i <= n % 97; i++) y = y.mul(1.01)
    n += 13
    return y.sum()
  })
  const x = randn([5])
  for (let i = 0; i < 200; i++) step(x).dispose()
  const report = step.report()
  assert.equal(report.windows, 200)
  assert.equal(report.eager + report.matched, 200)
  assert.notEqual(report.reason, '')
})

test('eager, matched and fully replayed steps end with the same bits', () => {
  const run = (mode: CaptureMode) => {
    manualSeed(4)
    const model = new Net()
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
    const batches = [0, 1, 2].map(() => [randn([4, 6]), labels([0, 1, 2, 1])] as const)
    const step = capture(
      (x: Tensor, y: Tensor) => {
        const loss = nn.functional.crossEntropy(
          nn.functional.dropout(model.first.forward(x), { p: 0.3 }).matmul(model.last.weight.t()),
          y,
        )
        optimizer.zeroGrad()
        loss.backward()
        nn.utils.clipGradNorm_(model.parameters(), 0.5)
        optimizer.step()
        return loss
      },
      { mode },
    )
    for (let i = 0; i < 24; i++) step(...batches[i % 3]!).dispose()
    return { weights: model.parameters().map(bytes), report: step.report() }
  }
  const [off, auto, full] = [run('off'), run('auto'), run('full')]
  assert.deepEqual(auto.weights, off.weights)
  assert.deepEqual(full.weights, off.weights)
  assert.ok(auto.report.matched >= 20 && full.report.full >= 18)
})
