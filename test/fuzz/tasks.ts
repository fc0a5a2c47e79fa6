/**
 * Random tasks: two to four programs (Trainers, loops of captured steps, regions of scopes and autocast, loops with a graph held
 * over an await, inference handlers) take turns at random awaits. Each gives the bits that it gives when it runs alone.
 */
import { autocast, type CaptureMode, capture, nn, optim, type Tensor, tensor } from '../../ts/index.ts'
import { asyncScope, isGradEnabled, manualSeed, noGrad, scope } from '../../ts/tensor/index.ts'
import { Choices, type Compare, debugged, difference, type Pending, pause, Trace } from './shared.ts'
import { TrainerRun, trainerProgram } from './trainer-programs.ts'

const pending: Pending = {}

const D = 6
const matrix = (c: Choices, n: number, m: number) =>
  tensor(c.values(n * m))
    .reshape(n, m)
    .contiguous()

/** What a task has: choices of its own, those of its pauses, where it says what it saw. */
interface Task {
  c: Choices
  pauses: Choices
  trace: Trace
}

/** The small model of a task: weights and an optimizer. */
function small(c: Choices) {
  const weights = [0, 1].map(() => scope(() => new nn.Parameter(matrix(c, D, D).mul(0.5))))
  const optimizer = c.chance(0.5) ? new optim.AdamW(weights, { lr: 0.01 }) : new optim.SGD(weights, { lr: 0.05 })
  const forward = (x: Tensor) => nn.F.linear(nn.F.linear(x, weights[0]!).tanh(), weights[1]!)
  const free = () => {
    for (const w of weights) w.dispose()
  }
  return { weights, optimizer, forward, free }
}

const kinds: Record<string, (task: Task) => Promise<void>> = {
  Trainer: async ({ c, pauses, trace }) => {
    const program = trainerProgram(c.int(1e6), pending, false)
    await asyncScope(() => new TrainerRun(program, c.one(['auto', 'auto', 'off', 'full']), trace, pauses).train())
  },
  'captured steps': async ({ c, pauses, trace }) => {
    const mode = c.one<CaptureMode>(['auto', 'auto', 'off', 'full'])
    const { weights, optimizer, forward, free } = small(c)
    const kept = c.chance(0.5)
    const x = matrix(c, 4, D)
    const step = capture(
      (x: Tensor) => {
        optimizer.zeroGrad()
        const loss = forward(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    for (let t = 0; t < 14; t++) {
      const loss = step(x)
      if (kept) await pause(pauses)
      trace.see('loss', loss)
      loss.dispose()
      if (!kept) await pause(pauses)
      trace.see('weight', weights[0])
    }
    x.dispose()
    free()
  },
  'graph over an await': async ({ c, pauses, trace }) => {
    const { weights, optimizer, forward, free } = small(c)
    const x = matrix(c, 4, D)
    for (let t = 0; t < 8; t++) {
      await asyncScope(async () => {
        const h = forward(x)
        await pause(pauses)
        const loss = h.square().mean()
        await pause(pauses)
        loss.backward()
        for (const w of weights) trace.look('gradient', () => w.grad)
        await pause(pauses)
        optimizer.step()
        optimizer.zeroGrad()
      })
      trace.see('weight', weights[0])
    }
    x.dispose()
    free()
  },
  'kept over an await': async ({ c, pauses, trace }) => {
    const { optimizer, weights, forward, free } = small(c)
    const x = matrix(c, 4, D)
    for (let t = 0; t < 8; t++) {
      const h = forward(x).keep()
      await pause(pauses)
      const loss = h.square().mean().keep()
      await pause(pauses)
      trace.try('backward', () => loss.backward())
      for (const w of weights) trace.look('gradient', () => w.grad)
      optimizer.step()
      optimizer.zeroGrad()
      for (const y of [h, loss]) trace.try('dispose', () => y.dispose())
      trace.see('weight', weights[0])
    }
    x.dispose()
    free()
  },
  scopes: async ({ c, pauses, trace }) => {
    const x = matrix(c, 4, D).keep()
    for (let t = 0; t < 8; t++) {
      const [outer, list] = await asyncScope(async () => {
        const a = x.mul(t)
        await pause(pauses)
        const inner = await asyncScope(async () => {
          const b = a.add(1)
          await pause(pauses)
          return b.sum({ dim: 0 })
        })
        await pause(pauses)
        trace.see('inner', inner)
        return [a.mean(), [inner]] as const
      })
      await pause(pauses)
      trace.see('outer', outer)
      for (const y of [outer, ...list]) {
        trace.see('returned', y)
        trace.try('dispose', () => y.dispose())
      }
    }
    x.dispose()
  },
  'regions of autocast': async ({ c, pauses, trace }) => {
    const { forward, free } = small(c)
    const x = matrix(c, 4, D).keep()
    for (let t = 0; t < 8; t++) {
      await asyncScope(async () => {
        await autocast({ dtype: c.one(['bfloat16', 'float16']), enabled: c.chance(0.8) }, async () => {
          const h = forward(x)
          await pause(pauses)
          trace.say('dtype', h.matmul(h.t()).dtype)
          trace.see('low', forward(x).to({ dtype: 'float32' }).detach())
        })
        trace.say('dtype', forward(x).dtype)
        await pause(pauses)
        trace.say('dtype', forward(x).dtype)
      })
    }
    x.dispose()
    free()
  },
  inference: async ({ c, pauses, trace }) => {
    const { forward, free } = small(c)
    const x = matrix(c, 3, D).keep()
    const scoped = c.chance(0.5)
    for (let t = 0; t < 16; t++) {
      trace.say('gradients', isGradEnabled())
      const y = scoped ? scope(() => noGrad(() => forward(x).softmax(-1))) : noGrad(() => forward(x).softmax(-1)).keep()
      trace.say('dtype', y.dtype)
      await pause(pauses)
      trace.see('answer', y)
      trace.say('sum', await y.sum().item())
      trace.try('dispose', () => y.dispose())
      trace.say('requiresGrad', forward(x).requiresGrad)
      await pause(pauses)
    }
    x.dispose()
    free()
  },
}

/** Runs task `i` of program `seed`; `salt` decides when it pauses. */
async function run(seed: number, i: number, salt: number): Promise<Trace> {
  const c = new Choices(seed * 8 + i)
  const kind = c.one(Object.keys(kinds).filter(name => !(name in pending)))
  const trace = new Trace()
  trace.say('step', `task ${i}, ${kind}`)
  await trace.tryAsync('task', () => kinds[kind]!({ c, pauses: new Choices(salt + i), trace }))
  return trace
}

/** How the tasks of one program run beside each other, against each alone. */
export const compareTasks: Compare = async (seed, mutant) => {
  const c = new Choices(seed ^ 0x2545f491)
  const n = 2 + c.int(3)
  const list = Array.from({ length: n }, (_, i) => i)
  const alone: Trace[] = []
  manualSeed(7)
  for (const i of list) alone.push(await debugged({}, () => run(seed, i, 0)))
  manualSeed(7)
  const beside = await debugged({ mutant }, () => Promise.all(list.map(i => run(seed, i, 1000))))
  const names = list.map(i => alone[i]!.entries[0]!)
  for (const i of list) {
    const text = difference(`tasks ${seed}`, alone[i]!, beside[i]!, names)
    if (text) return text
  }
  return isGradEnabled() ? null : `tasks ${seed}: gradients are off afterwards`
}
