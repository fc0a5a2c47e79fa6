// Object detection: a small one-stage detector finds handwritten digits in scenes of its own making. Four losses, each with a tracker that
// shows it in the history; boxes whose number differs, padded and gathered; mean average precision in a callback.
import {
  type Callback,
  getDefaultCallbacks,
  LossTracker,
  manualSeed,
  metrics,
  nn,
  optim,
  schedulers,
  type Tensor,
  Trainer,
  where,
} from 'wick-ml'
import { Detector, detect } from './detection/detector.ts'
import { type Batch, compose } from './detection/scenes.ts'

class DetectionTrainer extends Trainer<Detector, Batch, Tensor> {
  readonly trackers = [new LossTracker(), new LossTracker(), new LossTracker(), new LossTracker()]

  override calculateTrainBatchLoss([scenes, grids]: Batch) {
    const output = this.model.forward(scenes)
    const present = grids.narrow(1, 0, 1)
    const count = present.sum()
    const distance = (values: Tensor, i: number) =>
      values
        .sub(grids.narrow(1, i, 2))
        .abs()
        .mul(present)
        .sum()
        .div(count)
    const digits = where(present.gt(0), grids.narrow(1, 1, 1), -1)
      .squeeze(1)
      .long()
    const losses = [
      nn.F.binaryCrossEntropyWithLogits(output.narrow(1, 0, 1), present, { reduction: 'sum' }).div(count),
      distance(output.narrow(1, 1, 2).sigmoid(), 2),
      distance(output.narrow(1, 3, 2), 4),
      nn.F.crossEntropy(output.narrow(1, 5, 10), digits, { ignoreIndex: -1 }),
    ]
    const batchSize = scenes.shape[0]!
    for (const [i, loss] of losses.entries()) this.trackers[i]!.update(loss, batchSize)
    return { loss: losses.reduce((a, b) => a.add(b)), modelOutputs: output, batchSize }
  }

  override calculateEvalBatchLoss(batch: Batch) {
    return this.calculateTrainBatchLoss(batch)
  }

  override trainEpochEnd() {
    return this.record('train')
  }

  override evalEpochEnd() {
    return this.record('eval')
  }

  async record(phase: 'train' | 'eval') {
    for (const [i, name] of ['presence', 'center', 'size', 'digit'].entries()) {
      this.runHistory.updateMetric(`${phase}_${name}_loss`, (await this.trackers[i]!.read()).average)
      this.trackers[i]!.reset()
    }
  }
}

class MeanAveragePrecision implements Callback<DetectionTrainer> {
  readonly #metric = new metrics.MeanAveragePrecision({ iouThresholds: [0.5] })

  onEvalStepEnd(
    trainer: DetectionTrainer,
    { batch, batchOutput }: { batch: Batch; batchOutput: { modelOutputs: Tensor } },
  ) {
    const boxes = batch[2]
    const scene = boxes.select(1, 0).select(1, 0)
    const padded = [detect(batchOutput.modelOutputs, scene), boxes.reshape([-1, 6])] as const
    const [found, wanted] = padded.map(rows => trainer.gather(rows, { paddingValue: -1 }))
    const of = (rows: Tensor, i: number) => rows.indexSelect(0, rows.select(1, 0).eq(i).nonzero().flatten())
    const parts = (rows: Tensor) => ({ boxes: rows.narrow(1, 1, 4), labels: rows.select(1, 5) })
    const scenes = Array.from(trainer.gather(scene).dataSync(), Number)
    this.#metric.update(
      scenes.map(i => of(found!, i)).map(rows => ({ ...parts(rows), scores: rows.select(1, 6) })),
      scenes.map(i => parts(of(wanted!, i))),
    )
  }

  async onEvalEpochEnd({ runHistory }: DetectionTrainer) {
    runHistory.updateMetric('map50', (await this.#metric.compute()).map)
    this.#metric.reset()
  }
}

manualSeed(42)
const [trainDataset, evalDataset] = [compose(4000, 0, 10_000), compose(500, 10_000, 2000)]
const model = new Detector()
const trainer = new DetectionTrainer({
  model,
  loss: null,
  optimizer: new optim.AdamW(model.parameters(), { lr: 3e-3 }),
  callbacks: [new MeanAveragePrecision(), ...getDefaultCallbacks()],
})
const createScheduler = schedulers.CosineLrScheduler.createSchedulerFn({ numWarmupEpochs: 1, numCooldownEpochs: 1 })
await trainer.train({ trainDataset, evalDataset, numEpochs: 10, perDeviceBatchSize: 32, createScheduler })
