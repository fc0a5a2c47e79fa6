/** Events of one's own: typed by adding to `CustomEvents`, called in the order of the list. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Callback, data, manualSeed, nn, optim, randint, randn, type Tensor, Trainer } from '../ts/index.ts'

declare module '../ts/index.ts' {
  interface CustomEvents {
    onBatchChecked: { size: number }
  }
}

type Batch = [Tensor, Tensor]

test('a custom event reaches typed callbacks, with its event and in order', async () => {
  const seen: string[] = []
  class Verify implements Callback {
    onBatchChecked(_: object, { size }: { size: number }) {
      seen.push(`class ${size}`)
    }
  }
  const plain: Callback = {
    onBatchChecked: async (trainer, { size }) => {
      const device: string = trainer.device
      seen.push(`object ${size + 1} ${device}`)
    },
  }
  class Verified extends Trainer<nn.Linear, Batch, Tensor> {
    override async calculateTrainBatchLoss(batch: Batch) {
      await this.callbackHandler.callEvent('onBatchChecked', { size: batch[1].shape[0]! })
      return super.calculateTrainBatchLoss(batch)
    }
  }
  manualSeed(0)
  const model = new nn.Linear(4, 3)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Verified({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [new Verify(), plain] })
  // @ts-expect-error the event has a size
  await trainer.callbackHandler.callEvent('onBatchChecked', { length: 1 })
  assert.deepEqual(seen.splice(0), ['class undefined', `object NaN ${trainer.device}`])
  const trainDataset = new data.TensorDataset<Batch>(randn([3, 4]), randint(0, 3, [3]))
  await trainer.train({ trainDataset, numEpochs: 1, perDeviceBatchSize: 2, trainDataLoaderOptions: { shuffle: false } })
  assert.deepEqual(seen, ['class 2', `object 3 ${trainer.device}`, 'class 1', `object 2 ${trainer.device}`])
})
