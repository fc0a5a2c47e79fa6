/**
 * Trains for a long time and prints, as JSON on its last line, what memory did after the warm-up: `memory.ts loop | captured | full | trainer | unscoped |
 * synchronous | dropped | disposed`.
 * A program of its own because the resident set of a test runner's process belongs to every test in it.
 */
import { execFileSync } from 'node:child_process'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  capture,
  data,
  getDefaultDevice,
  memory,
  nn,
  optim,
  randint,
  randn,
  scope,
  type Tensor,
  Trainer,
} from '../../ts/index.ts'

/** A garbage collection, where the runtime lets a program ask for one (Bun does; Node with `--expose-gc`). */
function collect() {
  const { Bun: bun, gc } = globalThis as { Bun?: { gc(force: boolean): void }; gc?: () => void }
  if (bun) bun.gc(true)
  else gc?.()
}

/** Memory at one time. */
export interface Sample {
  tensors: number
  bytes: number
  reservedBytes: number
  rss: number
  /** On a GPU: what the driver says is in use. */
  deviceMiB?: number
  /** The most bytes that were alive at the end of a step. */
  peakBytes?: number
}

function deviceMiB(): number {
  const args = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '--id=0']
  return Number(execFileSync('nvidia-smi', args, { encoding: 'utf8' }))
}

async function sample(): Promise<Sample> {
  collect()
  // Finalizers run between tasks.
  await nextTurn()
  const { tensors, bytes, reservedBytes } = memory()
  const onDevice = getDefaultDevice() === 'cpu' ? {} : { deviceMiB: deviceMiB() }
  return { tensors, bytes, reservedBytes, rss: process.memoryUsage.rss(), ...onDevice }
}

const makeModel = () => new nn.Sequential(new nn.Linear(16, 32), new nn.ReLU(), new nn.Linear(32, 4))

/** A loop as a user writes it by hand: 20,000 steps in scopes or step windows, every intermediate left to the engine. */
async function loop(how: 'loop' | 'captured' | 'full'): Promise<[Sample, Sample]> {
  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
  const x = randn([32, 16])
  const y = randint(0, 4, [32])
  const step = () => {
    const loss = nn.functional.crossEntropy(model.forward(x), y)
    optimizer.zeroGrad()
    loss.backward()
    optimizer.step()
  }
  const run = how === 'loop' ? () => scope(step) : capture(step, { mode: how === 'full' ? 'full' : 'auto' })
  const steps = (count: number) => {
    for (let i = 0; i < count; i++) run()
  }
  steps(4_000)
  const before = await sample()
  steps(20_000)
  return [before, await sample()]
}

/** The Trainer with its default callbacks: 100 epochs of 64 batches with evaluation, seen at the end of the 20th and the last. */
async function trainer(): Promise<[Sample, Sample]> {
  const samples: Sample[] = []

  class Observed extends Trainer<ReturnType<typeof makeModel>, [Tensor, Tensor], Tensor> {
    override async trainingRunEpochEnd() {
      const epoch = this.runHistory.currentEpoch
      if (epoch === 20 || epoch === 100) samples.push(await sample())
    }
  }

  const model = makeModel()
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
  const dataset = new data.TensorDataset(randn([2048, 16]), randint(0, 4, [2048]))
  const observed = new Observed({ model, loss: new nn.CrossEntropyLoss(), optimizer })
  await observed.train({ trainDataset: dataset, evalDataset: dataset, numEpochs: 100, perDeviceBatchSize: 32 })
  const [before, after] = samples
  if (!before || !after) throw new Error(`expected two samples, took ${samples.length}`)
  return [before, after]
}

/**
 * A loop as in PyTorch, whose every tensor is left to garbage collection: 200 steps of some 12 MiB. `unscoped` takes batches from a
 * loader, `synchronous` awaits nothing.
 */
async function unscoped(how: 'unscoped' | 'synchronous'): Promise<[Sample, Sample]> {
  const layers = [
    new nn.Linear(784, 512),
    new nn.ReLU(),
    new nn.Linear(512, 512),
    new nn.ReLU(),
    new nn.Linear(512, 10),
  ]
  const model = new nn.Sequential(...layers)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 })
  const images = randn([2048, 784])
  const labels = randint(0, 10, [2048])
  const loader = new data.DataLoader(new data.TensorDataset(images, labels), { batchSize: 512, shuffle: true })
  let peakBytes = 0
  const step = (x: Tensor, y: Tensor) => {
    const loss = nn.functional.crossEntropy(model.forward(x), y)
    optimizer.zeroGrad()
    loss.backward()
    optimizer.step()
    peakBytes = Math.max(peakBytes, memory().bytes)
  }
  step(images.narrow(0, 0, 512), labels.narrow(0, 0, 512))
  const before = await sample()
  for (let epoch = 0; epoch < 50; epoch++) {
    if (how === 'unscoped') for await (const [x, y] of loader) step(x, y)
    else for (let i = 0; i < 4; i++) step(images.narrow(0, 512 * i, 512), labels.narrow(0, 512 * i, 512))
  }
  return [before, { ...(await sample()), peakBytes }]
}

/** Models with their optimizers, captured steps and Trainers, one after another: let go, or disposed of. */
async function models(how: 'dropped' | 'disposed'): Promise<[Sample, Sample]> {
  const x = randn([32, 256])
  const y = randint(0, 4, [32])
  const dataset = new data.TensorDataset(x, y)
  const search = async () => {
    const model = new nn.Sequential(new nn.Linear(256, 256), new nn.ReLU(), new nn.Linear(256, 4))
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
    const step = capture(() => {
      const loss = nn.functional.crossEntropy(model.forward(x), y)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
    })
    for (let i = 0; i < 4; i++) step()
    if (step.report().matched === 0) throw new Error('the step was never matched')
    if (how === 'dropped') {
      const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [] })
      await trainer.train({ trainDataset: dataset, numEpochs: 4, perDeviceBatchSize: 32 })
      return
    }
    optimizer.dispose()
    step.dispose()
    for (const p of model.parameters()) p.dispose()
  }
  const many = async () => {
    for (let i = 0; i < 20; i++) await search()
    // What a finished call leaves on the stack may look like a reference.
    for (let i = 0; i < 3; i++) await sample()
  }
  await many()
  const before = await sample()
  await many()
  await many()
  return [before, await sample()]
}

const how = process.argv[2]
const isLoop = how === 'loop' || how === 'captured' || how === 'full'
const isUnscoped = how === 'unscoped' || how === 'synchronous'
const isModels = how === 'dropped' || how === 'disposed'
const run = isLoop ? loop(how) : isUnscoped ? unscoped(how) : isModels ? models(how) : trainer()
const [before, after] = await run
console.log(`\n${JSON.stringify({ before, after })}`)
