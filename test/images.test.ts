/** Decoded images and the native steps against Pillow's and torchvision's values. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { data, fromTypedArray, Generator, rand, type Tensor } from '../ts/index.ts'
import { code } from './programs/wick-error.ts'

const { transforms } = data

interface Pixels {
  height: number
  width: number
  data: string
}
interface Golden {
  files: (Pixels & { name: string; file: string })[]
  image: string
  steps: (Pixels & { name: string; args: unknown[] })[]
  augment: { options: data.transforms.RandAugmentOptions; operations: [string, string][] }[]
  floats: { file: string; mean: number[]; std: number[]; data: number[] }
  areas: [number, number, [number, number, number, number]][]
}
const golden: Golden = JSON.parse(readFileSync(join(process.cwd(), 'test/golden/images.json'), 'utf8'))

const folder = mkdtempSync(join(tmpdir(), 'wick-images-'))
after(() => rmSync(folder, { recursive: true }))
let folders = 0

/** The image of a file in base64, as an `ImageFolder` gives it. */
async function decode(file: string, transform?: (x: Tensor, context: data.transforms.Randomness) => Tensor) {
  const dir = join(folder, String(folders++))
  mkdirSync(join(dir, 'only'), { recursive: true })
  // The name says nothing about the format.
  writeFileSync(join(dir, 'only', 'image.jpg'), Buffer.from(file, 'base64'))
  const [image] = await new data.ImageFolder(dir, { transform }).get(0)
  return image
}

/** Rows of pixels as the planes of a tensor. */
function tensorOf({ height, width, data: text }: Pixels): Tensor {
  return fromTypedArray(new Uint8Array(Buffer.from(text, 'base64')), [height, width, 3])
    .permute([2, 0, 1])
    .contiguous()
}

/** The greatest and the mean difference. */
function difference(actual: Tensor, expected: Tensor, what: string): { most: number; mean: number } {
  assert.deepEqual(actual.shape, expected.shape, what)
  assert.equal(actual.dtype, expected.dtype, what)
  const apart = actual.to('cpu').float().sub(expected.to('cpu').float()).abs()
  return { most: Number(apart.max().itemSync()), mean: Number(apart.mean().itemSync()) }
}

function same(actual: Tensor, expected: Tensor, what: string): void {
  assert.equal(difference(actual, expected, what).most, 0, what)
}

test("JPEG and PNG files decode to Pillow's pixels", async () => {
  assert.ok(golden.files.length > 15)
  for (const { name, file, ...pixels } of golden.files) {
    const { most, mean } = difference(await decode(file), tensorOf(pixels), name)
    // Subsampled colours are spread with other rounding than libjpeg-turbo's.
    const [limit, meanLimit] = name.includes('jpeg') ? [4, 0.5] : [0, 0]
    assert.ok(most <= limit && mean <= meanLimit, `${name}: differs by ${most}, in the mean ${mean}`)
  }
})

test("steps on bytes give torchvision's values for Pillow's images, natively and on tensors", async () => {
  const image = await decode(golden.image)
  for (const [i, { name, args, ...pixels }] of golden.steps.entries()) {
    const make: unknown = Reflect.get(transforms, name)
    assert.ok(typeof make === 'function', name)
    const what = `${name} ${JSON.stringify(args)}, case ${i}`
    const made = await decode(golden.image, Reflect.apply(make, undefined, args))
    // Pillow resizes now and then columns first, and rounds between the two passes.
    const limit = name === 'resize' ? 1 : 0
    assert.ok(difference(made, tensorOf(pixels), what).most <= limit, what)
    same(Reflect.apply(make, undefined, [image, ...args]), made, `${what}, on a tensor`)
  }
})

test('randAugment has the operations of torchvision', async () => {
  const image = await decode(golden.image)
  const rotations = 5
  for (const { options, operations } of golden.augment) {
    const seen = new Set<string>()
    for (let seed = 0; seen.size < 2 * operations.length; seed++) {
      assert.ok(seed < 2000, `only ${[...seen]}`)
      const [which = 0, sign = 0] = rand([2], {
        dtype: 'float64',
        generator: new Generator(seed),
      }).dataSync() as Float64Array
      const [index, negative] = [Math.floor(which * operations.length), sign < 0.5 ? 0 : 1]
      if (seen.has(`${index} ${negative}`)) continue
      seen.add(`${index} ${negative}`)
      const expected = tensorOf({ height: 19, width: 26, data: operations[index]?.[negative] ?? '' })
      const actual = transforms.randAugment(image, { ...options, numOps: 1, generator: new Generator(seed) })
      const { most } = difference(actual, expected, `operation ${index}`)
      assert.ok(most <= (options.interpolation === 'bilinear' && index <= rotations ? 1 : 0), `${index}: ${most}`)
    }
  }
  await assert.rejects(async () => transforms.randAugment(image.float()), code('DTYPE_MISMATCH'))
})

test('floats are those of ToTensor and Normalize', async () => {
  const { file, mean, std, data: expected } = golden.floats
  const { compose, normalize, toTensor } = transforms
  const made = await decode(file, compose(toTensor(), normalize(mean, std)))
  const onTensor = normalize(toTensor(await decode(file)), mean, std)
  for (const values of [made, onTensor]) {
    assert.equal(values.dtype, 'float32')
    for (const [i, value] of Array.from(values.dataSync(), Number).entries()) {
      assert.ok(Math.abs(value - (expected[i] ?? Number.NaN)) < 1e-6, `${i}: ${value}`)
    }
  }
})

test("randomResizedCrop takes torchvision's middle if no part fits", () => {
  for (const [height, width, [top, left, h, w]] of golden.areas) {
    const x = rand([3, height, width], { generator: new Generator(height) })
    const parts = transforms.crop(x, { top, left, height: h, width: w })
    const scale: [number, number] = [1e-9, 1e-9]
    same(transforms.randomResizedCrop(x, [h, w], { scale }), parts, 'floats')
    const bytes = x.mul(255).to({ dtype: 'uint8' })
    const expected = transforms.crop(bytes, { top, left, height: h, width: w }).contiguous()
    same(transforms.randomResizedCrop(bytes, [h, w], { scale }), expected, 'bytes')
  }
})

test('a native transform draws what its steps draw on a tensor', async () => {
  const { colorJitter, compose, randAugment, randomCrop, randomErasing, randomHorizontalFlip } = transforms
  const steps = [
    randomCrop([17, 21], { padding: 3, paddingMode: 'reflect' }),
    randomHorizontalFlip(),
    transforms.randomVerticalFlip({ p: 0.3 }),
    transforms.randomResizedCrop(12, { scale: [0.3, 1] }),
    colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
    randAugment(),
    transforms.toTensor(),
    randomErasing({ p: 0.8, value: 'random' }),
    transforms.normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]),
    randomErasing({ p: 0.8, value: [1, 2, 3] }),
  ]
  const native = compose(...steps)
  assert.ok(native.native)
  const seen = new Set<string>()
  const image = await decode(golden.image)
  const dir = join(folder, 'drawn')
  mkdirSync(join(dir, 'only'), { recursive: true })
  writeFileSync(join(dir, 'only', 'image.png'), Buffer.from(golden.image, 'base64'))
  const set = new data.ImageFolder(dir, { transform: native })
  for (let seed = 0; seed < 30; seed++) {
    const [made] = await set.get(0, { generator: new Generator(seed) })
    const expected = native(image, { generator: new Generator(seed) })
    const { most } = difference(made, expected, `seed ${seed}`)
    assert.ok(most < 1e-5, `seed ${seed}: ${most}`)
    seen.add(String(made.sum().itemSync()))
  }
  assert.equal(seen.size, 30)
})

test('float tensors resize as bytes do, without rounding, and with a gradient', async () => {
  const image = await decode(golden.image)
  for (const interpolation of ['nearest', 'bilinear', 'bicubic', 'lanczos'] as const) {
    for (const size of [11, [30, 9], [25, 40]] as const) {
      const [bytes, floats] = [image, image.float()].map(x => transforms.resize(x, size, { interpolation }))
      if (!bytes || !floats) throw new Error('nothing')
      const { most } = difference(bytes.float(), floats.clamp(0, 255), `${interpolation} ${size}`)
      // Bytes are rounded between the two passes too.
      assert.ok(most <= 1.5, `${interpolation} ${size}: ${most}`)
    }
  }
  const x = rand([2, 3, 6, 8])
  x.requiresGrad = true
  transforms.resize(x, [3, 4]).sum().backward()
  assert.ok(Math.abs(Number(x.grad?.sum().itemSync()) - 2 * 3 * 12) < 1e-3)
})

test('bad arguments of steps are typed errors', async () => {
  const bytes = await decode(golden.image)
  const generator = new Generator(1)
  const bad: [string, string, () => unknown][] = [
    ['size', 'BAD_OPTION', () => transforms.resize(0)],
    ['maxSize', 'BAD_OPTION', () => transforms.resize(5, { maxSize: 5 })],
    ['maxSize of two', 'BAD_OPTION', () => transforms.resize([5, 5], { maxSize: 9 })],
    ['interpolation', 'BAD_OPTION', () => transforms.resize(5, { interpolation: 'cubic' as 'bicubic' })],
    ['scale', 'BAD_OPTION', () => transforms.randomResizedCrop(5, { scale: [0.9, 0.1] })],
    ['a generator', 'BAD_OPTION', () => transforms.randomHorizontalFlip({ generator })],
    ['magnitude', 'BAD_OPTION', () => transforms.randAugment({ magnitude: 31 })],
    ['fill', 'BAD_OPTION', () => transforms.randAugment({ fill: 300 })],
    ['a large crop', 'BAD_OPTION', () => transforms.randomCrop(bytes, 40)],
    ['channels', 'SHAPE_MISMATCH', () => transforms.resize(fromTypedArray(new Uint8Array(32), [2, 4, 4]), 3)],
    ['dtype', 'DTYPE_MISMATCH', () => transforms.normalize([0], [1])(bytes)],
  ]
  for (const [name, expected, run] of bad) assert.throws(run, code(expected), name)
  await assert.rejects(decode(golden.image, transforms.randomCrop(40)), code('BAD_OPTION', /sample 0.*larger/))
})
