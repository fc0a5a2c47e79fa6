/** Types that must flow by themselves; the compiler is the test, the one below keeps the runner content. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type BatchOf,
  type Callback,
  type data,
  type nn,
  type Tensor,
  Trainer,
  type TrainStepEvent,
} from '../ts/index.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
type Expect<T extends true> = T

declare class Net extends nn.Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor
}
interface Scored {
  logits: Tensor
  score: Tensor
}
declare class Scorer extends nn.Module<[ids: Tensor, mask: Tensor], Scored> {
  forward(ids: Tensor, mask: Tensor): Scored
}
type Dict = { ids: Tensor; mask: Tensor }

// Collating
export type CollatedForms = [
  Expect<Equal<data.Collated<[Tensor, number]>, [Tensor, Tensor]>>,
  Expect<
    Equal<
      data.Collated<{ x: Float32Array; y: { label: bigint; ok: boolean }; name: string }>,
      { x: Tensor; y: { label: Tensor; ok: Tensor }; name: string[] }
    >
  >,
  Expect<Equal<data.Collated<readonly [Tensor, Tensor]>, [Tensor, Tensor]>>,
]

// Nothing here runs: only its types matter.
export async function inferred(net: Net, scorer: Scorer, loss: nn.CrossEntropyLoss, optimizer: Trainer['optimizer']) {
  const trainer = new Trainer({
    model: net,
    loss,
    optimizer,
    callbacks: [
      {
        onEvalStepEnd(t, { batch, batchOutput }) {
          const checks: [
            Expect<Equal<typeof batch, [input: Tensor, target: Tensor]>>,
            Expect<Equal<typeof batchOutput.modelOutputs, Tensor>>,
            Expect<Equal<typeof t.model, Net>>,
          ] = [true, true, true]
          return void checks
        },
      },
    ],
  })
  const isTrainer: Expect<Equal<typeof trainer, Trainer<Net, [input: Tensor, target: Tensor], Tensor>>> = true
  const dataset: data.TensorDataset<[Tensor, Tensor]> = await Promise.reject()
  const dicts: data.Dataset<{ ids: Tensor; mask: Tensor }> = await Promise.reject()
  await trainer.train({ trainDataset: dataset, evalDataset: dataset, numEpochs: 1 })
  await trainer.train({ trainDataset: dicts, numEpochs: 1, collate: items => [items[0]!.ids, items[0]!.mask] })
  // @ts-expect-error these items don't collate into the Trainer's batches, so `collate` is needed
  await trainer.train({ trainDataset: dicts, numEpochs: 1 })
  // @ts-expect-error a misspelt option
  await trainer.train({ trainDataset: dataset, numEpochs: 1, perDeviceBatchsize: 2 })
  const predictions: Tensor = await trainer.predict({ dataset })

  const scored = new Trainer<Scorer, Dict>({ model: scorer, loss: null, optimizer })
  await scored.train({ trainDataset: dicts, numEpochs: 1 })
  const scores: Scored = await scored.predict({ dataset: dicts })
  // @ts-expect-error the loss takes another output than the model gives
  new Trainer({ model: scorer, loss: (output: Tensor, target: Tensor) => output.sub(target), optimizer })
  return [isTrainer, predictions, scores]
}

class DictTrainer extends Trainer<Scorer, Dict> {
  override calculateTrainBatchLoss({ ids, mask }: Dict) {
    const modelOutputs = this.model.forward(ids, mask)
    return { loss: modelOutputs.score, modelOutputs, batchSize: 1, perplexity: 2 }
  }
}
export class Watch implements Callback<DictTrainer> {
  onTrainStepEnd(_: DictTrainer, { batch, batchOutput }: TrainStepEvent<DictTrainer>) {
    const checks: [Expect<Equal<typeof batch, Dict>>, Expect<Equal<typeof batchOutput.perplexity, number>>] = [
      true,
      true,
    ]
    return void checks
  }
}
export type Batches = [
  Expect<Equal<BatchOf<DictTrainer>, Dict>>,
  Expect<Equal<BatchOf<Trainer<Net>>, [input: Tensor, target: Tensor]>>,
  // A callback that doesn't look into batches fits every Trainer.
  Expect<Callback extends Callback<DictTrainer> ? true : false>,
]

test('types flow from the model to the callbacks', () => {
  assert.equal(typeof inferred, 'function')
})
