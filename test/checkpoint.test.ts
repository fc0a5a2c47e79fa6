import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readDirectory, snapshotDirectory } from '../ts/checkpoint/directory.ts'
import { type Disk, disk } from '../ts/checkpoint/disk.ts'
import { readSingleFile, snapshotFile } from '../ts/checkpoint/single-file.ts'
import {
  arange,
  type Callback,
  data,
  latestTrainingState,
  loadSafetensors,
  nn,
  optim,
  randint,
  randn,
  SaveTrainingStateCallback,
  Tensor,
  type TrainableScheduler,
  Trainer,
  tensor,
  WickError,
} from '../ts/index.ts'
import { fillUp } from './programs/full-disk.ts'
import { savable } from './programs/savable.ts'

const root = mkdtempSync(join(tmpdir(), 'wick-checkpoint-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = () => {
  const path = join(root, String(folders++))
  mkdirSync(path)
  return path
}
const code = (expected: string, text?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof WickError, String(error))
  assert.equal(error.code, expected, error.message)
  if (text) assert.match(error.message, text)
  return true
}

class Constant implements TrainableScheduler {
  steps = 0
  step() {
    this.steps++
  }
  stateDict() {
    return { steps: this.steps }
  }
  loadStateDict({ steps }: { steps: number }) {
    this.steps = steps
  }
}

// Round trips

for (const name of ['model.safetensors', 'folder']) {
  test(`saveCheckpoint and loadCheckpoint of a ${name}`, async () => {
    const path = join(folder(), 'new', name)
    const from = savable()
    from.set(3)
    from.trainer.scheduler = new Constant()
    from.trainer.scheduler.step()
    const odd = { $: 'tensor', nan: Number.NaN, minusZero: -0, big: 2n ** 70n, none: null, list: [1, 'a', true] }
    await from.trainer.saveCheckpoint(path, { extra: { odd, best: tensor([1, 2]), left: undefined } })

    const to = savable()
    await assert.rejects(to.trainer.loadCheckpoint(path), code('STATE_DICT_MISMATCH', /scheduler/))
    const scheduler = new Constant()
    to.trainer.scheduler = scheduler
    const { extra } = await to.trainer.loadCheckpoint(path)
    assert.deepEqual(to.numbers(), [3])
    assert.equal(scheduler.steps, 1)
    assert.deepEqual(extra.odd, odd)
    assert.ok(extra.best instanceof Tensor)
    assert.deepEqual(await extra.best.toArray(), [1, 2])
    assert.ok(!('left' in extra))

    // Options hold on every save and load.
    from.set(4)
    await from.trainer.saveCheckpoint(path, { saveOptimizer: false, saveScheduler: false })
    await to.trainer.loadCheckpoint(path)
    assert.deepEqual([to.optimizer.paramGroups[0]?.lr, scheduler.steps], [3, 1])
    await from.trainer.saveCheckpoint(path)
    await to.trainer.loadCheckpoint(path, { loadOptimizer: false, loadScheduler: false })
    assert.equal(to.optimizer.paramGroups[0]?.lr, 3)
    assert.deepEqual(new Set(Array.from(to.model.weight.dataSync(), Number)), new Set([4]))
  })
}

test('other tools read the weights of a one-file checkpoint as usual', async () => {
  const path = join(folder(), 'model.safetensors')
  const { trainer, model, set } = savable()
  set(7)
  await trainer.saveCheckpoint(path)
  const tensors = loadSafetensors(path)
  assert.deepEqual(await tensors.weight?.toArray(), await model.weight.toArray())
  const others = Object.keys(tensors).filter(name => !name.startsWith('__wick__/'))
  assert.deepEqual(others.sort(), ['bias', 'weight'])
})

test('every dtype and shape comes back, in several files too', async () => {
  const dtypes = ['float32', 'float64', 'float16', 'bfloat16', 'int64', 'int32', 'uint8', 'bool'] as const
  const model = new Map<string, Tensor>(dtypes.map(dtype => [dtype, arange(6).to({ dtype }).reshape([2, 3])]))
  model.set('scalar', tensor(2.5))
  model.set('empty', tensor([]))
  const state = { nested: { view: arange(12).reshape([3, 4]).t() } }
  const dir = join(folder(), 'state')
  await snapshotDirectory(dir, { model, state }, { fileBytes: 100 })()
  assert.ok(readdirSync(dir).length > 6)
  const file = join(folder(), 'one.safetensors')
  await snapshotFile(file, { model, state })()
  for (const read of [await readDirectory(dir, 'cpu'), await readSingleFile(file, 'cpu')]) {
    assert.ok(read)
    for (const [name, x] of model) {
      const y = read.model.get(name)
      assert.deepEqual([y?.dtype, y?.shape, await y?.toArray()], [x.dtype, x.shape, await x.toArray()], name)
    }
    const { view } = read.state.nested as { view: Tensor }
    assert.deepEqual(await view.toArray(), await state.nested.view.toArray())
  }
})

test('what a state cannot hold is named', async () => {
  const { trainer } = savable()
  const extra = { list: [{ when: new Date() as unknown as null }] }
  await assert.rejects(
    trainer.saveCheckpoint(join(folder(), 'x'), { extra }),
    code('BAD_OPTION', /'extra.list.0.when' is a Date/),
  )
})

test('missing checkpoints, checkpoints of the other kind and unknown options are typed errors', async () => {
  const { trainer } = savable()
  const dir = folder()
  await assert.rejects(trainer.loadCheckpoint(join(dir, 'none.safetensors')), code('BAD_FILE'))
  await assert.rejects(trainer.loadCheckpoint(join(dir, 'none')), code('BAD_FILE'))
  await assert.rejects(trainer.loadTrainingState(dir), code('BAD_FILE', /no complete training state/))
  await trainer.saveCheckpoint(join(dir, 'checkpoint'))
  await assert.rejects(trainer.loadTrainingState(join(dir, 'checkpoint')), code('BAD_FILE', /not a training state/))
  const misspelt = { saveOptimiser: true } as object
  await assert.rejects(trainer.saveCheckpoint(join(dir, 'x'), misspelt), code('BAD_OPTION', /saveOptimizer/))
})

// Damage

/** Calls `load` with each byte of a file flipped in turn, `step` bytes apart. */
async function flipEach(file: string, step: number, load: () => Promise<unknown>): Promise<void> {
  const good = readFileSync(file)
  for (let at = 0; at < good.length; at += step) {
    const bad = Buffer.from(good)
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8))
    writeFileSync(file, bad)
    await assert.rejects(load(), code('CHECKPOINT_CORRUPT'), `byte ${at} of ${file}`)
  }
  writeFileSync(file, good)
}

test('one flipped byte anywhere is CHECKPOINT_CORRUPT, and nothing is changed', async () => {
  const { trainer, set, numbers } = savable(3)
  set(1)
  const dir = folder()
  const file = join(dir, 'model.safetensors')
  await trainer.saveCheckpoint(file)
  set(2)
  const load = async () => trainer.loadCheckpoint(file)
  await flipEach(file, 1, load)
  assert.deepEqual(numbers(), [2])
  await load()

  const state = join(dir, 'state')
  await trainer.saveTrainingState(state, { extra: { x: tensor([1, 2]) } })
  assert.equal(readdirSync(state).length, 4)
  for (const name of readdirSync(state)) await flipEach(join(state, name), 3, () => trainer.loadTrainingState(state))
})

test('files that are cut off or missing are CHECKPOINT_CORRUPT', async () => {
  const { trainer } = savable(3)
  const dir = folder()
  const file = join(dir, 'model.safetensors')
  await trainer.saveCheckpoint(file)
  const whole = readFileSync(file)
  for (const length of [0, 5, 20, whole.length - 1]) {
    writeFileSync(file, whole.subarray(0, length))
    await assert.rejects(trainer.loadCheckpoint(file), code('CHECKPOINT_CORRUPT'))
  }
  const state = join(dir, 'state')
  await trainer.saveTrainingState(state)
  rmSync(join(state, readdirSync(state).find(name => name.startsWith('model')) ?? ''))
  await assert.rejects(trainer.loadTrainingState(state), code('CHECKPOINT_CORRUPT', /missing/))
  assert.equal(await latestTrainingState(dir), null)
})

// Crashes

/** A disk that fails at operation `at` and after, and that notes what was done. */
function failingDisk(at: number) {
  const log: string[] = []
  const count = <Args extends unknown[], R>(name: string, operation: (...args: Args) => Promise<R>) => {
    return async (...args: Args): Promise<R> => {
      if (log.length >= at) throw new Error('the disk is gone')
      log.push(`${name} ${String(args.at(name === 'rename' ? 1 : 0))}`)
      return operation(...args)
    }
  }
  const on: Disk = {
    mkdir: count('mkdir', disk.mkdir),
    write: count('write', disk.write),
    rename: count('rename', disk.rename),
    unlink: count('unlink', disk.unlink),
    syncFolder: count('sync', disk.syncFolder),
    removeFolder: count('remove', disk.removeFolder),
  }
  return { on, log }
}

test('a crash at any operation leaves the old state or the new one', async () => {
  const contents = (n: number) => ({ model: new Map([['x', tensor([n])]]), state: { n, y: tensor([n]) } })
  const before = join(folder(), 'before')
  await snapshotDirectory(before, contents(1))()
  const straight = failingDisk(Number.POSITIVE_INFINITY)
  const copy = (name: string) => {
    const to = join(folder(), name)
    cpSync(before, to, { recursive: true })
    return to
  }
  await snapshotDirectory(copy('straight'), contents(2), { on: straight.on })()
  const commit = straight.log.findIndex(line => /^rename .*manifest.json$/.test(line))
  assert.ok(commit > 0)
  // Names are durable before the commit, the commit before old files go.
  assert.match(straight.log[commit - 2] ?? '', /^sync/)
  assert.match(straight.log[commit + 1] ?? '', /^sync/)
  assert.ok(straight.log.slice(0, commit).every(line => !line.startsWith('unlink')))
  for (let at = 0; at < straight.log.length; at++) {
    const dir = copy('crashed')
    await assert.rejects(snapshotDirectory(dir, contents(2), { on: failingDisk(at).on })(), code('BAD_FILE', /gone/))
    const read = await readDirectory(dir, 'cpu')
    const n = at > commit ? 2 : 1
    assert.deepEqual([read?.state.n, await read?.model.get('x')?.item()], [n, n], straight.log[at])
    // What the crash left is removed by the next save.
    await snapshotDirectory(dir, contents(3))()
    assert.equal((await readDirectory(dir, 'cpu'))?.state.n, 3)
    assert.equal(readdirSync(dir).length, 4)
  }
})

const programs = fileURLToPath(new URL('./programs/', import.meta.url))
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const saving = join(programs, `saving.${suffix}`)

// Node takes half a second to start.
const moments = process.versions.bun ? 100 : 20
test(`kill -9 at ${moments} random moments of saving leaves loadable states`, async () => {
  const { trainer, numbers } = savable()
  let kills = 0
  const dir = folder()
  const worker = async (own: string) => {
    while (kills < moments) {
      kills++
      const child = spawn(execPath, [saving, own], { stdio: ['ignore', 'pipe', 'inherit'] })
      const ended = once(child, 'exit')
      // From the first announcement on it saves all the time.
      await once(child.stdout, 'data')
      await new Promise(resolve => setTimeout(resolve, Math.random() * 20))
      child.kill('SIGKILL')
      await ended
      await check(own)
    }
  }
  let turn = Promise.resolve()
  /** One at a time, since there is one trainer. */
  const check = (own: string) => {
    turn = turn.then(async () => {
      const state = await trainer.loadTrainingState(join(own, 'same'))
      assert.deepEqual(numbers(), [state.extra.n])
      const { extra } = await trainer.loadCheckpoint(join(own, 'model.safetensors'))
      assert.ok(Math.abs(Number(extra.n) - Number(state.extra.n)) <= 1)
    })
    return turn
  }
  await Promise.all([worker(join(dir, 'a')), worker(join(dir, 'b'))])
})

// Full disks

const mountCommand = 'mount'

test('a full disk loses nothing that was there', async t => {
  const dir = folder()
  if (spawnSync(mountCommand, ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', dir]).status !== 0) {
    t.skip('needs the right to mount a tmpfs')
    return
  }
  try {
    await fillUp(dir)
  } finally {
    execFileSync(`u${mountCommand}`, [dir])
  }
})

test('nor does a limit of file sizes', () => {
  // The signal of the limit is ignored, as in a shell, so that writing fails instead.
  const command = 'trap "" XFSZ; ulimit -f 300; exec "$0" "$@"'
  execFileSync('sh', ['-c', command, execPath, join(programs, `full-disk.${suffix}`), folder()], { stdio: 'inherit' })
})

// Background saves, retention, callbacks

const dataset = () => new data.TensorDataset<[Tensor, Tensor]>(randn([40, 4]), randint(0, 3, [40]))
function classifier(callbacks: Callback<Trainer<nn.Linear, [Tensor, Tensor]>>[]) {
  const model = new nn.Linear(4, 3)
  const printed: string[] = []
  class Quiet extends Trainer<nn.Linear, [Tensor, Tensor]> {
    override print(...values: unknown[]) {
      printed.push(values.join(' '))
    }
  }
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Quiet({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks })
  return { trainer, printed }
}

test('a background save holds the moment at which it was asked for', async () => {
  const { trainer, set, numbers } = savable()
  const dir = folder()
  let saved = 0
  set(1)
  await trainer.saveTrainingState(join(dir, 'a'), { background: true, onSaved: () => void saved++ })
  set(2)
  // Back-pressure: the second waits for the first.
  await trainer.saveTrainingState(join(dir, 'b'), { background: true, onSaved: () => void saved++ })
  assert.ok(saved >= 1)
  set(3)
  for (const [name, n] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    await trainer.loadTrainingState(join(dir, name))
    assert.equal(saved, 2)
    assert.deepEqual(numbers(), [n])
  }
})

test('an error of a background save is thrown by the next one, or by train', async () => {
  const { trainer } = savable()
  const file = join(folder(), 'file')
  writeFileSync(file, '')
  await trainer.saveTrainingState(join(file, 'state'), { background: true })
  await assert.rejects(trainer.saveTrainingState(folder()), code('BAD_FILE', /ENOTDIR|EEXIST/))
  const callback = new SaveTrainingStateCallback({ saveDir: file, saveEveryNEpochs: 1, saveAtEnd: false })
  const run = classifier([callback]).trainer.train({ trainDataset: dataset(), numEpochs: 1 })
  await assert.rejects(run, code('BAD_FILE'))
})

test('SaveTrainingStateCallback: names, retention and console lines', async () => {
  const saveDir = join(folder(), 'states')
  const { trainer, printed } = classifier([
    new SaveTrainingStateCallback({ saveDir, saveEveryNEpochs: 2, saveEveryNSteps: 4, maxCheckpoints: 2 }),
  ])
  await trainer.train({ trainDataset: dataset(), numEpochs: 4, perDeviceBatchSize: 8 })
  assert.deepEqual(readdirSync(saveDir).sort(), ['epoch_4', 'final', 'step_20'])
  const lines = printed.filter(line => line.includes('training state')).map(line => line.replace(`${saveDir}/`, ''))
  assert.deepEqual(lines, [
    'Saved training state to step_4',
    'Saved training state to step_8',
    'Saved training state to epoch_2',
    'Removed old training state: step_4',
    'Saved training state to step_12',
    'Removed old training state: step_8',
    'Saved training state to step_16',
    'Removed old training state: epoch_2',
    'Saved training state to step_20',
    'Removed old training state: step_12',
    'Saved training state to epoch_4',
    'Removed old training state: step_16',
    'Saved training state to final',
  ])
  // States of earlier processes count too, and an incomplete one is passed over.
  assert.equal(await latestTrainingState(saveDir), join(saveDir, 'final'))
  rmSync(join(saveDir, 'final', 'manifest.json'))
  assert.equal(await latestTrainingState(saveDir), join(saveDir, 'epoch_4'))
  const next = classifier([
    new SaveTrainingStateCallback({ saveDir, saveEveryNEpochs: 1, maxCheckpoints: 1, saveAtEnd: false }),
  ])
  await next.trainer.train({ trainDataset: dataset(), numEpochs: 5, perDeviceBatchSize: 8, resumeFrom: saveDir })
  assert.deepEqual(readdirSync(saveDir).sort(), ['epoch_5', 'final'])
  assert.equal(next.trainer.globalStep, 25)
})

test('a state whose callback is missing warns; one inside an epoch of another shape is refused', async t => {
  const saveDir = folder()
  class Counting implements Callback {
    stateDict = () => ({ n: 1 })
    loadStateDict = () => {}
  }
  const first = classifier([new Counting(), new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 3 })])
  await first.trainer.train({ trainDataset: dataset(), numEpochs: 1 })
  const warn = t.mock.method(console, 'warn', () => {})
  const run = (perDeviceBatchSize: number) =>
    classifier([]).trainer.train({
      trainDataset: dataset(),
      numEpochs: 2,
      perDeviceBatchSize,
      resumeFrom: join(saveDir, 'step_3'),
    })
  await run(8)
  assert.match(String(warn.mock.calls[0]?.arguments[0]), /Counting/)
  await assert.rejects(run(4), code('STATE_DICT_MISMATCH', /5 batches of 8 items.*10 batches of 4/))
})

test('every checkpoint of a run with a scheduler loads in a fresh trainer', async () => {
  const saveDir = folder()
  const { trainer } = classifier([new SaveTrainingStateCallback({ saveDir, saveEveryNEpochs: 1 })])
  await trainer.train({ trainDataset: dataset(), numEpochs: 3, createScheduler: () => new Constant() })
  for (const name of ['epoch_1', 'epoch_2', 'epoch_3', 'final']) {
    const { currentEpoch, globalStep } = await classifier([]).trainer.loadTrainingState(join(saveDir, name))
    const epochs = name === 'final' ? 3 : Number(name.at(-1))
    assert.deepEqual([currentEpoch, globalStep], [epochs + 1, 5 * epochs])
  }
  const lacking = classifier([]).trainer.train({ trainDataset: dataset(), numEpochs: 4, resumeFrom: saveDir })
  await assert.rejects(lacking, code('STATE_DICT_MISMATCH', /scheduler/))
})

test('files of others in a state folder are left alone', async () => {
  const { trainer } = savable()
  const dir = join(folder(), 'state')
  await trainer.saveTrainingState(dir)
  writeFileSync(join(dir, 'notes.txt'), 'mine')
  await trainer.saveTrainingState(dir)
  assert.ok(existsSync(join(dir, 'notes.txt')) && statSync(dir).isDirectory())
})
