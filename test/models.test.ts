/** ResNets against torchvision: structure, initial values, logits, gradients, training curves, loading. Fixtures: `golden/models.py`. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  capture,
  type DType,
  type ErrorCode,
  manualSeed,
  memory,
  models,
  nn,
  noGrad,
  optim,
  randn,
  readSafetensors,
  saveSafetensors,
  scope,
  type Tensor,
  WickError,
} from '../ts/index.ts'
import { collected } from './collected.ts'

interface Golden {
  block: 'BasicBlock' | 'Bottleneck'
  layers: [number, number, number, number]
  options: models.ResNetOptions
}
interface Fixture extends Golden {
  name: string
  tensors: Record<string, Tensor>
}
interface Keys {
  full: Record<'resnet18' | 'resnet34' | 'resnet50', Record<string, number[]>>
  printed: Record<'resnet18' | 'resnet50', string>
  thin: Record<string, { keys: number; parameters: number }>
}

// Compiled tests run from `dist`; fixtures stay where they are.
const folder = join(process.cwd(), 'test/golden/models')
const keys: Keys = JSON.parse(readFileSync(join(folder, 'keys.json'), 'utf8'))
const fixtures = ['basic-imagenet', 'basic-cifar', 'bottleneck-imagenet', 'bottleneck-cifar'].map((name): Fixture => {
  const { tensors, metadata } = readSafetensors(join(folder, `${name}.safetensors`))
  const golden: Golden = JSON.parse(metadata.golden ?? '')
  return { name, tensors, ...golden }
})

/** The tensors of a fixture under `prefix.`, without it. */
function under({ tensors }: Fixture, prefix: string): Record<string, Tensor> {
  const entries = Object.entries(tensors).filter(([name]) => name.startsWith(`${prefix}.`))
  return Object.fromEntries(entries.map(([name, t]) => [name.slice(prefix.length + 1), t]))
}

function build(f: Fixture, dtype: DType): models.ResNet {
  const model = new models.ResNet(models[f.block], f.layers, f.options)
  model.loadStateDict(under(f, 'weights'))
  return model.to(dtype)
}

const images = ({ tensors }: Fixture, dtype: DType) => tensors.x!.to({ dtype }).sub(128).div(64)
const numbers = (t: Tensor) => Array.from(t.dataSync(), Number)

/** How far `actual` is from `expected`, in the L2 norm and relative to it. */
function distance(actual: Tensor, expected: Tensor): number {
  assert.deepEqual(actual.shape, expected.shape)
  const wanted = numbers(expected)
  const square = (values: number[]) => values.reduce((sum, v) => sum + v * v, 0)
  const difference = square(numbers(actual).map((v, i) => v - wanted[i]!))
  return Math.sqrt(difference / (square(wanted) || 1))
}

function near(actual: Tensor, expected: Tensor, tolerance: number, what: string): void {
  const d = distance(actual, expected)
  assert.ok(d <= tolerance, `${what} differs by ${d}, allowed are ${tolerance}`)
}

const throwsCode = (fn: () => unknown, code: ErrorCode, message: RegExp) =>
  assert.throws(fn, (e: unknown) => {
    assert.ok(e instanceof WickError, String(e))
    assert.equal(e.code, code)
    assert.match(e.message, message)
    return true
  })

// Relative, in the L2 norm, against PyTorch's float64. Rounding adds up over some twenty layers, and again on the way back.
const tolerances = [
  ['float64', 1e-12],
  ['float32', 1e-5],
] as const

for (const f of fixtures) {
  for (const [dtype, tolerance] of tolerances) {
    test(`${f.name} in ${dtype}: logits, loss, gradients and running statistics are PyTorch's`, () => {
      const { tensors } = f
      const model = build(f, dtype)
      const x = images(f, dtype)
      near(
        noGrad(() => model.eval().forward(x)),
        tensors.eval!,
        tolerance,
        'logits in evaluation',
      )
      const logits = model.train().forward(x)
      const loss = nn.F.crossEntropy(logits, tensors.y!)
      loss.backward()
      near(logits, tensors.logits!, tolerance, 'logits')
      near(loss, tensors.loss!, tolerance, 'loss')
      const parameters = new Map(model.namedParameters())
      for (const [name, expected] of Object.entries(under(f, 'grad'))) {
        near(parameters.get(name)!.grad!, expected, 5 * tolerance, `gradient of ${name}`)
      }
      const norms = numbers(tensors.grad_norms!)
      assert.equal(parameters.size, norms.length)
      for (const [i, [name, p]] of [...parameters].entries()) {
        const norm = Math.hypot(...numbers(p.grad!))
        assert.ok(Math.abs(norm / norms[i]! - 1) < 5 * tolerance, `norm of the gradient of ${name}`)
      }
      const state = model.stateDict()
      for (const [name, expected] of Object.entries(under(f, 'after'))) near(state[name]!, expected, tolerance, name)
    })
  }
}

/** Losses of 30 steps of SGD on the two halves of the fixture's images in turn. */
function train(f: Fixture, dtype: DType, mode: 'auto' | 'off'): number[] {
  const model = build(f, dtype)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-3 })
  const step = capture(
    (x: Tensor, y: Tensor) => {
      const loss = nn.F.crossEntropy(model.forward(x), y)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
      return loss
    },
    { mode },
  )
  const x = images(f, dtype)
  const size = x.shape[0]! / 2
  const halves = [0, 1].map(i => [x, f.tensors.y!].map(t => t.narrow(0, i * size, size).contiguous()))
  return Array.from({ length: 30 }, (_, i) => {
    const [xs, ys] = halves[i % 2]!
    return step(xs!, ys!).itemSync()
  })
}

for (const f of fixtures) {
  test(`${f.name}: 30 steps of SGD have PyTorch's losses, eagerly and as a plan`, () => {
    // In float32 rounding can switch a ReLU, after which a curve goes a slightly different way.
    for (const [dtype, key, tolerance] of [
      ['float64', 'curve64', 1e-8],
      ['float32', 'curve32', 5e-3],
    ] as const) {
      const expected = numbers(f.tensors[key]!)
      const losses = train(f, dtype, 'off')
      for (const [i, loss] of losses.entries()) {
        const off = Math.abs(loss - expected[i]!)
        assert.ok(off <= tolerance, `${dtype}, step ${i}: ${loss}, PyTorch has ${expected[i]}`)
      }
      assert.deepEqual(train(f, dtype, 'auto'), losses, `${dtype}: plan and eager steps differ`)
    }
  })
}

for (const name of ['resnet18', 'resnet34', 'resnet50'] as const) {
  test(`${name} has torchvision's state dict, in names, order and shapes`, () => {
    const model = models.createModel(name)
    const shapes = Object.entries(model.stateDict()).map(([key, t]) => [key, [...t.shape]])
    assert.deepEqual(shapes, Object.entries(keys.full[name]))
    if (name === 'resnet34') return
    // ReLU has no in-place form here; all else is printed as PyTorch prints it.
    assert.equal(model.toString(), keys.printed[name].replaceAll('ReLU(inplace=True)', 'ReLU()'))
  })
}

test('the deeper models have as many tensors and parameters as thin ones of torchvision', () => {
  for (const [name, expected] of Object.entries(keys.thin)) {
    assert.ok(models.isModel(name), name)
    const model = models.createModel(name, { width: 16 })
    const parameters = model.parameters().reduce((sum, p) => sum + p.numel, 0)
    assert.deepEqual({ keys: Object.keys(model.stateDict()).length, parameters }, expected, name)
  }
  assert.deepEqual(Object.keys(keys.thin).sort(), models.listModels().slice(3).sort())
})

test('convolutions start with the variance of their fan out, norms with ones and zeros', () => {
  manualSeed(1)
  const model = models.resnet18({ width: 32, zeroInitResidual: true })
  for (const module of model.modules()) {
    if (!(module instanceof nn.Conv2d)) continue
    const { fanOut } = nn.init.fans(module.weight)
    const values = numbers(module.weight)
    const variance = values.reduce((sum, v) => sum + v * v, 0) / values.length
    assert.ok(Math.abs((variance * fanOut) / 2 - 1) < 6 / Math.sqrt(values.length / 2), `${module}: ${variance}`)
  }
  const start = (norm: nn.BatchNorm2d) => [norm.weight, norm.bias].map(t => [...new Set(numbers(t!))])
  for (const [name, module] of model.namedModules()) {
    if (!(module instanceof nn.BatchNorm2d)) continue
    assert.deepEqual(start(module), name.endsWith('bn2') ? [[0], [0]] : [[1], [0]], name)
  }
  const plain = models.resnet50({ width: 4 })
  assert.ok(plain.modules().every(m => !(m instanceof nn.BatchNorm2d) || numbers(m.weight!).every(v => v === 1)))
})

test('options: classes, features, channels, stems', () => {
  const shape = (options: models.ModelOptions, x = randn([2, 3, 32, 32])) =>
    scope(() => models.resnet18({ width: 4, ...options }).forward(x).shape)
  assert.deepEqual(shape({}), [2, 1000])
  assert.deepEqual(shape({ numClasses: 7, stem: 'cifar' }), [2, 7])
  assert.deepEqual(shape({ numClasses: 0 }), [2, 32])
  assert.deepEqual(shape({ inChannels: 1, numClasses: 3 }, randn([1, 1, 65, 40])), [1, 3])
  throwsCode(() => shape({ numClasses: -1 }), 'BAD_OPTION', /numClasses must be a whole number of at least 0, not -1/)
  throwsCode(() => shape({ stem: 'cifar10' as models.Stem }), 'BAD_OPTION', /'imagenet' or 'cifar', not 'cifar10'/)
  throwsCode(() => shape({ groups: 2 }), 'BAD_OPTION', /use Bottleneck/)
  throwsCode(() => models.resnext50_32x4d({ width: 8 }), 'BAD_OPTION', /leaves no channel of 8 planes/)
  throwsCode(() => new models.ResNet(models.BasicBlock, [1, 1, 0, 1]), 'BAD_OPTION', /layers/)
  throwsCode(
    () => models.resnet18({ num_classes: 3 } as models.ModelOptions),
    'BAD_OPTION',
    /'num_classes'; did you mean 'numClasses'/,
  )
  throwsCode(
    () => models.createModel('resnet_50' as models.ModelName),
    'BAD_OPTION',
    /unknown model 'resnet_50'; did you mean 'resnet50'/,
  )
  throwsCode(() => models.createModel('toString' as models.ModelName), 'BAD_OPTION', /unknown model 'toString'/)
})

test('a wrong number of channels names the layer', () => {
  const model = models.resnet18({ width: 4 })
  throwsCode(() => model.forward(randn([1, 4, 32, 32])), 'SHAPE_MISMATCH', /^ResNet\.conv1: /)
})

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'wick-models-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}

test('pretrained weights: the head goes with the number of classes, all else has to fit', t => {
  const dir = temporary(t)
  const path = join(dir, 'weights.safetensors')
  const source = models.resnet18({ width: 4, numClasses: 5 })
  saveSafetensors(path, source.stateDict())
  const same = (model: models.ResNet, name: string) => {
    const [a, b] = [model, source].map(m => numbers(m.stateDict()[name]!))
    return JSON.stringify(a) === JSON.stringify(b)
  }
  const names = Object.keys(source.stateDict())

  const before = collected()
  const copy = models.createModel('resnet18', { width: 4, pretrained: path })
  assert.equal(memory().tensors - before, names.length, 'tensors of the file are left over')
  assert.ok(names.every(name => same(copy, name)))
  assert.ok(names.every(name => same(models.resnet18({ width: 4, pretrained: path, numClasses: 5 }), name)))
  for (const numClasses of [3, 0]) {
    const tuned = models.resnet18({ width: 4, pretrained: path, numClasses })
    assert.ok(names.every(name => name.startsWith('fc.') || same(tuned, name)))
    assert.deepEqual(tuned.forward(randn([2, 3, 32, 32])).shape, [2, numClasses || 32])
  }

  const load = (options: models.ModelOptions = {}, name: models.ModelName = 'resnet18') =>
    models.createModel(name, { width: 4, pretrained: path, ...options })
  throwsCode(() => load({ stem: 'cifar' }), 'SHAPE_MISMATCH', /weights\.safetensors: .*'conv1\.weight' has shape/)
  throwsCode(() => load({}, 'resnet34'), 'STATE_DICT_MISMATCH', /missing: 'layer1\.2\.conv1\.weight'/)
  throwsCode(() => load({ pretrained: join(dir, 'none.safetensors') }), 'BAD_FILE', /none\.safetensors/)
})

test('files without a head or without counters', t => {
  const path = join(temporary(t), 'weights.safetensors')
  const state = models.resnet18({ width: 4, numClasses: 5 }).stateDict()
  const save = (keep: (name: string) => boolean) =>
    saveSafetensors(path, Object.fromEntries(Object.entries(state).filter(([name]) => keep(name))))
  const load = (numClasses?: number) => models.resnet18({ width: 4, pretrained: path, numClasses })

  // Weights from before PyTorch 0.4.1 don't count batches.
  save(name => !name.endsWith('num_batches_tracked'))
  assert.equal(load().stateDict()['bn1.num_batches_tracked']!.itemSync(), 0)

  save(name => !name.startsWith('fc.'))
  assert.deepEqual(load(4).forward(randn([2, 3, 32, 32])).shape, [2, 4])
  throwsCode(() => load(), 'STATE_DICT_MISMATCH', /missing: 'fc\.weight', 'fc\.bias'/)
  save(name => name !== 'bn1.weight')
  throwsCode(() => load(3), 'STATE_DICT_MISMATCH', /missing: 'bn1\.weight'/)
})

test("a head of a user replaces the model's", () => {
  const model = models.resnet18({ width: 4 })
  model.fc = new nn.Linear(32, 3)
  assert.deepEqual(model.forward(randn([2, 3, 32, 32])).shape, [2, 3])
  assert.deepEqual([...model.stateDict()['fc.weight']!.shape], [3, 32])
})
