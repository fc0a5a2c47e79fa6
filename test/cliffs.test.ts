/** Steps that are hard on plans. Each of these takes seconds at most: done as before, with paths or pairs of ops, they would take hours. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CaptureMode, capture, manualSeed, nn, noGrad, optim, randn, type Tensor } from '../ts/index.ts'

/** Losses of four steps of an SGD under both modes, which must agree; the report of `auto`. */
function trained(make: () => { parameters: Tensor[]; loss: (t: number) => Tensor }, steps = 4) {
  const run = (mode: CaptureMode) => {
    manualSeed(3)
    const { parameters, loss } = make()
    const optimizer = new optim.SGD(parameters, { lr: 0.01, momentum: 0.9 })
    const step = capture(
      (t: number) => {
        optimizer.zeroGrad()
        const value = loss(t)
        value.backward()
        optimizer.step()
        return value
      },
      { mode },
    )
    const losses = Array.from({ length: steps }, (_, t) => {
      const value = step(t)
      const number = value.itemSync()
      value.dispose()
      return number
    })
    return { losses, report: step.report() }
  }
  const [off, auto] = [run('off'), run('auto')]
  assert.deepEqual(auto.losses, off.losses)
  return auto.report
}

test('a plan of an unrolled cell of 6400 steps', () => {
  const report = trained(() => {
    const [w, b, x] = [new nn.Parameter(randn([4, 4]).mul(0.3)), new nn.Parameter(randn([4])), randn([2, 4])]
    const loss = () => {
      let h: Tensor = x
      for (let k = 0; k < 6400; k++) h = h.matmul(w).add(b).tanh()
      return h.sum()
    }
    return { parameters: [w, b], loss }
  })
  assert.equal(report.matched, 1)
})

test('whether a result behind 200 residual blocks requires grad', () => {
  const report = trained(() => {
    const [w, last, x] = [randn([4, 4]).mul(0.01), new nn.Parameter(randn([4, 4])), randn([2, 4])]
    const statistics = randn([2, 4])
    const loss = () => {
      let h: Tensor = x
      for (let k = 0; k < 200; k++) h = h.add(h.matmul(w).relu())
      assert.equal(h.requiresGrad, false)
      statistics.copy_(h)
      const y = h.matmul(last)
      assert.equal(y.requiresGrad, true)
      assert.equal(noGrad(() => y.mul(2)).requiresGrad, false)
      return y.sum()
    }
    return { parameters: [last], loss }
  }, 6)
  assert.ok(report.matched >= 3, report.reason)
})

test('a parameter for each of 3000 ops', () => {
  const report = trained(() => {
    const parameters = Array.from({ length: 3000 }, () => new nn.Parameter(randn([3])))
    return { parameters, loss: () => parameters.reduce((h: Tensor, p) => h.mul(0.5).add(p), randn([3])).sum() }
  })
  assert.ok(report.windows === 4)
})
