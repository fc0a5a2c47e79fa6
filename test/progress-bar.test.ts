import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressBar } from '../ts/callbacks/progress-bar.ts'
import { data, nn, optim, ProgressBarCallback, randint, randn, type Tensor, Trainer } from '../ts/index.ts'

/** A stream and a clock that stand in for a terminal or a file. */
function paper(isTTY: boolean) {
  const written: string[] = []
  const clock = { now: 0 }
  return {
    written,
    clock,
    stream: { isTTY, columns: 60, write: (text: string) => written.push(text) },
    now: () => clock.now,
  }
}

test('on a terminal the line is redrawn at most ten times a second', () => {
  const { written, clock, stream, now } = paper(true)
  const bar = new ProgressBar(100, stream, { now })
  for (let i = 0; i < 50; i++) {
    clock.now += 20
    bar.update()
  }
  bar.note = 'loss=0.5, data=2.0%'
  clock.now += 1000
  bar.update(50)
  bar.close()
  // The first one, ten in a second, one after another second, the final one.
  assert.equal(written.length, 13)
  assert.deepEqual(
    [0, 5, 10, 12].map(i => written[i]?.replace(/█+/, '#').replace(/ +\|/, '|')),
    [
      '\r  0%|| 0/100 [00:00<?, ?it/s]',
      '\r 25%|#| 25/100 [00:00<00:01, 50.00it/s]',
      '\r 50%|#| 50/100 [00:01<00:01, 50.00it/s]',
      '\r100%|#| 100/100 [00:02<00:00, 50.00it/s, loss=0.5, data=2.0%]\n',
    ],
  )
  // Lines fill the terminal but for one column, where there is room for a bar.
  assert.equal(written[10]?.length, 60)
})

test('elsewhere a line is written every 30 seconds, and the final one', () => {
  const { written, clock, stream, now } = paper(false)
  const bar = new ProgressBar(7, stream, { now })
  for (let i = 0; i < 7; i++) {
    clock.now += 10_000
    bar.update()
  }
  bar.close()
  assert.deepEqual(
    written.map(line => line.replace(/\|.*\|/, '|')),
    [
      ' 42%| 3/7 [00:30<00:40, 10.00s/it]\n',
      ' 85%| 6/7 [01:00<00:10, 10.00s/it]\n',
      '100%| 7/7 [01:10<00:00, 10.00s/it]\n',
    ],
  )
})

test('a resumed epoch counts on, at the rate of its own steps', () => {
  const { written, clock, stream, now } = paper(false)
  const bar = new ProgressBar(10, stream, { done: 6, now })
  clock.now += 2000
  bar.update(4)
  bar.close()
  assert.match(written[0] ?? '', /\| 10\/10 \[00:02<00:00, 2\.00it\/s\]/)
})

test('data without a length has no bar', () => {
  const { written, clock, stream, now } = paper(false)
  const bar = new ProgressBar(Number.POSITIVE_INFINITY, stream, { now })
  clock.now += 3000
  bar.update(8)
  bar.close()
  assert.deepEqual(written, ['8it [00:03, 2.67it/s]\n'])
})

for (const capture of ['auto', 'full'] as const) {
  test(`bars of a run show loss and share of data, capture ${capture}`, async () => {
    const { written, stream } = paper(false)
    const model = new nn.Linear(4, 3)
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
    const callbacks = [new ProgressBarCallback({ stream })]
    const trainer = new Trainer<nn.Linear, [Tensor, Tensor]>({
      model,
      loss: new nn.CrossEntropyLoss(),
      optimizer,
      callbacks,
      capture,
    })
    const dataset = (n: number) => new data.TensorDataset<[Tensor, Tensor]>(randn([n, 4]), randint(0, 3, [n]))
    await trainer.train({ trainDataset: dataset(400), evalDataset: dataset(20), numEpochs: 1 })
    assert.equal(written.length, 2)
    const loss = (name: string) => trainer.runHistory.getLatestMetric(name).toPrecision(4)
    assert.match(
      written[0] ?? '',
      new RegExp(`\\| 50/50 \\[.*it/s, loss=${loss('train_loss_epoch')}, data=\\d+(\\.\\d)?%\\]`),
    )
    assert.match(written[1] ?? '', new RegExp(`\\| 3/3 \\[.*it/s, loss=${loss('eval_loss_epoch')}, data=`))
    assert.ok(trainer.dataWaitMs > 0)
  })
}
