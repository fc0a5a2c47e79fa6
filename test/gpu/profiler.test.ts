/** The profiler on a GPU: `WICK_TEST_DEVICE=cuda bun test ./test/gpu/profiler.test.ts`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { capture, manualSeed, nn, optim, type Profile, profile, randint, randn, scope } from '../../ts/index.ts'

const options = { skip: process.env.WICK_TEST_DEVICE !== 'cuda' }
const device = 'cuda'

const counts = (p: Profile) => Object.fromEntries(p.ops.map(op => [op.name, op.count]))
/** Every piece of work of the GPU has a time there, and the work of a stream doesn't overlap. */
function check(p: Profile) {
  for (const op of p.ops) {
    assert.equal(op.device, 'cuda:0', op.name)
    assert.ok(op.gpuMs !== null && op.gpuMs > 0, `${op.name} took ${op.gpuMs} ms`)
  }
  for (const stream of [0, 1]) {
    const work = p.trace.traceEvents.filter(e => e.cat === 'gpu' && e.tid === stream)
    const times = work.map(e => [e.ts ?? 0, (e.ts ?? 0) + (e.dur ?? 0)] as const).sort((a, b) => a[0] - b[0])
    // A float32 of milliseconds is what the driver gives: allow its rounding.
    times.slice(1).forEach(([start], i) => {
      assert.ok(start >= (times[i]?.[1] ?? 0) - 2, `stream ${stream}: ${start} before ${times[i]?.[1]}`)
    })
  }
}

test('eager ops have times on the GPU', options, async () => {
  const x = randn([1024, 1024], { device })
  const p = await profile(() => scope(() => x.matmul(x).relu().sum().itemSync()))
  assert.deepEqual(counts(p), { matmul: 1, relu: 1, sum: 1, download: 1 })
  check(p)
  assert.ok(p.memory['cuda:0'] && p.memory['cuda:0'].peakBytes >= 3 * 4 * 1024 * 1024)
})

test('a captured step is profiled launch by launch or as a graph, with the same results', options, async () => {
  manualSeed(1)
  const model = new nn.Sequential(new nn.Linear(256, 512), new nn.ReLU(), new nn.Linear(512, 10)).to(device)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
  const [x, y] = [randn([64, 256], { device }), randint(0, 10, [64], { device })]
  const step = capture(() => {
    const loss = nn.functional.crossEntropy(model.forward(x), y)
    optimizer.zeroGrad()
    loss.backward()
    optimizer.step()
    return loss
  })
  const run = () => step().itemSync()
  const plain: number[] = []
  for (let i = 0; i < 6; i++) plain.push(run())
  const each = await profile(run)
  check(each)
  assert.equal(counts(each).sgd, 1)
  assert.ok(!('graph' in counts(each)))
  const whole = await profile(run, { graphs: true })
  check(whole)
  assert.equal(counts(whole).graph, 1)
  assert.ok(!('sgd' in counts(whole)))
  const after = run()
  // The loss goes down on one batch: a step that was left out or done twice would show.
  const all = [...plain, each.value, whole.value, after]
  all.slice(1).forEach((loss, i) => {
    assert.ok(loss < (all[i] ?? 0), `step ${i + 1}: ${all}`)
  })
  assert.equal(step.report().diverged, 0)
})
