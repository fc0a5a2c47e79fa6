/**
 * Random networks: steps under `capture` made of what users write (weights through views, tied and frozen ones, critics,
 * recurrent cells, attention, autocast, caught errors). Compared with the eager run bit for bit: all weights, gradients, buffers,
 * optimizers' states, outputs, error messages, live tensors.
 */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { autocast, type CaptureMode, capture, nn, optim, type Tensor, tensor } from '../../ts/index.ts'
import { crossEntropy, linear } from '../../ts/nn/functional.ts'
import { clipGradNorm_ } from '../../ts/nn/utils.ts'
import { Generator, manualSeed, noGrad, scope, tensorsIn } from '../../ts/tensor/index.ts'
import { D, instructions, type Network, STEPS } from './network-instructions.ts'
import { Choices, type Compare, debugged, difference, draw, type Pending, Trace } from './shared.ts'

const pending: Pending = {}

/** What a call gets beside its batch: tensors and others, which may change from call to call. */
interface Extras {
  scale: number
  mask: Tensor | null
  pair: [Tensor, Tensor]
  /** Labels that the step computes an index from: at times they are wrong. */
  index: Tensor
}

function program(seed: number) {
  const c = new Choices(seed)
  const pure = c.chance(0.3)
  const wild = pure ? 0 : c.one([0, 0.05, 0.15, 0.4])
  const rare = (p: number) => !pure && c.chance(p)
  const list = draw(c.apart(), instructions, 4 + c.int(22), STEPS, { wild, pure, pending })
  const own = c.apart()
  const settings = {
    accumulation: rare(0.2) ? 2 + c.int(2) : 1,
    shapeAt: own.chance(0.25) ? own.int(STEPS) : -1,
    cycle: own.chance(0.15) ? 2 + own.int(5) : 1,
    lrAt: own.chance(0.4) ? own.int(STEPS) : -1,
    weightDecayAt: own.chance(0.2) ? own.int(STEPS) : -1,
    adam: own.chance(0.4),
    criticAdam: own.chance(0.3),
    groups: own.chance(0.3),
    computed: rare(0.25) ? 1 + c.int(2) : 0,
    failsAt: 3 + c.int(STEPS - 4),
    rivalAt: rare(0.25) ? c.int(STEPS) : -1,
    skipsBatches: rare(0.3),
    autocast: own.chance(0.15) ? own.one(['bfloat16', 'float16'] as const) : null,
    clip: own.chance(0.3),
    clearsTwins: own.chance(0.5),
    zeroFirst: own.chance(0.5),
    plainLoss: own.chance(0.4),
    view: own.chance(0.3),
    returns: own.int(pure ? 6 : 3),
    // Between steps
    createGraphAt: own.chance(0.25) ? own.int(STEPS) : -1,
    seedAt: own.chance(0.25) ? own.int(STEPS) : -1,
    freezeAt: own.chance(0.25) ? own.int(STEPS) : -1,
    noGradAt: own.chance(0.15) ? own.int(STEPS) : -1,
    autocastAt: own.chance(0.15) ? own.int(STEPS) : -1,
    scaleAt: own.chance(0.3) ? own.int(STEPS) : -1,
    maskAt: own.chance(0.3) ? own.int(STEPS) : -1,
    pairAt: own.chance(0.3) ? own.int(STEPS) : -1,
    perCall: own.chance(0.5) ? 1 + own.int(4) : 0,
    noFusion: own.chance(0.2),
    copySlots: own.chance(0.5),
  }
  // An index that the step computes fails at its end, where the step's own `try` is over.
  if (settings.skipsBatches) settings.computed = 0
  return { seed, pure, list, names: [JSON.stringify(settings), ...list.map(i => i.name)], ...settings }
}
type Program = ReturnType<typeof program>

/** All that a run owns, from the program's seed. */
function network(p: Program, trace: Trace): Network {
  const c = new Choices(p.seed ^ 0x5bd1e995)
  const make = (...shape: number[]) =>
    tensor(c.values(shape.reduce((a, b) => a * b, 1)))
      .mul(0.6)
      .reshape(shape)
      .contiguous()
      .keep()
  const parameter = (...shape: number[]) => {
    const data = make(...shape)
    const made = new nn.Parameter(data)
    data.dispose()
    return made
  }
  const whole = (...values: number[]) => tensor(BigInt64Array.from(values, BigInt)).keep()
  const weights = {
    a: parameter(D, D),
    b: parameter(D, D),
    square: parameter(D, D),
    flat: parameter(D * D),
    tall: parameter(D / 2, 2 * D),
    vector: parameter(D),
    bias: parameter(D),
    table: parameter(D, D),
    image: parameter(1, 2, 4, 4),
    filter: parameter(2, 1, 2, 2),
    cube: parameter(2, D / 2, D),
    one: parameter(1),
  }
  const critic = parameter(D, 1)
  return {
    t: 0,
    trace,
    size: 4,
    x: make(4, D),
    labels: whole(0),
    wrong: whole(0),
    pool: [],
    losses: [],
    weights,
    twins: { square: weights.square, vector: weights.vector },
    frozen: parameter(D, D).requiresGrad_(false),
    loose: parameter(D, D),
    critic,
    rival: null,
    criticOptimizer: p.criticAdam ? new optim.AdamW([critic], { lr: 0.01 }) : new optim.SGD([critic], { lr: 0.05 }),
    average: make(D, D),
    statistic: make(D),
    running: [make(D), tensor(c.values(D)).square().add(0.5).keep()],
    counts: whole(...Array.from({ length: D }, (_, i) => i)),
    replay: make(12, D),
    places: whole(...Array.from({ length: D }, () => c.int(D * D))),
    mask: tensor(c.values(D * D))
      .gt(0)
      .keep(),
    rows: whole(...Array.from({ length: D }, () => c.int(D))),
    zeros: whole(...Array.from({ length: D }, () => 0)),
    generator: new Generator(3),
    kept: [],
    grads: [],
    file: join(tmpdir(), `wick-fuzz-${process.pid}.safetensors`),
  }
}

/** The step of a program. Gives what it returns. */
function stepOf(p: Program, s: Network, optimizer: optim.SGD | optim.AdamW, head: Tensor) {
  const zero = () => s.t % p.accumulation === 0
  const clear = () => {
    optimizer.zeroGrad()
    if (p.clearsTwins) for (const twin of Object.values(s.twins)) twin.grad = null
  }
  const work = (x: Tensor, labels: Tensor, { scale, mask, pair, index }: Extras) => {
    s.x = x
    s.labels = labels
    s.pool = [p.view ? x.reshape(s.size * D).reshape(s.size, D) : x, x.mul(scale).add(pair[0].mul(pair[1]))]
    if (mask) s.pool.push(x.mul(mask))
    s.losses = []
    if (p.zeroFirst && zero()) clear()
    const forward = () => {
      for (const i of p.list) if (i.when(s.t)) i.run(s)
      const top = linear(s.pool.at(-1)!, head)
      let loss = p.plainLoss ? top.square().mean() : crossEntropy(top, labels)
      for (const l of s.losses) loss = loss.add(l)
      if (p.computed === 1) loss = loss.add(top.gather(1, index.mul(1).unsqueeze(1)).mean())
      // Nobody uses the result; its error counts.
      if (p.computed === 2) s.average.indexSelect(0, index.mul(1))
      return { loss, top }
    }
    const { loss, top } = p.autocast ? autocast({ dtype: p.autocast }, forward) : forward()
    loss.backward()
    if (s.t % p.accumulation === p.accumulation - 1) {
      if (p.clip) clipGradNorm_(optimizer.paramGroups[0]!.params, 0.5)
      optimizer.step()
      s.rival?.step()
    }
    if (!p.zeroFirst && (s.t + 1) % p.accumulation === 0) clear()
    return { loss, top }
  }
  return (x: Tensor, labels: Tensor, extras: Extras): unknown => {
    const out = p.skipsBatches ? s.trace.try('batch skipped', () => work(x, labels, extras)) : work(x, labels, extras)
    if (!out) return { loss: x.mean() }
    const { loss, top } = out
    if (p.returns === 1) return { loss, top: top.mul(1) }
    if (p.returns === 2) return { loss, rest: [top.detach(), s.pool[0]!.mul(2)] }
    if (p.returns === 3) return { loss, x }
    if (p.returns === 4) return { loss, weight: s.weights.square }
    if (p.returns === 5) return { loss, size: extras.scale * 2, name: 'x', top }
    return { loss }
  }
}

function run(p: Program, mode: CaptureMode, many: boolean): Trace {
  const trace = new Trace()
  manualSeed(7)
  scope(() => {
    const s = network(p, trace)
    const owned = new Set<Tensor>()
    const all: Tensor[] = Object.values(s.weights)
    const c = new Choices(p.seed ^ 0x27d4eb2f)
    const matrix = (n: number, m: number) =>
      tensor(c.values(n * m))
        .reshape(n, m)
        .contiguous()
    const head = new nn.Parameter(matrix(D, D))
    const params = [...all, head]
    const groups = p.groups ? [{ params: params.slice(0, 5) }, { params: params.slice(5), lr: 0.03 }] : params
    const optimizer = p.adam
      ? new optim.AdamW(groups, { lr: 0.01 })
      : new optim.SGD(groups, { lr: 0.05, momentum: c.one([0, 0.9]) })
    // An optimizer moves its parameters together: these share the memory that they have now.
    s.twins = {
      square: new nn.Parameter(s.weights.square.detach()),
      vector: new nn.Parameter(s.weights.vector.detach()),
    }
    const data = (size: number) =>
      [0, 1, 2].map(i => ({
        x: matrix(size, D),
        mask: matrix(size, D),
        labels: tensor(BigInt64Array.from({ length: size }, (_, j) => BigInt((i + j * 3) % D))),
        index: tensor(BigInt64Array.from({ length: size }, (_, j) => BigInt((i + j * 3) % D))),
        wrong: tensor(BigInt64Array.from({ length: size }, (_, j) => BigInt(j === 1 ? 99 : j))),
      }))
    const sizes = [4, 3, 2, 5, 6, 1].map(data)
    const step = capture(stepOf(p, s, optimizer, head), {
      mode,
      ...(p.perCall > 0 && mode === 'full' ? { stepsPerCall: p.perCall } : {}),
    })
    const batchOf = (t: number) => {
      const at = p.cycle > 1 ? t % p.cycle : p.shapeAt >= 0 && t >= p.shapeAt ? 1 : 0
      return sizes[at]![t % 3]!
    }
    const argumentsOf = (t: number): [Tensor, Tensor, Extras] => {
      const { x, mask, labels, index, wrong } = batchOf(t)
      const other = t >= p.pairAt && p.pairAt >= 0 ? mask : x
      const extras = {
        scale: p.scaleAt >= 0 && t >= p.scaleAt ? 0.3 : 0.5,
        mask: p.maskAt >= 0 && t >= p.maskAt ? mask : null,
        pair: [x, other] as [Tensor, Tensor],
        index: t === p.failsAt ? wrong : index,
      }
      return [x, labels, extras]
    }
    const seeOut = (out: unknown) => {
      for (const [name, value] of Object.entries(out as object)) {
        if (Array.isArray(value)) for (const x of value) see(`out ${name}`, x)
        else if (typeof value === 'object') see(`out ${name}`, value)
        else trace.say(`out ${name}`, value)
      }
    }
    const see = (name: string, x: Tensor) => {
      trace.see(name, x)
      if (!owned.has(x)) trace.try('dispose', () => x.dispose())
    }
    for (const x of [...params, ...Object.values(s.twins), ...sizes.flat().flatMap(b => Object.values(b))]) owned.add(x)
    const seeAll = () => {
      for (const [name, x] of Object.entries({
        ...s.weights,
        twin: s.twins.square,
        vectorTwin: s.twins.vector,
        loose: s.loose,
        critic: s.critic,
        head,
      })) {
        trace.look(name, () => x.detach())
        trace.look(`${name}.grad`, () => x.grad)
      }
      const { frozen, average, statistic, counts, replay, running } = s
      for (const [name, x] of Object.entries({
        frozen,
        average,
        statistic,
        counts,
        replay,
        mean: running[0],
        variance: running[1],
      }))
        trace.see(name, x)
      for (const x of s.kept) trace.see('kept', x)
      for (const x of s.grads) trace.see('kept gradient', x)
      trace.say('generator', JSON.stringify(s.generator.getState()))
    }
    for (let t = 0; t < STEPS; t++) {
      trace.say('step', t)
      s.t = t
      const batch = batchOf(t)
      s.size = batch.x.shape[0]!
      s.wrong = batch.wrong
      if (t === p.lrAt) optimizer.paramGroups[0]!.lr = 0.02
      if (t === p.weightDecayAt) optimizer.paramGroups[0]!.weightDecay = 0.1
      if (t === p.seedAt) manualSeed(11)
      if (t === p.rivalAt) s.rival = new optim.SGD([s.weights.a, s.weights.bias], { lr: 0.01, momentum: 0.5 })
      if (t === p.freezeAt) s.weights.a.requiresGrad_(false)
      if (p.freezeAt >= 0 && t === p.freezeAt + 4) s.weights.a.requiresGrad_(true)
      if (t === p.createGraphAt) trace.try('createGraph', () => scope(() => createGraph(s, batch.x)))
      const call = () => step(...argumentsOf(t))
      const n = many && STEPS - t >= 3 && quiet(p, t, 3) ? 3 : 1
      trace.try('step', () => {
        if (n > 1) seeOut(step.many([t, t + 1, t + 2].map(argumentsOf)))
        else if (t === p.noGradAt) seeOut(noGrad(call))
        else if (t === p.autocastAt) seeOut(autocast({}, call))
        else seeOut(call())
      })
      t += n - 1
      seeAll()
      trace.count()
    }
    for (const [name, x] of Object.entries(optimizer.stateDict().state).flatMap(([i, state]) =>
      Object.entries(state).map(([k, v]) => [`${i}.${k}`, v] as const),
    ))
      typeof x === 'number' ? trace.say(name, x) : trace.see(name, x)
    for (const x of [...s.kept, ...s.grads]) trace.try('dispose', () => x.dispose())
    // What is left to the garbage collector would change the count of a later run.
    for (const x of [...tensorsIn({ ...s, trace: null }), head]) x.dispose()
    rmSync(s.file, { force: true })
  })
  return trace
}

const createGraph = (s: Network, x: Tensor) => x.matmul(s.loose).square().mean().backward({ createGraph: true })

/** Whether nothing changes between the steps of a call of `n` that begins with step `t`. */
function quiet(p: Program, t: number, n: number): boolean {
  if (p.cycle > 1) return false
  const places = [
    p.shapeAt,
    p.lrAt,
    p.weightDecayAt,
    p.seedAt,
    p.freezeAt,
    p.freezeAt + 4,
    p.createGraphAt,
    p.noGradAt,
    p.autocastAt,
  ]
  return !places.some(at => at > t && at < t + n) && t !== p.noGradAt && t !== p.autocastAt
}

/** How one program runs from plans: in mode `auto`, and `full` where it is pure. */
export const compareNetwork: Compare = async (seed, mutant) => {
  const p = program(seed)
  const { noFusion, copySlots } = p
  const full = p.pure && !('full' in pending)
  const runs: [CaptureMode, boolean][] = full
    ? [
        ['auto', false],
        ['full', false],
      ]
    : [['auto', false]]
  const eager = await debugged({ noFusion }, () => run(p, 'off', false))
  for (const [mode, many] of runs) {
    const found = await debugged({ noFusion, copySlots, mutant }, () => run(p, mode, many))
    const text = difference(`network ${seed}, ${mode}`, eager, found, p.names)
    if (text) return text
  }
  if (!full) return null
  const eagerly = await debugged({ noFusion }, () => run(p, 'off', true))
  const found = await debugged({ noFusion, copySlots, mutant }, () => run(p, 'full', true))
  return difference(`network ${seed}, full by many`, eagerly, found, p.names)
}
