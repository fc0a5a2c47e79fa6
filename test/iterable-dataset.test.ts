/** Iterable datasets in a DataLoader and in a Trainer. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  data,
  manualSeed,
  nn,
  optim,
  rand,
  randn,
  SaveTrainingStateCallback,
  type Tensor,
  Trainer,
} from '../ts/index.ts'
import { code } from './programs/wick-error.ts'

/** Whole numbers from 0, given at once or a moment later. */
const counting = (n: number, isAsync: boolean): data.IterableDataset<number> => ({
  ...(isAsync
    ? {
        async *[Symbol.asyncIterator]() {
          for (let i = 0; i < n; i++) {
            await Promise.resolve()
            yield i
          }
        },
      }
    : {
        *[Symbol.iterator]() {
          for (let i = 0; i < n; i++) yield i
        },
      }),
})
async function read(loader: data.DataLoader<number, Tensor>, skip = 0): Promise<unknown[]> {
  const batches: unknown[] = []
  const reader = loader.open(skip)
  while (await reader.next()) batches.push(await (await reader.take()).toArray())
  reader.close()
  return batches
}

test('batches of an iterable dataset, in its order, whole or with a shorter last one', async () => {
  for (const isAsync of [true, false]) {
    const all = [[0, 1, 2], [3, 4, 5], [6]]
    const loader = new data.DataLoader(counting(7, isAsync), { batchSize: 3 })
    assert.equal(loader.length, Number.POSITIVE_INFINITY)
    assert.deepEqual(await read(loader), all)
    assert.deepEqual(await read(loader), all, 'a second pass')
    for (const skip of [1, 2, 3, 5]) assert.deepEqual(await read(loader, skip), all.slice(skip), `after ${skip}`)
    for (const prefetch of [0, 1, 5]) {
      assert.deepEqual(await read(new data.DataLoader(counting(7, isAsync), { batchSize: 3, prefetch })), all)
    }
    const dropping = new data.DataLoader(counting(7, isAsync), { batchSize: 3, dropLast: true })
    assert.deepEqual(await read(dropping), all.slice(0, 2))
    assert.deepEqual(
      await read(new data.DataLoader(counting(6, isAsync), { batchSize: 3, dropLast: true })),
      all.slice(0, 2),
    )
  }
  assert.deepEqual(await read(new data.DataLoader([5, 6, 7], { batchSize: 2 })), [[5, 6], [7]])
  const own = new data.DataLoader(counting(3, true), { batchSize: 2, collate: items => items.join('+') })
  const joined: string[] = []
  for await (const batch of own) joined.push(batch)
  assert.deepEqual(joined, ['0+1', '2'])
})

test('batches are read ahead, one after the other, and a pass that ends early closes its source', async () => {
  const log: string[] = []
  const source = {
    async *[Symbol.asyncIterator]() {
      try {
        for (let i = 0; ; i++) {
          log.push(`item ${i}`)
          await Promise.resolve()
          yield i
        }
      } finally {
        log.push('closed')
      }
    },
  }
  for await (const batch of new data.DataLoader(source, { batchSize: 2, prefetch: 1 })) {
    if (batch.dataSync()[0] === 4n) break
  }
  await new Promise(setImmediate)
  assert.equal(log.at(-1), 'closed')
  assert.deepEqual(
    log.slice(0, 6),
    [0, 1, 2, 3, 4, 5].map(i => `item ${i}`),
  )
  assert.ok(log.length <= 10, log.join())
})

test('an error of the source reaches the loop, after the batches before it', async () => {
  async function* broken() {
    yield* [0, 1, 2]
    await Promise.resolve()
    throw new Error('the source broke')
  }
  const seen: unknown[] = []
  const run = async () => {
    for await (const batch of new data.DataLoader(broken(), { batchSize: 2 })) seen.push(await batch.toArray())
  }
  await assert.rejects(run, /the source broke/)
  assert.deepEqual(seen, [[0, 1]])
})

test("random numbers depend on the item's place, so that a pass resumes exactly", async () => {
  for (const isAsync of [true, false]) {
    const draw = (i: number) => i + Number(rand([1]).dataSync()[0])
    const noisy = {
      async *[Symbol.asyncIterator]() {
        for (let i = 0; i < 6; i++) yield draw(i)
      },
    }
    const noisySync = {
      *[Symbol.iterator]() {
        for (let i = 0; i < 6; i++) yield draw(i)
      },
    }
    const pass = async (skip: number, epoch: number, options: object) => {
      manualSeed(5)
      const values: number[] = []
      const reader = new data.DataLoader(isAsync ? noisy : noisySync, options).open(skip, epoch)
      while (await reader.next()) values.push(...Array.from((await reader.take()).dataSync(), Number))
      return values
    }
    const first = await pass(0, 1, { batchSize: 2 })
    assert.equal(new Set(first.map(v => v % 1)).size, 6)
    assert.deepEqual(await pass(0, 1, { batchSize: 3 }), first)
    assert.deepEqual(await pass(2, 1, { batchSize: 2 }), first.slice(4))
    assert.notDeepEqual(await pass(0, 2, { batchSize: 2 }), first)
  }
})

test('what an iterable dataset cannot have is a typed error', async () => {
  const source = counting(4, false)
  const make = (options: object) => () => new data.DataLoader(source, options)
  assert.throws(make({ shuffle: true }), code('BAD_OPTION', /own order; leave shuffle out/))
  assert.throws(make({ sampler: new data.SequentialSampler(4) }), code('BAD_OPTION', /sampler/))
  assert.throws(make({ numWorkers: 2 }), code('BAD_OPTION', /needs the option worker/))
  assert.throws(make({ batchSize: 0 }), code('BAD_OPTION'))
  assert.throws(make({ device: 'cuda', resident: true }), code('BAD_OPTION', /TensorDataset/))
  assert.throws(() => new data.DataLoader([]), code('BAD_OPTION', /empty/))
  assert.throws(() => new data.DataLoader({ ...source, length: 1.5 }), code('BAD_OPTION', /length/))
  assert.throws(() => new data.DataLoader(5 as never), code('BAD_OPTION', /dataset/))
  const sized = new data.DataLoader({ ...source, length: 4 }, { batchSize: 3 })
  assert.equal(sized.length, 2)
  assert.equal(new data.DataLoader({ ...source, length: 4 }, { batchSize: 3, dropLast: true }).length, 1)
  await assert.rejects(
    read(new data.DataLoader({ ...source, length: 3 })),
    code('BAD_OPTION', /more items than its length of 3/),
  )
})

/** Noisy points on a line, made on the way. */
function points(isAsync: boolean): data.IterableDataset<[Tensor, Tensor]> {
  const point = (i: number): [Tensor, Tensor] => {
    const x = randn([3])
    return [x, x.sum({ dim: 0, keepdim: true }).add(i % 3)]
  }
  if (isAsync) {
    return {
      async *[Symbol.asyncIterator]() {
        for (let i = 0; i < 50; i++) yield point(i)
      },
    }
  }
  return {
    *[Symbol.iterator]() {
      for (let i = 0; i < 50; i++) yield point(i)
    },
  }
}

for (const isAsync of [true, false]) {
  test(`a Trainer resumes an ${isAsync ? 'asynchronous' : 'iterable'} dataset exactly, within an epoch`, async t => {
    const dir = mkdtempSync(join(tmpdir(), 'wick-iterable-'))
    t.after(() => rmSync(dir, { recursive: true }))
    const run = async (resumeFrom?: string) => {
      manualSeed(1)
      const model = new nn.Linear(3, 1)
      const trainer = new Trainer({
        model,
        loss: (output: Tensor, target: Tensor) => nn.functional.mseLoss(output, target),
        optimizer: new optim.AdamW(model.parameters(), { lr: 0.05 }),
        callbacks: resumeFrom ? [] : [new SaveTrainingStateCallback({ saveDir: dir, saveEveryNSteps: 10 })],
        seed: 3,
      })
      const options = { trainDataset: points(isAsync), numEpochs: 9, perDeviceBatchSize: 8, maxNumTrainSteps: 17 }
      await trainer.train({ ...options, ...(resumeFrom && { resumeFrom }) })
      return [Array.from(model.weight.dataSync(), Number), trainer.runHistory.getLatestMetric('train_loss_epoch')]
    }
    // 7 batches an epoch: the 10th is inside the second one.
    const whole = await run()
    assert.deepEqual(await run(join(dir, 'step_10')), whole)
  })
}
