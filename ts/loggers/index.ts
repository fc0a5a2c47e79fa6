/**
 * `loggers`: where the metrics of a run go.
 *
 * ```ts
 * const trainer = new Trainer({ model, loss, optimizer, loggers: [new loggers.RunDirectory('runs/1')] })
 * await trainer.logger.logMedia('weights', await loggers.histogram(model.out.weight))
 * ```
 */
export { CSV } from './csv.ts'
export { JSONL } from './jsonl.ts'
export {
  histogram,
  image,
  type LoggedHistogram,
  type LoggedImage,
  type Logger,
  type LogPosition,
  type RunInfo,
} from './logger.ts'
export { Loggers } from './loggers.ts'
export { RunDirectory } from './run-directory.ts'
export { TensorBoard } from './tensorboard.ts'
