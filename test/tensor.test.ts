import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NestedArray, Tensor } from '../ts/tensor/index.ts'
import * as wick from '../ts/tensor/index.ts'

const { arange, cat, full, ones, scope, stack, tensor, where, zeros } = wick

function flat(value: NestedArray): number[] {
  return Array.isArray(value) ? value.flatMap(flat) : [Number(value)]
}
/** The same shape, and elements within 1e-5. */
function near(actual: Tensor, expected: NestedArray): void {
  const shape: number[] = []
  for (let level: NestedArray | undefined = expected; Array.isArray(level); level = level[0]) shape.push(level.length)
  assert.deepEqual([...actual.shape], shape)
  const [got, want] = [flat(actual.toArraySync()), flat(expected)]
  want.forEach((value, i) => {
    const ok = Object.is(got[i], value) || Math.abs(got[i]! - value) <= 1e-5 * Math.max(1, Math.abs(value))
    assert.ok(ok, `element ${i}: ${got[i]} instead of ${value}`)
  })
}
const range = (...shape: number[]): Tensor =>
  arange(shape.reduce((a, b) => a * b, 1))
    .float()
    .reshape(shape)

test('tensor() takes its dtype from the data', () => {
  const dtypes: [NestedArray | wick.TypedArray, wick.DType][] = [
    [[1, 2], 'int64'],
    [[1, 2.5], 'float32'],
    [[true, false], 'bool'],
    [[1n, 2n], 'int64'],
    [5, 'int64'],
    [[], 'float32'],
    [new Float32Array(2), 'float32'],
    [new Float64Array(2), 'float64'],
    [new Int32Array(2), 'int32'],
    [new Uint8Array(2), 'uint8'],
    [new BigInt64Array(2), 'int64'],
    [new Int16Array(2), 'int32'],
  ]
  for (const [data, dtype] of dtypes) assert.equal(tensor(data).dtype, dtype)
  assert.deepEqual([...tensor([[1, 2, 3]]).shape], [1, 3])
  assert.deepEqual([...tensor(5).shape], [])
  assert.equal(tensor([1, 0], { dtype: 'bool' }).dtype, 'bool')
})

test('creation', () => {
  near(zeros([2, 2]), [
    [0, 0],
    [0, 0],
  ])
  near(ones(2), [1, 1])
  assert.equal(full([2], 1).dtype, 'int64')
  assert.equal(full([2], 0.5).dtype, 'float32')
  near(arange(3), [0, 1, 2])
  near(arange(1, 2, 0.25), [1, 1.25, 1.5, 1.75])
  near(arange(3, 0, -1), [3, 2, 1])
  assert.equal(arange(5).dtype, 'int64')
  near(wick.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1])
  near(wick.eye(2, 3), [
    [1, 0, 0],
    [0, 1, 0],
  ])
  near(wick.zerosLike(tensor([1, 2])), [0, 0])
  assert.equal(wick.onesLike(tensor([1, 2])).dtype, 'int64')
  near(wick.fromTypedArray(Float32Array.of(1, 2, 3, 4), [2, 2]), [
    [1, 2],
    [3, 4],
  ])
})

test('reads give the arrays of their dtypes', async () => {
  const x = tensor([
    [1, 2],
    [3, 4],
  ])
  assert.deepEqual(await x.data(), BigInt64Array.of(1n, 2n, 3n, 4n))
  assert.deepEqual(await x.toArray(), [
    [1, 2],
    [3, 4],
  ])
  assert.equal(await tensor(2.5).item(), 2.5)
  assert.deepEqual(tensor([true, false]).dataSync(), Uint8Array.of(1, 0))
  assert.deepEqual(tensor([true, false]).toArraySync(), [true, false])
  for (const dtype of ['bfloat16', 'float16'] as const) {
    const half = tensor([1, -2.5, 0], { dtype })
    assert.equal(half.dtype, dtype)
    assert.deepEqual(half.dataSync(), Float32Array.of(1, -2.5, 0))
    assert.equal(half.dataSync({ raw: true }).constructor, Uint16Array)
  }
  const bits = wick.fromTypedArray(Uint16Array.of(0x3f80, 0xc020), 2, { dtype: 'bfloat16' })
  near(bits, [1, -2.5])
  assert.equal(String(x), `Tensor(shape=[2, 2], dtype=int64, device=${wick.getDefaultDevice()})`)
})

test('arithmetic broadcasts and promotes as in PyTorch', () => {
  const x = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { dtype: 'float32' },
  )
  near(x.add(1), [
    [2, 3],
    [4, 5],
  ])
  near(wick.sub(10, x), [
    [9, 8],
    [7, 6],
  ])
  near(x.mul(tensor([10, 100])), [
    [10, 200],
    [30, 400],
  ])
  near(x.div(2), [
    [0.5, 1],
    [1.5, 2],
  ])
  near(x.pow(2), [
    [1, 4],
    [9, 16],
  ])
  near(wick.pow(2, x), [
    [2, 4],
    [8, 16],
  ])
  near(x.add(x, { alpha: 2 }), [
    [3, 6],
    [9, 12],
  ])
  near(tensor([7, -7]).div(tensor([2, 2]), { roundingMode: 'floor' }), [3, -4])
  near(tensor([7, -7]).div(2, { roundingMode: 'trunc' }), [3, -3])
  near(tensor([7, -7]).remainder(3), [1, 2])
  near(x.minimum(2), [
    [1, 2],
    [2, 2],
  ])
  near(x.clamp(2, 3), [
    [2, 2],
    [3, 3],
  ])
  near(x.clamp({ max: 2 }), [
    [1, 2],
    [2, 2],
  ])
  near(x.lerp(x.mul(3), 0.5), [
    [2, 4],
    [6, 8],
  ])
  near(x.addcmul(x, x, { value: 0.5 }), [
    [1.5, 4],
    [7.5, 12],
  ])
  assert.equal(tensor([1, 2]).mul(2).dtype, 'int64')
  assert.equal(tensor([1, 2]).add(1.5).dtype, 'float32')
  assert.equal(tensor([1, 2]).div(2).dtype, 'float32')
  assert.equal(tensor([1, 2]).add(x).dtype, 'float32')
  assert.equal(tensor([1, 2]).sqrt().dtype, 'float32')
})

test('functions, comparison and logic', () => {
  const x = tensor([-1.5, 0, 2.5])
  near(x.neg(), [1.5, 0, -2.5])
  near(x.abs(), [1.5, 0, 2.5])
  near(x.sign(), [-1, 0, 1])
  near(x.floor(), [-2, 0, 2])
  near(x.trunc(), [-1, 0, 2])
  near(x.round(), [-2, 0, 2])
  near(x.relu(), [0, 0, 2.5])
  near(x.exp(), [Math.exp(-1.5), 1, Math.exp(2.5)])
  near(x.sigmoid(), [1 / (1 + Math.exp(1.5)), 0.5, 1 / (1 + Math.exp(-2.5))])
  near(x.gelu(), [-0.100211, 0, 2.484475])
  near(x.gelu({ approximate: 'tanh' }), [-0.100428, 0, 2.484916])
  near(x.silu(), [-0.273638, 0, 2.310355])
  near(x.leakyRelu(0.1), [-0.15, 0, 2.5])
  near(x.elu(), [Math.exp(-1.5) - 1, 0, 2.5])
  near(tensor([-50, 0, 50]).float().softplus(), [0, Math.LN2, 50])
  assert.deepEqual(x.gt(0).toArraySync(), [false, false, true])
  assert.deepEqual(x.eq(0).logicalNot().toArraySync(), [true, false, true])
  assert.deepEqual(x.lt(0).logicalOr(x.gt(0)).toArraySync(), [true, false, true])
  assert.deepEqual(tensor([Number.NaN, Infinity, 1.5]).isfinite().toArraySync(), [false, false, true])
  near(where(x.gt(0), x, 0), [0, 0, 2.5])
  near(where(x.gt(0), 1, 2), [2, 2, 1])
})

test('in-place ops write the tensor and give it back', () => {
  const x = tensor([1.5, 2.5])
  const y = x.reshape(2, 1)
  assert.equal(x.add_(1).mul_(2), x)
  near(x, [5, 7])
  near(y, [[5], [7]])
  near(x.sub_(tensor([1, 2])).div_(2), [2, 2.5])
  near(x.fill_(3), [3, 3])
  near(x.zero_(), [0, 0])
  near(x.copy_(tensor([4, 5])), [4, 5])
  near(x.clamp_(0, 4.5), [4, 4.5])
  near(x.neg_(), [-4, -4.5])
  x.uniform_(2, 3)
  assert.ok(x.dataSync().every(v => v >= 2 && v < 3))
})

test('reductions', () => {
  const x = range(2, 3)
  near(x.sum(), 15)
  near(x.sum(1), [3, 12])
  near(x.sum({ dim: -1, keepdim: true }), [[3], [12]])
  near(x.sum([0, 1]), 15)
  near(x.mean(0), [1.5, 2.5, 3.5])
  near(x.add(1).prod(1), [6, 120])
  near(x.max(), 5)
  const [values, indices] = x.max(1)
  near(values, [2, 5])
  near(indices, [2, 2])
  near(x.min({ dim: 0, keepdim: true })[0], [[0, 1, 2]])
  near(x.max(full([2, 3], 3)), [
    [3, 3, 3],
    [3, 4, 5],
  ])
  near(x.argmax(), 5)
  near(x.argmin(1), [0, 0])
  near(x.var(), 3.5)
  near(x.var({ dim: 1, correction: 0 }), [2 / 3, 2 / 3])
  near(x.std(0), [Math.sqrt(4.5), Math.sqrt(4.5), Math.sqrt(4.5)])
  near(x.norm(), Math.sqrt(55))
  near(x.norm({ p: 1, dim: 1 }), [3, 12])
  near(x.norm({ p: Infinity }), 5)
  near(x.logsumexp(1), [2.407606, 5.407606])
  near(x.softmax(0).sum(0), [1, 1, 1])
  near(x.logSoftmax(-1).exp().sum(1), [1, 1])
  near(x.cumsum(1), [
    [0, 1, 3],
    [3, 7, 12],
  ])
  near(x.gt(4).any(), 1)
  near(x.gt(4).all(1), [0, 0])
  assert.equal(tensor([1, 2]).sum().dtype, 'int64')
  assert.equal(x.sum({ dim: 0, dtype: 'float64' }).dtype, 'float64')
})

test('sorting', () => {
  const x = tensor([
    [3, 1, 2],
    [9, 7, 8],
  ])
  near(x.sort()[0], [
    [1, 2, 3],
    [7, 8, 9],
  ])
  near(x.sort({ descending: true })[1], [
    [0, 2, 1],
    [0, 2, 1],
  ])
  near(x.sort({ dim: 0, descending: true })[0], [
    [9, 7, 8],
    [3, 1, 2],
  ])
  near(x.argsort(), [
    [1, 2, 0],
    [1, 2, 0],
  ])
  near(x.topk(2)[0], [
    [3, 2],
    [9, 8],
  ])
  near(x.topk(1, { largest: false })[1], [[1], [1]])
  near(x.kthvalue(2)[0], [2, 8])
})

test('products', () => {
  const [a, b] = [range(2, 3), range(3, 2)]
  const ab = [
    [10, 13],
    [28, 40],
  ]
  near(a.matmul(b), ab)
  near(a.mm(b), ab)
  near(a.matmul(tensor([1, 1, 1]).float()), [3, 12])
  near(tensor([1, 1]).float().matmul(a), [3, 5, 7])
  near(
    tensor([1, 2])
      .float()
      .matmul(tensor([3, 4]).float()),
    11,
  )
  near(stack([a, a]).matmul(b), [ab, ab])
  near(a.matmul(stack([b, b])), [ab, ab])
  near(stack([a, a]).bmm(stack([b, b])), [ab, ab])
  near(
    tensor([1, 2])
      .float()
      .dot(tensor([3, 4]).float()),
    11,
  )
  near(
    tensor([1, 2])
      .float()
      .outer(tensor([3, 4]).float()),
    [
      [3, 4],
      [6, 8],
    ],
  )
  near(ones([2, 2]).addmm(a, b, { beta: 2, alpha: 0.5 }), [
    [7, 8.5],
    [16, 22],
  ])
  near(wick.einsum('ij,jk->ik', a, b), ab)
  near(wick.einsum('ij,jk->ki', a, b), [
    [10, 28],
    [13, 40],
  ])
  near(wick.einsum('bij,bjk->bik', stack([a, a]), stack([b, b])), [ab, ab])
  near(wick.einsum('ij->j', a), [3, 5, 7])
  near(wick.einsum('ii', range(3, 3)), 12)
  near(wick.einsum('i,j->ij', tensor([1, 2]).float(), tensor([3, 4]).float()), [
    [3, 4],
    [6, 8],
  ])
})

test('shapes', () => {
  const x = range(2, 3)
  near(x.reshape(3, -1), [
    [0, 1],
    [2, 3],
    [4, 5],
  ])
  near(x.view([6]), [0, 1, 2, 3, 4, 5])
  near(x.transpose(0, 1), [
    [0, 3],
    [1, 4],
    [2, 5],
  ])
  near(x.t().reshape(-1), [0, 3, 1, 4, 2, 5])
  assert.deepEqual([...range(2, 3, 4).permute(2, 0, 1).shape], [4, 2, 3])
  assert.deepEqual([...range(2, 3, 4).movedim(0, -1).shape], [3, 4, 2])
  assert.deepEqual([...range(2, 3, 4).flatten(1).shape], [2, 12])
  assert.deepEqual([...range(2, 12).unflatten(1, [3, -1]).shape], [2, 3, 4])
  assert.deepEqual([...range(1, 2, 1).squeeze().shape], [2])
  assert.deepEqual([...range(1, 2, 1).squeeze(0).shape], [2, 1])
  assert.deepEqual([...x.unsqueeze(-1).shape], [2, 3, 1])
  near(tensor([[1], [2]]).expand(-1, 2), [
    [1, 1],
    [2, 2],
  ])
  near(tensor([1, 2]).repeat(2, 2), [
    [1, 2, 1, 2],
    [1, 2, 1, 2],
  ])
  near(tensor([1, 2]).repeatInterleave(2), [1, 1, 2, 2])
  near(tensor([1, 2]).repeatInterleave([1, 3]), [1, 2, 2, 2])
  near(x.narrow(1, 1, 2), [
    [1, 2],
    [4, 5],
  ])
  near(x.select(1, -1), [2, 5])
  assert.deepEqual(
    range(5)
      .split(2)
      .map(p => p.numel),
    [2, 2, 1],
  )
  assert.deepEqual(
    range(5)
      .split([1, 4])
      .map(p => p.numel),
    [1, 4],
  )
  assert.deepEqual(
    range(5)
      .chunk(2)
      .map(p => p.numel),
    [3, 2],
  )
  near(x.unbind()[1]!, [3, 4, 5])
  near(cat([x, x], 1), [
    [0, 1, 2, 0, 1, 2],
    [3, 4, 5, 3, 4, 5],
  ])
  near(stack([tensor([1, 2]), tensor([3, 4])], -1), [
    [1, 3],
    [2, 4],
  ])
  near(x.flip(1), [
    [2, 1, 0],
    [5, 4, 3],
  ])
  near(x.roll(1, 1), [
    [2, 0, 1],
    [5, 3, 4],
  ])
  near(x.roll(-1), [
    [1, 2, 3],
    [4, 5, 0],
  ])
  near(tensor([1, 2]).pad([1, 2]), [0, 1, 2, 0, 0])
  near(tensor([1, 2, 3]).pad([2, 1], { mode: 'reflect' }), [3, 2, 1, 2, 3, 2])
  near(tensor([1, 2, 3]).pad([-1, 0]), [2, 3])
  near(ones([2, 3]).tril(), [
    [1, 0, 0],
    [1, 1, 0],
  ])
  near(ones([2, 3]).triu(1), [
    [0, 1, 1],
    [0, 0, 1],
  ])
  const copy = x.clone()
  copy.fill_(7)
  near(x.select(0, 0), [0, 1, 2])
})

test('indexing', () => {
  const x = range(3, 4)
  near(x.index(1), [4, 5, 6, 7])
  near(x.index([1], [undefined, -2]), [
    [4, 5],
    [8, 9],
  ])
  near(x.index([], [0, 4, 2]), [
    [0, 2],
    [4, 6],
    [8, 10],
  ])
  near(x.index('...', 0), [0, 4, 8])
  assert.deepEqual([...x.index(null, [], null).shape], [1, 3, 1, 4])
  near(x.index(tensor([0, -1])), [
    [0, 1, 2, 3],
    [8, 9, 10, 11],
  ])
  near(x.index([], tensor([[1, 0]])), [[[1, 0]], [[5, 4]], [[9, 8]]])
  near(x.index(tensor([0, 2]), tensor([1, 3])), [1, 11])
  near(x.index(x.gt(9)), [10, 11])
  near(x.index(tensor([true, false, true]), 0), [0, 8])
  near(x.indexSelect(1, tensor([3, 0])), [
    [3, 0],
    [7, 4],
    [11, 8],
  ])
  near(x.gather(1, tensor([[0], [1], [3]])), [[0], [5], [11]])
  near(zeros([2, 3]).scatter(1, tensor([[2], [0]]), 5), [
    [0, 0, 5],
    [5, 0, 0],
  ])
  near(zeros([3]).scatterAdd(0, tensor([0, 0, 2]), ones(3)), [2, 0, 1])
  near(zeros([3]).indexAdd(0, tensor([1, 1]), ones(2), { alpha: 2 }), [0, 4, 0])
  near(x.maskedFill(x.gt(1), -1).sum(), -9)
  near(x.maskedSelect(x.gt(9)), [10, 11])
  near(
    tensor([
      [0, 1],
      [2, 0],
    ]).nonzero(),
    [
      [0, 1],
      [1, 0],
    ],
  )
  near(x.take(tensor([[0, -1]])), [[0, 11]])
  near(tensor([1, 0]).oneHot(3), [
    [0, 1, 0],
    [1, 0, 0],
  ])
})

test('gradients', () => {
  const x = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { dtype: 'float32', requiresGrad: true },
  )
  assert.ok(x.requiresGrad && x.isLeaf && x.grad === null)
  const y = x.mul(x).sum()
  assert.ok(y.requiresGrad && !y.isLeaf)
  y.backward()
  near(x.grad!, [
    [2, 4],
    [6, 8],
  ])
  x.mul(3).backward({ gradient: ones([2, 2]) })
  near(x.grad!, [
    [5, 7],
    [9, 11],
  ])
  x.grad = null
  assert.equal(x.grad, null)
  const g = wick.grad(x.pow(3).sum(), x, { createGraph: true })
  near(g, [
    [3, 12],
    [27, 48],
  ])
  near(wick.grad(g.sum(), [x])[0]!, [
    [6, 12],
    [18, 24],
  ])
  assert.equal(wick.grad(x.sum(), tensor(1.5, { requiresGrad: true }), { allowUnused: true }), null)
  assert.equal(wick.noGrad(() => x.mul(2)).requiresGrad, false)
  assert.equal(wick.noGrad(() => wick.enableGrad(() => x.mul(2))).requiresGrad, true)
  assert.equal(x.detach().requiresGrad, false)
  const z = tensor([0, 0]).float().requiresGrad_()
  z.norm().backward()
  near(z.grad!, [0, 0])
  const inner = x.mul(2).retainGrad()
  inner.sum().backward()
  near(inner.grad!, [
    [1, 1],
    [1, 1],
  ])
})

test('a scope frees what it made but what it returns or keeps', () => {
  const x = ones(4)
  const before = wick.memory().tensors
  let inside: Tensor | undefined
  let kept: Tensor | undefined
  const out = scope(() => {
    inside = x.add(1)
    kept = inside.mul(2).keep()
    return { list: [inside.add(1)], n: 3 }
  })
  assert.equal(wick.memory().tensors - before, 2)
  near(out.list[0]!, [3, 3, 3, 3])
  near(kept!, [4, 4, 4, 4])
  assert.throws(() => inside!.add(1), { code: 'DISPOSED' })
  kept!.dispose()
  kept!.dispose()
  assert.equal(String(kept), 'Tensor(disposed)')
  assert.equal(wick.memory().tensors - before, 1)
  assert.throws(
    () =>
      scope(() => {
        throw new RangeError('mine')
      }),
    RangeError,
  )
})

test('random numbers follow their seed', () => {
  wick.manualSeed(7)
  const a = wick.randn([100]).dataSync()
  wick.manualSeed(7)
  assert.deepEqual(wick.randn([100]).dataSync(), a)
  assert.notDeepEqual(wick.randn([100]).dataSync(), a)
  const g = new wick.Generator(3)
  const first = wick.rand([5], { generator: g }).dataSync()
  const state = g.getState()
  const second = wick.rand([5], { generator: g }).dataSync()
  assert.deepEqual(wick.rand([5], { generator: g.setState(state) }).dataSync(), second)
  assert.deepEqual(wick.rand([5], { generator: g.manualSeed(3) }).dataSync(), first)
  const whole = wick.randint(-2, 3, [1000])
  assert.equal(whole.dtype, 'int64')
  assert.deepEqual(
    [...new Set(flat(whole.toArraySync()))].sort((p, q) => p - q),
    [-2, -1, 0, 1, 2],
  )
  assert.deepEqual(
    flat(wick.randperm(20).toArraySync()).sort((p, q) => p - q),
    flat(arange(20).toArraySync()),
  )
  assert.ok(Math.abs(wick.randn([10_000]).mean().itemSync()) < 0.05)
})

test('dtype and device', () => {
  const x = tensor([1.5, 2.5])
  assert.equal(x.to('float32'), x)
  assert.equal(x.to(wick.getDefaultDevice()), x)
  assert.equal(x.cpu().device, 'cpu')
  assert.equal(x.long().dtype, 'int64')
  assert.equal(x.to({ dtype: 'float64' }).dtype, 'float64')
  assert.equal(x.device, wick.getDefaultDevice())
})
