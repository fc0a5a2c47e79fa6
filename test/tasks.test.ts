/** Tasks that share the event loop: each computes what it computes alone, whatever another one does while it waits. */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { autocastDtype } from '../ts/amp/index.ts'
import {
  type AnyTrainer,
  autocast,
  type Callback,
  data,
  isGradEnabled,
  keep,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  scope,
  type Tensor,
  Trainer,
  zeros,
} from '../ts/index.ts'
import { native } from '../ts/native/index.ts'
import { unscoped } from '../ts/tensor/lifetime.ts'
import { asyncScope } from '../ts/tensor/memory.ts'
import { collected } from './collected.ts'

const turn = () => new Promise<void>(resolve => setImmediate(resolve))
type Batch = [Tensor, Tensor]
type Model = nn.Sequential

const makeModel = (seed: number): Model => {
  manualSeed(seed)
  return new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
}
const dataset = (seed: number) => {
  manualSeed(100 + seed)
  const x = randn([48, 4])
  return new data.TensorDataset<Batch>(x, x.select(1, 0).gt(0).to('int64'))
}
class Quiet extends Trainer<Model, Batch, Tensor> {
  override print() {}
}
/** A callback that waits for the event loop at every place of a step. */
const waits: Callback = {
  onTrainStepStart: turn,
  onTrainStepEnd: turn,
  onGradientsReady: turn,
  onTrainUpdateEnd: turn,
  onTrainBatchEnd: turn,
  onEvalStepStart: turn,
  onEvalStepEnd: turn,
}
const makeTrainer = (seed: number, callbacks: Callback[] = [], precision: 'no' | 'bf16' = 'no') => {
  const model = makeModel(seed)
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
  return new Quiet({ model, optimizer, loss: new nn.CrossEntropyLoss(), callbacks, precision })
}
const run = async (trainer: Quiet, seed: number) => {
  const trainDataset = dataset(seed)
  const dataLoaderOptions = { shuffle: false }
  await trainer.train({
    trainDataset,
    evalDataset: trainDataset,
    perDeviceBatchSize: 4,
    numEpochs: 2,
    trainDataLoaderOptions: dataLoaderOptions,
  } as Parameters<Quiet['train']>[0])
  return weights(trainer.model)
}
const weights = (model: nn.Module) => Object.values(model.stateDict()).flatMap(t => Array.from(t.dataSync(), Number))
const nothingIsLeft = () => {
  assert.equal(unscoped, true)
  assert.equal(isGradEnabled(), true)
  assert.equal(autocastDtype(), null)
}

for (const count of [2, 8]) {
  for (const [kind, callbacks] of [
    ['without hooks', []],
    ['whose hooks wait', [waits]],
  ] as const) {
    for (const precision of ['no', 'bf16'] as const) {
      test(`${count} Trainers at once ${kind} (precision ${precision}) learn as alone`, async () => {
        const seeds = Array.from({ length: count }, (_, i) => i)
        const make = () => seeds.map(seed => makeTrainer(seed, [...callbacks], precision))
        const alone: number[][] = []
        for (const [seed, trainer] of make().entries()) alone.push(await run(trainer, seed))
        const together = await Promise.all(make().map((trainer, seed) => run(trainer, seed)))
        assert.deepEqual(together, alone)
        nothingIsLeft()
      })
    }
  }
}

/** Serves inference of `model`, and the gradient of its first weight; gives the answers to `requests`. */
async function served(model: Model, requests: number, meanwhile: () => Promise<unknown>): Promise<string[]> {
  manualSeed(7)
  const x = keep(randn([3, 4]))
  const server = createServer((_, response) => {
    const answer = async () => {
      const loss = model.forward(x).square().mean()
      await turn()
      loss.backward()
      const { grad } = model.parameters()[0]!
      const text = JSON.stringify([isGradEnabled(), autocastDtype(), await loss.item(), grad && (await grad.toArray())])
      for (const p of model.parameters()) p.grad = null
      return text
    }
    answer().then(
      text => response.end(text),
      error => response.end(String(error)),
    )
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const ask = async () => {
    const answers: string[] = []
    for (let i = 0; i < requests; i++) answers.push(await (await fetch(`http://127.0.0.1:${port}`)).text())
    return answers
  }
  const [answers] = await Promise.all([ask(), meanwhile()])
  await new Promise(resolve => server.close(resolve))
  x.dispose()
  return answers
}

for (const precision of ['no', 'bf16'] as const) {
  test(`a server answers during a training (precision ${precision}) as without, and the training learns as alone`, async () => {
    const alone = await run(makeTrainer(1, [waits], precision), 1)
    const [expected] = await served(makeModel(5), 1, async () => {})
    let learned: number[] = []
    const model = makeModel(5)
    const trainer = makeTrainer(1, [waits], precision)
    const answers = await served(model, 300, async () => {
      learned = await run(trainer, 1)
    })
    assert.deepEqual([...new Set(answers)], [expected])
    assert.deepEqual(learned, alone)
    nothingIsLeft()
  })
}

/** A step that has matched its update waits while another task reads, and writes, the weights. */
async function interrupted(capture: 'auto' | 'off', mutant: number): Promise<unknown> {
  const seen: number[] = []
  let step = 0
  let other: (() => void) | undefined
  const callback: Callback = {
    async onTrainUpdateEnd(trainer: AnyTrainer) {
      if (++step % 3 === 0) {
        const [w] = trainer.optimizer.paramGroups[0]!.params
        await new Promise<void>(resolve => {
          other = () => {
            seen.push(Number(w!.sum().itemSync()))
            noGrad(() => w!.mul_(0.5))
            resolve()
          }
        })
      }
    },
  }
  const model = makeModel(2)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Quiet({ model, optimizer, loss: new nn.CrossEntropyLoss(), callbacks: [callback], capture })
  native.setDebug(false, false, false, mutant)
  try {
    let running = true
    const training = run(trainer, 2).finally(() => {
      running = false
    })
    while (running) {
      await turn()
      other?.()
      other = undefined
    }
    return [seen, await training]
  } catch (error) {
    return String(error)
  } finally {
    native.setDebug(false, false, false, 0)
  }
}
test('what a waiting step has matched is done before another task reads or writes it', async () => {
  assert.deepEqual(await interrupted('auto', 0), await interrupted('off', 0))
  nothingIsLeft()
})
test('this is noticed if broken: leaving a window settles it', async () => {
  assert.notDeepEqual(await interrupted('auto', 40), await interrupted('off', 0))
})

/** The gradients of a forward pass that begins while a hook waits and ends after the step. */
async function acrossSteps(mutant: number): Promise<unknown> {
  let reached = () => {}
  const waiting = new Promise<void>(resolve => {
    reached = resolve
  })
  let goOn = () => {}
  const gate = new Promise<void>(resolve => {
    goOn = resolve
  })
  const trainer = makeTrainer(2, [
    {
      async onTrainStepEnd(at: AnyTrainer) {
        if (at.globalStep !== 5) return
        reached()
        await gate
      },
    },
  ])
  const model = makeModel(5)
  const x = dataset(5).tensors[0]
  native.setDebug(false, false, false, mutant)
  try {
    const training = run(trainer, 2)
    await waiting
    const hidden = model.forward(x)
    goOn()
    await training
    hidden.square().mean().backward()
    return model.parameters().map(p => p.grad && Array.from(p.grad.dataSync(), Number))
  } catch (error) {
    return String(error)
  } finally {
    native.setDebug(false, false, false, 0)
  }
}
test('a forward pass that begins while a hook waits keeps its gradients, and needs a window to be its own', async () => {
  const model = makeModel(5)
  model.forward(dataset(5).tensors[0]).square().mean().backward()
  const expected = model.parameters().map(p => p.grad && Array.from(p.grad.dataSync(), Number))
  assert.deepEqual(await acrossSteps(0), expected)
  assert.notDeepEqual(await acrossSteps(41), expected)
  nothingIsLeft()
})

/** A tensor that a scope gives after some turns of the loop. */
const made = async (value: number, turns: number) =>
  asyncScope(async () => {
    const x = zeros([2])
    for (let i = 0; i < turns; i++) await turn()
    return x.add(value)
  })
test('overlapping asyncScopes keep their own results and free their own tensors', async () => {
  const before = collected()
  const [a, b, c] = await Promise.all([made(1, 5), made(2, 1), made(3, 3)])
  assert.deepEqual(
    [a, b, c].map(x => Array.from(x!.dataSync(), Number)),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  )
  assert.equal(memory().tensors, before + 3)
  for (const x of [a, b, c]) x!.dispose()
  nothingIsLeft()
})
test('results move to the scope around, or out of all if that has ended', async () => {
  const before = collected()
  let late: Promise<Tensor> | undefined
  await asyncScope(async () => {
    late = asyncScope(async () => {
      for (let i = 0; i < 4; i++) await turn()
      return randn([2])
    })
    await Promise.all([made(1, 1), asyncScope(async () => randn([2]))])
    assert.equal(memory().tensors, before + 2)
  })
  const x = await late!
  assert.equal(memory().tensors, before + 1)
  x.dispose()
  nothingIsLeft()
})
test('overlapping autocast, and noGrad inside, hold for their own task', async () => {
  const dtypes = async (dtype: 'bfloat16' | 'float16', turns: number) =>
    autocast({ dtype }, async () => {
      const seen = [autocastDtype()]
      for (let i = 0; i < turns; i++) {
        await turn()
        seen.push(autocastDtype())
        noGrad(() => assert.equal(isGradEnabled(), false))
      }
      return [...new Set(seen)]
    })
  const outside = async () => {
    for (let i = 0; i < 6; i++) {
      await turn()
      assert.equal(autocastDtype(), null)
    }
  }
  const [a, b] = await Promise.all([dtypes('bfloat16', 5), dtypes('float16', 2), outside()])
  assert.deepEqual([a, b], [['bfloat16'], ['float16']])
  nothingIsLeft()
})
test('evaluate and predict at once leave gradients on, for every task', async () => {
  const alone = await makeTrainer(3).predict({ dataset: dataset(3), perDeviceBatchSize: 4 })
  const watch = async () => {
    for (let i = 0; i < 6; i++) {
      await turn()
      assert.equal(isGradEnabled(), true)
    }
  }
  const evaluate = makeTrainer(4, [waits]).evaluate({ dataset: dataset(4), perDeviceBatchSize: 4 })
  const predict = makeTrainer(3).predict({ dataset: dataset(3), perDeviceBatchSize: 4 })
  const [together] = await Promise.all([predict, evaluate, watch()])
  assert.deepEqual(Array.from(together.dataSync(), Number), Array.from(alone.dataSync(), Number))
  nothingIsLeft()
})
test('a hook may start saves without waiting for them', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'wick-tasks-'))
  const alone = await run(makeTrainer(6), 6)
  const saves: Promise<void>[] = []
  const saving = (background: boolean): Callback => ({
    onTrainUpdateEnd(trainer: AnyTrainer, { update }: { update: number }) {
      if (update % 5 === 0) saves.push(trainer.saveCheckpoint(join(dir, `step-${update}.safetensors`)))
    },
    onTrainBatchEnd(trainer: AnyTrainer) {
      if (trainer.globalStep % 7 === 0)
        saves.push(trainer.saveTrainingState(join(dir, `state-${trainer.globalStep}`), { background }))
    },
  })
  assert.deepEqual(await run(makeTrainer(6, [saving(true)]), 6), alone)
  await Promise.all(saves)
  assert.ok(saves.length > 4)
  nothingIsLeft()
})
test('a Trainer inside a hook of another one', async () => {
  const alone = [await run(makeTrainer(8), 8), await run(makeTrainer(9), 9)]
  let inner: Promise<number[]> | undefined
  const nesting: Callback = {
    async onTrainBatchEnd(trainer: AnyTrainer) {
      if (trainer.globalStep === 5) inner = run(makeTrainer(9), 9)
      await turn()
    },
  }
  const outer = await run(makeTrainer(8, [nesting]), 8)
  assert.deepEqual([outer, await inner], alone)
  scope(() => randn([1]))
  nothingIsLeft()
})
