/** Runs a program eagerly and with plans, and compares everything that a user can read, bit for bit, and what stays alive. */
import { type CaptureMode, capture } from '../../ts/capture.ts'
import { optim, type Tensor, tensor } from '../../ts/index.ts'
import { native } from '../../ts/native/index.ts'
import { linear } from '../../ts/nn/functional.ts'
import { manualSeed, memory, noGrad, scope } from '../../ts/tensor/index.ts'
import { collect } from '../collected.ts'
import { type Program, program } from './program.ts'
import { attempt, bits, type Layer, random, STEPS, type State } from './state.ts'

// Nothing that others left behind may be collected while tensors are counted.
collect()

/** Switches of a run with plans. */
export interface Switches {
  noFusion: boolean
  copySlots: boolean
  mutant: number
}

/** A tensor from outside the step that is on the tape, now and then: a result, or a view of a parameter instead of itself. */
function outerTensor(p: Program, t: number, bias: Tensor): Tensor | null {
  if (p.outerView) return p.outerWhen(t) ? bias.reshape(p.width) : bias
  return p.outerWhen(t) ? bias.mul(2) : null
}

interface Trace {
  log: string[]
  live: number[]
  report: ReturnType<typeof native.report>
}

function run(p: Program, mode: CaptureMode, switches: Switches): Trace {
  native.setDebug(switches.noFusion, true, switches.copySlots, mode === 'off' ? 0 : switches.mutant)
  manualSeed(7)
  const before = memory().tensors
  // Inside a scope the garbage collector frees nothing that would be counted.
  const trace = scope(() => steps(p, mode, before))
  trace.live.push(memory().tensors - before)
  return trace
}

/** The steps of a run that began with `before` live tensors. */
function steps(p: Program, mode: CaptureMode, before: number): Trace {
  const r = random(p.seed ^ 0x5bd1e995)
  const D = p.width
  const log: string[] = []
  const owned: Tensor[] = []
  const make = (...shape: number[]) => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => r() * 2 - 1)
    const t = tensor(data).reshape(shape).contiguous().keep()
    owned.push(t)
    return t
  }
  const parameter = (...shape: number[]) => make(...shape).requiresGrad_()
  const layers: Layer[] = [0, 1, 2].map(() => ({ weight: parameter(D, D), bias: parameter(D) }))
  const weight = parameter(D, D)
  const stat = make(D)
  const running = [make(D), make(D)]
  const own = layers.flatMap(l => [l.weight, l.bias])
  const all = p.two ? own : [...own, weight]
  const optimizer = p.adam ? new optim.AdamW(all, { lr: 0.01 }) : new optim.SGD(all, { lr: 0.05, momentum: 0.9 })
  const second = p.two ? new optim.SGD([weight], { lr: 0.01, momentum: 0.5 }) : null
  const labels = (size: number, i: number) => {
    const t = tensor(BigInt64Array.from({ length: size }, (_, j) => BigInt((i + j) % D))).keep()
    owned.push(t)
    return t
  }
  const data = (size: number) => ({
    size,
    batches: [0, 1, 2].map(() => make(size, D)),
    masks: [0, 1, 2].map(() => make(size, D)),
    targets: [0, 1, 2].map(i => labels(size, i)),
  })
  const s: State = {
    t: 0,
    log,
    layers,
    weight,
    stat,
    running,
    optimizer,
    second,
    ...data(4),
    pool: [],
    kept: [],
    previous: null,
    stale: null,
    inner: null,
    loss: null,
    extra: [],
    vectors: [0, 1, 2].map(() => make(D)),
    outer: null,
    stop: false,
    late: [],
  }
  s.inner = capture((x: Tensor) => x.mul(0.5).add(x), { mode })
  const step = capture(p.step(s), { mode })
  const evaluate = (x: Tensor) => noGrad(() => linear(x, layers[0]!.weight, layers[0]!.bias).relu().mean())
  const evalStep = p.evalWindow ? capture(evaluate, { mode }) : (x: Tensor) => scope(() => evaluate(x))
  const drop = (q: Tensor) => {
    try {
      q.dispose()
    } catch (e) {
      log.push(`d${e instanceof Error ? e.message : e}`)
    }
  }
  const live: number[] = []
  for (let t = 0; t < STEPS; t++) {
    s.t = t
    if (t === p.shapeAt) Object.assign(s, data(3))
    if (t === p.lrAt) optimizer.paramGroups[0]!.lr = 0.01
    const i = p.fixedBatch ? 0 : t % 3
    if (p.outerTape) s.outer = outerTensor(p, t, layers[0]!.bias) ?? make(D)
    const root = p.outerBack ? linear(s.batches[i]!, layers[1]!.weight, layers[1]!.bias).mean() : null
    let out: Tensor[] = []
    try {
      out = step(s.batches[i]!, s.targets[i]!)
    } catch (e) {
      log.push(`T${e instanceof Error ? e.message : e}`)
    }
    if (root) {
      try {
        root.backward()
      } catch (e) {
        log.push(`B${e instanceof Error ? e.message : e}`)
      }
      root.dispose()
    }
    if (s.outer && s.outer !== layers[0]!.bias && !owned.includes(s.outer)) s.outer.dispose()
    s.outer = null
    s.stale = s.loss
    for (const q of out) log.push(`o${attempt(q)}`)
    if (s.previous && !s.kept.includes(s.previous)) drop(s.previous)
    s.previous = null
    const second = out[1]
    if (second && native.isLive(second.handle) && second.shape.length === 2 && !s.batches.includes(second))
      s.previous = second.keep()
    for (const q of out) if (q !== s.previous && !s.batches.includes(q) && !s.kept.includes(q)) drop(q)
    if (p.evalEvery && t % p.evalEvery === 0) {
      const m = evalStep(s.batches[i]!)
      log.push(`e${bits(m)}`)
      m.dispose()
    }
    for (const q of [...own, weight, ...running]) log.push(`S${bits(q)}`)
    for (const l of layers) {
      const g = l.weight.grad
      log.push(g ? `g${bits(g)}` : 'g0')
      g?.dispose()
    }
    log.push(`b${bits(stat)}`, `x${bits(s.batches[i]!)}`)
    if (s.kept.length > 3) {
      const q = s.kept.shift()!
      try {
        if (q.shape.length === 2) noGrad(() => q.mul_(1.5))
      } catch (e) {
        log.push(`m${e instanceof Error ? e.message : e}`)
      }
      log.push(`K${attempt(q)}`)
      for (const o of s.kept) log.push(`K${attempt(o)}`)
      if (q !== s.previous) drop(q)
    }
    live.push(memory().tensors - before)
    log.push(`#${t}`)
  }
  const report = step.report()
  for (const q of [...s.kept, ...(s.previous ? [s.previous] : [])]) drop(q)
  for (const q of owned) drop(q)
  return { log, live, report }
}

/** The first difference between eager and planned, or null. */
export interface Difference {
  seed: number
  text: string
}
export interface Totals {
  matched: number
  diverged: number
  switched: number
  cuts: number
  threw: number
}

export function compare(seed: number, mutant: number, totals: Totals): Difference | null {
  const p = program(seed)
  const switches = { noFusion: seed % 5 === 0, copySlots: seed % 2 === 0, mutant }
  const a = run(p, 'off', switches)
  const b = run(program(seed), 'auto', switches)
  // The engine is the process's: nothing that runs after this may see the switches.
  native.setDebug(false, false, false, 0)
  if (a.log.some(x => x[0] === 'T')) totals.threw++
  for (const k of ['matched', 'diverged', 'switched', 'cuts'] as const) totals[k] += b.report[k]
  const i = a.log.findIndex((x, i) => x !== b.log[i])
  const l = a.live.findIndex((x, i) => x !== b.live[i])
  if (i < 0 && l < 0 && a.log.length === b.log.length) return null
  const at = b.log.slice(0, Math.max(i, 0)).filter(x => x[0] === '#').length
  const live = l < 0 ? '' : `, live tensors after step ${l}: off ${a.live[l]}, auto ${b.live[l]}`
  return {
    seed,
    text: `seed ${seed}, step ${at}: off ${a.log[i]} | auto ${b.log[i]}${live}\n  last: ${b.report.reason}\n  ${p.names.join(', ')}`,
  }
}

export const emptyTotals = (): Totals => ({ matched: 0, diverged: 0, switched: 0, cuts: 0, threw: 0 })
