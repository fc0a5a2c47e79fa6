/** `nn.init` and the layers' first values, by their statistics. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WickError } from '../ts/errors.ts'
import * as nn from '../ts/nn/index.ts'
import { Generator, manualSeed, type Tensor, zeros } from '../ts/tensor/index.ts'

manualSeed(1)
const SIZE = 200
const matrix = () => zeros([SIZE, 2 * SIZE])

function statistics(t: Tensor) {
  const v = Array.from(t.dataSync(), Number)
  const mean = v.reduce((a, b) => a + b, 0) / v.length
  const std = Math.sqrt(v.reduce((a, b) => a + (b - mean) ** 2, 0) / v.length)
  return { mean, std, min: v.reduce((a, b) => Math.min(a, b)), max: v.reduce((a, b) => Math.max(a, b)) }
}
/** Within 2%, which 80,000 numbers meet by many standard deviations. */
const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) <= 0.02 * Math.abs(expected), `${actual} for ${expected}`)

test('uniform and normal initialisers have the moments of their formulas', () => {
  const bounded = (t: Tensor, bound: number) => {
    const { min, max, std } = statistics(t)
    near(min, -bound)
    near(max, bound)
    near(std, bound / Math.sqrt(3))
  }
  bounded(nn.init.uniform_(matrix(), -2, 2), 2)
  bounded(nn.init.xavierUniform_(matrix(), { gain: 2 }), 2 * Math.sqrt(6 / (3 * SIZE)))
  bounded(nn.init.kaimingUniform_(matrix(), { nonlinearity: 'relu' }), Math.sqrt(6 / (2 * SIZE)))
  bounded(nn.init.kaimingUniform_(matrix(), { a: 1, mode: 'fan_out' }), Math.sqrt(3 / SIZE))
  near(statistics(nn.init.normal_(matrix(), 3, 0.5)).mean, 3)
  near(statistics(nn.init.normal_(matrix(), 3, 0.5)).std, 0.5)
  near(statistics(nn.init.xavierNormal_(matrix())).std, Math.sqrt(2 / (3 * SIZE)))
  near(
    statistics(nn.init.kaimingNormal_(matrix(), { mode: 'fan_out', nonlinearity: 'tanh' })).std,
    5 / 3 / Math.sqrt(SIZE),
  )
})

test('a truncated normal stays within its bounds and has its standard deviation', () => {
  const { mean, std, min, max } = statistics(nn.init.truncNormal_(matrix(), { std: 0.5, a: -1, b: 1 }))
  assert.ok(min >= -1 && max <= 1 && Math.abs(mean) < 0.01)
  near(std, 0.5 * 0.87962566)
})

test('an orthogonal matrix is one, tall, wide or of a kernel', () => {
  for (const shape of [
    [8, 3],
    [3, 8],
    [6, 2, 3, 1],
  ]) {
    const [rows = 0] = shape
    const q = nn.init.orthogonal_(zeros(shape, { dtype: 'float64' }), { gain: 2 }).reshape([rows, -1])
    const wide = rows <= q.shape[1]! ? q : q.transpose(0, 1)
    const product = Array.from(wide.matmul(wide.transpose(0, 1)).dataSync(), Number)
    const n = wide.shape[0]!
    for (const [i, v] of product.entries()) assert.ok(Math.abs(v - (i % (n + 1) === 0 ? 4 : 0)) < 1e-12)
  }
})

test('constants, gains and a generator of one', () => {
  assert.deepEqual(statistics(nn.init.constant_(matrix(), 0.5)), { mean: 0.5, std: 0, min: 0.5, max: 0.5 })
  assert.equal(statistics(nn.init.ones_(matrix())).min, 1)
  assert.equal(statistics(nn.init.zeros_(nn.init.ones_(matrix()))).max, 0)
  assert.equal(nn.init.calculateGain('leaky_relu', 1), 1)
  const draw = () => Array.from(nn.init.normal_(zeros([4]), 0, 1, { generator: new Generator(5) }).dataSync(), Number)
  assert.deepEqual(draw(), draw())
  assert.throws(
    () => nn.init.xavierUniform_(zeros([3])),
    (e: unknown) => e instanceof WickError && e.code === 'SHAPE_MISMATCH',
  )
})

test('layers start as in PyTorch', () => {
  const linear = new nn.Linear(400, 300)
  near(statistics(linear.weight).max, 1 / Math.sqrt(400))
  near(statistics(linear.weight).std, 1 / Math.sqrt(3 * 400))
  near(statistics(linear.bias!).max, 1 / Math.sqrt(400))
  const conv = new nn.Conv2d(32, 64, { kernelSize: 3, groups: 2 })
  near(statistics(conv.weight).max, 1 / Math.sqrt(16 * 9))
  near(statistics(conv.weight).min, -1 / Math.sqrt(16 * 9))
  near(statistics(new nn.Embedding(300, 300).weight).std, 1)
  const norm = new nn.BatchNorm2d(3)
  for (const [t, value] of [
    [norm.weight, 1],
    [norm.bias, 0],
    [norm.runningMean, 0],
    [norm.runningVar, 1],
  ] as const) {
    assert.deepEqual(Array.from(t!.dataSync(), Number), [value, value, value])
  }
  assert.equal(norm.numBatchesTracked!.dtype, 'int64')
})
