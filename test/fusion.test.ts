/** What a plan fuses, told by its number of kernels: results have eager mode's bits, and where something lies between nothing is fused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  autocast,
  type CaptureMode,
  capture,
  type DType,
  manualSeed,
  nn,
  noGrad,
  optim,
  randn,
  type Tensor,
  tensor,
} from '../ts/index.ts'
import { native } from '../ts/native/index.ts'

const { crossEntropy } = nn.functional

const hex = (x: Tensor) => {
  const wide = x.dtype === 'bfloat16' ? x.float() : x
  return Buffer.from(wide.dataSync().buffer).toString('hex')
}

interface Program {
  step: (t: number) => Tensor[]
  /** What the steps change. */
  state: Tensor[]
}

/** Runs steps of what `make` gives eagerly, from unfused and from fused plans: all results must agree. The fused plan's kernels. */
function kernels(make: () => Program, steps = 6): number {
  const run = (mode: CaptureMode, noFusion: boolean) => {
    native.setDebug(noFusion, true, false, 0)
    manualSeed(5)
    const program = make()
    const step = capture(program.step, { mode })
    const log: string[][] = []
    for (let t = 0; t < steps; t++) {
      const results = step(t)
      log.push([...results, ...program.state].map(hex))
      for (const r of results) r.dispose()
    }
    native.setDebug(false, false, false, 0)
    return { log, report: step.report() }
  }
  const eager = run('off', false)
  const plain = run('auto', true)
  const fused = run('auto', false)
  assert.deepEqual(plain.log, eager.log)
  assert.deepEqual(fused.log, eager.log)
  assert.ok(fused.report.matched >= 3, `matched ${fused.report.matched}: ${fused.report.reason}`)
  return fused.report.kernels
}

interface Block {
  norm: nn.BatchNorm2d
  other: nn.BatchNorm2d
  /** Images with a history. */
  x: Tensor
  shortcut: Tensor
}
type Forward = (b: Block, t: number) => Tensor | [result: Tensor, ...more: Tensor[]]
type Case = [name: string, kernels: string[], forward: Forward, between?: (b: Block) => void]

/** A step over two norms: forward, what lies `between`, and backward. Besides their kernels it has those of `frame`. */
function training(dtype: DType, forward: Forward, between: (b: Block) => void): Program {
  const image = () => randn([3, 4, 5, 5]).requiresGrad_().keep()
  const slope = randn([3, 4, 5, 5]).to({ dtype })
  const [x, shortcut, norm, other] = [image(), image(), new nn.BatchNorm2d(4), new nn.BatchNorm2d(4)]
  const leaves = [x, shortcut, ...norm.parameters(), ...other.parameters()]
  const optimizer = new optim.SGD(leaves, { lr: 0.05, momentum: 0.9 })
  const step = (t: number) => {
    optimizer.zeroGrad()
    const b = { norm, other, x: x.mul(1.5).to({ dtype }), shortcut: shortcut.mul(0.5).to({ dtype }) }
    const result = forward(b, t)
    const [y, ...more] = Array.isArray(result) ? result : [result]
    between(b)
    y.mul(slope).float().sum().backward()
    optimizer.step()
    return [y, ...more]
  }
  return { step, state: [...leaves, ...norm.buffers(), ...other.buffers()] }
}

/** Kernels that every program has: x, the count of batches, the loss's gradient, that of x, and the update. */
const frame = ['x', 'add_', 'fill', 'mul', 'grad of x', 'copy_', 'sgd']
/** Halves have one more: the loss is a float32 sum. */
const cast = ['cast']
/** Those of the second image: its gradient. Copies into gradient buffers, and counts of batches, are one kernel. */
const shortcut = ['grad of shortcut']

const fused: Case[] = [
  ['a relu after a norm', ['norm + relu', 'relu + grad'], b => b.norm.forward(b.x).relu()],
  [
    'a residual and a relu after a norm',
    ['norm + add + relu', 'relu + grad', ...shortcut],
    b => b.norm.forward(b.x).add(b.shortcut).relu(),
  ],
  [
    'a norm added to something',
    ['norm + add + relu', 'relu + grad', ...shortcut],
    b => b.shortcut.add(b.norm.forward(b.x)).relu(),
  ],
  [
    'two norms added',
    ['norm', 'norm + add + relu', 'relu + grad', 'grad', ...shortcut],
    b => b.norm.forward(b.x).add(b.other.forward(b.shortcut)).relu(),
  ],
  ['a residual alone', ['norm + add', 'grad', ...shortcut], b => b.norm.forward(b.x).add(b.shortcut)],
  [
    'gradients that meet under a relu',
    ['norm + relu', 'mul', 'norm + add + relu', 'relu + grad', 'mul', 'add + relu + grad'],
    b => {
      const h = b.norm.forward(b.x).relu()
      return b.other.forward(h.mul(2)).add(h).relu()
    },
  ],
  [
    'a bias that changes before backward',
    ['norm + relu', 'mul_', 'sub_', 'relu + grad'],
    b => b.norm.forward(b.x).relu(),
    b => noGrad(() => b.norm.bias?.mul_(-1).sub_(1)),
  ],
]
const apart: Case[] = [
  [
    'the norm’s result is returned',
    ['norm', 'relu', 'relu + grad'],
    b => {
      const y = b.norm.forward(b.x)
      return [y.relu(), y]
    },
  ],
  [
    'the norm’s result is read later',
    ['norm', 'relu, tanh, add', 'grads of tanh and relu', 'add + grad'],
    b => {
      const y = b.norm.forward(b.x)
      return y.relu().add(y.tanh())
    },
  ],
  [
    'the norm’s result changes in place',
    ['norm', 'add_', 'relu', 'relu + grad'],
    b => {
      const y = b.norm.forward(b.x)
      noGrad(() => y.detach().add_(0.25))
      return y.relu()
    },
  ],
  [
    'running statistics change',
    ['norm', 'mul_', 'relu', 'relu + grad'],
    b => {
      const y = b.norm.forward(b.x)
      noGrad(() => b.norm.runningMean?.mul_(0.5))
      return y.relu()
    },
  ],
]

for (const [name, expected, forward, between = () => {}] of [...fused, ...apart]) {
  test(`${name}: float32`, () => {
    assert.equal(
      kernels(() => training('float32', forward, between)),
      frame.length + expected.length,
    )
  })
}
for (const [name, expected, forward, between = () => {}] of fused) {
  test(`${name}: bfloat16`, () => {
    assert.equal(
      kernels(() => training('bfloat16', forward, between)),
      frame.length + cast.length + expected.length,
    )
  })
}
for (const [name, , forward, between = () => {}] of apart) {
  test(`${name}: bfloat16`, () => {
    kernels(() => training('bfloat16', forward, between))
  })
}

test('a step that ends between a norm and its relu has moved the running statistics', () => {
  const program = (): Program => {
    const norm = new nn.BatchNorm2d(4)
    const x = randn([3, 4, 5, 5])
    const step = (t: number) =>
      noGrad(() => {
        const y = norm.forward(x)
        if (t !== 7) x.add_(y.relu().mean())
        return []
      })
    return { step, state: [x, ...norm.buffers()] }
  }
  const whole = ['add_', 'norm + relu', 'mean', 'add_']
  assert.equal(kernels(program, 12), whole.length)
})

test('a norm whose result the host reads is there before its relu', () => {
  const program = (): Program => {
    const norm = new nn.BatchNorm2d(4)
    const x = randn([3, 4, 5, 5])
    const step = () =>
      noGrad(() => {
        const y = norm.forward(x)
        return [y.relu().mul(y.sum().itemSync())]
      })
    return { step, state: norm.buffers() }
  }
  const kept = ['add_', 'norm', 'sum', 'relu', 'mul']
  assert.equal(kernels(program), kept.length)
})

test('in evaluation a norm is arithmetic', () => {
  const program = (): Program => {
    const norm = new nn.BatchNorm2d(4).eval()
    const x = randn([3, 4, 5, 5])
    return { step: () => [noGrad(() => norm.forward(x).relu())], state: norm.buffers() }
  }
  const chains = ['add, rsqrt, mul, mul, sub', 'mul', 'add', 'relu']
  assert.equal(kernels(program), chains.length)
})

const labels = () => tensor(BigInt64Array.from([0n, 2n, 1n, 4n, 2n, 3n]))
/** Three layers, with or without autocast. `loss` makes of the network's stages what is differentiated. */
function perceptron(
  low: boolean,
  loss: (h: Tensor, logits: Tensor, y: Tensor) => Tensor = (_, logits, y) => crossEntropy(logits, y),
): Program {
  const [a, b, c] = [new nn.Linear(12, 8), new nn.Linear(8, 7), new nn.Linear(7, 5)]
  const parameters = [a, b, c].flatMap(l => l.parameters())
  const optimizer = new optim.SGD(parameters, { lr: 0.1, momentum: 0.9 })
  const [x, y] = [randn([6, 12]), labels()]
  const step = () => {
    const total = autocast({ enabled: low }, () => {
      const h = a.forward(x).relu()
      return loss(h, c.forward(b.forward(h).relu()), y)
    })
    optimizer.zeroGrad()
    total.backward()
    optimizer.step()
    return [total]
  }
  return { step, state: parameters }
}
const forwards = ['linear + relu', 'linear + relu', 'linear']
const backwards = ['weight', 'relu + product', 'weight', 'relu + product', 'weight', 'biases']

test('a step of linear layers: relu, its derivative, the loss’s gradient and the sums of biases join others', () => {
  const expected = [...forwards, 'loss + gradient', ...backwards, 'sgd']
  assert.equal(
    kernels(() => perceptron(false)),
    expected.length,
  )
})

test('the same under autocast: weights are cast together, and their gradients copied together', () => {
  // The first layers' weights by themselves: the rest are cast while these layers work.
  const casts = ['first weights and x', 'other weights', 'logits', 'gradient of logits', 'gradients']
  const expected = [...casts, ...forwards, 'loss + gradient', ...backwards, 'sgd']
  assert.equal(
    kernels(() => perceptron(true)),
    expected.length,
  )
})

test('a loss that goes on has a gradient of its own', () => {
  const expected = [...forwards, 'loss', 'mul', 'fill', 'gradient of mul', 'gradient', ...backwards, 'sgd']
  assert.equal(
    kernels(() => perceptron(false, (_, logits, y) => crossEntropy(logits, y).mul(2))),
    expected.length,
  )
})

test('a gradient that a layer shares takes its relu’s derivative after the sum', () => {
  const shared = (h: Tensor, logits: Tensor, y: Tensor) => crossEntropy(logits, y).add(h.mul(h).sum())
  for (const low of [false, true]) kernels(() => perceptron(low, shared))
})

test('losses of other reductions', () => {
  for (const reduction of ['sum', 'none'] as const) {
    kernels(() => perceptron(false, (_, logits, y) => crossEntropy(logits, y, { reduction }).sum()))
  }
})

test('a weight that changes within the step is cast after that', () => {
  const program = (): Program => {
    const [a, b] = [new nn.Linear(4, 4), new nn.Linear(4, 4)]
    const x = randn([3, 4])
    const step = () =>
      autocast({}, () => {
        const h = a.forward(x)
        noGrad(() => b.weight.mul_(0.5).add_(0.25))
        return [b.forward(h).float()]
      })
    return { step, state: [...a.parameters(), ...b.parameters()] }
  }
  kernels(program)
})

test('a count of batches that is read between two norms', () => {
  const program = (): Program => {
    const [a, b] = [new nn.BatchNorm1d(4), new nn.BatchNorm1d(4)]
    const x = randn([3, 4])
    const step = () =>
      noGrad(() => {
        const h = a.forward(x)
        const seen = a.numBatchesTracked?.add(0) ?? x
        return [b.forward(h), seen]
      })
    return { step, state: [...a.buffers(), ...b.buffers()] }
  }
  const apart = ['add_', 'norm', 'add', 'add_', 'norm']
  assert.equal(kernels(program), apart.length)
})

test('a step that ends between two norms has counted the first', () => {
  const program = (): Program => {
    const [a, b] = [new nn.BatchNorm1d(4), new nn.BatchNorm1d(4)]
    const x = randn([3, 4])
    const step = (t: number) =>
      noGrad(() => {
        const h = a.forward(x)
        if (t !== 7) x.add_(b.forward(h))
        return []
      })
    return { step, state: [x, ...a.buffers(), ...b.buffers()] }
  }
  const whole = ['norm', 'counts', 'norm', 'add_']
  assert.equal(kernels(program, 12), whole.length)
})

test('two backward passes into the same gradients', () => {
  const program = (): Program => {
    const layer = new nn.Linear(4, 4)
    const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 })
    const [x, z] = [randn([3, 4]), randn([5, 4])]
    const step = () => {
      optimizer.zeroGrad()
      for (const input of [x, z]) autocast({}, () => layer.forward(input).float().square().sum()).backward()
      optimizer.step()
      return []
    }
    return { step, state: layer.parameters() }
  }
  kernels(program)
})
