// Several processes and threads at one state, what crashes leave, and files that are whole but not what they should be.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { checksum, sealed } from '../ts/checkpoint/disk.ts'
import { beginMark, endMark, temporaryPath } from '../ts/checkpoint/marks.ts'
import {
  EarlyStoppingCallback,
  GradScaler,
  LoggingCallback,
  latestTrainingState,
  ModelCheckpointCallback,
  metrics,
  nn,
  optim,
  SaveBestModelCallback,
  SaveTrainingStateCallback,
  StochasticWeightAveragingCallback,
  schedulers,
  type Tensor,
  Trainer,
  tensor,
  WickError,
  WSDCheckpointCallback,
} from '../ts/index.ts'
import { savable } from './programs/savable.ts'
import { code } from './programs/wick-error.ts'

const root = mkdtempSync(join(tmpdir(), 'wick-together-'))
after(() => rmSync(root, { recursive: true, force: true }))
const folder = () => mkdtempSync(join(root, 'f-'))
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const saving = new URL(`./programs/saving.${suffix}`, import.meta.url)

/** A process that saves into `dir` until it is killed, or `count` times; resolves once it has saved. */
async function saver(dir: string, count?: number) {
  const child = spawn(execPath, [fileURLToPath(saving), dir, ...(count ? [String(count)] : [])])
  let errors = ''
  child.stderr.on('data', chunk => {
    errors += chunk
  })
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  child.stdout.resume()
  return { child, ended: async () => ({ status: (await ended)[0], errors }) }
}

test('a state is read whole while another process saves over it', async () => {
  const dir = folder()
  const { child, ended } = await saver(dir)
  const { trainer, numbers } = savable()
  try {
    for (let i = 0; i < 300; i++) {
      const { extra } = await trainer.loadTrainingState(join(dir, 'same'))
      assert.deepEqual(numbers(), [extra.n])
      assert.equal(await latestTrainingState(dir), join(dir, 'same'))
    }
  } finally {
    child.kill('SIGKILL')
    await ended()
  }
})

test('processes and threads save into one place, and none fails', async () => {
  const dir = folder()
  const processes = await Promise.all([saver(dir, 40), saver(dir, 40)])
  const threads = [1, 2].map(() => new Worker(saving, { argv: [dir, '40'] }))
  const codes = await Promise.all(threads.map(async thread => (await once(thread, 'exit'))[0]))
  assert.deepEqual(codes, [0, 0])
  for (const { ended } of processes) assert.deepEqual(await ended(), { status: 0, errors: '' })
  const { trainer, numbers } = savable()
  const { extra } = await trainer.loadTrainingState(join(dir, 'same'))
  assert.deepEqual(numbers(), [extra.n])
  await trainer.loadCheckpoint(join(dir, 'model.safetensors'))
})

test('what killed processes left beside files and in folders goes with the next save', async () => {
  const dir = folder()
  const temporaries = () => readdirSync(dir, { recursive: true }).filter(name => String(name).endsWith('.tmp'))
  for (let i = 0; i < 40 && temporaries().length === 0; i++) {
    const { child, ended } = await saver(dir)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 10))
    child.kill('SIGKILL')
    await ended()
  }
  assert.ok(temporaries().length > 0, 'no kill came while a file was written')
  const { trainer } = savable()
  await trainer.saveTrainingState(join(dir, 'same'))
  // Under another name, as the best k are.
  await trainer.saveCheckpoint(join(dir, 'other.safetensors'))
  assert.deepEqual(temporaries(), [])
  assert.equal(readdirSync(join(dir, 'same')).length, 3)
})

test('what others write at the moment stays, until it is an hour old', async () => {
  const dir = folder()
  const { trainer } = savable(3)
  const mark = beginMark()
  const [space = '', own = ''] = mark.split('-')
  const random = '0'.repeat(16)
  const [mine, parents, elsewhere] = [mark, `${space}-${process.ppid}-${random}`, `00000000-${own}-${random}`].map(m =>
    temporaryPath(join(dir, 'x.safetensors'), m),
  )
  for (const path of [mine!, parents!, elsewhere!]) writeFileSync(path, '')
  const save = () => trainer.saveCheckpoint(join(dir, 'model.safetensors'))
  await save()
  assert.equal(readdirSync(dir).length, 4)
  endMark(mark)
  const before = Date.now() / 1000 - 4000
  for (const path of [parents!, elsewhere!]) utimesSync(path, before, before)
  await save()
  assert.deepEqual(readdirSync(dir), ['model.safetensors'])
})

test('retention leaves links alone, and what they lead to', async () => {
  const [dir, other] = [folder(), folder()]
  const { trainer: elsewhere } = savable(3)
  await elsewhere.saveTrainingState(join(other, 'precious'))
  symlinkSync(join(other, 'precious'), join(dir, 'step_1'))
  const model = new nn.Linear(4, 3)
  class Quiet extends Trainer<nn.Linear, [Tensor, Tensor]> {
    override print() {}
  }
  const callbacks = [
    new SaveTrainingStateCallback({ saveDir: dir, saveEveryNSteps: 1, maxCheckpoints: 1, saveAtEnd: false }),
  ]
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Quiet({ model, loss: new nn.MSELoss(), optimizer, callbacks })
  const batches = [0, 1, 2].map((): [Tensor, Tensor] => [tensor([1, 2, 3, 4.5]), tensor([1, 2, 3.5])])
  await trainer.train({
    trainDataset: { length: 3, get: i => batches[i]! },
    numEpochs: 1,
    perDeviceBatchSize: 1,
  })
  assert.deepEqual(readdirSync(dir).sort(), ['step_1', 'step_3'])
  assert.equal(readdirSync(join(other, 'precious')).length, 3)
})

test('the latest state is one whose files have their sizes; a damaged one names another', async () => {
  const dir = folder()
  const { trainer } = savable(3)
  await trainer.saveTrainingState(join(dir, 'step_1'))
  await trainer.saveTrainingState(join(dir, 'step_2'))
  assert.equal(await latestTrainingState(dir), join(dir, 'step_2'))
  const file = join(dir, 'step_2', readdirSync(join(dir, 'step_2')).find(name => name.startsWith('model'))!)
  const whole = readFileSync(file)
  const damaged = Buffer.from(whole)
  damaged[damaged.length - 1]! ^= 1
  writeFileSync(file, damaged)
  await assert.rejects(trainer.loadTrainingState(dir), code('CHECKPOINT_CORRUPT', /latest other state.*step_1/))
  writeFileSync(file, whole.subarray(1))
  assert.equal(await latestTrainingState(dir), join(dir, 'step_1'))
  await trainer.loadTrainingState(dir)
})

// Contents under a right checksum

/** Writes a manifest, changed, with the checksum that it then has. */
async function forge(dir: string, change: (manifest: Record<string, unknown>) => unknown): Promise<void> {
  const path = join(dir, 'manifest.json')
  const manifest = change(JSON.parse(readFileSync(path, 'utf8')))
  const isRecord = typeof manifest === 'object' && manifest !== null
  writeFileSync(path, await sealed(hash => JSON.stringify(isRecord ? { ...manifest, checksum: hash } : manifest)))
}

/** Puts other JSON into a state, with all checksums right. */
async function forgeState(dir: string, json: string): Promise<void> {
  const bytes = new Uint8Array(Buffer.from(json))
  const hash = await checksum(bytes)
  await forge(dir, manifest => {
    const files = manifest.files as { role: string; name: string; bytes: number; checksum: string }[]
    const state = files.find(({ role }) => role === 'state')!
    writeFileSync(join(dir, state.name), bytes)
    Object.assign(state, { bytes: bytes.length, checksum: hash })
    return manifest
  })
}

const odd: readonly unknown[] = [null, 0, -1.5, 'x', true, [], {}, [null], { a: null }, [[1]]]

test('a manifest of another form is CHECKPOINT_CORRUPT, and hides no good state', async () => {
  const dir = folder()
  const { trainer } = savable(3)
  const good = join(dir, 'good')
  await trainer.saveTrainingState(good)
  writeFileSync(join(dir, 'secret'), readFileSync(join(good, 'manifest.json')))
  const bad = join(dir, 'bad')
  const forgeries: ((manifest: Record<string, unknown>) => unknown)[] = [
    ...['files', 'savedAt', 'globalStep', 'version', 'format'].flatMap(key =>
      odd
        .filter(value => !(typeof value === 'number' && ['savedAt', 'globalStep', 'version'].includes(key)))
        .filter(value => !(key === 'files' && Array.isArray(value) && value.length === 0))
        .map(value => (manifest: Record<string, unknown>) => ({ ...manifest, [key]: value })),
    ),
    ...['role', 'name', 'bytes', 'checksum'].flatMap(key =>
      [...odd, '../good/manifest.json', '/etc/passwd', 'model-0123456789abcdef.safetensors/../x'].map(
        value => (manifest: Record<string, unknown>) => ({
          ...manifest,
          files: (manifest.files as object[]).map(file => ({ ...file, [key]: value })),
        }),
      ),
    ),
  ]
  for (const [i, change] of forgeries.entries()) {
    rmSync(bad, { recursive: true, force: true })
    cpSync(good, bad, { recursive: true })
    await forge(bad, change)
    await assert.rejects(trainer.loadTrainingState(bad), code('CHECKPOINT_CORRUPT'), `forgery ${i}`)
    assert.equal(await latestTrainingState(dir), good, `forgery ${i}`)
  }
})

test('a state of another form is a typed error, and changes nothing', async () => {
  const dir = folder()
  const { trainer, set, numbers } = savable(3)
  set(1)
  const state = join(dir, 'state')
  await trainer.saveTrainingState(state)
  const file = readdirSync(state).find(name => name.endsWith('.json') && name !== 'manifest.json')!
  const json = JSON.parse(readFileSync(join(state, file), 'utf8')) as Record<string, unknown>
  set(2)
  const texts = [
    ...['', '{', '[]', 'null', '1', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
    `{"extra":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
    ...[{ $: 'bigint', value: 'x' }, { $: 'number', value: 'x' }, { $: 'entries', entries: [1] }, { $: 7 }].map(extra =>
      JSON.stringify({ ...json, extra }),
    ),
    ...['position', 'history', 'further', 'callbacks', 'extra'].flatMap(key =>
      odd
        .filter(value => !(typeof value === 'object' && value !== null && !Array.isArray(value)) || key === 'position')
        .filter(value => !(key === 'position' && value === null))
        .map(value => JSON.stringify({ ...json, [key]: value })),
    ),
    ...Object.keys(json.position as object).flatMap(key =>
      odd
        .filter(value => value !== null)
        .map(value => JSON.stringify({ ...json, position: { ...(json.position as object), [key]: value } }))
        .filter(text => !(key === 'gradients' && text.includes('"gradients":{}'))),
    ),
  ]
  for (const text of texts) {
    await forgeState(state, text)
    const falsy = /"position":(0|null)/.test(text) || text === '{}'
    await assert.rejects(
      trainer.loadTrainingState(state),
      code(falsy ? 'BAD_FILE' : 'CHECKPOINT_CORRUPT'),
      text.slice(0, 200),
    )
    assert.deepEqual(numbers(), [2])
  }
  // Of the optimizer: it says what doesn't fit, before the model is loaded.
  for (const value of odd.filter(value => value !== null)) {
    await forgeState(state, JSON.stringify({ ...json, optimizer: value }))
    await assert.rejects(trainer.loadTrainingState(state), code('STATE_DICT_MISMATCH'))
    assert.deepEqual(numbers(), [2])
  }
  await forgeState(state, JSON.stringify(json))
  await trainer.loadTrainingState(state)
  assert.deepEqual(numbers(), [1])
})

test('all parts of a checkpoint are checked before one is loaded', async () => {
  const dir = folder()
  const { trainer, set, numbers } = savable(3)
  set(1)
  await trainer.saveCheckpoint(join(dir, 'a.safetensors'))
  set(2)
  const [first] = trainer.optimizer.paramGroups
  const { weight } = trainer.model
  const other = new optim.AdamW([{ params: [weight] }, { params: first!.params.filter(p => p !== weight) }])
  trainer.optimizer = other
  await assert.rejects(trainer.loadCheckpoint(join(dir, 'a.safetensors')), code('STATE_DICT_MISMATCH', /groups/))
  assert.deepEqual(numbers(), [2])
})

test('loadStateDict of a state of another form is a typed error', () => {
  const model = new nn.Linear(2, 2)
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1 })
  model
    .forward(tensor([[1, 2.5]]))
    .sum()
    .backward()
  optimizer.step()
  const ema = new optim.EMA(model)
  const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 2 })
  const objects: { stateDict(): unknown; loadStateDict(state: never): unknown }[] = [
    model,
    optimizer,
    ema,
    accuracy,
    new metrics.MetricCollection({ accuracy }),
    new schedulers.StepLR(optimizer, { stepSize: 2 }),
    new schedulers.SequentialLR(optimizer, {
      schedulers: [new schedulers.ConstantLR(optimizer), new schedulers.StepLR(optimizer, { stepSize: 2 })],
      milestones: [1],
    }),
    new schedulers.ReduceLROnPlateau(optimizer),
    new LoggingCallback(),
    new EarlyStoppingCallback(),
    new SaveBestModelCallback(),
    new ModelCheckpointCallback(),
    new StochasticWeightAveragingCallback({ startEpoch: 1 }),
    new WSDCheckpointCallback(),
  ]
  const typed = (run: () => unknown, message: string) => {
    try {
      run()
    } catch (error) {
      assert.ok(error instanceof WickError, `${message}: ${error}`)
    }
  }
  for (const object of objects) {
    const name = object.constructor.name
    for (const value of [undefined, ...odd]) typed(() => object.loadStateDict(value as never), `${name} of ${value}`)
    const state = object.stateDict() as Record<string, unknown>
    for (const key of Object.keys(state)) {
      for (const value of [undefined, 1n, Symbol('x'), tensor([1]), ...odd]) {
        typed(() => object.loadStateDict({ ...state, [key]: value } as never), `${name}.${key} of ${String(value)}`)
      }
    }
    object.loadStateDict(state as never)
  }
  const { state, param_groups } = optimizer.stateDict()
  for (const value of [undefined, null, 'x', 1, -1.5, [], {}, tensor([1, 2])]) {
    for (const key of Object.keys(state['0']!))
      typed(
        () => optimizer.loadStateDict({ param_groups, state: { 0: { ...state['0'], [key]: value } } } as never),
        key,
      )
    for (const key of Object.keys(param_groups[0]!)) {
      typed(
        () => optimizer.loadStateDict({ state, param_groups: [{ ...param_groups[0], [key]: value }] } as never),
        key,
      )
      typed(() => optimizer.step(), key)
    }
  }
  assert.throws(
    () => new ModelCheckpointCallback().loadStateDict({ best: [{ name: '../x', step: 1, metric: 1 }], saved_step: 1 }),
    code('STATE_DICT_MISMATCH'),
  )
  assert.throws(() => new GradScaler().loadStateDict({ scale: 'x' } as never), code('STATE_DICT_MISMATCH'))
})
