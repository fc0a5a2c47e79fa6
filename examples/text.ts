// Text: batches that are objects, padded by a collate function of one's own, a model that computes its loss, gradients accumulated to a
// batch of 64 and a linear warmup. The reviews are made here: praise and blame, some of it negated, and what prevails is the label.
import {
  type Callback,
  cat,
  data,
  getDefaultCallbacks,
  manualSeed,
  metrics,
  nn,
  optim,
  randint,
  schedulers,
  type Tensor,
  Trainer,
  tensor,
} from 'wick-ml'

manualSeed(42)
const things = ['plot', 'cast', 'music', 'ending', 'picture']
const opinions = [
  ['dull', 'silly', 'poor', 'tedious'],
  ['great', 'moving', 'clever', 'funny'],
] as const
const vocabulary = [...things, ...opinions.flat(), 'the', 'is', 'not', 'and']
const pick = <T>(list: readonly T[]) => list[Number(randint(0, list.length, [1]).itemSync())]!

/** Words by their number, from 1; 0 fills up. */
type Review = { inputIds: number[]; label: number }

function review(): Review {
  const clauses = Array.from({ length: pick([1, 3, 5]) }, () => ({ negated: pick([0, 1]), opinion: pick([0, 1]) }))
  const words = clauses.flatMap(({ negated, opinion }, i) => [
    ...(i > 0 ? ['and'] : []),
    ...['the', pick(things), 'is', ...(negated ? ['not'] : []), pick(opinions[opinion]!)],
  ])
  const praise = clauses.filter(({ negated, opinion }) => negated !== opinion).length
  return { inputIds: words.map(word => vocabulary.indexOf(word) + 1), label: Number(praise > clauses.length / 2) }
}

type Batch = { inputIds: Tensor; attentionMask: Tensor; labels: Tensor }

/** As long as the longest review of the batch. */
function collate(reviews: Review[]): Batch {
  const length = Math.max(...reviews.map(({ inputIds }) => inputIds.length))
  const inputIds = tensor(reviews.map(review => Array.from({ length }, (_, i) => review.inputIds[i] ?? 0)))
  return { inputIds, attentionMask: inputIds.ne(0).float(), labels: tensor(reviews.map(({ label }) => label)) }
}

class Classifier extends nn.Module<[Batch], { loss: Tensor; logits: Tensor }> {
  embedding = new nn.Embedding(vocabulary.length + 1, 32)
  pairs = new nn.Linear(64, 64)
  head = new nn.Linear(64, 2)

  forward({ inputIds, attentionMask, labels }: Batch) {
    const words = this.embedding.forward(inputIds)
    const pairs = this.pairs.forward(cat([words.roll(1, 1), words], 2)).gelu()
    const logits = this.head.forward(pairs.mul(attentionMask.unsqueeze(2)).sum(1))
    return { loss: nn.F.crossEntropy(logits, labels), logits }
  }
}

class TextTrainer extends Trainer<Classifier, Batch, Tensor> {
  override calculateTrainBatchLoss(batch: Batch) {
    const { loss, logits } = this.model.forward(batch)
    return { loss, modelOutputs: logits, batchSize: batch.labels.shape[0]! }
  }

  override calculateEvalBatchLoss(batch: Batch) {
    return this.calculateTrainBatchLoss(batch)
  }

  override createScheduler() {
    const { optimizer, maxNumTrainSteps } = this.scheduleContext()
    return schedulers.linearWarmup(optimizer, { numWarmupSteps: 100, numTrainingSteps: maxNumTrainSteps })
  }
}

const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 2 })
const measure: Callback<TextTrainer> = {
  onEvalStepEnd: (_, { batch, batchOutput }) => accuracy.update(batchOutput.modelOutputs, batch.labels),
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('accuracy', await accuracy.compute())
    accuracy.reset()
  },
}

const model = new Classifier()
const trainer = new TextTrainer({
  model,
  loss: null,
  optimizer: new optim.AdamW(model.parameters(), { lr: 5e-3 }),
  callbacks: [measure, ...getDefaultCallbacks()],
})
const reviews = Array.from({ length: 6000 }, review)
const dataset: data.Dataset<Review> = { length: reviews.length, get: i => reviews[i]! }
const [trainDataset, evalDataset] = data.randomSplit(dataset, [5000, 1000])
const perDeviceBatchSize = 16
const gradientAccumulationSteps = 64 / perDeviceBatchSize
await trainer.train({ trainDataset, evalDataset, numEpochs: 5, perDeviceBatchSize, gradientAccumulationSteps, collate })
