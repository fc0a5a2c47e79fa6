import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  data,
  Generator,
  nn,
  optim,
  randint,
  randn,
  type Tensor,
  Trainer,
  type VerifyOverrides,
  verify,
  WickError,
} from '../ts/index.ts'

const generator = new Generator(1)
const batches = (n: number) =>
  new data.TensorDataset<[Tensor, Tensor]>(randn([n, 4], { generator }), randint(0, 3, [n], { generator }))
const trainDataset = batches(60)
const evalDataset = batches(20)

/** What a user of `verify` writes. */
const training = (
  more: () => nn.Module<[Tensor], Tensor>[] = () => [],
  each: (trainer: Trainer) => void = () => {},
) => {
  return async ({ trainer: overrides, train }: VerifyOverrides) => {
    const model = new nn.Sequential(new nn.Linear(4, 8), ...more(), new nn.ReLU(), new nn.Linear(8, 3))
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
    class Quiet extends Trainer<typeof model> {
      override print() {}
    }
    const trainer = new Quiet({ model, loss: new nn.CrossEntropyLoss(), optimizer, ...overrides })
    each(trainer as never)
    await trainer.train({ trainDataset, evalDataset, numEpochs: 3, ...train })
    return trainer
  }
}

test('verify: a sound training passes, and the report is printed', async () => {
  const lines: string[] = []
  const report = await verify(training(), { print: line => lines.push(line) })
  assert.ok(report.passed, lines.join('\n'))
  assert.deepEqual(
    lines.map(line => line.replace(/difference .*/, 'difference')),
    [
      'passed   the same run twice',
      'passed   matched steps and eager ones',
      'passed   matched steps and fully replayed ones',
      'passed   one thread and two',
      'passed   uninterrupted and resumed after 1 of 20 batches',
      'passed   uninterrupted and resumed after 10 of 20 batches',
      'passed   uninterrupted and resumed after 19 of 20 batches',
      'passed   uninterrupted and resumed inside an evaluation',
      'passed   a batch and two halves accumulated: largest difference',
    ],
  )
})

test('verify: what mixes samples is not compared with accumulation', async () => {
  const report = await verify(
    training(() => [new nn.BatchNorm1d(8), new nn.Dropout(0.2)]),
    { print: () => {}, steps: 6 },
  )
  assert.ok(report.passed, JSON.stringify(report.checks, null, 1))
  assert.equal(report.checks.at(-1)?.passed, null)
})

test('verify: a state that no checkpoint holds is found', async () => {
  const report = await verify(
    training(undefined, trainer => {
      let steps = 0
      const step = trainer.optimizer.step.bind(trainer.optimizer)
      trainer.optimizer.step = options => {
        for (const group of trainer.optimizer.paramGroups) Reflect.set(group, 'lr', 0.01 / ++steps)
        return step(options)
      }
    }),
    { print: () => {}, steps: 6 },
  )
  assert.equal(report.passed, false)
  const failed = report.checks.filter(({ passed }) => passed === false).map(({ name }) => name)
  assert.ok(
    failed.some(name => name.includes('resumed')),
    failed.join('\n'),
  )
})

test('verify checks its options', async () => {
  const bad = (error: unknown) => error instanceof WickError && error.code === 'BAD_OPTION'
  await assert.rejects(verify(training(), { batchSize: 3 }), bad)
  await assert.rejects(verify(training(), { step: 3 } as object), bad)
})
