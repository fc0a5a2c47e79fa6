/** `MeanAveragePrecision`: how well objects are found, as COCO measures it. */
import { badOption, checkOptions, WickError } from '../../errors.ts'
import { full, type Tensor } from '../../tensor/index.ts'
import { asTensor } from '../classification/task.ts'
import { Metric } from '../metric.ts'
import { type Areas, type Box, type Detection, type Evaluation, evaluateClass, type GroundTruth } from './matching.ts'

/** Boxes found in an image. */
export interface PredictedBoxes {
  /** `[n, 4]` in the metric's format. */
  boxes: Tensor
  /** `[n]`. */
  scores: Tensor
  /** `[n]`. */
  labels: Tensor
}

/** Boxes that are in an image. */
export interface TargetBoxes {
  /** `[n, 4]` in the metric's format. */
  boxes: Tensor
  /** `[n]`. */
  labels: Tensor
  /** `[n]`: 1 for a box around many objects, which counts neither for nor against. */
  iscrowd?: Tensor | undefined
  /** `[n]`: areas instead of the boxes' own. */
  area?: Tensor | undefined
}

/** Options of `MeanAveragePrecision`. */
export interface MeanAveragePrecisionOptions {
  /** Corners `'xyxy'` (default), corner and size `'xywh'`, or center and size `'cxcywh'`. */
  boxFormat?: 'xyxy' | 'xywh' | 'cxcywh' | undefined
  /** Default 0.5, 0.55, ... 0.95. */
  iouThresholds?: readonly number[] | undefined
  /** Default 0, 0.01, ... 1. */
  recThresholds?: readonly number[] | undefined
  /** Three numbers of boxes in an image that count, rising. Default `[1, 10, 100]`. */
  maxDetectionThresholds?: readonly number[] | undefined
  /** Whether to give values by class too. Default false. */
  classMetrics?: boolean | undefined
}

/** Values of `MeanAveragePrecision`; -1 where there is nothing to find. `mar1`, `mar10`, `mar100` are named after the limits. */
export interface MeanAveragePrecisionResult {
  map: number
  map50: number
  map75: number
  mapSmall: number
  mapMedium: number
  mapLarge: number
  /** Recall with each number of boxes: the keys are `mar` and the number. */
  [mar: `mar${number}`]: number
  /** Recall by class with the largest number of boxes: `mar100PerClass`. */
  [marPerClass: `mar${number}PerClass`]: Tensor
  marSmall: number
  marMedium: number
  marLarge: number
  /** By class, in the order of `classes`; -1 without `classMetrics`. */
  mapPerClass: Tensor
  classes: Tensor
}

const areas: readonly Areas[] = [
  [0, 1e10],
  [0, 32 ** 2],
  [32 ** 2, 96 ** 2],
  [96 ** 2, 1e10],
]

/** COCO's mean average precision and recall of boxes. */
export class MeanAveragePrecision extends Metric<
  [preds: readonly PredictedBoxes[], target: readonly TargetBoxes[]],
  MeanAveragePrecisionResult
> {
  readonly #format: 'xyxy' | 'xywh' | 'cxcywh'
  readonly #ious: readonly number[]
  readonly #recalls: readonly number[]
  readonly #limits: readonly number[]
  readonly #classMetrics: boolean

  constructor(options: MeanAveragePrecisionOptions = {}) {
    super(options)
    const op = 'MeanAveragePrecision'
    const names = ['boxFormat', 'iouThresholds', 'recThresholds', 'maxDetectionThresholds', 'classMetrics']
    checkOptions(op, options, names)
    const { boxFormat = 'xyxy', maxDetectionThresholds = [1, 10, 100], classMetrics = false } = options
    if (!['xyxy', 'xywh', 'cxcywh'].includes(boxFormat)) {
      throw badOption(op, `boxFormat must be 'xyxy', 'xywh' or 'cxcywh', not '${String(boxFormat)}'`)
    }
    if (maxDetectionThresholds.length !== 3) throw badOption(op, 'maxDetectionThresholds must be three numbers')
    this.#format = boxFormat
    // In float32, as torchmetrics has them: ties fall on the same side.
    this.#ious = options.iouThresholds ?? Array.from({ length: 10 }, (_, i) => Math.fround(0.5 + 0.05 * i))
    this.#recalls = options.recThresholds ?? hundredths()
    this.#limits = [...maxDetectionThresholds].sort((a, b) => a - b)
    this.#classMetrics = classMetrics
    // Of each image: how many boxes, then box, score and label of each; targets have area and crowd for the score.
    for (const name of ['predsCount', 'targetCount', 'boxes', 'scores', 'labels']) this.addList(name)
    for (const name of ['targetBoxes', 'targetLabels', 'targetCrowd', 'targetArea']) this.addList(name)
  }

  protected accumulate(preds: readonly PredictedBoxes[], target: readonly TargetBoxes[]): void {
    if (preds.length !== target.length) {
      throw badOption('MeanAveragePrecision', `${preds.length} predictions, but ${target.length} targets`)
    }
    for (const [i, found] of preds.entries()) {
      const wanted = target[i]!
      const [n, m] = [rows(found.boxes, found.labels, found.scores), rows(wanted.boxes, wanted.labels)]
      this.append('predsCount', full([1], n))
      this.append('targetCount', full([1], m))
      if (n > 0) {
        this.append('boxes', found.boxes)
        this.append('scores', found.scores)
        this.append('labels', found.labels)
      }
      if (m === 0) continue
      this.append('targetBoxes', wanted.boxes)
      this.append('targetLabels', wanted.labels)
      this.append('targetCrowd', wanted.iscrowd ?? full([m], 0))
      this.append('targetArea', wanted.area ?? full([m], -1))
    }
  }

  async #images(): Promise<
    { found: (Detection & { label: number })[]; wanted: (GroundTruth & { label: number })[] }[]
  > {
    const names = ['boxes', 'scores', 'labels', 'targetBoxes', 'targetLabels', 'targetCrowd', 'targetArea']
    const [boxes = [], scores = [], labels = [], targetBoxes = [], targetLabels = [], crowd = [], area = []] =
      await Promise.all(names.map(name => this.read(name)))
    const [predsCount, targetCount] = await Promise.all([this.read('predsCount'), this.read('targetCount')])
    let [p, t] = [0, 0]
    return predsCount.map((n, image) => {
      const found = Array.from({ length: n }, (_, i) => {
        const box = this.#corners(boxes.slice((p + i) * 4, (p + i) * 4 + 4))
        return { box, score: scores[p + i]!, label: labels[p + i]! }
      })
      const wanted = Array.from({ length: targetCount[image]! }, (_, i) => {
        const k = t + i
        const box = this.#corners(targetBoxes.slice(k * 4, k * 4 + 4))
        const own = (box[2] - box[0]) * (box[3] - box[1])
        const given = area[k]!
        return { box, area: given > 0 ? given : own, isCrowd: crowd[k] === 1, label: targetLabels[k]! }
      })
      p += n
      t += targetCount[image]!
      return { found, wanted }
    })
  }

  #corners([a = 0, b = 0, c = 0, d = 0]: readonly number[]): Box {
    if (this.#format === 'xyxy') return [a, b, c, d]
    if (this.#format === 'xywh') return [a, b, a + c, b + d]
    return [a - c / 2, b - d / 2, a + c / 2, b + d / 2]
  }

  async compute(): Promise<MeanAveragePrecisionResult> {
    const images = await this.#images()
    const labels = images.flatMap(({ found, wanted }) => [...found, ...wanted].map(({ label }) => label))
    const classes = [...new Set(labels)].sort((a, b) => a - b)
    const largest = this.#limits[2]!
    const evaluations = classes.map(label => {
      const own = images.map(({ found, wanted }) => ({
        found: found.filter(x => x.label === label),
        wanted: wanted.filter(x => x.label === label),
      }))
      const evaluate = (range: Areas, limit: number) => evaluateClass(own, this.#ious, this.#recalls, range, limit)
      return {
        byArea: areas.map(range => evaluate(range, largest)),
        byLimit: this.#limits.map(n => evaluate(areas[0]!, n)),
      }
    })
    type Of = (typeof evaluations)[number]
    const mean = (pick: (evaluation: Of) => readonly number[]) => {
      const values = evaluations.flatMap(pick).filter(value => value > -1)
      return values.length === 0 ? -1 : values.reduce((a, b) => a + b, 0) / values.length
    }
    const at = (iou: number) => (e: Of) => {
      const i = this.#ious.findIndex(threshold => Math.abs(threshold - iou) < 1e-6)
      return i < 0 ? [] : [e.byArea[0]!.precision[i]!]
    }
    const precision = (k: number) => mean(e => e.byArea[k]!.precision)
    const recall = (k: number) => mean(e => e.byArea[k]!.recall)
    const perClass = (pick: keyof Evaluation) =>
      this.#classMetrics ? evaluations.map(e => averageOf(e.byArea[0]![pick])) : [-1]
    const limits = this.#limits.map((limit, i) => [`mar${limit}`, mean(e => e.byLimit[i]!.recall)] as const)
    return {
      map: precision(0),
      map50: mean(at(0.5)),
      map75: mean(at(0.75)),
      mapSmall: precision(1),
      mapMedium: precision(2),
      mapLarge: precision(3),
      ...Object.fromEntries(limits),
      marSmall: recall(1),
      marMedium: recall(2),
      marLarge: recall(3),
      mapPerClass: asTensor(perClass('precision')),
      [`mar${largest}PerClass`]: asTensor(perClass('recall')),
      classes: asTensor(classes).long(),
    }
  }
}

/** 0, 0.01, ... 1 in float32, counted from both ends as `torch.linspace` does. */
function hundredths(): number[] {
  const step = Math.fround(0.01)
  return Array.from({ length: 101 }, (_, i) => Math.fround(i < 50 ? step * i : 1 - step * (100 - i)))
}

function averageOf(values: readonly number[]): number {
  const defined = values.filter(value => value > -1)
  return defined.length === 0 ? -1 : defined.reduce((a, b) => a + b, 0) / defined.length
}

/** The number of boxes, after checking that what belongs to them is of the same number. */
function rows(boxes: Tensor, ...others: Tensor[]): number {
  const n = boxes.numel / 4
  const fits = boxes.numel === 0 || (boxes.ndim === 2 && boxes.shape[1] === 4)
  if (fits && others.every(other => other.numel === n)) return n
  const operands = [boxes, ...others].map(t => `${t.dtype}[${t.shape.join(', ')}]`)
  throw new WickError('SHAPE_MISMATCH', 'boxes [n, 4], scores and labels [n] don’t fit together', {
    op: 'MeanAveragePrecision',
    details: { operands },
  })
}
