/**
 * Patterns of steps that don't repeat, or are hard on plans, for `cliffs.ts`. `patterns.ts` prints their names, and
 * `patterns.ts PATTERN MODE` the CPU milliseconds of each step, as JSON.
 */
import { capture, grad, manualSeed, nn, noGrad, optim, randn, setNumThreads, type Tensor } from '../ts/index.ts'

type Mode = 'auto' | 'off'
/** A pattern's steps, from `prepare` on: a call is one step. */
interface Pattern {
  prepare: (mode: Mode) => (i: number) => void
  /** Steps that are run, and those at their beginning that don't count as "for ever". */
  steps: number
  warm: number
}

/** A step that trains on what `forward` makes of its input. */
function trainer(mode: Mode, parameters: Tensor[], forward: (x: Tensor, n: number) => Tensor) {
  const optimizer = new optim.SGD(parameters, { lr: 1e-3, momentum: 0.9 })
  return capture(
    (x: Tensor, n: number) => {
      optimizer.zeroGrad()
      const loss = forward(x, n)
      loss.backward()
      optimizer.step()
      return loss
    },
    { mode },
  )
}
const parameter = (...shape: [number, ...number[]]) => new nn.Parameter(randn(shape).mul(0.1))

/** An unrolled recurrent cell, of as many steps as `length` says. */
const cells =
  (length: (i: number) => number): Pattern['prepare'] =>
  mode => {
    const [w, b] = [parameter(8, 8), parameter(8)]
    const x = randn([4, 8])
    const step = trainer(mode, [w, b], (h, n) => {
      for (let k = 0; k < n; k++) h = h.matmul(w).add(b).tanh()
      return h.sum()
    })
    return i => step(x, length(i)).dispose()
  }
/** A small network; `body` is what a step does with it besides. */
const network =
  (body: (loss: Tensor, i: number, x: Tensor) => Tensor, shape = (_: number) => 8): Pattern['prepare'] =>
  mode => {
    const model = new nn.Sequential(
      new nn.Linear(16, 32),
      new nn.ReLU(),
      new nn.Linear(32, 16),
      new nn.Tanh(),
      new nn.Linear(16, 4),
    )
    const inputs = new Map<number, Tensor>()
    const step = trainer(mode, [...model.parameters()], (x, i) => body(model.forward(x).mul(2).square().mean(), i, x))
    return i => {
      const n = shape(i)
      const x = inputs.get(n) ?? randn([n, 16])
      inputs.set(n, x)
      step(x, i).dispose()
    }
  }
/** Frozen residual blocks whose result is asked whether it requires grad. */
const residual =
  (blocks: number): Pattern['prepare'] =>
  mode => {
    const [w, last] = [randn([8, 8]).mul(0.1), parameter(8, 8)]
    const x = randn([4, 8])
    const step = trainer(mode, [last], h => {
      for (let k = 0; k < blocks; k++) h = h.add(h.matmul(w).relu())
      if (h.requiresGrad) throw new Error('the blocks are frozen')
      return h.matmul(last).sum()
    })
    return i => step(x, i).dispose()
  }

const patterns: Record<string, Pattern> = {
  'repeating step': { prepare: network(loss => loss), steps: 3000, warm: 500 },
  'unrolled cell, lengths 20 to 119, each twice': { prepare: cells(i => 20 + (i >> 1)), steps: 200, warm: 60 },
  'unrolled cell, lengths 200 to 279, each twice': { prepare: cells(i => 200 + (i >> 1)), steps: 160, warm: 60 },
  'unrolled cell, 240 steps': { prepare: cells(() => 240), steps: 20, warm: 3 },
  'unrolled cell, 1600 steps': { prepare: cells(() => 1600), steps: 8, warm: 3 },
  'unrolled cell, 6400 steps': { prepare: cells(() => 6400), steps: 6, warm: 3 },
  'requiresGrad behind 22 residual blocks': { prepare: residual(22), steps: 20, warm: 3 },
  'requiresGrad behind 200 residual blocks': { prepare: residual(200), steps: 20, warm: 3 },
  '40 reads a step': { prepare: reads(40), steps: 60, warm: 3 },
  '400 reads a step': { prepare: reads(400), steps: 30, warm: 3 },
  '1200 reads a step': { prepare: reads(1200), steps: 12, warm: 3 },
  'a new capture each time': { prepare: fresh, steps: 3000, warm: 500 },
  'throws at the end of each step': {
    prepare: mode => {
      const step = network(loss => loss)(mode)
      const failing = network(() => {
        throw new RangeError('the step is over')
      })(mode)
      step(0)
      return i => {
        try {
          failing(i)
        } catch (error) {
          if (!(error instanceof RangeError)) throw error
        }
      }
    },
    steps: 3000,
    warm: 500,
  },
  'sizes 1 to 200, each twice': {
    prepare: network(
      loss => loss,
      i => 1 + (i >> 1),
    ),
    steps: 400,
    warm: 100,
  },
  'requiresGrad_ of a result each step': {
    prepare: network((loss, _, x) =>
      loss.add(
        noGrad(() => x.mul(2))
          .requiresGrad_()
          .sum(),
      ),
    ),
    steps: 3000,
    warm: 500,
  },
  'grad() each step': { prepare: gradients, steps: 3000, warm: 500 },
  'diverging in the last op': {
    prepare: network((loss, i) =>
      i % 97 === 0 ? loss.add(i) : [...Array(1 + (i % 96)).keys()].reduce((l, k) => (k ? l.neg() : l), loss),
    ),
    steps: 3000,
    warm: 500,
  },
  'shapes never repeating': {
    prepare: network(
      loss => loss,
      i => 1 + i,
    ),
    steps: 3000,
    warm: 500,
  },
  'a kept result each step': {
    prepare: mode => {
      const kept: Tensor[] = []
      const step = network(loss => {
        for (const x of kept.splice(0)) x.dispose()
        kept.push(loss.mul(2).detach().keep())
        return loss
      })(mode)
      return step
    },
    steps: 3000,
    warm: 500,
  },
  ...Object.fromEntries(
    [5, 8, 10, 20, 40].map(n => [
      `${n} shapes in turn`,
      {
        prepare: network(
          loss => loss,
          i => 4 + (i % n),
        ),
        steps: 1200,
        warm: 400,
      },
    ]),
  ),
  ...Object.fromEntries(
    [3, 12].map(n => [
      `another op every ${n} steps`,
      { prepare: network((loss, i) => (i % n === 0 ? loss.add(1).mul(i) : loss)), steps: 3000, warm: 500 },
    ]),
  ),
}

/** `n` host reads in one step. */
function reads(n: number): Pattern['prepare'] {
  return mode => {
    const x = randn([16])

    const step = capture(
      (x: Tensor) => {
        let y = x
        for (let k = 0; k < n; k++) {
          y = y.mul(0.99).add(0.01)
          y.sum().itemSync()
        }
        return y
      },
      { mode },
    )
    return () => step(x).dispose()
  }
}
/** Every step is a function of its own. */
function fresh(mode: Mode): (i: number) => void {
  const [w, b] = [randn([16, 16]), randn([16])]
  const x = randn([8, 16])
  return () => capture((x: Tensor) => x.matmul(w).add(b).relu().matmul(w).sub(b).tanh().sum(), { mode })(x).dispose()
}
/** A penalty on the gradient of the input. */
function gradients(mode: Mode): (i: number) => void {
  const model = new nn.Sequential(new nn.Linear(16, 32), new nn.Tanh(), new nn.Linear(32, 4))
  const x = randn([8, 16]).requiresGrad_()
  const step = trainer(mode, [...model.parameters()], x => {
    const y = model.forward(x).sum()
    const [g] = grad([y], [x], { createGraph: true })
    return y.add(g!.square().sum())
  })
  return i => step(x, i).dispose()
}

/** CPU milliseconds of each step. */
function run({ prepare, steps }: Pattern, mode: Mode): number[] {
  manualSeed(0)
  const step = prepare(mode)
  return Array.from({ length: steps }, (_, i) => {
    const before = process.cpuUsage()
    step(i)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  })
}

const [name, mode] = process.argv.slice(2)
if (name === undefined) console.log(JSON.stringify(Object.keys(patterns)))
else {
  const pattern = patterns[name]
  if (!pattern || (mode !== 'auto' && mode !== 'off')) throw new Error('usage: patterns.ts [PATTERN auto|off]')
  setNumThreads(1)
  console.log(JSON.stringify({ warm: pattern.warm, ms: run(pattern, mode) }))
}
