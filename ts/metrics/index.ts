/**
 * `wick-ml/metrics`: metrics over many batches, with torchmetrics' numbers.
 *
 * ```ts
 * const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 10 })
 * accuracy.update(logits, labels)
 * await accuracy.compute()
 * ```
 */
export { type AggregationOptions, MeanMetric, SumMetric } from './aggregation.ts'
export { Accuracy } from './classification/accuracy.ts'
export { AUROC, type AUROCOptions } from './classification/auroc.ts'
export { AveragePrecision } from './classification/average-precision.ts'
export { CalibrationError, type CalibrationErrorOptions } from './classification/calibration-error.ts'
export { CohenKappa, type CohenKappaOptions } from './classification/cohen-kappa.ts'
export { ConfusionMatrix, type ConfusionMatrixOptions } from './classification/confusion-matrix.ts'
export type { CurveOptions } from './classification/curve.ts'
export { F1Score, FBeta, type FBetaOptions } from './classification/f-beta.ts'
export { HammingDistance } from './classification/hamming-distance.ts'
export { JaccardIndex, type JaccardIndexOptions } from './classification/jaccard-index.ts'
export { MatthewsCorrCoef } from './classification/matthews-corr-coef.ts'
export { Precision, type ZeroDivisionOptions } from './classification/precision.ts'
export { Recall } from './classification/recall.ts'
export { Specificity } from './classification/specificity.ts'
export type { Averaged, StatScoresOptions } from './classification/stat-scores.ts'
export type { Average, BinaryTask, MulticlassTask, MultilabelTask, Task } from './classification/task.ts'
export { MetricCollection, type MetricCollectionOptions } from './collection.ts'
export {
  MeanAveragePrecision,
  type MeanAveragePrecisionOptions,
  type MeanAveragePrecisionResult,
  type PredictedBoxes,
  type TargetBoxes,
} from './detection/mean-average-precision.ts'
export { Metric, type MetricState, type StateReduction } from './metric.ts'
export { MeanAbsoluteError, MeanSquaredError, type MeanSquaredErrorOptions } from './regression/mean-error.ts'
export type { OutputOptions } from './regression/outputs.ts'
export { PearsonCorrCoef } from './regression/pearson-corr-coef.ts'
export { R2Score, type R2ScoreOptions } from './regression/r2-score.ts'
export { SpearmanCorrCoef } from './regression/spearman-corr-coef.ts'
export { BLEU, type BLEUOptions } from './text/bleu.ts'
export { Perplexity } from './text/perplexity.ts'
export { ROUGE, type ROUGEOptions, type ROUGEScores, type RougeKey } from './text/rouge.ts'
