import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import {
  arange,
  data,
  Generator,
  manualSeed,
  memory,
  nn,
  optim,
  rand,
  type Tensor,
  Trainer,
  tensor,
} from '../ts/index.ts'
import { code } from './programs/wick-error.ts'

const numbers = (n: number) => ({ length: n, get: (i: number) => i })
async function all<Batch>(loader: AsyncIterable<Batch>): Promise<Batch[]> {
  const batches: Batch[] = []
  for await (const batch of loader) batches.push(batch)
  return batches
}
const lists = (batches: Tensor[]) => Promise.all(batches.map(batch => batch.toArray()))

test('TensorDataset gives rows, Subset and ConcatDataset pick among them', async () => {
  const rows = new data.TensorDataset(
    tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]),
    tensor([0, 1, 2]),
  )
  assert.equal(rows.length, 3)
  assert.deepEqual(await rows.get(1)[0].toArray(), [3, 4])
  const subset = new data.Subset(rows, [2, 0])
  const [x] = await subset.get(0)
  assert.deepEqual(await x.toArray(), [5, 6])
  const both = new data.ConcatDataset([subset, rows])
  assert.equal(both.length, 5)
  const [, y] = await both.get(4)
  assert.equal(await y.item(), 2)
  const doubled = new data.MapDataset(numbers(3), i => 2 * i)
  assert.equal(await doubled.get(2), 4)
})

test('randomSplit cuts by lengths and by fractions, in an order that the generator fixes', () => {
  const parts = data.randomSplit(numbers(10), [0.5, 0.25, 0.25], { generator: new Generator(3) })
  assert.deepEqual(
    parts.map(p => p.length),
    [6, 2, 2],
  )
  const indices = parts.flatMap(p => [...p.indices])
  assert.deepEqual(
    indices.toSorted((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  )
  const again = data.randomSplit(numbers(10), [6, 4], { generator: new Generator(3) })
  assert.deepEqual(
    again.flatMap(p => [...p.indices]),
    indices,
  )
  assert.throws(() => data.randomSplit(numbers(10), [5, 4]), code('BAD_OPTION', /adds up to 9/))
  assert.throws(() => data.randomSplit(numbers(10), [0.5, 0.4]), code('BAD_OPTION'))
  assert.throws(() => data.randomSplit(numbers(10), [Number.NaN, 10]), code('BAD_OPTION'))
})

test('samplers', () => {
  assert.deepEqual([...new data.SequentialSampler(3)], [0, 1, 2])
  const random = (seed: number) => [...new data.RandomSampler(20, { generator: new Generator(seed) })]
  assert.deepEqual(random(1), random(1))
  assert.notDeepEqual(random(1), random(2))
  assert.deepEqual(
    random(1).toSorted((a, b) => a - b),
    [...Array(20).keys()],
  )
  assert.equal([...new data.RandomSampler(3, { numSamples: 8 })].length, 8)
  assert.ok([...new data.RandomSampler(3, { numSamples: 50, replacement: true })].every(i => i >= 0 && i < 3))
  const batches = new data.BatchSampler(new data.SequentialSampler(5), 2)
  assert.equal(batches.length, 3)
  assert.deepEqual(
    [...batches].map(b => [...b]),
    [[0, 1], [2, 3], [4]],
  )
  assert.equal(new data.BatchSampler(new data.SequentialSampler(5), 2, { dropLast: true }).length, 2)
  const weighted = [...new data.WeightedRandomSampler([0, 1, 3, 0], 400, { generator: new Generator(0) })]
  assert.ok(weighted.every(i => i === 1 || i === 2))
  assert.ok(weighted.filter(i => i === 2).length > 240)
  assert.deepEqual([...new data.WeightedRandomSampler([1, 0, 5], 2, { replacement: false })].toSorted(), [0, 2])
  assert.throws(() => new data.WeightedRandomSampler([0, 1], 2, { replacement: false }), code('BAD_OPTION'))
})

test('a sampler gives another order in each pass, a seed the same orders', async () => {
  const orders = async () => {
    manualSeed(7)
    const loader = new data.DataLoader(numbers(12), { batchSize: 12, shuffle: true })
    return [...(await lists(await all(loader))), ...(await lists(await all(loader)))]
  }
  const [first, second] = await orders()
  assert.notDeepEqual(first, second)
  assert.deepEqual(await orders(), [first, second])
})

test('native batches equal collated ones, also through subsets', async () => {
  const source = new data.TensorDataset(arange(12).reshape([6, 2]).float(), arange(6))
  const subset = new data.Subset(new data.Subset(source, [5, 4, 3, 2, 1]), [0, 2, 4])
  const native = new data.DataLoader(subset, { batchSize: 2 })
  const collated = new data.DataLoader(subset, { batchSize: 2, collate: data.defaultCollate })
  assert.equal(native.length, 2)
  const pairs = await Promise.all([all(native), all(collated)])
  const [a, b] = await Promise.all(
    pairs.map(async batches => [await lists(batches.map(([x]) => x)), await lists(batches.map(([, y]) => y))]),
  )
  assert.deepEqual(a, b)
  assert.deepEqual(a, [
    [
      [
        [10, 11],
        [6, 7],
      ],
      [[2, 3]],
    ],
    [[5, 3], [1]],
  ])
})

test('defaultCollate keeps nested forms and dtypes', async () => {
  const batch = data.defaultCollate([
    { x: [tensor([1, 2]), 1.5] as [Tensor, number], flag: true, name: 'a', raw: Float32Array.of(1, 2), id: 1n },
    { x: [tensor([3, 4]), 2] as [Tensor, number], flag: false, name: 'b', raw: Float32Array.of(3, 4), id: 2n },
  ])
  assert.deepEqual(batch.x[0].shape, [2, 2])
  assert.equal(batch.x[1].dtype, 'float32')
  assert.equal(batch.flag.dtype, 'bool')
  assert.deepEqual(batch.name, ['a', 'b'])
  assert.deepEqual(await batch.raw.toArray(), [
    [1, 2],
    [3, 4],
  ])
  assert.equal(batch.id.dtype, 'int64')
  assert.equal(data.defaultCollate([1, 2]).dtype, 'int64')
  assert.equal(data.defaultCollate([1, 2.5]).dtype, 'float32')
})

test('collate errors name the field', async () => {
  const mixed = [{ a: { b: 1 } }, { a: { b: 'x' } }] as { a: { b: number } }[]
  assert.throws(
    () => data.defaultCollate(mixed),
    code('DTYPE_MISMATCH', /field 'a\.b' is a number in item 0 and a string in item 1/),
  )
  assert.throws(() => data.defaultCollate([[tensor([1])], [tensor([1, 2])]]), code('SHAPE_MISMATCH', /\[0\]/))
  assert.throws(() => data.defaultCollate([{ when: new Date(0) }]), code('DTYPE_MISMATCH', /'when' holds Date/))
  assert.throws(() => data.defaultCollate([]), code('BAD_OPTION'))
  const later = new data.DataLoader({ length: 4, get: i => ({ label: i === 3 ? 0.5 : i }) }, { batchSize: 2 })
  await assert.rejects(all(later), code('DTYPE_MISMATCH', /'label' was whole numbers.*0\.5/))
})

test('an asynchronous dataset is asked for batches ahead', async () => {
  const asked: number[] = []
  const slow = {
    length: 8,
    get(i: number) {
      asked.push(i)
      return new Promise<number>(resolve => setTimeout(() => resolve(i), 2))
    },
  }
  const iterator = new data.DataLoader(slow, { batchSize: 2, prefetch: 1 })[Symbol.asyncIterator]()
  const first = await iterator.next()
  assert.deepEqual(await (first.value as Tensor).toArray(), [0, 1])
  assert.deepEqual(asked, [0, 1, 2, 3])
  await iterator.return?.()
})

test('tensors that an item makes after an await do not belong to the step that runs meanwhile', async () => {
  const later = () => new Promise(setImmediate)
  const point = async (i: number): Promise<[Tensor, Tensor]> => {
    await later()
    const x = tensor([i / 10, i / 20])
    await later()
    return [x.add(1), x.sum({ dim: 0, keepdim: true })]
  }
  const stream = {
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < 24; i++) yield await point(i)
    },
  }
  class Pausing extends Trainer<nn.Linear, [Tensor, Tensor]> {
    override async calculateTrainBatchLoss(batch: [Tensor, Tensor]) {
      await later()
      const result = await super.calculateTrainBatchLoss(batch)
      for (let i = 0; i < 5; i++) await later()
      return result
    }
  }
  const losses: unknown[] = []
  for (const trainDataset of [{ length: 24, get: point }, stream]) {
    manualSeed(2)
    const model = new nn.Linear(2, 1)
    const loss = (output: Tensor, target: Tensor) => nn.functional.mseLoss(output, target)
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 })
    const trainer = new Pausing({ model, loss, optimizer, seed: 1, callbacks: [] })
    await trainer.train({
      trainDataset,
      numEpochs: 2,
      perDeviceBatchSize: 4,
      maxNumTrainSteps: 12,
      trainDataLoaderOptions: { shuffle: false },
    })
    losses.push(trainer.runHistory.getLatestMetric('train_loss_epoch'))
  }
  assert.equal(losses[0], losses[1])
})

test('a dataset whose get is asynchronous now and then works too', async () => {
  const mixed = { length: 5, get: (i: number) => (i % 2 ? Promise.resolve(i) : i) }
  assert.deepEqual(await lists(await all(new data.DataLoader(mixed, { batchSize: 2 }))), [[0, 1], [2, 3], [4]])
})

test("an error of the dataset's get reaches the loop", async () => {
  const broken = { length: 6, get: async (i: number) => (i === 3 ? Promise.reject(new Error('no item 3')) : i) }
  await assert.rejects(all(new data.DataLoader(broken, { batchSize: 2 })), /no item 3/)
})

test('bad loader options are typed errors', () => {
  const rows = numbers(4)
  const bad: [string, string, () => unknown][] = [
    ['empty dataset', 'BAD_OPTION', () => new data.DataLoader(numbers(0))],
    ['batch size 0', 'BAD_OPTION', () => new data.DataLoader(rows, { batchSize: 0 })],
    ['batch size NaN', 'BAD_OPTION', () => new data.DataLoader(rows, { batchSize: Number.NaN })],
    ['fractional batch size', 'BAD_OPTION', () => new data.DataLoader(rows, { batchSize: 1.5 })],
    ['workers without a module', 'BAD_OPTION', () => new data.DataLoader(rows, { numWorkers: 2 })],
    [
      'sampler and shuffle',
      'BAD_OPTION',
      () => new data.DataLoader(rows, { shuffle: true, sampler: new data.SequentialSampler(4) }),
    ],
    ['index', 'INDEX_OUT_OF_RANGE', () => new data.Subset(rows, [4])],
    ['fractional index', 'INDEX_OUT_OF_RANGE', () => new data.Subset(rows, [0.5])],
    ['rows', 'SHAPE_MISMATCH', () => new data.TensorDataset(arange(3), arange(4))],
    ['no tensor', 'BAD_OPTION', () => new data.TensorDataset()],
    ['nothing to sample', 'BAD_OPTION', () => new data.RandomSampler(0)],
  ]
  for (const [name, expected, run] of bad) assert.throws(run, code(expected), name)
  const misspelt = { batchsize: 2 } as data.DataLoaderOptions<number, Tensor>
  assert.throws(() => new data.DataLoader(rows, misspelt), code('BAD_OPTION', /batchsize.*batchSize/))
  const batches = new data.BatchSampler(new data.SequentialSampler(4), 2)
  assert.throws(
    () => new data.DataLoader(rows, { batchSampler: batches, batchSize: 2 }),
    code('BAD_OPTION', /batchSize/),
  )
})

function idx(magic: number, sizes: number[], bytes: number): Buffer {
  const file = Buffer.alloc(4 + 4 * sizes.length + bytes, 51)
  file.writeUInt32BE(magic, 0)
  sizes.forEach((size, i) => {
    file.writeUInt32BE(size, 4 + 4 * i)
  })
  return file
}

test('mnist reads IDX files, plain or gzipped, and says what is wrong with others', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'wick-mnist-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const good = {
    'train-images-idx3-ubyte': idx(0x803, [3, 28, 28], 3 * 784),
    'train-labels-idx1-ubyte': idx(0x801, [3], 3),
    't10k-images-idx3-ubyte': idx(0x803, [2, 28, 28], 2 * 784),
    't10k-labels-idx1-ubyte': idx(0x801, [2], 2),
  }
  for (const [name, bytes] of Object.entries(good)) writeFileSync(join(dir, name), bytes)
  rmSync(join(dir, 't10k-labels-idx1-ubyte'))
  writeFileSync(join(dir, 't10k-labels-idx1-ubyte.gz'), gzipSync(good['t10k-labels-idx1-ubyte']))
  const { train, test: held } = data.mnist(dir)
  assert.equal(train.length, 3)
  assert.equal(held.length, 2)
  const [images, labels] = train.tensors
  assert.deepEqual(images.shape, [3, 1, 28, 28])
  assert.equal(images.dtype, 'float32')
  assert.ok(Math.abs((await images.max().item()) - 0.2) < 1e-6)
  assert.equal(labels.dtype, 'int64')

  const broken: [string, Buffer, RegExp][] = [
    [
      'wrong magic',
      idx(0x801, [3, 28, 28], 3 * 784),
      /train-images.*expected magic number 0x00000803, found 0x00000801/,
    ],
    ['truncated', idx(0x803, [3, 28, 28], 784), /train-images.*expected 2368 bytes .*found 800/],
    ['header cut off', Buffer.alloc(3), /train-images.*header of 16 bytes, found 3/],
    ['another number of labels', idx(0x803, [2, 28, 28], 2 * 784), /train-labels.*each of 2 images, found 3/],
  ]
  for (const [name, bytes, message] of broken) {
    writeFileSync(join(dir, 'train-images-idx3-ubyte'), bytes)
    assert.throws(() => data.mnist(dir), code('BAD_FILE', message), name)
  }
  mkdirSync(join(dir, 'empty'))
  assert.throws(() => data.fashionMnist(join(dir, 'empty')), code('BAD_FILE', /train-images-idx3-ubyte/))
})

test('cifar10 reads the binary files and says what is wrong with others', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'wick-cifar-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const folder = join(dir, 'cifar-10-batches-bin')
  mkdirSync(folder)
  // Two images a file: each plane has one value, which differs by file, image and plane.
  const image = (label: number, from: number) =>
    Buffer.concat([Buffer.of(label), ...[0, 1, 2].map(plane => Buffer.alloc(1024, from + plane))])
  const file = (i: number) => Buffer.concat([image(i, 10 * i), image(9 - i, 10 * i + 5)])
  for (let i = 1; i <= 5; i++) writeFileSync(join(folder, `data_batch_${i}.bin`), file(i))
  writeFileSync(join(folder, 'test_batch.bin'), image(7, 255 - 2))

  const { train, test: held } = data.cifar10(dir)
  assert.equal(data.cifar10(folder).train.length, 10)
  assert.deepEqual([train.length, held.length], [10, 1])
  const [images, labels] = train.tensors
  assert.deepEqual(images.shape, [10, 3, 32, 32])
  assert.deepEqual([images.dtype, labels.dtype], ['float32', 'int64'])
  assert.deepEqual(await labels.toArray(), [1, 8, 2, 7, 3, 6, 4, 5, 5, 4])
  const planes = await images
    .amax({ dim: [2, 3] })
    .mul(255)
    .round()
    .toArray()
  assert.deepEqual(
    planes,
    await images
      .amin({ dim: [2, 3] })
      .mul(255)
      .round()
      .toArray(),
  )
  const base = [10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
  assert.deepEqual(
    planes,
    base.map(v => [v, v + 1, v + 2]),
  )
  assert.equal(await held.tensors[0].max().item(), 1)

  const broken: [string, Buffer, RegExp][] = [
    ['truncated', file(3).subarray(0, 6000), /data_batch_3\.bin: expected images of 3073 bytes each, found 6000 bytes/],
    ['empty', Buffer.alloc(0), /data_batch_3\.bin: .*found 0 bytes/],
    ['another label', image(10, 0), /data_batch_3\.bin: expected labels from 0 to 9, found 10 at image 0/],
  ]
  for (const [name, bytes, message] of broken) {
    writeFileSync(join(folder, 'data_batch_3.bin'), bytes)
    assert.throws(() => data.cifar10(dir), code('BAD_FILE', message), name)
  }
  rmSync(join(folder, 'data_batch_3.bin'))
  assert.throws(() => data.cifar10(dir), code('BAD_FILE', /data_batch_3\.bin: expected a file of CIFAR-10/))
})

test('a loader makes its batches on the device that it names, and checks its options', async () => {
  const set = new data.TensorDataset(arange(6), arange(12).reshape(6, 2))
  const batches = await all(new data.DataLoader(set, { batchSize: 4, device: 'cpu', resident: false }))
  assert.deepEqual(await lists(batches.map(([x]) => x)), [
    [0, 1, 2, 3],
    [4, 5],
  ])
  assert.ok(batches.every(batch => batch.every(t => t.device === 'cpu')))
  const wrong = (options: object) => () => new data.DataLoader(set, options)
  assert.throws(wrong({ device: 'gpu' }), code('BAD_OPTION', /unknown device/))
  assert.throws(wrong({ resident: 'always' }), code('BAD_OPTION', /resident must be/))
  assert.throws(wrong({ resident: true }), code('BAD_OPTION', /needs a GPU/))
  const computed = { length: 2, get: (i: number) => i }
  const must = { device: 'cuda', resident: true }
  assert.throws(() => new data.DataLoader(computed, must), code('BAD_OPTION', /TensorDataset/))
})

test('a write to the data set is seen by the next batch', async () => {
  const x = arange(3)
  const loader = new data.DataLoader(new data.TensorDataset(x), { batchSize: 3 })
  await all(loader)
  x.mul_(2)
  const [batch] = await all(loader)
  assert.deepEqual(await batch?.[0].toArray(), [0, 2, 4])
})

test('random numbers of an item depend on seed, epoch and item only', async () => {
  const draws: number[][] = []
  const drawing: data.Dataset<number> = {
    length: 6,
    get(i, context) {
      const drawn = [
        ...rand([2]).dataSync(),
        ...rand([2], { generator: context?.generator ?? new Generator() }).dataSync(),
      ]
      draws[i] = Array.from(drawn, Number)
      return i
    },
  }
  const epoch = async (options: object, seed = 3, pass = 1) => {
    manualSeed(seed)
    rand([5])
    draws.length = 0
    const reader = new data.DataLoader(drawing, { batchSize: 2, ...options }).open(0, pass)
    while (await reader.next()) await reader.take()
    return structuredClone(draws)
  }
  const first = await epoch({})
  assert.equal(new Set(first.flat()).size, 24)
  assert.deepEqual(await epoch({ shuffle: true, batchSize: 3 }), first)
  assert.notDeepEqual(await epoch({}, 3, 2), first)
  assert.notDeepEqual(await epoch({}, 4), first)
  // The default stream goes on as if no item had been made.
  manualSeed(3)
  const expected = rand([1]).dataSync()
  manualSeed(3)
  for await (const _ of new data.DataLoader(drawing));
  assert.deepEqual(rand([1]).dataSync(), expected)
})

test('batches gathered ahead: a write is seen by the next batch, a pass left early frees them, prefetch 0 gives the same', async () => {
  const x = rand([40, 3])
  const set = new data.TensorDataset(x)
  const loader = new data.DataLoader(set, { batchSize: 3, device: 'cpu' })
  let batches = 0
  for await (const [batch] of loader) {
    assert.deepEqual(await batch.toArray(), await x.narrow(0, 3 * batches, Math.min(3, 40 - 3 * batches)).toArray())
    batches++
    x.add_(1)
  }
  assert.equal(batches, 14)

  const { storages } = memory()
  for (let i = 0; i < 20; i++) {
    for await (const [batch] of loader) {
      batch.dispose()
      break
    }
  }
  assert.equal(memory().storages, storages)

  const passes = [2, 0].map(prefetch => {
    const options = { batchSize: 7, shuffle: true, generator: new Generator(5), prefetch, device: 'cpu' }
    return all(new data.DataLoader(new data.Subset(set, [3, 1, 39, 20, 5, 8, 9, 0, 11]), options))
  })
  const [ahead = [], inTurn = []] = await Promise.all(passes)
  assert.deepEqual(await lists(ahead.map(([batch]) => batch)), await lists(inTurn.map(([batch]) => batch)))
})
