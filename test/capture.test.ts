import assert from 'node:assert/strict'
import { test } from 'node:test'
import { capture } from '../ts/capture.ts'
import { arange, memory, ones, randn, type Tensor, tensor } from '../ts/tensor/index.ts'
import { collected } from './collected.ts'

test('a captured function gives what it gives uncaptured, and is matched from its third call on', () => {
  const w = randn([4, 4])
  const f = (x: Tensor, scale: number) => ({ y: x.add(w).mul(scale).relu(), sum: x.mul(w).add(scale) })
  const g = capture(f)
  for (let i = 0; i < 6; i++) {
    const x = randn([4, 4])
    const [want, got] = [f(x, i), g(x, i)]
    assert.deepEqual(got.y.dataSync(), want.y.dataSync())
    assert.deepEqual(got.sum.dataSync(), want.sum.dataSync())
  }
  const { windows, matched, eager, diverged, plans } = g.report()
  assert.deepEqual(
    { windows, matched, eager, diverged, plans },
    { windows: 6, matched: 4, eager: 2, diverged: 0, plans: 1 },
  )
})

test('another path through the function leaves the plan and stays right', () => {
  const g = capture((x: Tensor, double: boolean) => (double ? x.add(1).mul(2) : x.add(1).sub(2)))
  const x = tensor([1.5, 2])
  for (let i = 0; i < 4; i++) assert.deepEqual(g(x, true).toArraySync(), [5, 6])
  for (let i = 0; i < 4; i++) assert.deepEqual(g(x, false).toArraySync(), [0.5, 1])
  assert.deepEqual(g(x, true).toArraySync(), [5, 6])
  assert.ok(g.report().diverged > 0)
})

test('what a captured function made and did not return is freed', () => {
  const x = ones([8])
  const g = capture(() => x.add(1).mul(2).sub(3))
  g().dispose()
  const before = collected()
  for (let i = 0; i < 10; i++) g().dispose()
  assert.equal(memory().tensors, before)
})

test('a throwing call leaves nothing open', () => {
  const x = ones([2])
  const g = capture((fail: boolean) => {
    const y = x.add(1)
    if (fail) throw new RangeError('mine')
    return y
  })
  for (let i = 0; i < 3; i++) g(false).dispose()
  assert.throws(() => g(true), RangeError)
  assert.deepEqual(g(false).toArraySync(), [2, 2])
})

test('a window in a window is a scope', () => {
  const inner = capture((x: Tensor) => x.mul(2).add(1))
  const outer = capture((x: Tensor) => inner(x).sub(1))
  for (let i = 0; i < 4; i++) assert.deepEqual(outer(ones([2])).toArraySync(), [2, 2])
})

test('full mode skips the body and runs several steps in one call', () => {
  let calls = 0
  const total = ones([3]).fill_(0)
  const g = capture(
    (x: Tensor) => {
      calls++
      total.add_(x)
      return x.mul(2)
    },
    { mode: 'full', stepsPerCall: 4 },
  )
  const batches = Array.from({ length: 10 }, (_, i): [Tensor] => [arange(3).float().add(i)])
  assert.deepEqual(g.many(batches).toArraySync(), [18, 20, 22])
  assert.deepEqual(total.toArraySync(), [45, 55, 65])
  // two recordings and one match
  assert.equal(calls, 3)
  assert.equal(g.report().full, 7)
})

test('off mode never records', () => {
  const g = capture((x: Tensor) => x.add(1), { mode: 'off' })
  for (let i = 0; i < 4; i++) assert.deepEqual(g(ones([1])).toArraySync(), [2])
  assert.equal(g.report().matched, 0)
})
