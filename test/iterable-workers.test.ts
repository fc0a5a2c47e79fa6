/** Iterable datasets that workers share. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { data, manualSeed, nn, optim, SaveTrainingStateCallback, Trainer, type WickError } from '../ts/index.ts'
import { code } from './programs/wick-error.ts'
import makeStream, { type StreamArgs, type StreamItem } from './programs/worker-stream.ts'

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const url = new URL(`./programs/worker-stream.${extension}`, import.meta.url)
const counter = () => new Int32Array(new SharedArrayBuffer(4))

type Loader = data.DataLoader<StreamItem>
type Batch = data.Collated<StreamItem>

function load(args: StreamArgs, options: data.LoaderOptions = {}, dataset = makeStream(args)): Loader {
  return new data.DataLoader(dataset, { batchSize: 2, numWorkers: 2, worker: { url, args }, ...options })
}

/** What `read` makes of each batch of a pass. */
async function pass<T>(loader: Loader, read: (batch: Batch) => T, skip = 0, epoch = 1): Promise<T[]> {
  const reader = loader.open(skip, epoch)
  const made: T[] = []
  try {
    while (await reader.next()) made.push(read(await reader.take()))
  } finally {
    reader.close()
  }
  return made
}

const numbers = (batch: Batch) => Array.from(batch.i.dataSync(), Number)
const draws = (batch: Batch) => Array.from(batch.drawn.dataSync(), Number)

async function closing<T>(loader: Loader, use: (loader: Loader) => Promise<T>): Promise<T> {
  try {
    return await use(loader)
  } finally {
    loader.close()
  }
}

test('workers take turns with batches of their shares, and those without more are left out', async () => {
  // What PyTorch 2.11 gives for the same shares.
  const cases: [number[], boolean, number[][]][] = [
    [[5, 2, 3], false, [[0, 1], [100, 101], [200, 201], [2, 3], [202], [4]]],
    [
      [5, 2, 3],
      true,
      [
        [0, 1],
        [100, 101],
        [200, 201],
        [2, 3],
      ],
    ],
    [[0, 0, 5], false, [[200, 201], [202, 203], [204]]],
    [[1, 6, 0], false, [[0], [100, 101], [102, 103], [104, 105]]],
    [[0, 0, 0], false, []],
  ]
  for (const [shares, dropLast, expected] of cases) {
    for (const [prefetch, isAsync] of [
      [0, false],
      [1, true],
      [3, false],
    ] as const) {
      const loader = load({ length: 0, shares, async: isAsync }, { numWorkers: 3, prefetch, dropLast })
      assert.equal(loader.length, Number.POSITIVE_INFINITY)
      await closing(loader, async () => {
        assert.deepEqual(await pass(loader, numbers), expected)
        for (let skip = 0; skip <= expected.length + 1; skip++) {
          assert.deepEqual(await pass(loader, numbers, skip), expected.slice(skip), `after ${skip}`)
        }
      })
    }
  }
})

test('one worker gives the batches of the loop, and an item its random numbers with any number of workers', async () => {
  for (const isAsync of [false, true]) {
    const args = { length: 14, async: isAsync }
    const run = async (numWorkers: number, skip = 0, epoch = 1) => {
      manualSeed(5)
      const read = (batch: Batch) => [numbers(batch), draws(batch)]
      return closing(load(args, { numWorkers }), loader => pass(loader, read, skip, epoch))
    }
    const expected = await run(0)
    assert.deepEqual(await run(1), expected)
    assert.deepEqual(await run(1, 3), expected.slice(3))
    const byNumber = (batches: number[][][]) =>
      batches.flatMap(([i = [], drawn = []]) => i.map((n, k) => [n, drawn[k]] as const)).sort(([a], [b]) => a - b)
    const three = await run(3)
    assert.deepEqual(byNumber(three), byNumber(expected))
    assert.deepEqual(await run(3, 4), three.slice(4))
    assert.notDeepEqual(await run(3, 0, 2), three)
  }
})

test('getWorkerInfo tells workers who they are, with a seed for each and each pass', async () => {
  assert.equal(data.getWorkerInfo(), null)
  const read = ({ worker, seed }: Batch) => `${worker.dataSync()[0]} ${seed.dataSync()[0]}`
  manualSeed(5)
  await closing(load({ length: 12 }), async loader => {
    const first = await pass(loader, read)
    assert.deepEqual(
      first.map(text => text[0]),
      ['0', '1', '0', '1', '0', '1'],
    )
    const second = await pass(loader, read, 0, 2)
    assert.equal(new Set([...first, ...second]).size, 4)
    assert.deepEqual(await pass(loader, read), first)
    assert.equal(data.getWorkerInfo(), null)
  })
})

test("errors name the worker and the item's place in its share", async () => {
  const cases: [StreamArgs, RegExp][] = [
    [{ length: 12, throwAt: 7 }, /^(DataLoader: )?item 3 of worker 1: no item 7 in here/],
    [{ length: 12, throwAt: 7, async: true }, /item 3 of worker 1: no item 7 in here/],
    [{ length: 12, exitAt: 7 }, /worker ended with exit code 3, while it made item 3 of worker 1/],
  ]
  for (const [args, message] of cases) {
    const seen: number[][] = []
    await closing(load(args), async loader => {
      await assert.rejects(
        pass(loader, batch => seen.push(numbers(batch))),
        error => {
          code('WORKER_FAILED', message)(error)
          const { details } = error as WickError
          assert.equal(details.worker, 1)
          assert.equal(details.sample, 3)
          assert.deepEqual(details.samples, ['2', '3'])
          return true
        },
      )
      if (!args.exitAt) {
        assert.deepEqual(seen, [
          [0, 2],
          [1, 3],
          [4, 6],
        ])
      }
      // The next pass works up to there.
      const reader = loader.open()
      assert.equal(await reader.next(), true)
      reader.close()
    })
  }
})

test('a pass that ends early ends the iterators, and workers are ahead by prefetch only', async () => {
  const made = counter()
  const closed = counter()
  await closing(load({ length: 10_000, made, closed }, { prefetch: 1 }), async loader => {
    for await (const batch of loader) {
      assert.deepEqual(numbers(batch), [0, 2])
      break
    }
    // A pass that follows is answered after the end of the one before.
    assert.equal((await pass(loader, () => {}, 4999)).length, 1)
    assert.ok(Atomics.load(made, 0) <= 10_000 + 8, `${Atomics.load(made, 0)} items`)
    assert.ok(Atomics.load(closed, 0) >= 2)
  })
})

test('what workers cannot do with iterable datasets is a typed error', async () => {
  const args = { length: 6 }
  assert.throws(() => load(args, { worker: undefined }), code('BAD_OPTION', /numWorkers 2 needs the option worker/))
  assert.throws(() => load(args, { shuffle: true }), code('BAD_OPTION', /own order/))
  const fails = (loader: Loader, expected: string, message: RegExp) =>
    closing(loader, () => assert.rejects(pass(loader, numbers), code(expected, message)))
  const indexed = new URL(`./programs/worker-plain-dataset.${extension}`, import.meta.url)
  await fails(load(args, { worker: { url: indexed, args } }), 'WORKER_FAILED', /iterable, the default export .* isn't/)
  const sized = (length: number) => load(args, {}, Object.assign(makeStream(args), { length }))
  assert.equal(sized(6).length, 3)
  assert.deepEqual(await closing(sized(6), loader => pass(loader, numbers)), [[0, 2], [1, 3], [4], [5]])
  await fails(sized(5), 'BAD_OPTION', /more items than the loader's length of 5/)
})

/** Learns an item's number from its random number. */
class Guessing extends Trainer<nn.Linear, Batch> {
  override calculateTrainBatchLoss({ i, drawn }: Batch) {
    const modelOutputs = this.model.forward(drawn.unsqueeze(1))
    const loss = nn.functional.mseLoss(modelOutputs, i.to('float32').unsqueeze(1))
    return { loss, modelOutputs, batchSize: i.shape[0] ?? 1 }
  }
}

test('a Trainer resumes exactly, within an epoch', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'wick-shares-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const args = { length: 50 }
  const run = async (resumeFrom?: string) => {
    manualSeed(1)
    const model = new nn.Linear(1, 1)
    const trainer = new Guessing({
      loss: null,
      model,
      optimizer: new optim.AdamW(model.parameters(), { lr: 0.05 }),
      callbacks: resumeFrom ? [] : [new SaveTrainingStateCallback({ saveDir: dir, saveEveryNSteps: 10 })],
      seed: 3,
    })
    await trainer.train({
      trainDataset: makeStream(args),
      numEpochs: 9,
      perDeviceBatchSize: 8,
      maxNumTrainSteps: 17,
      trainDataLoaderOptions: { numWorkers: 2, worker: { url, args } },
      ...(resumeFrom && { resumeFrom }),
    })
    return [Array.from(model.weight.dataSync(), Number), trainer.runHistory.getLatestMetric('train_loss_epoch')]
  }
  const whole = await run()
  assert.deepEqual(await run(join(dir, 'step_10')), whole)
})
