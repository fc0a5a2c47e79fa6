/** Image transforms on tensors against torchvision's values; their random choices; mixup and CutMix. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { boxFor, cutmixBy, mixupBy, symmetricBeta } from '../ts/data/transforms/mix.ts'
import { arange, data, Generator, manualSeed, ones, rand, type Tensor, tensor, zeros } from '../ts/index.ts'
import { code } from './programs/wick-error.ts'

const { transforms } = data

interface Json {
  shape: number[]
  data: number[]
}
interface Golden {
  cases: { fn: string; args: unknown[]; out: Json }[]
  padded: { image: Json; padding: number; paddingMode: 'edge'; fill: number; out: Json }[]
  batch: Json
  labels: number[]
  mix: { fn: string; lambda: number; box: data.transforms.Box; images: Json; targets: Json }[]
  boxes: { lambda: number; row: number; column: number; box: object }[]
}
const golden: Golden = JSON.parse(readFileSync(join(process.cwd(), 'test/golden/transforms.json'), 'utf8'))

const decode = (json: Json) => tensor(Float32Array.from(json.data)).reshape(json.shape)
const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && 'shape' in value
function near(actual: Tensor, expected: Json, what: string): void {
  assert.deepEqual(actual.shape, expected.shape, what)
  const values = Array.from(actual.dataSync(), Number)
  for (const [i, value] of values.entries()) {
    assert.ok(
      Math.abs(value - (expected.data[i] ?? Number.NaN)) < 2e-6,
      `${what}[${i}]: ${value}, not ${expected.data[i]}`,
    )
  }
}

test("transforms give torchvision's values", () => {
  for (const [i, { fn, args, out }] of golden.cases.entries()) {
    const run: unknown = Reflect.get(transforms, fn)
    assert.ok(typeof run === 'function', fn)
    const given = args.map(arg => (isJson(arg) ? decode(arg) : arg))
    near(Reflect.apply(run, undefined, given), out, `${fn}, case ${i}`)
  }
})

test('randomCrop pads as torchvision, and crops at every place', () => {
  for (const { image, padding, paddingMode, fill, out } of golden.padded) {
    const size = out.shape.slice(-2) as [number, number]
    const padded = transforms.randomCrop(decode(image), size, { padding, paddingMode, fill })
    near(padded, out, `${paddingMode} ${padding}`)
  }
  const generator = new Generator(1)
  const grid = arange(20).reshape(1, 4, 5).float()
  const places = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const part = transforms.randomCrop(grid, [3, 2], { generator })
    assert.deepEqual(part.shape, [1, 3, 2])
    const first = Number(part.dataSync()[0])
    assert.deepEqual(
      Array.from(part.dataSync(), Number),
      [0, 1, 5, 6, 10, 11].map(n => n + first),
    )
    places.add(first)
  }
  assert.deepEqual(
    [...places].sort((a, b) => a - b),
    [0, 1, 2, 3, 5, 6, 7, 8],
  )
})

test('random transforms follow their probability, their ranges and their generator', () => {
  const x = rand([3, 8, 8])
  const generator = new Generator(2)
  let flips = 0
  for (let i = 0; i < 300; i++) {
    if (transforms.randomHorizontalFlip(x, { p: 0.3, generator }) !== x) flips++
  }
  assert.ok(flips > 60 && flips < 120, String(flips))
  assert.equal(transforms.randomVerticalFlip(x, { p: 0 }), x)
  const [flipped, expected] = [transforms.randomVerticalFlip(x, { p: 1 }), transforms.verticalFlip(x)]
  assert.deepEqual(flipped.dataSync(), expected.dataSync())

  const image = ones([1, 20, 30])
  for (let i = 0; i < 100; i++) {
    const out = transforms.randomErasing(image, { p: 1, generator })
    const erased = 600 - Number(out.sum().itemSync())
    // Sides are rounded, so the share of 0.02 to 0.33 isn't exact.
    assert.ok(erased >= 600 * 0.01 && erased <= 600 * 0.36, String(erased))
  }
  assert.equal(Number(image.sum().itemSync()), 600)
  const noise = transforms.randomErasing(zeros([2, 9, 9]), { p: 1, value: 'random', generator: new Generator(3) })
  assert.ok(Number(noise.abs().sum().itemSync()) > 0)
  assert.equal(transforms.randomErasing(image, { p: 1, scale: [1, 1], ratio: [1, 1] }), image)

  const options = { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }
  const jitter = (seed: number) => transforms.colorJitter(x, { ...options, generator: new Generator(seed) }).dataSync()
  assert.deepEqual(jitter(1), jitter(1))
  assert.notDeepEqual(jitter(1), jitter(2))
  assert.equal(transforms.colorJitter(x), x)
  const fixed = transforms.colorJitter(x, { brightness: [0.5, 0.5] })
  assert.deepEqual(fixed.dataSync(), transforms.adjustBrightness(x, 0.5).dataSync())
})

test("a composed transform draws from the item's generator, so that a loader's order doesn't matter", async () => {
  const augment = transforms.compose(
    (x, { generator }) => transforms.randomCrop(x, 6, { padding: 2, generator }),
    transforms.randomHorizontalFlip,
    x => transforms.normalize(x, [0.5], [0.25]),
  )
  manualSeed(4)
  const images = new data.TensorDataset(rand([6, 3, 6, 6]), arange(6))
  const set = new data.MapDataset(images, ([x, y], _, context): [Tensor, Tensor] => [augment(x, context), y])
  const epoch = async (options: object) => {
    const items: number[][] = []
    const reader = new data.DataLoader(set, options).open(0, 1)
    while (await reader.next()) {
      const [x, y] = await reader.take()
      for (let i = 0; i < y.numel; i++) items[Number(y.dataSync()[i])] = Array.from(x.select(0, i).dataSync(), Number)
    }
    return items
  }
  const first = await epoch({ batchSize: 2 })
  assert.equal(first.length, 6)
  assert.deepEqual(await epoch({ batchSize: 3, shuffle: true }), first)
})

test("mixup and CutMix are torchvision's for a given share and box", () => {
  const batch = decode(golden.batch)
  const labels = tensor(golden.labels)
  for (const { fn, lambda, box, images, targets } of golden.mix) {
    const mixed = fn === 'mixup' ? mixupBy(batch, labels, lambda) : cutmixBy(batch, labels, box)
    assert.ok(Math.abs(mixed.lambda - lambda) < 1e-12)
    near(mixed.images, images, fn)
    near(transforms.softTargets(mixed, 3), targets, `targets of ${fn}`)
  }
  for (const { lambda, row, column, box } of golden.boxes) assert.deepEqual(boxFor(lambda, row, column, 6, 8), box)
})

test('mixed batches: seeded, label pairs, smoothing, soft labels', async () => {
  const images = rand([4, 1, 5, 5])
  const labels = tensor([0, 1, 2, 1])
  for (const mix of [transforms.mixup, transforms.cutmix]) {
    const run = (seed: number) => mix(images, labels, { alpha: 0.4, generator: new Generator(seed) })
    assert.deepEqual(run(1).images.dataSync(), run(1).images.dataSync())
    const shares = new Set(Array.from({ length: 8 }, (_, seed) => run(seed).lambda))
    assert.ok(shares.size > 2)
    assert.deepEqual(await run(1).otherLabels.toArray(), [1, 0, 1, 2])
  }
  // timm's targets: on and off values of label smoothing.
  const mixed = { images, labels: tensor([0, 1]), otherLabels: tensor([1, 1]), lambda: 0.75 }
  const [on, off] = [0.9 + 0.1 / 4, 0.1 / 4]
  const expected = [0.75 * on + 0.25 * off, 0.25 * on + 0.75 * off, off, off, off, on, off, off]
  near(transforms.softTargets(mixed, 4, { labelSmoothing: 0.1 }), { shape: [2, 4], data: expected }, 'smoothed')
  const soft = { ...mixed, labels: tensor([[0.5, 0.5]]), otherLabels: tensor([[0, 1]]) }
  near(transforms.softTargets(soft, 2), { shape: [1, 2], data: [0.375, 0.625] }, 'soft')
})

test('shares of mixup follow the Beta distribution', () => {
  for (const alpha of [0.2, 1, 4]) {
    const u = rand([20000], { generator: new Generator(7) }).dataSync()
    const shares = Array.from({ length: 10000 }, (_, i) => symmetricBeta(alpha, Number(u[2 * i]), Number(u[2 * i + 1])))
    assert.ok(shares.every(s => s >= 0 && s <= 1))
    const mean = shares.reduce((a, b) => a + b, 0) / shares.length
    const moment = (k: number) => shares.reduce((sum, s) => sum + (s - 0.5) ** k, 0) / shares.length
    // Variance 1 / (4 (2a + 1)), kurtosis 3 - 6 / (2a + 3).
    const variance = 1 / (4 * (2 * alpha + 1))
    assert.ok(Math.abs(mean - 0.5) < 0.015, `mean ${mean}`)
    assert.ok(Math.abs(moment(2) / variance - 1) < 0.05, `variance ${moment(2)}, not ${variance}`)
    assert.ok(Math.abs(moment(4) / variance ** 2 - (3 - 6 / (2 * alpha + 3))) < 0.12)
  }
})

test('bad arguments of transforms are typed errors', () => {
  const x = rand([3, 6, 6])
  const bad: [string, string, () => unknown][] = [
    ['not an image', 'SHAPE_MISMATCH', () => transforms.horizontalFlip(rand([3]))],
    ['whole numbers', 'DTYPE_MISMATCH', () => transforms.normalize(arange(12).reshape(3, 2, 2), [0], [1])],
    ['channels', 'SHAPE_MISMATCH', () => transforms.normalize(x, [0, 0], [1])],
    ['std', 'BAD_OPTION', () => transforms.normalize(x, [0], [0])],
    ['large crop', 'BAD_OPTION', () => transforms.randomCrop(x, 7)],
    ['box', 'BAD_OPTION', () => transforms.crop(x, { top: 4, left: 0, height: 3, width: 1 })],
    ['p', 'BAD_OPTION', () => transforms.randomHorizontalFlip(x, { p: 2 })],
    ['channels of a colour', 'SHAPE_MISMATCH', () => transforms.adjustHue(rand([2, 4, 4]), 0)],
    ['hue', 'BAD_OPTION', () => transforms.colorJitter(x, { hue: 0.6 })],
    ['brightness', 'BAD_OPTION', () => transforms.colorJitter(x, { brightness: -1 })],
    ['scale', 'BAD_OPTION', () => transforms.randomErasing(x, { scale: [0.5, 0.1] })],
    ['alpha', 'BAD_OPTION', () => transforms.mixup(x.unsqueeze(0), tensor([1]), { alpha: 0 })],
    ['labels', 'SHAPE_MISMATCH', () => transforms.cutmix(x.unsqueeze(0), tensor([1, 2]))],
  ]
  for (const [name, expected, run] of bad) assert.throws(run, code(expected), name)
  const misspelt = { pading: 1 } as data.transforms.CropOptions
  assert.throws(() => transforms.randomCrop(x, 2, misspelt), code('BAD_OPTION', /pading.*padding/))
})
