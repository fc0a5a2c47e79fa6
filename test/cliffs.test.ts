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

test('a read in each of 3000 places, some of tensors that live on, some not', () => {
  const run = (mode: CaptureMode) => {
    manualSeed(2)
    const x = randn([4])
    const log: number[] = []
    const step = capture(
      () => {
        let y = x
        for (let k = 0; k < 3000; k++) {
          const next = y.mul(0.99).add(0.01)
          if (k % 3 === 1) y.dispose()
          y = next
          log.push(y.sum().itemSync())
        }
        return y
      },
      { mode },
    )
    for (let t = 0; t < 5; t++) {
      const y = step()
      log.push(y.sum().itemSync())
      y.dispose()
    }
    return { log, report: step.report() }
  }
  const [off, auto] = [run('off'), run('auto')]
  assert.deepEqual(auto.log, off.log)
  assert.equal(auto.report.matched, 3, auto.report.reason)
})

test('a handle that outlives a read it had not outlived when the plan was recorded leaves the plan', () => {
  const w = randn([4]).requiresGrad_()
  const step = (keep: boolean) => {
    const kept: Tensor[] = []
    const y = w.mul(2)
    const read = () => y.sum().itemSync()
    const first = read()
    const z = w.mul(y.detach())
    const second = read()
    // recorded, `z` was gone before the third read
    if (keep) kept.push(z)
    else z.dispose()
    const third = y.mul(3).sum().itemSync()
    const last = kept.length > 0 ? kept[0]!.sum().itemSync() : 0
    return [first, second, third, last]
  }
  const run = (mode: CaptureMode) => {
    const log: number[][] = []
    const captured = capture(
      (keep: boolean) => {
        log.push(step(keep))
      },
      { mode },
    )
    for (const keep of [false, false, false, true, false, true]) captured(keep)
    return { log, report: captured.report() }
  }
  const [off, auto] = [run('off'), run('auto')]
  assert.deepEqual(auto.log, off.log)
  assert.ok(auto.report.matched >= 2 && auto.report.diverged >= 1, JSON.stringify(auto.report))
})

test('shapes in turn get a plan each, up to 32 of them', () => {
  for (const [shapes, steps, least] of [
    [7, 60, 46],
    [12, 400, 200],
    [30, 3000, 1000],
  ] as const) {
    const inputs = Array.from({ length: shapes }, (_, i) => randn([i + 1, 3]))
    const w = randn([3, 3])
    const step = capture((x: Tensor) => x.matmul(w).relu().add(1).sum())
    for (let t = 0; t < steps; t++) step(inputs[t % shapes]!).dispose()
    const { matched, plans } = step.report()
    assert.ok(matched >= least, `${shapes} shapes: ${matched} of ${steps} matched`)
    assert.equal(plans, shapes)
  }
})

test('windows that come to nothing are left alone more and more, and noticed when they repeat', () => {
  let sizes = 0
  let repeating = false
  const failing = capture((x: Tensor) => {
    const y = x.mul(2)
    if (!repeating) throw new RangeError('at the end')
    return y
  })
  const changing = capture((x: Tensor) => {
    let y = x
    for (let k = 0; k < (repeating ? 3 : sizes); k++) y = y.add(1)
    return y
  })
  const x = randn([2])
  for (let t = 0; t < 300; t++) {
    sizes++
    assert.throws(() => failing(x), RangeError)
    changing(x).dispose()
  }
  repeating = true
  for (let t = 0; t < 1200; t++) {
    failing(x).dispose()
    changing(x).dispose()
  }
  for (const { matched, reason } of [failing.report(), changing.report()])
    assert.ok(matched > 300, `${matched}: ${reason}`)
})
