import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  capture,
  data,
  manualSeed,
  nn,
  optim,
  Profile,
  ProfilerCallback,
  profile,
  randint,
  randn,
  scope,
  type Tensor,
  Trainer,
  WickError,
} from '../ts/index.ts'

const counts = (p: Profile) => Object.fromEntries(p.ops.map(op => [op.name, op.count]))
const code = (expected: string) => (error: unknown) => error instanceof WickError && error.code === expected

test('counts are those of the ops that ran, and their times fit into the wall time', async () => {
  const x = randn([16, 16])
  const p = await profile(() => scope(() => x.matmul(x).relu().add(x).sum()))
  assert.deepEqual(counts(p), { matmul: 1, relu: 1, add: 1, sum: 1 })
  assert.deepEqual(p.launches, { cpu: 4 })
  assert.ok(p.ops.every(op => op.device === 'cpu' && op.gpuMs === null && op.signature === ''))
  assert.ok(p.ops.reduce((sum, op) => sum + op.cpuMs, 0) <= p.wallMs)
  const memory = p.memory.cpu
  assert.ok(memory && memory.peakBytes > memory.startBytes && memory.peakStorages > 0)
})

test('the function may be async; what it gives is there', async () => {
  const x = randn([4])
  const p = await profile(async () => {
    x.add(1).dispose()
    await Promise.resolve()
    x.add(2).dispose()
    return 'done'
  })
  assert.equal(p.value, 'done')
  assert.deepEqual(counts(p), { add: 2 })
})

test('shapes tell ops of one name apart', async () => {
  const [a, b] = [randn([2, 3]), randn([4, 3])]
  const p = await profile(() => scope(() => [a, b, a].map(x => x.exp())), { shapes: true })
  const found = p.ops.map(op => `${op.name} ${op.signature} ${op.count}`)
  const wanted = ['exp float32[2, 3] -> float32[2, 3] 2', 'exp float32[4, 3] -> float32[4, 3] 1']
  assert.deepEqual(found.sort(), wanted)
})

test('an error passes and ends the profile; a profile in a profile is refused', async () => {
  const fail = () => {
    throw new RangeError('mine')
  }
  await assert.rejects(profile(fail), RangeError)
  await assert.rejects(
    profile(() => profile(() => {})),
    code('BAD_OPTION'),
  )
  await assert.rejects(
    profile(() => {}, { shape: true } as object),
    code('BAD_OPTION'),
  )
  assert.deepEqual(counts(await profile(() => {})), {})
})

test('a captured function is profiled by the instructions of its plan, with the same results', async () => {
  const w = randn([8, 8])
  const f = capture((x: Tensor) => x.matmul(w).mul(2).relu())
  const x = randn([8, 8])
  const want = f(x).dataSync()
  f(x).dispose()
  const p = await profile(() => f(x))
  assert.deepEqual(p.value.dataSync(), want)
  assert.equal(f.report().matched, 1)
  assert.deepEqual(counts(p), { matmul: 1, 'chain: mul+relu': 1, 'copy memory': 1 })
})

test('the table names every op, and the trace opens in Chrome', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wick-profile-'))
  try {
    const x = randn([8])
    const p = await profile(() => scope(() => x.mul(2).exp()), { shapes: true })
    const table = p.table()
    assert.match(table, /^op +count +CPU ms/)
    assert.match(table, /^exp +1 .*float32\[8\] -> float32\[8\]$/m)
    assert.match(table, /^cpu: 2 launches, busy .* memory .* MiB at most/m)
    assert.match(p.table({ limit: 1 }), /^… and 1 more$/m)
    const path = join(folder, 'trace.json')
    await p.saveTrace(path)
    const { traceEvents } = JSON.parse(readFileSync(path, 'utf8')) as Profile['trace']
    const work = traceEvents.filter(e => e.ph === 'X')
    assert.deepEqual(
      work.map(e => [e.name, e.pid, e.tid]),
      [
        ['mul', 0, 1],
        ['exp', 0, 1],
      ],
    )
    assert.ok(work.every(e => (e.ts ?? -1) >= 0 && (e.dur ?? -1) >= 0))
    assert.ok(traceEvents.some(e => e.ph === 'M' && e.name === 'thread_name' && e.args?.name === 'ops'))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('work of a GPU has a track for each stream', () => {
  const events = Float64Array.from([0, 1, 0, 10, 5, 1, 100, 30, 0, 1, 1, 20, 5, 1, 110, 40])
  const memory = [{ device: 1, before: 0, peak: 8, storages: 1, plans: 0, reserved: 8 }]
  const p = new Profile(null, { names: ['matmul'], signatures: [''], events, wall: 1000, memory })
  assert.deepEqual(p.ops, [{ name: 'matmul', signature: '', device: 'cuda:0', count: 2, cpuMs: 0.01, gpuMs: 0.07 }])
  const streams = p.trace.traceEvents.filter(e => e.name === 'thread_name' && e.pid === 1).map(e => e.args?.name)
  assert.deepEqual(streams, ['compute stream', 'side stream'])
  const onGpu = p.trace.traceEvents.filter(e => e.cat === 'gpu')
  assert.deepEqual(
    onGpu.map(e => [e.pid, e.tid, e.ts, e.dur]),
    [
      [1, 0, 100, 30],
      [1, 1, 110, 40],
    ],
  )
  assert.match(p.table(), /^cuda:0: 2 launches, busy 0\.050 ms \(5\.0%\)/m)
})

class QuietTrainer extends Trainer {
  readonly printed: string[] = []
  override print(...values: unknown[]) {
    this.printed.push(values.join(' '))
  }
}

for (const mode of ['auto', 'off', 'full'] as const) {
  test(`the callback profiles some steps of a run and changes nothing (capture ${mode})`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wick-profile-'))
    const run = async (callbacks: ProfilerCallback[]) => {
      manualSeed(0)
      const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
      const trainDataset = new data.TensorDataset<[Tensor, Tensor]>(randn([64, 4]), randint(0, 3, [64]))
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
      const loss = new nn.CrossEntropyLoss()
      const trainer = new QuietTrainer({ model, loss, optimizer, callbacks, capture: mode, stepsPerCall: 2 })
      await trainer.train({ trainDataset, numEpochs: 2, perDeviceBatchSize: 4 })
      return { trainer, losses: trainer.runHistory.getMetricValues('train_loss_epoch') }
    }
    try {
      const path = join(folder, 'trace.json')
      const callback = new ProfilerCallback({ skip: 5, steps: 4, path })
      const [plain, profiled] = [await run([]), await run([callback])]
      assert.deepEqual(profiled.losses, plain.losses)
      assert.equal(callback.profile?.value.steps, 4)
      const sgd = callback.profile?.ops.find(op => op.name === 'sgd')
      assert.equal(sgd?.count, 4)
      // Replays in 'full' come in groups, and a profile begins between two of them.
      const head =
        mode === 'full' ? /Profile of 4 training steps after \d+\n\nop / : /Profile of 4 training steps after 5\n\nop /
      assert.match(profiled.trainer.printed[0] ?? '', head)
      const { traceEvents } = JSON.parse(readFileSync(path, 'utf8')) as Profile['trace']
      if (mode !== 'full') assert.equal(traceEvents.filter(e => e.cat === 'step').length, 4)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}

test('a profile that is longer than the epoch ends with it', async () => {
  const callback = new ProfilerCallback({ skip: 2, steps: 100 })
  const model = new nn.Sequential(new nn.Linear(4, 3))
  const trainDataset = new data.TensorDataset<[Tensor, Tensor]>(randn([20, 4]), randint(0, 3, [20]))
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new QuietTrainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [callback] })
  await trainer.train({ trainDataset, evalDataset: trainDataset, numEpochs: 2, perDeviceBatchSize: 4 })
  assert.equal(callback.profile?.value.steps, 3)
  assert.equal(callback.profile?.ops.find(op => op.name === 'sgd')?.count, 3)
})

test('options are checked', () => {
  assert.throws(() => new ProfilerCallback({ steps: 0 }), code('BAD_OPTION'))
  assert.throws(() => new ProfilerCallback({ skip: -1 }), code('BAD_OPTION'))
  assert.throws(() => new ProfilerCallback({ stpes: 3 } as object), code('BAD_OPTION'))
})
