/** Data on its way to the GPU: `WICK_TEST_DEVICE=cuda bun test ./test/gpu/data.test.ts`. On the CPU it checks itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  arange,
  data,
  fromTypedArray,
  Generator,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  scope,
  type Tensor,
  Trainer,
  WickError,
} from '../../ts/index.ts'

const device = (process.env.WICK_TEST_DEVICE ?? 'cpu') as 'cpu' | 'cuda'
const onGpu = device !== 'cpu'

/** Numbers without a pattern that depend on `salt`. */
const noise = (n: number, salt: number) =>
  Float32Array.from({ length: n }, (_, i) => ((i * 7919 + salt * 104729) % 65521) / 7)

test('uploads far ahead of the device keep their values while buffers are used again', () => {
  // Small ones, some that fill blocks, and some of several blocks; between them work that keeps the device behind.
  const sizes = [1, 100, 5_000, 40_000, 300_000, 1_000_000, 2_500_000]
  const busy = randn([512, 512], { device })
  const kept: { salt: number; size: number; sum: Tensor; values: Tensor | null }[] = []
  for (let salt = 0; salt < 150; salt++) {
    const size = sizes[salt % sizes.length]!
    scope(() => {
      let x = busy
      for (let i = 0; i < 5; i++) x = x.matmul(busy).mul(1e-3)
      return []
    })
    const uploaded = fromTypedArray(noise(size, salt), [size], { device })
    const whole = size <= 40_000
    kept.push({ salt, size, sum: uploaded.to('float64').sum(), values: whole ? uploaded.add(0) : null })
    uploaded.dispose()
  }
  for (const { salt, size, sum, values } of kept) {
    const want = noise(size, salt)
    if (values) assert.deepEqual(values.dataSync(), want, `upload ${salt}`)
    const total = want.reduce((a, b) => a + b, 0)
    assert.ok(Math.abs(sum.itemSync() - total) <= 1e-9 * Math.abs(total), `the sum of upload ${salt}`)
  }
})

const rows = () => {
  manualSeed(5)
  return new data.TensorDataset<[Tensor, Tensor]>(
    randn([203, 3, 5], { device: 'cpu' }),
    randint(0, 9, [203], { device: 'cpu' }),
  )
}
async function batchesOf(loader: AsyncIterable<[Tensor, Tensor]>) {
  const found: unknown[] = []
  for await (const [x, y] of loader) {
    assert.match(x.device, new RegExp(device))
    found.push([await x.toArray(), await y.toArray()])
  }
  return found
}

for (const resident of ['auto', true, false] as const) {
  if (resident === true && !onGpu) continue
  test(`a loader with a device gives the batches of one without (resident ${resident})`, async () => {
    const set = rows()
    const [part] = data.randomSplit(set, [0.5, 0.5], { generator: new Generator(1) })
    for (const dataset of [set, part!]) {
      const options = { batchSize: 32, shuffle: true }
      const plain = new data.DataLoader(dataset, { ...options, generator: new Generator(7) })
      const moved = new data.DataLoader(dataset, { ...options, generator: new Generator(7), device, resident })
      const want: unknown[] = []
      for await (const [x, y] of plain) want.push([await x.toArray(), await y.toArray()])
      assert.deepEqual(await batchesOf(moved), want)
    }
  })
}

test('a write to the data set is seen by the next batch', async () => {
  const set = rows()
  const loader = new data.DataLoader(set, { batchSize: 203, device })
  await batchesOf(loader)
  noGrad(() => set.tensors[0].mul_(2))
  const [batch] = (await batchesOf(loader)) as [[unknown, unknown]]
  assert.deepEqual(batch[0], await set.tensors[0].toArray())
})

test('items of a dataset that computes them are moved', async () => {
  const dataset = { length: 10, get: async (i: number) => ({ x: [i, i / 2], i }) }
  const found: number[] = []
  for await (const batch of new data.DataLoader(dataset, { batchSize: 4, device })) {
    assert.match(batch.i.device, new RegExp(device))
    found.push(...((await batch.i.toArray()) as number[]).map(Number))
  }
  assert.deepEqual(found, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('rows of every width are gathered, and of several tensors at once', async () => {
  const widths = [1, 2, 3, 4, 8, 31, 64]
  const tensors = widths.map(w =>
    arange(500 * w, { device: 'cpu' })
      .to('uint8')
      .reshape(500, w),
  )
  tensors.push(arange(500, { device: 'cpu' }))
  const set = new data.TensorDataset(...tensors)
  for (const batchSize of [1, 7, 130, 500]) {
    const options = { batchSize, shuffle: true }
    const host = new data.DataLoader(set, { ...options, generator: new Generator(3) })
    const there = new data.DataLoader(set, { ...options, generator: new Generator(3), device })
    const want: unknown[] = []
    for await (const batch of host) want.push(await Promise.all(batch.map(t => t.toArray())))
    const got: unknown[] = []
    for await (const batch of there) got.push(await Promise.all(batch.map(t => t.toArray())))
    assert.deepEqual(got, want)
  }
})

test('training is the same wherever the data lives', async () => {
  const run = async (resident: boolean | 'auto') => {
    manualSeed(0)
    const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
    const trainDataset = new data.TensorDataset<[Tensor, Tensor]>(
      randn([96, 4], { device: 'cpu' }),
      randint(0, 3, [96], { device: 'cpu' }),
    )
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [], device })
    const trainDataLoaderOptions = { resident }
    await trainer.train({ trainDataset, numEpochs: 3, perDeviceBatchSize: 8, trainDataLoaderOptions })
    return trainer.runHistory.getMetricValues('train_loss_epoch')
  }
  assert.deepEqual(await run('auto'), await run(false))
})

test('data on the GPU is copied once for all loaders', { skip: !onGpu }, async () => {
  const set = rows()
  const open = () => new data.DataLoader(set, { batchSize: 64, device: 'cuda', resident: true })
  const before = memory({ device: 'cuda' }).bytes
  for (let i = 0; i < 3; i++) {
    for await (const batch of open()) for (const t of batch) t.dispose()
  }
  const bytes = memory({ device: 'cuda' }).bytes - before
  assert.ok(bytes >= 203 * (15 * 4 + 8) && bytes < 2 * 203 * (15 * 4 + 8) + 4096, `${bytes} bytes more`)
})

test('data that can not live on the device is refused if it must', () => {
  const code = (error: unknown) => error instanceof WickError && error.code === 'BAD_OPTION'
  const computed = { length: 4, get: (i: number) => i }
  assert.throws(() => new data.DataLoader(computed, { device: 'cuda', resident: true }), code)
  assert.throws(() => new data.DataLoader(rows(), { device: 'cpu', resident: true }), code)
  assert.throws(() => new data.DataLoader(rows(), { resident: true }), code)
  assert.throws(() => new data.DataLoader(rows(), { device: 'gpu' }), code)
})
