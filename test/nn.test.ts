/** Modules: what is found in their fields, names, state dicts, printing, hooks, error paths, initial values. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, WickError } from '../ts/errors.ts'
import * as nn from '../ts/nn/index.ts'
import { full, memory, ones, rand, randint, randn, scope, type Tensor, tensor, zeros } from '../ts/tensor/index.ts'
import { collected } from './collected.ts'

const values = (t: Tensor) => Array.from(t.dataSync(), Number)
const throwsCode = (fn: () => unknown, code: ErrorCode, message: RegExp) =>
  assert.throws(fn, (e: unknown) => {
    assert.ok(e instanceof WickError, String(e))
    assert.equal(e.code, code)
    assert.match(e.message, message)
    return true
  })

class Block extends nn.Module<[Tensor], Tensor> {
  readonly fc = new nn.Linear(4, 4)
  readonly norm = new nn.BatchNorm1d(4)

  forward(x: Tensor) {
    return this.norm.forward(this.fc.forward(x)).relu()
  }
}

class Net extends nn.Module<[Tensor], Tensor> {
  scale = new nn.Parameter(ones([4]))
  readonly layers = [new Block(), new Block()]
  readonly heads = new Map([['a', new nn.Linear(4, 2, { bias: false })]])
  readonly extra = { gate: new nn.Linear(4, 1), width: 4 }
  offset = new nn.Buffer(zeros([4]), { persistent: false })
  readonly plain = zeros([3])
  readonly widths = [1, 2, 3]

  forward(x: Tensor) {
    let h = x.mul(this.scale).add(this.offset)
    for (const layer of this.layers) h = layer.forward(h)
    return this.heads.get('a')!.forward(h)
  }
}

test('a module finds what its fields hold, under the names that PyTorch would give', () => {
  const net = new Net()
  const block = ['fc.weight', 'fc.bias', 'norm.weight', 'norm.bias']
  assert.deepEqual(
    net.namedParameters().map(([name]) => name),
    [
      'scale',
      ...block.map(n => `layers.0.${n}`),
      ...block.map(n => `layers.1.${n}`),
      'heads.a.weight',
      'extra.gate.weight',
      'extra.gate.bias',
    ],
  )
  assert.deepEqual(
    net.namedChildren().map(([name]) => name),
    ['layers.0', 'layers.1', 'heads.a', 'extra.gate'],
  )
  assert.equal(net.modules().length, 1 + 2 * 3 + 2)
  assert.equal(net.parameters().length, net.namedParameters().length)
  assert.ok(net.namedBuffers().some(([name]) => name === 'offset'))
  assert.equal(net.getSubmodule('layers.1.fc'), net.layers[1]!.fc)
  throwsCode(() => net.getSubmodule('layers.7'), 'BAD_OPTION', /no submodule 'layers.7'/)
})

test('state dicts have the names and the order of PyTorch, and leave out buffers that are not persistent', () => {
  const keys = Object.keys(new Net().stateDict())
  assert.deepEqual(keys.slice(0, 8), [
    'scale',
    'layers.0.fc.weight',
    'layers.0.fc.bias',
    'layers.0.norm.weight',
    'layers.0.norm.bias',
    'layers.0.norm.running_mean',
    'layers.0.norm.running_var',
    'layers.0.norm.num_batches_tracked',
  ])
  assert.ok(!keys.includes('offset') && !keys.includes('plain'))
  const sequential = new nn.Sequential(
    new nn.Linear(2, 2),
    new nn.ReLU(),
    new nn.Sequential({ out: new nn.Linear(2, 1) }),
  )
  assert.deepEqual(Object.keys(sequential.stateDict()), ['0.weight', '0.bias', '2.out.weight', '2.out.bias'])
  assert.ok(Object.values(sequential.stateDict()).every(t => !t.requiresGrad))
})

test('lists and dicts of modules name them as PyTorch does', () => {
  class Lists extends nn.Module<[], void> {
    readonly list = new nn.ModuleList([new nn.Linear(1, 1), new nn.Linear(1, 1)])
    readonly dict = new nn.ModuleDict({ left: new nn.Linear(1, 1, { bias: false }) })
    readonly params = new nn.ParameterList([new nn.Parameter(zeros([1]))])
    forward() {}
  }
  const lists = new Lists()
  lists.list.append(new nn.Linear(1, 1, { bias: false }))
  assert.deepEqual(Object.keys(lists.stateDict()), [
    'list.0.weight',
    'list.0.bias',
    'list.1.weight',
    'list.1.bias',
    'list.2.weight',
    'dict.left.weight',
    'params.0',
  ])
  assert.equal(lists.list.at(-1).bias, null)
  throwsCode(() => lists.list.at(3), 'INDEX_OUT_OF_RANGE', /index 3 is out of range for 3 elements/)
  throwsCode(() => lists.list.forward(), 'NOT_SUPPORTED', /ModuleList has no forward/)
})

class Tied extends nn.Module<[Tensor], Tensor> {
  readonly embed = new nn.Embedding(5, 3)
  readonly decode: { weight: nn.Parameter } = { weight: this.embed.weight }
  readonly again = this.embed

  forward(x: Tensor) {
    return nn.F.linear(this.again.forward(x), this.decode.weight)
  }
}

test('tied parameters are seen once, saved once and accepted under both names', () => {
  const tied = new Tied()
  assert.equal(tied.parameters().length, 1)
  assert.equal(tied.modules().length, 2)
  assert.equal(Object.keys(tied.stateDict()).length, 1)
  for (const name of ['embed.weight', 'decode.weight', 'again.weight']) {
    tied.loadStateDict({ [name]: full([5, 3], 2, { dtype: 'float32' }) })
    assert.deepEqual(new Set(values(tied.embed.weight)), new Set([2]))
  }
  throwsCode(() => tied.loadStateDict({}), 'STATE_DICT_MISMATCH', /missing/)
})

test('loading tells what does not fit and changes nothing', () => {
  const net = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1))
  const good = new Map(Object.entries(new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1)).stateDict()))
  const before = values(net.parameters()[0]!)

  const missing = new Map(good)
  missing.delete('1.bias')
  missing.set('1.bais', zeros([1]))
  throwsCode(() => net.loadStateDict(missing), 'STATE_DICT_MISMATCH', /missing: '1.bias'; unexpected: '1.bais'/)
  const wrong = new Map(good).set('1.weight', zeros([1, 3]))
  throwsCode(
    () => net.loadStateDict(wrong),
    'SHAPE_MISMATCH',
    /'1.weight' has shape \[1, 3\], the module's is \[1, 2\]/,
  )
  throwsCode(() => net.loadStateDict(wrong, { strict: false }), 'SHAPE_MISMATCH', /'1.weight'/)
  assert.deepEqual(values(net.parameters()[0]!), before)

  const result = net.loadStateDict(missing, { strict: false })
  assert.deepEqual(result, { missingKeys: ['1.bias'], unexpectedKeys: ['1.bais'] })
  assert.deepEqual(values(net.parameters()[0]!), values(good.get('0.weight')!))
  assert.deepEqual(net.loadStateDict(good), { missingKeys: [], unexpectedKeys: [] })
})

test('loading with assign takes the tensors over, dtype and all', () => {
  const layer = new nn.Linear(2, 1)
  const { weight } = layer
  layer.loadStateDict(
    { weight: ones([1, 2], { dtype: 'float64' }), bias: zeros([1], { dtype: 'float64' }) },
    { assign: true },
  )
  assert.equal(layer.weight, weight)
  assert.equal(weight.dtype, 'float64')
  assert.ok(weight.requiresGrad && weight.isLeaf)
  const x = ones([1, 2], { dtype: 'float64' })
  layer.forward(x).sum().backward()
  assert.deepEqual(values(weight.grad!), [1, 1])
})

test('a module moves to another dtype with its identity, its floating buffers and its gradients switched on', () => {
  const net = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3))
  const parameters = net.parameters()
  net.to({ dtype: 'float64' })
  assert.deepEqual(net.parameters(), parameters)
  assert.ok(parameters.every(p => p.dtype === 'float64' && p.requiresGrad))
  assert.deepEqual(
    net.buffers().map(b => b.dtype),
    ['float64', 'float64', 'int64'],
  )
  assert.equal(net.forward(randn([4, 2], { dtype: 'float64' })).dtype, 'float64')
})

test('printing shows the tree of PyTorch', () => {
  class Small extends nn.Module<[Tensor], Tensor> {
    readonly conv = new nn.Conv2d(1, 8, { kernelSize: 3, padding: 1, bias: false })
    readonly wide = new nn.Conv2d(8, 8, { kernelSize: [3, 5], stride: 2, padding: 1, dilation: 2, groups: 2 })
    readonly same = new nn.Conv2d(1, 1, { kernelSize: 3, padding: 'same' })
    readonly bn = new nn.BatchNorm2d(8)
    readonly ln = new nn.LayerNorm(8)
    readonly rms = new nn.RMSNorm([4, 8])
    readonly gn = new nn.GroupNorm(2, 8)
    readonly pool = new nn.MaxPool2d(2)
    readonly avg = new nn.AvgPool2d(2)
    readonly drop = new nn.Dropout(0.25)
    readonly emb = new nn.Embedding(10, 4)
    readonly blocks = new nn.ModuleList<nn.Module>([new Act(), new Act(), new nn.Linear(1, 2, { bias: false })])
    readonly seq = new nn.Sequential(
      new nn.Flatten(),
      new nn.Softmax(1),
      new nn.ELU(),
      new nn.Hardtanh(),
      new nn.Softplus(),
    )
    readonly none = new nn.Sequential()
    forward(x: Tensor) {
      return x
    }
  }
  class Act extends nn.Module<[Tensor], Tensor> {
    readonly act = new nn.GELU()
    forward(x: Tensor) {
      return this.act.forward(x)
    }
  }
  assert.equal(
    String(new Small()),
    `Small(
  (conv): Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (wide): Conv2d(8, 8, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2)
  (same): Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=same)
  (bn): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
  (ln): LayerNorm((8,), eps=1e-05, elementwise_affine=True)
  (rms): RMSNorm((4, 8), eps=None, elementwise_affine=True)
  (gn): GroupNorm(2, 8, eps=1e-05, affine=True)
  (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (avg): AvgPool2d(kernel_size=2, stride=2, padding=0)
  (drop): Dropout(p=0.25, inplace=False)
  (emb): Embedding(10, 4)
  (blocks): ModuleList(
    (0-1): 2 x Act(
      (act): GELU(approximate='none')
    )
    (2): Linear(in_features=1, out_features=2, bias=False)
  )
  (seq): Sequential(
    (0): Flatten(start_dim=1, end_dim=-1)
    (1): Softmax(dim=1)
    (2): ELU(alpha=1.0)
    (3): Hardtanh(min_val=-1.0, max_val=1.0)
    (4): Softplus(beta=1.0, threshold=20.0)
  )
  (none): Sequential()
)`,
  )
})

test('training mode reaches every module, and apply visits children first', () => {
  const net = new Net()
  net.eval()
  assert.ok(net.modules().every(m => !m.training))
  net.train()
  assert.ok(net.modules().every(m => m.training))
  const seen: nn.Module[] = []
  net.apply(m => seen.push(m))
  assert.equal(seen.at(-1), net)
  assert.equal(seen[0], net.layers[0]!.fc)
  net.requiresGrad_(false)
  assert.ok(net.parameters().every(p => !p.requiresGrad))
})

test('an error carries the path of the module that it comes from', () => {
  const net = new Net()
  const failure = (fn: () => unknown) => {
    try {
      fn()
    } catch (e) {
      assert.ok(e instanceof WickError)
      return e
    }
    return assert.fail('nothing was thrown')
  }
  net.scale = new nn.Parameter(ones([3]))
  net.offset = new nn.Buffer(zeros([3]))
  const inner = failure(() => net.forward(randn([2, 3])))
  assert.equal(inner.code, 'SHAPE_MISMATCH')
  assert.equal(inner.modulePath, 'layers.0.fc')
  assert.match(inner.message, /^Net\.layers\.0\.fc: /)
  assert.match(String(inner.stack), /Net\.layers\.0\.fc: /)
  const outer = new nn.Sequential(new nn.Linear(3, 2), new nn.Linear(3, 2))
  assert.match(failure(() => outer.forward(randn([2, 3]))).message, /^Sequential\.1: /)
  const own = failure(() => new nn.Linear(3, 2).forward(randn([2, 4])))
  assert.match(own.message, /^Linear: /)
  assert.equal(own.modulePath, '')
})

test('forward hooks see the call, may replace its result, and run once though forward calls super.forward', () => {
  class Doubled extends nn.Linear {
    override forward(x: Tensor) {
      return super.forward(x).mul(2)
    }
  }
  const layer = new Doubled(2, 2)
  const x = randn([1, 2])
  const plain = values(layer.forward(x))
  let calls = 0
  const first = layer.registerForwardHook((module, [input], output) => {
    assert.equal(module, layer)
    assert.equal(input, x)
    calls++
    return output.add(1)
  })
  const second = layer.registerForwardHook((_, __, output) => {
    assert.deepEqual(
      values(output),
      plain.map(v => Math.fround(v + 1)),
    )
  })
  assert.deepEqual(
    values(layer.forward(x)),
    plain.map(v => Math.fround(v + 1)),
  )
  assert.equal(calls, 1)
  first()
  second()
  assert.deepEqual(values(layer.forward(x)), plain)
  assert.equal(calls, 1)
})

test('parameters and buffers outlive the scope that they are made in, and a layer leaves nothing else', () => {
  const layer = scope(
    () => new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2)) && { net: new nn.Linear(3, 2) },
  ).net
  assert.equal(layer.forward(ones([1, 3])).shape[1], 2)
  const before = collected()
  const net = new nn.Sequential(new nn.Conv2d(1, 2, { kernelSize: 3 }), new nn.BatchNorm2d(2), new nn.PReLU())
  assert.equal(memory().tensors - before, net.parameters().length + net.buffers().length)
})

test('registerBuffer adds state that no optimizer sees', () => {
  const layer = new nn.Linear(1, 1)
  layer.registerBuffer('mask', ones([2]))
  layer.registerBuffer('cache', ones([2]), { persistent: false })
  layer.registerBuffer('nothing', null)
  assert.deepEqual(Object.keys(layer.stateDict()), ['weight', 'bias', 'mask'])
  assert.deepEqual(
    layer.namedBuffers().map(([name]) => name),
    ['mask', 'cache'],
  )
})

test('unknown options are errors that name the nearest', () => {
  // @ts-expect-error the option is misspelt
  throwsCode(() => new nn.Linear(1, 1, { bais: false }), 'BAD_OPTION', /did you mean 'bias'/)
  throwsCode(() => new nn.Dropout(1.5), 'BAD_OPTION', /between 0 and 1/)
  throwsCode(() => new nn.Conv2d(3, 4, { kernelSize: 3, groups: 2 }), 'BAD_OPTION', /groups = 2/)
})

test('valueAndGrad gives gradients by name and leaves .grad alone', () => {
  const net = new nn.Linear(2, 1)
  const step = nn.valueAndGrad(net, (x: Tensor, factor: number) => net.forward(x).sum().mul(factor))
  const { value, grads } = step(tensor([[1, 2]], { dtype: 'float32' }), 3)
  assert.equal(value.shape.length, 0)
  assert.deepEqual(values(grads.get('weight')!), [3, 6])
  assert.deepEqual(values(grads.get('bias')!), [3])
  assert.equal(net.weight.grad, null)
})

test('vectors of parameters go there and back; clipping scales all gradients together', () => {
  const net = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1))
  const vector = nn.utils.parametersToVector(net.parameters())
  assert.deepEqual(vector.shape, [9])
  nn.utils.vectorToParameters(ones([9]), net.parameters())
  assert.ok(net.parameters().every(p => values(p).every(v => v === 1)))
  throwsCode(() => nn.utils.vectorToParameters(ones([8]), net.parameters()), 'SHAPE_MISMATCH', /9 elements/)

  net
    .forward(ones([1, 2]))
    .sum()
    .backward()
  const grads = () => net.parameters().flatMap(p => values(p.grad!))
  const norm = Math.hypot(...grads())
  const before = nn.utils.clipGradNorm_(net.parameters(), 1)
  assert.ok(Math.abs(before.itemSync() - norm) < 1e-5)
  assert.ok(Math.abs(Math.hypot(...grads()) - 1) < 1e-5)
  nn.utils.clipGradValue_(net.parameters(), 0.1)
  assert.ok(grads().every(g => Math.abs(g) <= Math.fround(0.1)))
  net.zeroGrad()
  assert.ok(net.parameters().every(p => p.grad === null))
})

test('types flow from a model to its results without annotations', () => {
  class Pair extends nn.Module<[Tensor, { mask: boolean }], { logits: Tensor; length: number }> {
    forward(x: Tensor, options: { mask: boolean }) {
      return { logits: options.mask ? x.relu() : x, length: x.shape[0] ?? 0 }
    }
  }
  const model = new Pair()
  const modules: nn.Module[] = [model, new nn.Linear(1, 1), new nn.ModuleList([new nn.ReLU()])]
  const { logits, length } = model.forward(randn([3]), { mask: true })
  const n: number = length + logits.ndim
  assert.equal(n, 4)
  assert.equal(modules.length, 3)
  // @ts-expect-error forward takes two arguments
  const call = () => model.forward(rand([1]))
  assert.ok(call)
  const loss: Tensor = new nn.CrossEntropyLoss().forward(randn([2, 3]), randint(0, 3, [2]))
  assert.equal(loss.ndim, 0)
})
