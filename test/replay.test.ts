/** Captured steps against eager ones, bit for bit, in programs that are hard on plans: each test names the rule that it holds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  autocast,
  type CaptureMode,
  capture,
  grad,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  Tensor,
  tensor,
} from '../ts/index.ts'
import { native } from '../ts/native/index.ts'
import { collected } from './collected.ts'

const { crossEntropy } = nn.functional
const hex = (x: Tensor | null): string => {
  if (x === null) return 'null'
  const { buffer, byteOffset, byteLength } = x.dataSync()
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex')
}
const message = (f: () => unknown): string => {
  try {
    f()
    return 'no error'
  } catch (error) {
    return (error as Error).message
  }
}

/** What a program makes: a function for each step, and the tensors that are compared after it. */
interface Program {
  step: (t: number) => unknown
  state: () => (Tensor | null)[]
  log?: string[]
}
/** Runs `make` with a seed of its own for `steps` steps and gives all that can be read. */
function trace(make: (mode: CaptureMode) => Program, mode: CaptureMode, steps = 7, mutant = 0): string[] {
  native.setDebug(false, mode !== 'off', false, mutant)
  try {
    manualSeed(3)
    const { step, state, log = [] } = make(mode)
    for (let t = 0; t < steps; t++) {
      step(t)
      for (const x of state()) log.push(hex(x))
    }
    return log
  } finally {
    native.setDebug(false, false, false, 0)
  }
}
const programs = new Map<string, { make: (mode: CaptureMode) => Program; steps: number }>()
/** A test that `make` gives the same in both modes. */
const same = (name: string, make: (mode: CaptureMode) => Program, steps = 7) => {
  programs.set(name, { make, steps })
  test(name, () => assert.deepEqual(trace(make, 'auto', steps), trace(make, 'off', steps)))
}
const parameter = (...shape: number[]) => new nn.Parameter(randn(shape))

// A weight that is seen through a view gets its gradient in its own shape.
const seen: Record<string, [shape: number[], use: (x: Tensor, w: Tensor) => Tensor]> = {
  'as heads': [[4, 6], (x, w) => x.unsqueeze(0).matmul(w.reshape(2, 4, 3))],
  'with its sizes exchanged': [[8, 4], (x, w) => x.matmul(w.reshape(4, 8))],
  flat: [[16], (x, w) => x.matmul(w.reshape(4, 4))],
  'flat, in a linear layer': [[12], (x, w) => nn.functional.linear(x, w.reshape(3, 4))],
  'as a mean over rows': [[8], (x, w) => x.add(w.reshape(2, 4).mean({ dim: 0 }))],
  'as a vector of a product': [[4], (x, w) => x.matmul(w)],
  'as a row': [[3, 4], (x, w) => x.mul(w.select(0, 1))],
  'with rows that are taken': [
    [12],
    (x, w) =>
      x.matmul(
        w
          .reshape(3, 4)
          .indexSelect(0, tensor([2n, 0n], { dtype: 'int64' }))
          .t(),
      ),
  ],
  transposed: [[4, 6], (x, w) => x.matmul(w.t().reshape(4, 6))],
}
for (const [name, [shape, use]] of Object.entries(seen)) {
  same(`a weight is seen ${name}`, mode => {
    const w = parameter(...shape)
    const optimizer = new optim.SGD([w], { lr: 0.1 })
    const x = randn([5, 4])
    const step = capture(
      () => {
        optimizer.zeroGrad()
        use(x, w).square().mean().backward()
        optimizer.step()
      },
      { mode },
    )
    return { step, state: () => [w, w.grad] }
  })
}

for (const precision of ['bfloat16', 'float16'] as const) {
  same(`a weight is updated and used again under autocast (${precision})`, mode => {
    const critic = new nn.Linear(4, 4)
    const optimizer = new optim.SGD(critic.parameters(), { lr: 0.1, momentum: 0.9 })
    const x = randn([3, 4])
    const step = capture(
      () =>
        autocast({ dtype: precision }, () => {
          for (let k = 0; k < 2; k++) {
            optimizer.zeroGrad()
            critic.forward(x).float().square().mean().backward()
            optimizer.step()
          }
          return critic.forward(x).detach().float()
        }),
      { mode },
    )
    const log: string[] = []
    return { step: () => log.push(hex(step())), state: () => [...critic.parameters()], log }
  })
}
same('two leaves of one memory under autocast', mode => {
  const a = parameter(4, 4)
  const b = new nn.Parameter(a.detach())
  const x = randn([3, 4])
  const step = capture(() => autocast({}, () => x.matmul(a).add(x.matmul(b).mul(2)).float().sum().backward()), { mode })
  return { step, state: () => [a.grad, b.grad] }
})
same('another leaf of the same memory', mode => {
  const a = parameter(4)
  const b = new nn.Parameter(a.detach())
  const step = capture((w: Tensor) => w.square().sum().backward(), { mode })
  return { step: t => step(t < 4 ? a : b), state: () => [a.grad, b.grad] }
})
test('the gradient goes to the leaf that was used', () => {
  const a = new nn.Parameter(tensor([1.5, 2.5]))
  const b = new nn.Parameter(a.detach())
  const step = capture((w: Tensor) => w.mul(3).sum().backward())
  for (let t = 0; t < 4; t++) step(a)
  step(b)
  assert.deepEqual([...(b.grad as Tensor).dataSync()], [3, 3])
  assert.deepEqual([...(a.grad as Tensor).dataSync()], [12, 12])
})
same('createGraph gives a leaf another gradient buffer between steps', mode => {
  const w = parameter(4)
  const step = capture(() => w.square().sum().backward(), { mode })
  return {
    step: t => {
      if (t === 4) w.pow(3).sum().backward({ createGraph: true })
      step()
    },
    state: () => [w.grad],
  }
})

same('rows of memory that the step has written', mode => {
  const rows = randn([6, 3])
  const log: string[] = []
  const step = capture(
    () => {
      noGrad(() => rows.mul_(1.5))
      const [taken] = native.gatherRows([rows.handle], Uint32Array.of(1, 4), -1)
      return new Tensor(taken as number).mul(2)
    },
    { mode },
  )
  return { step: () => log.push(hex(step())), state: () => [rows], log }
})

same(
  'a wrong label is caught and the batch skipped',
  mode => {
    const model = new nn.Linear(4, 3)
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1 })
    const x = randn([2, 4])
    const labels = (last: bigint) => tensor([0n, last], { dtype: 'int64' })
    const log: string[] = []
    const step = capture(
      (y: Tensor) => {
        try {
          const loss = crossEntropy(nn.functional.dropout(model.forward(x), { p: 0.5 }), y)
          optimizer.zeroGrad()
          loss.backward()
          optimizer.step()
        } catch (error) {
          log.push((error as Error).message)
        }
      },
      { mode },
    )
    return { step: t => step(labels(t === 4 ? 7n : 2n)), state: () => [...model.parameters()], log }
  },
  9,
)
for (const [name, fails] of Object.entries({
  indexSelect: (i: Tensor, x: Tensor) => x.indexSelect(0, i),
  gather: (i: Tensor, x: Tensor) => x.gather(0, i),
  'integer remainder': (i: Tensor) => tensor([5n, 7n], { dtype: 'int64' }).remainder(i.sub(9)),
})) {
  same(`the error of an op whose result is unused: ${name}`, mode => {
    const x = randn([3])
    const log: string[] = []
    const step = capture(
      (i: Tensor) => {
        fails(i, x)
        return x.mul(2)
      },
      { mode },
    )
    return {
      step: t => {
        const i = tensor([0n, t === 4 ? 9n : 1n], { dtype: 'int64' })
        log.push(message(() => step(i)))
      },
      state: () => [x],
      log,
    }
  })
}
same(
  'an index that the step computes fails at its end, and leaves weights, counts and random numbers as they were',
  mode => {
    const model = new nn.Linear(2, 2)
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1 })
    const table = randn([4])
    const log: string[] = []
    const step = capture(
      (i: Tensor) => {
        const noise = randn([3, 2])
        const loss = model
          .forward(noise)
          .sum()
          .add(table.indexSelect(0, i.mul(1)).sum())
        optimizer.zeroGrad()
        loss.backward()
        optimizer.step()
        randn([4])
      },
      { mode },
    )
    return {
      step: t => {
        const i = tensor([0n, t === 4 ? 9n : 1n], { dtype: 'int64' })
        log.push(
          message(() => step(i)),
          `${native.generatorState(-1)}`,
        )
      },
      state: () => [...model.parameters()],
      log,
    }
  },
  9,
)
same('the error of an unused op with computed operands', mode => {
  const x = randn([3])
  const log: string[] = []
  const step = capture(
    (i: Tensor) => {
      x.indexSelect(0, i.mul(1))
    },
    { mode },
  )
  return {
    step: t => {
      const i = tensor([0n, t === 4 ? 9n : 1n], { dtype: 'int64' })
      log.push(message(() => step(i)))
    },
    state: () => [],
    log,
  }
})
test('a failed launch closes its window: later captures are replayed, kept tensors are gone', () => {
  const table = randn([4])
  const kept: Tensor[] = []
  const step = capture((i: Tensor) => {
    const row = table.indexSelect(0, i.mul(1))
    kept.push(row.mul(2).keep())
    return row
  })
  const indices = [1, 2, 0, 9].map(i => tensor([BigInt(i)], { dtype: 'int64' }))
  for (const i of indices.slice(0, 3)) step(i)
  const live = collected()
  for (let t = 0; t < 50; t++) assert.throws(() => step(indices[3] as Tensor), { code: 'INDEX_OUT_OF_RANGE' })
  assert.throws(() => kept[3]?.dataSync(), { code: 'DISPOSED' })
  assert.equal(memory().tensors, live)
  const other = capture((x: Tensor) => x.mul(2).add(1))
  for (let t = 0; t < 4; t++) other(table)
  assert.equal(other.report().matched, 2)
})
test('a disposed argument that nothing uses is no error', () => {
  const x = randn([2])
  const gone = randn([2])
  gone.dispose()
  const step = capture((a: Tensor, _b: Tensor) => a.mul(2))
  for (let t = 0; t < 4; t++) step(x, gone)
})
test('grad() in a step', () => {
  const w = parameter(3)
  const step = capture(() => grad(w.square().sum(), w))
  for (let t = 0; t < 4; t++) assert.equal(hex(step()), hex(w.mul(2)))
})

/** A broken rule of the engine, by its number, and the program above that notices. */
const mutants: [rule: string, mutant: number, program: string][] = [
  ['a kernel writes to a place of its own shape', 30, 'a weight is seen with its sizes exchanged'],
  ['an op that can fail is live', 31, 'the error of an unused op with computed operands'],
  [
    'a failed launch leaves what came after it undone',
    32,
    'an index that the step computes fails at its end, and leaves weights, counts and random numbers as they were',
  ],
  ['versions count deferred writes', 33, 'a weight is updated and used again under autocast (bfloat16)'],
  ['a read of memory waits for deferred writes', 34, 'rows of memory that the step has written'],
  ['operands in memory are checked when the op is matched', 35, 'a wrong label is caught and the batch skipped'],
  ['gradient buffers are compared', 36, 'createGraph gives a leaf another gradient buffer between steps'],
  ['leaves are compared', 37, 'another leaf of the same memory'],
  ['a cast belongs to a leaf', 38, 'two leaves of one memory under autocast'],
]
for (const [rule, mutant, name] of mutants) {
  test(`a program notices if this rule is broken: ${rule}`, () => {
    const { make, steps } = programs.get(name) as { make: (mode: CaptureMode) => Program; steps: number }
    let broken: string[]
    try {
      broken = trace(make, 'auto', steps, mutant)
    } catch (error) {
      broken = [(error as Error).message]
    }
    assert.notDeepEqual(broken, trace(make, 'off', steps))
  })
}
