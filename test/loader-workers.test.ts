import assert from 'node:assert/strict'
import { test } from 'node:test'
import { data, Generator, manualSeed, memory, rand, Tensor, WickError } from '../ts/index.ts'
import { tensorsIn } from '../ts/tensor/tree.ts'
import makeDataset, { type Args, type Batch, collate } from './programs/worker-dataset.ts'

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const plain = new URL(`./programs/worker-plain-dataset.${extension}`, import.meta.url)
const collating = new URL(`./programs/worker-dataset.${extension}`, import.meta.url)
const counter = () => new Int32Array(new SharedArrayBuffer(4))

const code = (expected: string, text?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof WickError, String(error))
  assert.equal(error.code, expected, error.message)
  if (text) assert.match(error.message, text)
  return true
}

/** A batch as plain values, with the dtypes and shapes of its tensors. */
function plainly(value: unknown): unknown {
  if (value instanceof Tensor) return { dtype: value.dtype, shape: value.shape, data: value.dataSync() }
  if (Array.isArray(value)) return value.map(plainly)
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plainly(part)]))
}

async function pass(loader: data.DataLoader<unknown, unknown>, skip = 0, epoch?: number): Promise<unknown[]> {
  const reader = loader.open(skip, epoch)
  const batches: unknown[] = []
  try {
    while (await reader.next()) {
      const batch = await reader.take()
      batches.push(plainly(batch))
      for (const x of tensorsIn(batch)) x.dispose()
    }
  } finally {
    reader.close()
  }
  return batches
}

type Options = data.DataLoaderOptions<unknown, unknown>

/** A loader whose workers make the dataset of `args`. */
function workers(args: Args, options: Options = {}): data.DataLoader<unknown, unknown> {
  const worker = { url: options.collate ? collating : plain, args }
  return new data.DataLoader<unknown, unknown>(makeDataset(args), { batchSize: 3, numWorkers: 2, worker, ...options })
}

/** Loads with workers and ends them. */
async function closing<T>(loader: data.DataLoader<unknown, unknown>, use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } finally {
    loader.close()
  }
}

for (const isAsync of [false, true]) {
  test(`workers make the batches of numWorkers 0, ${isAsync ? 'asynchronous' : 'synchronous'} datasets`, async () => {
    const args = { length: 20, async: isAsync, threads: counter() }
    const passes = async (numWorkers: number, prefetch: number) => {
      manualSeed(5)
      const loader = workers(args, { shuffle: true, numWorkers, prefetch })
      const made = () =>
        Promise.resolve().then(async () => [await pass(loader), await pass(loader, 4), await pass(loader)])
      return [await closing(loader, made), rand([2]).dataSync()]
    }
    const expected = await passes(0, 2)
    for (const [numWorkers, prefetch] of [
      [1, 0],
      [2, 1],
      [3, 2],
    ] as const) {
      Atomics.store(args.threads, 0, 0)
      assert.deepEqual(await passes(numWorkers, prefetch), expected)
      // One dataset for the main thread, one for each worker, which live on from pass to pass.
      assert.equal(Atomics.load(args.threads, 0), 1 + numWorkers)
    }
  })
}

test('the dtype of a number field is decided by the first batch of the loader, also where workers make it', async () => {
  const order = (first: number[]) => [first, [3, 4], [5, 6]]
  for (const first of [
    [0, 1],
    [1, 2],
  ]) {
    const batchSampler = { length: 3, [Symbol.iterator]: () => order(first)[Symbol.iterator]() }
    const options = { batchSize: undefined, batchSampler }
    const loader = workers({ length: 8, oddAt: 0 }, options)
    const expected = await pass(workers({ length: 8, oddAt: 0 }, { ...options, numWorkers: 0 }))
    assert.deepEqual(await closing(loader, () => pass(loader)), expected)
  }
  const batchSampler = {
    length: 3,
    [Symbol.iterator]: () => [[1], [2], [0]][Symbol.iterator](),
  }
  const loader = workers({ length: 8, oddAt: 0 }, { batchSize: undefined, batchSampler })
  await assert.rejects(
    closing(loader, () => pass(loader)),
    code('DTYPE_MISMATCH', /'sometimesWhole' was whole numbers.*0\.25/),
  )
})

test('subsets and a collate function of the module', async () => {
  const args = { length: 30 }
  const [part] = data.randomSplit(makeDataset(args), [0.5, 0.5], { generator: new Generator(1) })
  const subset = new data.Subset(part, [7, 0, 3, 11, 2])
  const make = (numWorkers: number) =>
    new data.DataLoader(subset, { batchSize: 2, collate, numWorkers, worker: { url: collating, args } })
  const loader = make(2)
  const made = await closing(loader as data.DataLoader<unknown, unknown>, async () => {
    const batches: Batch[] = []
    for await (const batch of loader) batches.push(batch)
    return batches
  })
  const expected: Batch[] = []
  for await (const batch of make(0)) expected.push(batch)
  const withoutThread = ({ thread, ...batch }: Batch) => plainly(batch)
  assert.deepEqual(made.map(withoutThread), expected.map(withoutThread))
  assert.ok(made.every(({ thread }) => thread !== expected[0]?.thread))
  assert.ok(made[0]?.ids instanceof Int32Array)
})

test('a worker that throws names the sample and has its stack', async () => {
  for (const async of [false, true]) {
    const loader = workers({ length: 12, throwAt: 7, async })
    const taken: unknown[] = []
    await closing(loader, async () => {
      const read = async () => {
        for await (const batch of loader) taken.push(batch)
      }
      await assert.rejects(read(), error => {
        code('WORKER_FAILED', /item 7: no item 7 in here/)(error)
        const { details, cause } = error as WickError
        assert.equal(details.sample, 7)
        assert.deepEqual(details.samples, ['6', '7', '8'])
        assert.match(String(details.workerStack), /worker-dataset\.[tj]s/)
        assert.equal((cause as Error).name, 'RangeError')
        assert.equal((cause as Error).stack, details.workerStack)
        return true
      })
      assert.equal(taken.length, 2)
      // The workers are still there.
      const reader = loader.open()
      assert.equal(await reader.next(), true)
      reader.close()
    })
  }
})

test("what a dataset's module posts to its parent doesn't reach the loader", async () => {
  const loader = workers({ length: 12, chats: true })
  await closing(loader, async () => {
    assert.deepEqual(
      (await pass(loader)).map(plainly),
      (await pass(workers({ length: 12 }, { numWorkers: 0 }))).map(plainly),
    )
  })
})

test('a worker that ends or crashes is an error that names the sample; the next pass has a new one', async () => {
  const ends: [Args, RegExp][] = [
    [{ length: 12, exitAt: 4 }, /worker ended with exit code 3, while it made item 4/],
    [{ length: 12, crashAt: 5 }, /worker failed, while it made item 5: a crash outside of get/],
  ]
  for (const [args, message] of ends) {
    const loader = workers(args)
    await closing(loader, async () => {
      for (let i = 0; i < 2; i++) {
        await assert.rejects(pass(loader), error => {
          code('WORKER_FAILED', message)(error)
          assert.equal((error as WickError).details.sample, args.exitAt ?? args.crashAt)
          return true
        })
      }
      assert.equal((await pass(loader, 2)).length, 2)
    })
  }
})

for (const isAsync of [false, true]) {
  test(`a get that never ${isAsync ? 'settles' : 'returns'} ends with the timeout, which names the items`, async () => {
    // The time includes the worker's start and the item before: where that is too much, it is tried again with more.
    for (let timeout = 100, sample: unknown; sample !== 1; timeout *= 2) {
      const loader = workers({ length: 12, hangAt: 1, async: isAsync }, { timeout })
      const message = new RegExp(
        `made no batch within ${timeout} ms, (while it made item [01]|asked for items 0, 1, 2)`,
      )
      await closing(loader, async () => {
        // The second pass has new workers.
        for (let i = 0; i < 2; i++) {
          await assert.rejects(pass(loader), error => {
            code('WORKER_FAILED', message)(error)
            const { details } = error as WickError
            assert.deepEqual(details.samples, ['0', '1', '2'])
            sample = details.sample
            return true
          })
        }
      })
    }
  })
}

test('workers are not ahead by more than prefetch, and stop when the loop does', async () => {
  const calls = counter()
  const loader = workers({ length: 3000, calls }, { prefetch: 1 })
  await closing(loader, async () => {
    for await (const _ of loader) break
    // The batch that was taken, and at most one more for each worker.
    assert.ok(Atomics.load(calls, 0) <= 9, `${Atomics.load(calls, 0)} items`)
    const open = loader.open()
    const next = open.next()
    open.close()
    assert.equal(await next, false)
    assert.equal((await pass(loader, 990)).length, 10)
  })
})

test('batches of growing size and two passes at once', async () => {
  const widths = async (numWorkers: number) => {
    const batchSampler = {
      length: 12,
      *[Symbol.iterator]() {
        for (let i = 1; i <= 12; i++) yield Array.from({ length: i * i }, (_, k) => k)
      },
    }
    const args = { length: 144, width: 500 }
    const timeout = numWorkers === 0 ? 0 : 2 ** 31 - 1
    const loader = workers(args, { batchSize: undefined, batchSampler, numWorkers, timeout })
    return closing(loader, () => Promise.all([pass(loader, 0, 1), pass(loader, 3, 2), pass(loader, 0, 3)]))
  }
  assert.deepEqual(await widths(2), await widths(0))
})

test('closing ends a pass with an error, and a later one starts anew', async () => {
  const loader = workers({ length: 12, async: true })
  const reader = loader.open()
  const next = reader.next()
  loader.close()
  await assert.rejects(async () => next, code('WORKER_FAILED', /was closed/))
  reader.close()
  assert.equal((await closing(loader, () => pass(loader))).length, 4)
  assert.equal((await closing(loader, () => pass(loader))).length, 4)
})

test('passes with workers leave no tensors behind', async () => {
  const loader = workers({ length: 40 })
  await closing(loader, async () => {
    await pass(loader)
    const { tensors } = memory()
    for (let i = 0; i < 3; i++) await pass(loader)
    // Fewer, if tensors of other tests were collected meanwhile.
    assert.ok(memory().tensors <= tensors)
  })
})

test('what workers cannot do is a typed error', async () => {
  const args = { length: 6 }
  const dataset = makeDataset(args)
  const make = (options: object) => () => new data.DataLoader<unknown, unknown>(dataset, { numWorkers: 2, ...options })
  assert.throws(make({}), code('BAD_OPTION', /numWorkers 2 needs the option worker.*can't be sent to a thread/))
  assert.throws(make({ worker: './data.ts' }), code('BAD_OPTION', /URL/))
  assert.throws(make({ worker: { url: plain, arg: 1 } }), code('BAD_OPTION', /'arg'; did you mean 'args'/))
  assert.throws(make({ worker: { url: plain, args: () => {} } }), code('BAD_OPTION', /can't be cloned/))
  assert.throws(make({ worker: { url: plain, args: { x: rand([2]) } } }), code('BAD_OPTION', /hold a tensor/))
  assert.throws(make({ numWorkers: -1, worker: plain }), code('BAD_OPTION', /numWorkers/))
  for (const timeout of [-1, Number.NaN, 2 ** 31])
    assert.throws(make({ worker: plain, timeout }), code('BAD_OPTION', /timeout must be/))
  assert.throws(make({ numWorkers: 0, timeout: 5 }), code('BAD_OPTION', /timeout.*needs numWorkers/))
  const rows = new data.TensorDataset(rand([4, 2]))
  assert.throws(() => new data.DataLoader(rows, { numWorkers: 1 }), code('BAD_OPTION', /without workers/))
  const fails = async (options: Options, message: RegExp) => {
    const loader = workers(args, options)
    await assert.rejects(
      closing(loader, () => pass(loader)),
      code('WORKER_FAILED', message),
    )
  }
  await fails({ worker: new URL('./no-such-file.ts', import.meta.url) }, /could not make its dataset.*no-such-file/)
  await fails({ worker: { url: plain, args: { length: 5 } } }, /has 5 items, the loader's has 6/)
  await fails({ worker: { url: collating, args } }, /exports collate; give it to the loader too/)
  await fails({ worker: { url: plain, args }, collate: x => x }, /has to export it as collate/)
})
