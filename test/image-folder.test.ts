/** `ImageFolder`: its files, items, batches on native threads, random numbers, errors, and training on it. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { data, manualSeed, memory, nn, optim, type Tensor, Trainer, WickError } from '../ts/index.ts'
import { collected } from './collected.ts'
import { code } from './programs/wick-error.ts'

const { compose, normalize, randomErasing, randomHorizontalFlip, randomResizedCrop, resize, toTensor } = data.transforms
const files: { name: string; file: string }[] = JSON.parse(
  readFileSync(join(process.cwd(), 'test/golden/images.json'), 'utf8'),
).files
const bytesOf = (name: string) => Buffer.from(files.find(file => file.name === name)?.file ?? '', 'base64')

const root = mkdtempSync(join(tmpdir(), 'wick-image-folder-'))
after(() => rmSync(root, { recursive: true }))

/** Writes empty or given files below a folder, and gives its path. */
function folderOf(name: string, entries: Record<string, Uint8Array>): string {
  for (const [path, bytes] of Object.entries(entries)) {
    const file = join(root, name, path)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, bytes)
  }
  return join(root, name)
}

const [jpeg, png, gray] = [bytesOf('jpeg, subsampling 2'), bytesOf('png'), bytesOf('gray jpeg')]
const dir = folderOf('sorted', {
  'b/2.png': png,
  'b/10.PNG': png,
  'a/x.jpeg': jpeg,
  'a/deep/0.jpg': gray,
  'a/notes.txt': Buffer.from('no image'),
  'C/1.png': png,
  'C/3.jpg': jpeg,
  'C/4.jpg': gray,
})
const random = compose(
  randomResizedCrop(8),
  randomHorizontalFlip(),
  toTensor(),
  normalize([0.5], [0.25]),
  randomErasing({ value: 'random' }),
)

/** The batches of a pass as numbers. */
async function pass(dataset: data.Dataset<[Tensor, number]>, options: data.LoaderOptions, skip = 0, epoch = 1) {
  const reader = new data.DataLoader(dataset, { batchSize: 2, ...options }).open(skip, epoch)
  const batches: { images: number[]; labels: number[]; shape: readonly number[] }[] = []
  try {
    while (await reader.next()) {
      const [images, labels] = await reader.take()
      assert.equal(labels.dtype, 'int64')
      batches.push({
        images: Array.from(images.dataSync(), Number),
        labels: Array.from(labels.dataSync(), Number),
        shape: images.shape,
      })
      images.dispose()
      labels.dispose()
    }
  } finally {
    reader.close()
  }
  return batches
}

test('files are found in the order of torchvision, with their classes', async () => {
  const set = new data.ImageFolder(dir)
  assert.deepEqual(set.classes, ['C', 'a', 'b'])
  assert.deepEqual(set.classToIdx, { C: 0, a: 1, b: 2 })
  assert.deepEqual(
    set.samples.map(([path, label]) => [path.slice(dir.length + 1), label]),
    [
      ['C/1.png', 0],
      ['C/3.jpg', 0],
      ['C/4.jpg', 0],
      ['a/x.jpeg', 1],
      ['a/deep/0.jpg', 1],
      ['b/10.PNG', 2],
      ['b/2.png', 2],
    ],
  )
  const [image, label] = await set.get(3)
  assert.deepEqual([image.dtype, image.shape, label], ['uint8', [3, 19, 26], 1])
  assert.equal(new data.ImageFolder(dir, { extensions: ['.jpeg'], allowEmpty: true }).length, 1)
  assert.equal(new data.ImageFolder(dir, { isValidFile: path => /\d\.\w+$/.test(path) }).length, 6)
  const named = new data.ImageFolder(dir, { targetTransform: label => ({ label, isC: label === 0 }) })
  assert.deepEqual((await named.get(0))[1], { label: 0, isC: true })
})

test('folders without classes or images, and bad options, are typed errors', async () => {
  assert.throws(() => new data.ImageFolder(join(root, 'nowhere')), code('BAD_FILE', /nowhere/))
  assert.throws(() => new data.ImageFolder(join(dir, 'b')), code('BAD_FILE', /class/))
  assert.throws(() => new data.ImageFolder(dir, { extensions: ['.jpeg'] }), code('BAD_FILE', /C, b/))
  assert.throws(() => new data.ImageFolder(dir, { extensions: ['.png'], isValidFile: () => true }), code('BAD_OPTION'))
  assert.throws(() => new data.ImageFolder(dir, { transfrom: random } as object), code('BAD_OPTION', /transform/))
  await assert.rejects(new data.ImageFolder(dir).get(7), code('INDEX_OUT_OF_RANGE'))
})

test('native batches are those of the items, with any number of threads, through subsets, and after a skip', async () => {
  manualSeed(5)
  const set = new data.ImageFolder(dir, { transform: random })
  const subset = new data.Subset(new data.Subset(set, [6, 5, 4, 3, 2, 1]), [5, 0, 3, 1, 2])
  for (const dataset of [set, subset]) {
    // A collate function of one's own makes the loader ask for each item.
    const items = await pass(dataset, { collate: data.defaultCollate } as data.LoaderOptions)
    assert.deepEqual(items[0]?.shape, [2, 3, 8, 8])
    for (const options of [{ numWorkers: 1 }, { numWorkers: 2 }, {}, { prefetch: 0 }]) {
      assert.deepEqual(await pass(dataset, options), items)
      assert.deepEqual(await pass(dataset, options, 2), items.slice(2))
    }
    assert.notDeepEqual(await pass(dataset, {}, 0, 2), items)
  }
  const labels = (await pass(subset, {})).flatMap(batch => batch.labels)
  assert.deepEqual(
    labels,
    [5, 0, 3, 1, 2].map(i => set.samples[[6, 5, 4, 3, 2, 1][i] ?? 0]?.[1]),
  )
  const [half, rest] = data.randomSplit(set, [0.5, 0.5])
  assert.equal((await pass(half!, {})).length + (await pass(rest!, {})).length, 4)
})

test('functions and steps out of the native order run in JavaScript', async () => {
  manualSeed(6)
  const steps = [randomResizedCrop(8), randomHorizontalFlip(), toTensor(), normalize([0.5], [0.25])] as const
  const native = await pass(new data.ImageFolder(dir, { transform: compose(...steps) }), {})
  const mixed = compose(...steps, x => x.mul(1))
  assert.deepEqual(await pass(new data.ImageFolder(dir, { transform: mixed }), {}), native)
  const late = compose(toTensor(), resize([4, 4]))
  const [image] = await new data.ImageFolder(dir, { transform: late }).get(0)
  assert.deepEqual([image.dtype, image.shape], ['float32', [3, 4, 4]])
  await assert.rejects(new data.ImageFolder(dir, { transform: normalize([0], [1]) }).get(0), code('DTYPE_MISMATCH'))
})

test('an item that is asked for twice without a seed is drawn anew', async () => {
  const set = new data.ImageFolder(dir, { transform: random })
  manualSeed(1)
  const [first, second] = [(await set.get(3))[0].dataSync(), (await set.get(3))[0].dataSync()]
  assert.notDeepEqual(first, second)
  manualSeed(1)
  assert.deepEqual((await set.get(3))[0].dataSync(), first)
})

test('a broken file is an error with its sample and path', async () => {
  const broken = folderOf('broken', {
    'a/0.png': png,
    'a/1.jpg': jpeg.subarray(0, jpeg.length / 2),
    'a/2.jpg': Buffer.from('this is text'),
    'a/3.png': png.subarray(0, png.length - 30),
    'a/4.jpg': Buffer.alloc(0),
    'a/5.jpg': Buffer.concat([jpeg.subarray(0, 200), Buffer.alloc(300, 0xa5)]),
  })
  const set = new data.ImageFolder(broken, { transform: resize([4, 4]) })
  for (let i = 1; i < set.length; i++)
    await assert.rejects(set.get(i), code('BAD_FILE', new RegExp(`sample ${i}: .*a/${i}\\.`)))
  const subset = new data.Subset(set, [0, 0, 0, 2, 3, 0])
  const reader = new data.DataLoader(subset, { batchSize: 3, numWorkers: 2 }).open()
  assert.equal(await reader.next(), true)
  assert.deepEqual((await reader.take())[0].shape, [3, 3, 4, 4])
  await assert.rejects(
    async () => reader.next(),
    (error: unknown) => {
      assert.ok(error instanceof WickError)
      assert.equal(error.details.sample, 2)
      assert.match(String(error.details.path), /a\/2\.jpg$/)
      return code('BAD_FILE', /JPEG or PNG/)(error)
    },
  )
  assert.equal(await reader.next(), false)
  reader.close()
  await assert.rejects(pass(new data.ImageFolder(dir), { batchSize: 7 }), code('SHAPE_MISMATCH', /resize or crop/))
})

test('a pass that is closed in its middle leaves nothing behind', async () => {
  const set = new data.ImageFolder(dir, { transform: random })
  const many = new data.Subset(
    set,
    Array.from({ length: 400 }, (_, i) => i % 7),
  )
  const before = collected()
  for (let i = 0; i < 10; i++) {
    const reader = new data.DataLoader(many, { batchSize: 16, numWorkers: 2, prefetch: 3 }).open()
    assert.equal(await reader.next(), true)
    if (i % 2 === 0) for (const x of await reader.take()) x.dispose()
    const waiting = reader.next()
    reader.close()
    assert.equal(await waiting, false)
    assert.equal(await reader.next(), false)
  }
  assert.equal(memory().tensors, before)
})

test('a resumed training on images goes on as if it had not stopped', async () => {
  const many = folderOf('many', {})
  for (const [i, name] of ['a', 'b'].entries()) {
    mkdirSync(join(many, name), { recursive: true })
    for (let n = 0; n < 12; n++)
      copyFileSync(join(dir, n % 2 === i ? 'C/3.jpg' : 'C/1.png'), join(many, name, `${n}.jpg`))
  }
  const run = async (saveAt: number | null, resumeFrom?: string) => {
    manualSeed(9)
    const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(3 * 8 * 8, 2))
    const trainDataset = new data.ImageFolder(many, { transform: random })
    let steps = 0
    const path = join(root, 'state')
    const trainer = new Trainer({
      model,
      loss: new nn.CrossEntropyLoss(),
      optimizer: new optim.SGD(model.parameters(), { lr: 0.05 }),
      callbacks: [
        {
          onTrainStepEnd(trainer) {
            if (++steps === saveAt) trainer.whenSettled(() => trainer.saveTrainingState(path))
          },
        },
      ],
    })
    await trainer.train({ trainDataset, numEpochs: 2, perDeviceBatchSize: 4, ...(resumeFrom && { resumeFrom }) })
    return { weights: Array.from(model.parameters()[0]!.dataSync(), Number), path, steps }
  }
  const straight = await run(4)
  const resumed = await run(null, straight.path)
  assert.ok(resumed.steps < straight.steps)
  assert.deepEqual(resumed.weights, straight.weights)
})
