/** Optimizers against their formulas in float64, and their bookkeeping. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as amp from '../ts/amp/index.ts'
import { capture } from '../ts/capture.ts'
import { type ErrorCode, WickError } from '../ts/errors.ts'
import { native } from '../ts/native/index.ts'
import * as nn from '../ts/nn/index.ts'
import * as optim from '../ts/optim/index.ts'
import { noGrad, ones, randn, Tensor, tensor, zeros } from '../ts/tensor/index.ts'

const values = (t: Tensor) => Array.from(t.dataSync(), Number)
const throwsCode = (fn: () => unknown, code: ErrorCode, message = /./) =>
  assert.throws(fn, (e: unknown) => {
    assert.ok(e instanceof WickError, String(e))
    assert.equal(e.code, code)
    assert.match(e.message, message)
    return true
  })

const STEPS = 20
const start = [[0.5, -1.25, 2], [0.1]]
const gradient = (step: number, i: number, p: number) => Math.sin(3 * step + i) + 0.1 * p

type Update = (p: number, g: number, step: number, memory: number[]) => number

/** Runs `make`'s optimizer and the formula side by side, with gradients that depend on step and parameter. */
function compare(make: (params: nn.Parameter[]) => { step(): void; zeroGrad(): void }, update: Update) {
  const params = start.map(v => new nn.Parameter(tensor(v, { dtype: 'float64' })))
  const optimizer = make(params)
  const expected = start.map(v => [...v])
  const memory = start.map(v => v.map((): number[] => []))
  for (let step = 1; step <= STEPS; step++) {
    optimizer.zeroGrad()
    const losses = params.map(p => {
      const linear = tensor(
        values(p).map((_, i) => Math.sin(3 * step + i)),
        { dtype: 'float64' },
      )
      return p.mul(linear).sum().add(p.mul(p).sum().mul(0.05))
    })
    losses.reduce((a, b) => a.add(b)).backward()
    optimizer.step()
    for (const [k, list] of expected.entries()) {
      for (const [i, p] of list.entries()) list[i] = update(p, gradient(step, i, p), step, memory[k]![i]!)
    }
  }
  for (const [k, list] of expected.entries()) {
    for (const [i, v] of values(params[k]!).entries()) {
      assert.ok(Math.abs(v - list[i]!) < 1e-12, `parameter ${k}[${i}] is ${v}, not ${list[i]}`)
    }
  }
}

function sgd(o: optim.SGDOptions): Update {
  return (p, g0, step, memory) => {
    let g = (o.maximize ? -g0 : g0) + o.weightDecay * p
    if (o.momentum !== 0) {
      memory[0] = step === 1 ? g : o.momentum * memory[0]! + (1 - o.dampening) * g
      g = o.nesterov ? g + o.momentum * memory[0]! : memory[0]!
    }
    return p - o.lr * g
  }
}

function adamw(o: optim.AdamWOptions): Update {
  return (p0, g0, step, memory) => {
    const g = o.maximize ? -g0 : g0
    const [b1, b2] = o.betas
    const m = b1 * (memory[0] ?? 0) + (1 - b1) * g
    const v = b2 * (memory[1] ?? 0) + (1 - b2) * g * g
    memory.splice(0, 2, m, v)
    const root = Math.sqrt(v) / Math.sqrt(1 - b2 ** step)
    return p0 * (1 - o.lr * o.weightDecay) - ((o.lr / (1 - b1 ** step)) * m) / (root + o.eps)
  }
}

const sgdDefaults = { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false }
const sgdCases: Record<string, Partial<optim.SGDOptions>> = {
  plain: {},
  'momentum and weight decay': { lr: 0.1, momentum: 0.9, weightDecay: 0.01 },
  dampening: { lr: 0.1, momentum: 0.9, dampening: 0.3 },
  'nesterov, climbing': { lr: 0.05, momentum: 0.8, nesterov: true, maximize: true },
}
for (const [name, options] of Object.entries(sgdCases)) {
  test(`SGD takes ${STEPS} steps as its formula: ${name}`, () => {
    compare(params => new optim.SGD(params, options), sgd({ ...sgdDefaults, ...options }))
  })
}

const adamwDefaults: optim.AdamWOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0.01,
  maximize: false,
}
const adamwCases: Record<string, Partial<optim.AdamWOptions>> = {
  defaults: {},
  'other options': { lr: 0.1, betas: [0.8, 0.95], eps: 1e-3, weightDecay: 0.2 },
  climbing: { lr: 0.01, maximize: true, weightDecay: 0 },
}
for (const [name, options] of Object.entries(adamwCases)) {
  test(`AdamW takes ${STEPS} steps as its formula: ${name}`, () => {
    compare(params => new optim.AdamW(params, options), adamw({ ...adamwDefaults, ...options }))
  })
}

const single = (value: number) => new nn.Parameter(tensor([value], { dtype: 'float64' }))

test('groups have options of their own, which are read at each step', () => {
  const [a, b] = [single(1), single(1)]
  const optimizer = new optim.SGD([{ params: [a], lr: 0.5 }, { params: b }], { lr: 0.1 })
  const step = () => {
    optimizer.zeroGrad()
    a.add(b).sum().backward()
    optimizer.step()
  }
  step()
  assert.deepEqual([...values(a), ...values(b)], [0.5, 0.9])
  optimizer.paramGroups[0]!.lr = 0
  optimizer.paramGroups[1]!.lr = 0.4
  step()
  assert.deepEqual(values(a), [0.5])
  assert.ok(Math.abs(values(b)[0]! - 0.5) < 1e-15)
  const c = single(3)
  optimizer.addParamGroup({ params: [c], lr: 1 })
  c.sum().backward()
  optimizer.step()
  assert.deepEqual(values(c), [2])
})

test('parameters of several dtypes share a group, and one without a gradient stays', () => {
  const wide = single(1)
  const narrow = new nn.Parameter(ones([2]))
  const idle = new nn.Parameter(ones([2]))
  const optimizer = new optim.AdamW([wide, narrow, idle], { lr: 0.5, weightDecay: 0.1 })
  wide.sum().add(narrow.sum()).backward()
  optimizer.step()
  assert.ok(Math.abs(values(wide)[0]! - 0.45) < 1e-6)
  assert.ok(Math.abs(values(narrow)[0]! - 0.45) < 1e-6)
  assert.deepEqual(values(idle), [1, 1])
})

test('a step whose skip flag is set changes nothing', () => {
  for (const make of [optim.SGD, optim.AdamW]) {
    const p = single(1)
    const optimizer = new make([p], { lr: 0.5 })
    p.sum().backward()
    optimizer.step({ skip: tensor(1, { dtype: 'float64' }) })
    assert.deepEqual(values(p), [1])
    optimizer.step({ skip: tensor(0, { dtype: 'float64' }) })
    assert.notDeepEqual(values(p), [1])
  }
})

test('state dicts have the layout of PyTorch, and training goes on from one as if it had not stopped', () => {
  for (const make of [
    (p: nn.Parameter[]) => new optim.AdamW(p, { lr: 0.1 }),
    (p: nn.Parameter[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.5 }),
  ]) {
    const train = (p: nn.Parameter, optimizer: { step(): void; zeroGrad(): void }, steps: number) => {
      for (let i = 0; i < steps; i++) {
        optimizer.zeroGrad()
        p.mul(p).sum().backward()
        optimizer.step()
      }
    }
    const straight = single(1)
    train(straight, make([straight]), 6)

    const first = single(1)
    const before = make([first])
    assert.deepEqual(before.stateDict().state, {})
    train(first, before, 3)
    const saved = before.stateDict()
    const resumed = single(values(first)[0]!)
    const after = make([resumed])
    after.loadStateDict(saved)
    train(resumed, after, 3)
    assert.deepEqual(values(resumed), values(straight))
  }
})

test('AdamW saves and loads under the names of PyTorch', () => {
  const net = new nn.Linear(2, 1)
  const optimizer = new optim.AdamW(net.parameters(), { weightDecay: 0.1 })
  net
    .forward(ones([1, 2]))
    .sum()
    .backward()
  optimizer.step()
  const { state, param_groups } = optimizer.stateDict()
  assert.deepEqual(Object.keys(state), ['0', '1'])
  assert.deepEqual(Object.keys(state['0']!).sort(), ['exp_avg', 'exp_avg_sq', 'step'])
  assert.deepEqual(param_groups, [
    { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, maximize: false, params: [0, 1] },
  ])
  const torch = {
    state: { 0: { step: tensor(5, { dtype: 'float32' }), exp_avg: ones([1, 2]), exp_avg_sq: ones([1, 2]) } },
    param_groups: [{ ...param_groups[0]!, lr: 0.5, amsgrad: false, foreach: null }],
  }
  optimizer.loadStateDict(torch)
  assert.equal(optimizer.paramGroups[0]!.lr, 0.5)
  const loaded = optimizer.stateDict().state
  assert.deepEqual(Object.keys(loaded), ['0'])
  assert.equal(loaded['0']!.step, 5)
  const moment = loaded['0']!.exp_avg
  assert.ok(moment instanceof Tensor)
  assert.deepEqual(values(moment), [1, 1])
  const wrong = { ...torch, state: { 0: { step: 1, exp_avg: ones([3]), exp_avg_sq: ones([3]) } } }
  throwsCode(() => optimizer.loadStateDict(wrong), 'SHAPE_MISMATCH', /'exp_avg' of parameter 0/)
  const fewer = { state: {}, param_groups: [{ ...param_groups[0]!, params: [0] }] }
  throwsCode(() => optimizer.loadStateDict(fewer), 'STATE_DICT_MISMATCH', /groups of 1/)
})

test('a new optimizer starts from nothing on the parameters of an old one, which goes on where it was', () => {
  const p = single(1)
  const step = (optimizer: { step(): void; zeroGrad(): void }) => {
    optimizer.zeroGrad()
    p.sum().backward()
    optimizer.step()
  }
  const old = new optim.AdamW([p], { lr: 0.1, weightDecay: 0 })
  for (let i = 0; i < 5; i++) step(old)
  noGrad(() => p.copy_(ones([1])))
  step(new optim.AdamW([p], { lr: 0.1, weightDecay: 0 }))
  assert.ok(Math.abs(values(p)[0]! - 0.9) < 1e-8)
  const { state } = old.stateDict()
  assert.equal(state['0']!.step, 5)
  step(old)
  assert.equal(old.stateDict().state['0']!.step, 6)
})

/**
 * InfoGAN's way: of three parameters D has the first, G the second, and a third optimizer all of them. Each step takes one
 * gradient and one update by each, in turn.
 */
function shared(made: readonly ('d' | 'g' | 'all')[], mode: 'auto' | 'off') {
  const sgdOptions = { ...sgdDefaults, lr: 0.1, momentum: 0.9 }
  const adamOptions = { ...adamwDefaults, lr: 0.05 }
  const allOptions = { ...adamwDefaults, lr: 0.02, betas: [0.5, 0.9] as [number, number] }
  const begin = [...start, [0.7, 3]]
  const params = begin.map(v => new nn.Parameter(tensor(v, { dtype: 'float64' })))
  const [a, b] = params as [nn.Parameter, nn.Parameter]
  const makers = {
    d: () => new optim.SGD([a], sgdOptions),
    g: () => new optim.AdamW([b], adamOptions),
    all: () => new optim.AdamW([...params].reverse(), allOptions),
  }
  const rules = { d: sgd(sgdOptions), g: adamw(adamOptions), all: adamw(allOptions) }
  const owned = { d: [0], g: [1], all: params.map((_, k) => k) }
  const optimizers = { d: undefined, g: undefined, all: undefined } as Record<
    'd' | 'g' | 'all',
    ReturnType<typeof makers.d | typeof makers.g> | undefined
  >
  const expected = begin.map(v => [...v])
  const memory = { d: new Map<string, number[]>(), g: new Map<string, number[]>(), all: new Map<string, number[]>() }
  const counts = { d: 0, g: 0, all: 0 }

  const update = (name: 'd' | 'g' | 'all') => {
    const optimizer = optimizers[name]!
    optimizer.zeroGrad()
    params
      .map(p => p.mul(p).sum().mul(0.5))
      .reduce((x, y) => x.add(y))
      .backward()
    nn.utils.clipGradValue_(
      owned[name].map(k => params[k]!),
      1,
    )
    optimizer.step()
  }
  const expect = (name: 'd' | 'g' | 'all') => {
    counts[name]++
    for (const k of owned[name]) {
      for (const [i, p] of expected[k]!.entries()) {
        const key = `${k} ${i}`
        const kept = memory[name].get(key) ?? []
        memory[name].set(key, kept)
        expected[k]![i] = rules[name](p, Math.min(Math.max(p, -1), 1), counts[name], kept)
      }
    }
  }
  const run = capture(() => made.filter(name => optimizers[name]).forEach(update), { mode })
  for (const name of made) {
    optimizers[name] = makers[name]()
    for (let i = 0; i < 5; i++) {
      run()
      for (const known of made) if (optimizers[known]) expect(known)
    }
  }
  for (const [k, list] of expected.entries()) {
    for (const [i, v] of values(params[k]!).entries()) {
      assert.ok(Math.abs(v - list[i]!) < 1e-12, `parameter ${k}[${i}] is ${v}, not ${list[i]}`)
    }
  }
  for (const name of made) {
    for (const { step } of Object.values(optimizers[name]!.stateDict().state)) assert.equal(step, counts[name])
  }
  return params.flatMap(values)
}
for (const made of [
  ['d', 'g', 'all'],
  ['all', 'g', 'd'],
  ['g', 'all', 'd'],
] as const) {
  test(`optimizers share parameters, made in the order ${made.join(', ')}: each has its own moments and counts`, () => {
    assert.deepEqual(shared(made, 'auto'), shared(made, 'off'))
  })
}

test('loss scaling works for each of several optimizers over the same parameters', async () => {
  const params = [single(1), single(2), single(3)]
  const all = new optim.SGD(params, { lr: 1 })
  const some = new optim.SGD(params.slice(0, 2), { lr: 1 })
  for (const [optimizer, expected] of [
    [all, [0, 0, 0]],
    [some, [-1, -1, 0]],
    [all, [-2, -2, -1]],
  ] as const) {
    const scaler = new amp.GradScaler({ initScale: 8 })
    optimizer.zeroGrad()
    scaler
      .scale(
        params
          .map(p => p.sum())
          .reduce((a, b) => a.add(b))
          .to('float32'),
      )
      .backward()
    scaler.step(optimizer)
    scaler.update()
    const start = [1, 2, 3]
    for (const [i, p] of params.entries()) assert.equal(values(p)[0]! - start[i]! + 1, expected[i]!)
  }
})

test('a test notices if an optimizer stays behind where its parameters were', () => {
  native.setDebug(false, false, false, 50)
  try {
    assert.throws(() => shared(['d', 'g', 'all'], 'auto'), assert.AssertionError)
  } finally {
    native.setDebug(false, false, false, 0)
  }
})

test('a shared parameter that moves takes all its optimizers along, when they follow', () => {
  const layer = new nn.Linear(3, 2)
  const first = new optim.SGD(layer.parameters(), { lr: 0.1, momentum: 0.9 })
  const second = new optim.SGD(layer.parameters(), { lr: 0.1 })
  const step = (optimizer: optim.SGD) => {
    optimizer.zeroGrad()
    layer
      .forward(ones([1, 3], { dtype: layer.weight.dtype }))
      .sum()
      .backward()
    optimizer.step()
  }
  for (const optimizer of [first, second]) step(optimizer)
  layer.to('float64')
  for (const optimizer of [first, second]) {
    throwsCode(() => step(optimizer), 'BAD_OPTION', /followParameters/)
  }
  const before = values(layer.bias!)
  for (const optimizer of [first, second]) optimizer.followParameters()
  for (const optimizer of [first, second]) step(optimizer)
  // The first has a momentum of 1, and both gradients are 1: 0.1 * 1.9 + 0.1.
  for (const [i, v] of values(layer.bias!).entries()) assert.ok(Math.abs(v - (before[i]! - 0.29)) < 1e-6)
})

test('a disposed optimizer leaves its parameters and their gradients', () => {
  const p = single(2)
  const optimizer = new optim.SGD([p], { lr: 0.1 })
  p.mul(p).sum().backward()
  optimizer.dispose()
  optimizer.dispose()
  throwsCode(() => optimizer.step(), 'DISPOSED', /optimizer was disposed/)
  throwsCode(() => optimizer.zeroGrad(), 'DISPOSED')
  throwsCode(() => optimizer.stateDict(), 'DISPOSED')
  assert.deepEqual(values(p.grad!), [4])
  assert.ok(Math.abs(nn.utils.clipGradNorm_([p], 1).itemSync() - 4) < 1e-12)
  const next = new optim.SGD([p], { lr: 1 })
  next.step()
  assert.ok(Math.abs(values(p)[0]! - 1) < 1e-5)
})

test('clipping all of an optimizer is one op, with the result of clipping each gradient', () => {
  const flat = [new nn.Parameter(randn([3, 2])), new nn.Parameter(randn([5]))]
  const each = flat.map(p => new nn.Parameter(p.clone()))
  new optim.SGD(flat, { lr: 0.1 })
  for (const params of [flat, each])
    params
      .map(p => p.mul(p).sum())
      .reduce((a, b) => a.add(b))
      .backward()
  const norms = [flat, each].map(params => nn.utils.clipGradNorm_(params, 0.5).itemSync())
  assert.ok(Math.abs(norms[0]! - norms[1]!) < 1e-5)
  for (const [i, p] of flat.entries()) {
    const other = values(each[i]!.grad!)
    for (const [j, g] of values(p.grad!).entries()) assert.ok(Math.abs(g - other[j]!) < 1e-6)
  }
})

test('options that no step could use are refused', () => {
  const p = () => [single(1)]
  throwsCode(() => new optim.SGD([]), 'BAD_OPTION', /empty/)
  throwsCode(() => new optim.SGD(p(), { lr: -1 }), 'BAD_OPTION', /lr must not be negative, got -1/)
  throwsCode(() => new optim.SGD(p(), { nesterov: true }), 'BAD_OPTION', /nesterov needs a momentum/)
  throwsCode(() => new optim.AdamW(p(), { betas: [0.9, 1] }), 'BAD_OPTION', /betas\[1\]/)
  throwsCode(() => new optim.AdamW(p(), { eps: -1 }), 'BAD_OPTION', /eps/)
  // @ts-expect-error the option is misspelt
  throwsCode(() => new optim.SGD(p(), { momentun: 0.9 }), 'BAD_OPTION', /did you mean 'momentum'/)
  const shared = single(1)
  throwsCode(() => new optim.SGD([{ params: [shared] }, { params: [shared] }]), 'BAD_OPTION', /more than one group/)
  throwsCode(() => new optim.SGD([shared, shared]), 'BAD_OPTION', /twice/)
  const computed = shared.mul(2)
  throwsCode(() => new optim.SGD([computed]), 'NO_GRAD', /computed from others/)
  assert.equal(zeros([1]).ndim, 1)
})
