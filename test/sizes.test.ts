/** Sizes at the edges: products that pass 64 bits, numbers that pass 32, what no memory holds, and what are no sizes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as w from '../ts/index.ts'

const { zeros } = w

/** Runs `f`, which must throw a WickError of one of the codes. */
function refused(f: () => unknown, ...codes: string[]): void {
  assert.throws(f, e => e instanceof w.WickError && codes.includes(e.code), String(f))
}

test('products of sizes that pass 64 bits are refused', () => {
  refused(() => zeros([2 ** 31, 0]).matmul(zeros([0, 2 ** 31])), 'SHAPE_MISMATCH')
  refused(() => w.nn.functional.linear(zeros([2 ** 31, 0]), zeros([2 ** 31, 0])), 'SHAPE_MISMATCH')
  refused(() => w.einsum('ij,jk->ik', zeros([2 ** 31, 0]), zeros([0, 2 ** 31])), 'SHAPE_MISMATCH')
  const a = zeros([1]).expand([2 ** 31])
  refused(() => a.unsqueeze(1).add(a), 'SHAPE_MISMATCH')
  refused(() => a.unsqueeze(1).mul(a), 'SHAPE_MISMATCH')
  refused(() => w.where(a.unsqueeze(1).gt(0), a, 0), 'OUT_OF_MEMORY', 'SHAPE_MISMATCH')
  refused(() => w.cat(Array.from({ length: 8 }, () => a.unsqueeze(1).expand([2 ** 31, 2 ** 28]))), 'SHAPE_MISMATCH')
  refused(
    () => w.nn.functional.conv2d(zeros([2 ** 31, 0, 1, 1]), zeros([2 ** 31, 0, 1, 1])),
    'SHAPE_MISMATCH',
    'OUT_OF_MEMORY',
  )
  refused(() => zeros([2 ** 40, 2 ** 40, 0]), 'SHAPE_MISMATCH')
})

test('memory that can not be had is OUT_OF_MEMORY', () => {
  const one = (dtype: w.DType) => zeros([1], { dtype }).expand([2 ** 46])
  refused(() => one('float32').dataSync(), 'OUT_OF_MEMORY')
  for (const dtype of ['float16', 'bfloat16'] as const) {
    refused(() => one(dtype).sum(), 'OUT_OF_MEMORY')
    refused(() => one(dtype).argmax(), 'OUT_OF_MEMORY')
    refused(
      () =>
        one(dtype)
          .reshape(2 ** 23, 2 ** 23)
          .matmul(zeros([2 ** 23, 1], { dtype })),
      'OUT_OF_MEMORY',
    )
  }
  refused(() => w.data.transforms.resize(zeros([3, 4, 4], { dtype: 'uint8' }), [2 ** 24, 2 ** 24]), 'OUT_OF_MEMORY')
  const padding = 2 ** 29
  refused(
    () => w.nn.functional.conv2d(zeros([1, 1, 2, 2]), zeros([1, 1, 1, 1]), null, { padding }),
    'SHAPE_MISMATCH',
    'OUT_OF_MEMORY',
  )
})

test('sizes of 2^32 and more are kept whole, or refused', () => {
  const x = zeros([1]).expand([2 ** 32])
  assert.deepEqual(x.shape, [2 ** 32])
  assert.equal(x.numel, 2 ** 32)
  assert.deepEqual(
    zeros([1], { dtype: 'uint8' })
      .expand([2 ** 33 + 1, 2])
      .transpose(0, 1).shape,
    [2, 2 ** 33 + 1],
  )
  refused(() => w.arange(2 ** 48 + 3), 'OUT_OF_MEMORY')
  refused(() => w.randperm(2 ** 32 + 4), 'NOT_SUPPORTED')
  refused(() => w.eye(2 ** 48 + 1, 1), 'OUT_OF_MEMORY')
  refused(() => w.oneHot(zeros([2], { dtype: 'int64' }), 2 ** 53), 'BAD_OPTION')
  const [image, weight] = [zeros([1, 1, 2, 2]), zeros([1, 1, 1, 1])]
  for (const options of [{ padding: 2 ** 32 }, { stride: 2 ** 32 }, { dilation: 2 ** 53 + 2 }]) {
    refused(() => w.nn.functional.conv2d(image, weight, null, options), 'NOT_SUPPORTED', 'BAD_OPTION')
  }
  refused(() => w.nn.functional.conv2d(image, weight, null, { groups: 2 ** 32 + 1 }), 'SHAPE_MISMATCH')
  refused(() => w.nn.functional.maxPool2d(image, 2 ** 32 + 1), 'NOT_SUPPORTED')
  refused(() => w.nn.functional.adaptiveAvgPool2d(image, 2 ** 32), 'NOT_SUPPORTED')
})

test('a long stride costs no more than its results, and its gradients are right', () => {
  const x = w.arange(1, 26, { dtype: 'float32' }).reshape(1, 1, 5, 5).requiresGrad_()
  const weight = w.tensor([[[[2, 3]]]], { dtype: 'float32' })
  const y = w.nn.functional.conv2d(x, weight, null, { stride: 2 ** 30, padding: [0, 1] })
  assert.deepEqual(y.toArraySync(), [[[[3]]]])
  y.sum().backward()
  const want = Array.from({ length: 25 }, (_, i) => (i === 0 ? 3 : 0))
  assert.deepEqual(Array.from(x.grad!.dataSync() as Float32Array), want)
})

test('numbers that are no dimensions, indices or counts are refused', () => {
  const x = zeros([3, 4])
  const bad = [0.5, Number.NaN, 2 ** 53, '0' as unknown as number]
  for (const n of bad) {
    refused(() => x.sum(n), 'BAD_OPTION')
    refused(() => x.sum([n]), 'BAD_OPTION')
    refused(() => x.mean({ dim: n }), 'BAD_OPTION')
    refused(() => x.select(0, n), 'BAD_OPTION')
    refused(() => x.narrow(0, n, 1), 'BAD_OPTION')
    refused(() => x.narrow(0, 0, n), 'BAD_OPTION')
    refused(() => x.cumsum(n), 'BAD_OPTION')
    refused(() => x.transpose(0, n), 'BAD_OPTION')
    refused(() => w.linspace(0, 1, n), 'BAD_OPTION')
    refused(() => w.eye(n), 'BAD_OPTION')
    refused(() => w.randperm(n), 'BAD_OPTION')
  }
  refused(() => x.sum(2 ** 32), 'INDEX_OUT_OF_RANGE')
  refused(() => x.select(0, 2 ** 32), 'INDEX_OUT_OF_RANGE')
  for (const n of [-1, -(2 ** 31)]) {
    refused(() => w.linspace(0, 3, n), 'BAD_OPTION')
    refused(() => w.eye(n), 'BAD_OPTION')
    refused(() => w.eye(2, n), 'BAD_OPTION')
    refused(() => w.randperm(n), 'BAD_OPTION')
    refused(() => w.oneHot(zeros([2], { dtype: 'int64' }), n), 'BAD_OPTION')
    refused(() => zeros([2]).repeatInterleave(n), 'BAD_OPTION')
  }
})

test('arrays that hold themselves, and images without pixels', () => {
  const loop: unknown[] = []
  loop.push(loop)
  refused(() => w.tensor(loop as number[]), 'NOT_SUPPORTED')
  refused(() => w.tensor([[[[[[[[[1]]]]]]]]]), 'NOT_SUPPORTED')
  for (const shape of [
    [3, 0, 4],
    [3, 4, 0],
    [0, 3, 4, 4],
  ]) {
    const x = zeros(shape, { dtype: 'uint8' })
    if (x.ndim === 3) refused(() => w.data.transforms.randAugment(x), 'SHAPE_MISMATCH')
  }
  refused(() => zeros([2, 0]).pad([1, 1], { mode: 'circular' }), 'SHAPE_MISMATCH')
  refused(() => zeros([2, 0]).pad([1, 1], { mode: 'replicate' }), 'SHAPE_MISMATCH')
})

test('cumsum of every rank, along every dimension', () => {
  for (let rank = 1; rank <= 8; rank++) {
    const shape = Array.from({ length: rank }, (_, d) => (d % 3 === 0 ? 2 : d % 3 === 1 ? 3 : 1))
    const x = w.randn(shape, { dtype: 'float64' })
    for (let dim = 0; dim < rank; dim++) {
      const parts = x.cumsum(dim).unbind(dim)
      let sum = x.select(dim, 0)
      parts.forEach((part, i) => {
        if (i > 0) sum = sum.add(x.select(dim, i))
        assert.deepEqual(part.toArraySync(), sum.toArraySync(), `[${shape}] along ${dim}`)
      })
    }
  }
  const x = w.randn([2, 3, 4, 5]).requiresGrad_()
  x.cumsum(0).sum().backward()
  assert.deepEqual(x.grad!.select(0, 0).amax().itemSync(), 2)
})

test('what is no tensor is refused by the name of the op', () => {
  const functions = w as unknown as Record<string, (x: unknown) => unknown>
  const names = [
    'neg',
    'abs',
    'sqrt',
    'exp',
    'tanh',
    'square',
    'relu',
    'isnan',
    'sum',
    'mean',
    'amax',
    'clone',
    'detach',
  ]
  for (const name of names.filter(n => n in functions)) {
    for (const x of [null, undefined, 3, [1, 2], {}]) {
      assert.throws(
        () => functions[name]!(x),
        e => e instanceof w.WickError && e.code === 'BAD_OPTION' && e.op === name,
        name,
      )
    }
  }
  assert.ok(names.filter(n => n in functions).length > 8)
})
