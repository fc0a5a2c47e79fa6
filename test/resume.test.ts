import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { latestTrainingState } from '../ts/index.ts'
import { carryOut, type Order, type Outcome } from './programs/resumable.ts'

const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const program = fileURLToPath(new URL(`./programs/resumable.${suffix}`, import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'wick-resume-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = () => join(root, String(folders++))

const plain = (outcome: Outcome): unknown => JSON.parse(JSON.stringify({ ...outcome, stopped: false }))
/** Carries out an order in a process of its own. */
async function inProcess(order: Order): Promise<Outcome> {
  const { stdout } = await promisify(execFile)(execPath, [program, JSON.stringify(order)])
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Outcome
}

// 13 batches an epoch, 3 a window, so 5 updates; 5 evaluation batches; 3 epochs.
const places = [
  ['onTrainingRunStart', 1],
  ['onTrainEpochStart', 2],
  ['onTrainStepStart', 1],
  ['onTrainStepStart', 2],
  ['onTrainStepStart', 4],
  ['onTrainStepStart', 13],
  ['onTrainStepStart', 14],
  ['onTrainStepStart', 21],
  ['onTrainStepStart', 39],
  ['onTrainEpochEnd', 1],
  ['onEvalEpochStart', 2],
  ['onEvalStepStart', 3],
  ['onEvalStepEnd', 1],
  ['onEvalStepEnd', 8],
  ['onEvalEpochEnd', 1],
  ['onTrainingRunEpochEnd', 2],
  ['onTrainingRunEpochEnd', 3],
] as const

const straight = new Map<string, Promise<Outcome>>()
function uninterrupted(order: Omit<Order, 'saveDir'> = {}): Promise<Outcome> {
  const key = JSON.stringify(order)
  const known = straight.get(key) ?? carryOut({ ...order, saveDir: folder() })
  straight.set(key, known)
  return known
}

test('stopped anywhere and resumed equals uninterrupted, bit for bit', async () => {
  const expected = plain(await uninterrupted())
  for (const [event, count] of places.slice(1)) {
    const saveDir = folder()
    const first = await carryOut({ saveDir, stop: { event, count } })
    assert.ok(first.stopped, `${event} ${count}`)
    const second = await carryOut({ saveDir, resumeFrom: saveDir })
    assert.deepEqual(plain(second), expected, `${event} ${count}`)
  }
})

test('stopped after an update, a batch or inside an intermediate evaluation: later callbacks miss nothing', async () => {
  // Noise in the dataset draws from the stream that a batch that is made again would shift.
  for (const augment of [undefined, 'sync'] as const) {
    const order = { counting: true, everything: true, ...(augment && { augment }) }
    const expected = plain(await uninterrupted(order))
    const events = [
      ['onTrainUpdateEnd', 1],
      ['onTrainUpdateEnd', 5],
      ['onTrainUpdateEnd', 7],
      ['onTrainBatchEnd', 4],
      ['onTrainBatchEnd', 13],
      // Intermediate evaluations come after batches 5 and 10 of an epoch, of 5 batches each.
      ['onEvalEpochStart', 1],
      ['onEvalStepStart', 2],
      ['onEvalStepEnd', 7],
      ['onEvalEpochEnd', 2],
      ['onTrainEpochEnd', 1],
      ['onTrainingRunEpochEnd', 1],
    ] as const
    for (const [event, count] of events) {
      const saveDir = folder()
      const place = `${event} ${count} ${augment}`
      assert.ok((await carryOut({ ...order, saveDir, stop: { event, count } })).stopped, place)
      assert.deepEqual(plain(await carryOut({ ...order, saveDir, resumeFrom: saveDir })), expected, place)
    }
  }
})

test('stopped once more before the resumed epoch goes on', async () => {
  const expected = plain(await uninterrupted())
  for (const event of ['onTrainingRunStart', 'onTrainEpochStart']) {
    const saveDir = folder()
    await carryOut({ saveDir, stop: { event: 'onTrainStepStart', count: 8 } })
    const second = await carryOut({ saveDir, resumeFrom: saveDir, stop: { event, count: 1 } })
    assert.ok(second.stopped, event)
    assert.deepEqual(plain(await carryOut({ saveDir, resumeFrom: saveDir })), expected, event)
  }
  const saveDir = folder()
  assert.ok((await carryOut({ saveDir, stop: { event: 'onTrainingRunStart', count: 1 } })).stopped)
  assert.deepEqual(plain(await carryOut({ saveDir, resumeFrom: saveDir })), expected)
})

test('the same with the callbacks and schedules that come with the library', async () => {
  const order = { everything: true, epochs: 4 }
  const expected = plain(await uninterrupted(order))
  const events = [
    ['onTrainStepStart', 1],
    ['onTrainStepStart', 6],
    ['onTrainStepStart', 21],
    ['onEvalStepEnd', 3],
    ['onEvalStepEnd', 12],
    ['onTrainUpdateEnd', 7],
    ['onTrainBatchEnd', 10],
    ['onTrainEpochStart', 2],
    ['onTrainingRunEpochEnd', 2],
  ] as const
  for (const [event, count] of events) {
    const saveDir = folder()
    assert.ok((await carryOut({ ...order, saveDir, stop: { event, count } })).stopped, `${event} ${count}`)
    assert.deepEqual(plain(await carryOut({ ...order, saveDir, resumeFrom: saveDir })), expected, `${event} ${count}`)
  }
})

for (const augment of ['sync', 'async'] as const) {
  test(`the same with random numbers in the dataset, ${augment}`, async () => {
    const expected = plain(await uninterrupted({ augment }))
    const saveDir = folder()
    await carryOut({ augment, saveDir, stop: { event: 'onTrainStepStart', count: 18 } })
    assert.deepEqual(plain(await carryOut({ augment, saveDir, resumeFrom: saveDir })), expected)
  })
}

test('the same with any number of loader workers, also when that changes on the way', async () => {
  const augment = 'module'
  const expected = plain(await uninterrupted({ augment }))
  assert.deepEqual(plain(await carryOut({ augment, numWorkers: 2, saveDir: folder() })), expected)
  const saveDir = folder()
  await carryOut({ augment, numWorkers: 2, saveDir, stop: { event: 'onTrainStepStart', count: 18 } })
  assert.deepEqual(plain(await carryOut({ augment, numWorkers: 3, saveDir, resumeFrom: saveDir })), expected)
})

test('a save inside a step does not change the run, and holds the batches before', async () => {
  for (const saveInStep of [1, 8, 20]) {
    const saveDir = folder()
    assert.deepEqual(plain(await carryOut({ saveDir, saveInStep })), plain(await uninterrupted()))
    const resumed = await carryOut({ saveDir: folder(), resumeFrom: join(saveDir, 'inside') })
    assert.equal(resumed.scheduler, (await uninterrupted()).scheduler)
  }
})

test('the same in fresh processes, and however steps are run', async () => {
  const expected = plain(await uninterrupted())
  for (const [event, count] of [places[7], places[12]]) {
    const saveDir = folder()
    await inProcess({ saveDir, stop: { event, count }, capture: 'off' })
    assert.deepEqual(plain(await inProcess({ saveDir, resumeFrom: join(saveDir, 'final'), threads: 1 })), expected)
  }
})

test('resumed twice, and with a loss scaler', async () => {
  const order = { precision: 'fp16' } as const
  const expected = plain(await uninterrupted(order))
  const saveDir = folder()
  await carryOut({ ...order, saveDir, stop: { event: 'onTrainStepStart', count: 9 } })
  await carryOut({ ...order, saveDir, resumeFrom: saveDir, stop: { event: 'onTrainStepStart', count: 9 } })
  assert.deepEqual(plain(await carryOut({ ...order, saveDir, resumeFrom: saveDir })), expected)
})

test('every periodic state resumes to the same end', async () => {
  const expected = plain(await uninterrupted())
  const saveDir = folder()
  assert.deepEqual(plain(await carryOut({ saveDir, saveEveryNSteps: 5 })), expected)
  for (let step = 5; step < 39; step += 5) {
    assert.deepEqual(plain(await carryOut({ saveDir: folder(), resumeFrom: join(saveDir, `step_${step}`) })), expected)
  }
})

test('a finished run resumed with more epochs equals the longer run', async () => {
  const saveDir = folder()
  await carryOut({ saveDir, epochs: 2 })
  assert.deepEqual(
    plain(await carryOut({ saveDir, resumeFrom: `${saveDir}/latest`, epochs: 4 })),
    plain(await uninterrupted({ epochs: 4 })),
  )
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: the update is finished, the state saved, and the resumed run is exact`, async () => {
    const saveDir = folder()
    const order: Order = { saveDir, pause: 5, saveEveryNSteps: 4 }
    const child = spawn(execPath, [program, JSON.stringify(order)], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', text => {
      output += text
    })
    let errors = ''
    child.stderr.on('data', text => {
      errors += text
      if (!child.killed && errors.includes('step_8')) child.kill(signal)
    })
    const [code] = await once(child, 'exit')
    assert.equal(code, 0, errors)
    assert.match(errors, new RegExp(`Received ${signal}`))
    const outcome = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Outcome
    assert.ok(outcome.stopped)
    assert.equal(await latestTrainingState(saveDir), join(saveDir, 'interrupted'))
    assert.ok(!existsSync(join(saveDir, 'final')))
    assert.deepEqual(plain(await carryOut({ saveDir, resumeFrom: saveDir })), plain(await uninterrupted()))
  })
}

test('a second signal ends the process at once', async () => {
  // A batch of a minute: the first signal waits for its end, the second does not.
  const order: Order = { saveDir: folder(), pause: 60_000 }
  const child = spawn(execPath, [program, JSON.stringify(order)], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  let alive = true
  ended.then(() => {
    alive = false
  })
  await once(child.stderr, 'data')
  let sent = 0
  for (; alive; sent++) {
    child.kill('SIGTERM')
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  assert.deepEqual(await ended, [null, 'SIGTERM'])
  assert.ok(sent >= 2)
})
