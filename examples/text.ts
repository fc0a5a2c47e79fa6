// Text: a small transformer that knows single sentences is fine-tuned for whole reviews. Batches that are objects, padded by a collate
// function of one's own, a model that computes its loss, gradients accumulated to a batch of 64, a linear warmup, a metric of what is
// gathered. The reviews are made here: praise and blame, some of it negated, and what prevails is the label.
import {
  arange,
  type Callback,
  data,
  getDefaultCallbacks,
  manualSeed,
  metrics,
  nn,
  optim,
  schedulers,
  type Tensor,
  Trainer,
} from 'wick-ml'
import { type Batch, collate, type Review, review, vocabulary } from './text/reviews.ts'

manualSeed(42)
const width = 32
class Block extends nn.Module<[Tensor, Tensor], Tensor> {
  norm1 = new nn.LayerNorm(width)
  qkv = new nn.Linear(width, 3 * width)
  out = new nn.Linear(width, width)
  norm2 = new nn.LayerNorm(width)
  mlp = new nn.Sequential(new nn.Linear(width, 2 * width), new nn.GELU(), new nn.Linear(2 * width, width))

  forward(words: Tensor, mask: Tensor) {
    const [n = 0, length = 0] = words.shape
    const heads = this.qkv
      .forward(this.norm1.forward(words))
      .reshape([n, length, 3 * 4, width / 4])
      .transpose(1, 2)
    const [q, k, v] = heads.chunk(3, 1)
    const seen = nn.F.scaledDotProductAttention(q!, k!, v!, { attnMask: mask.reshape([n, 1, 1, length]) })
    const attended = words.add(this.out.forward(seen.transpose(1, 2).reshape([n, length, width])))
    return attended.add(this.mlp.forward(this.norm2.forward(attended)))
  }
}

class Classifier extends nn.Module<[Batch], { loss: Tensor; logits: Tensor }> {
  words = new nn.Embedding(vocabulary.length + 1, width)
  places = new nn.Embedding(32, width)
  blocks = new nn.ModuleList([new Block(), new Block()])
  norm = new nn.LayerNorm(width)
  head = new nn.Linear(width, 2)

  forward({ inputIds, attentionMask, labels }: Batch) {
    let words = this.words.forward(inputIds).add(this.places.forward(arange(inputIds.shape[1]!)))
    for (const block of this.blocks) words = block.forward(words, attentionMask)
    const mean = words
      .mul(attentionMask.unsqueeze(2))
      .sum(1)
      .div(attentionMask.sum({ dim: 1, keepdim: true }))
    const logits = this.head.forward(this.norm.forward(mean))
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
    return schedulers.linearWarmup(optimizer, {
      numWarmupSteps: Math.ceil(maxNumTrainSteps / 10),
      numTrainingSteps: maxNumTrainSteps,
    })
  }
}

const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 2 })
const measure: Callback<TextTrainer> = {
  onEvalStepEnd: (trainer, { batch, batchOutput }) =>
    accuracy.update(trainer.gather(batchOutput.modelOutputs), trainer.gather(batch.labels)),
  async onEvalEpochEnd({ runHistory }) {
    runHistory.updateMetric('accuracy', await accuracy.compute())
    accuracy.reset()
  },
}

const model = new Classifier()
function train(lr: number, lengths: readonly number[], numEpochs: number) {
  const optimizer = new optim.AdamW(model.parameters(), { lr })
  const trainer = new TextTrainer({ model, loss: null, optimizer, callbacks: [measure, ...getDefaultCallbacks()] })
  const reviews = Array.from({ length: 6000 }, () => review(lengths))
  const dataset: data.Dataset<Review> = { length: reviews.length, get: i => reviews[i]! }
  const [trainDataset, evalDataset] = data.randomSplit(dataset, [5000, 1000])
  const perDeviceBatchSize = 16
  const gradientAccumulationSteps = 64 / perDeviceBatchSize
  return trainer.train({ trainDataset, evalDataset, numEpochs, perDeviceBatchSize, gradientAccumulationSteps, collate })
}
await train(5e-3, [1], 3)
model.head = new nn.Linear(width, 2)
await train(5e-3, [1, 3, 5], 8)
