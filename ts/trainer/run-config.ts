/** `TrainerRunConfig`: what a run was started with, as resolved. */
import type { LoaderOptions } from '../data/index.ts'
import type { RunSettings } from './settings.ts'
import type { Precision } from './types.ts'

/** What a configuration takes from a loader. */
export interface LoaderShape {
  readonly length: number
  readonly batchSize?: number | undefined
}

/** The fields of a run configuration. */
export interface RunConfigFields {
  /** As given to `train`; 0 for an evaluation. */
  readonly numEpochs: number
  readonly gradientAccumulationSteps: number
  readonly gradientClipValue: number | null
  readonly gradientClipNorm: number | null
  /** Updates after which the run ends: the smaller of the given limit and what the epochs hold. */
  readonly maxNumTrainSteps: number
  readonly trainDataLoaderOptions: LoaderOptions | null
  readonly evalDataLoaderOptions: LoaderOptions | null
  readonly trainPerDeviceBatchSize: number
  readonly evalPerDeviceBatchSize: number
  /** Per device * processes * accumulation steps. */
  readonly trainTotalBatchSize: number
  readonly evalTotalBatchSize: number
  /** Optimizer steps of the whole job in an epoch. */
  readonly numUpdateStepsPerEpoch: number
  readonly isLocalProcessZero: boolean
  readonly isWorldProcessZero: boolean
  readonly isDistributed: boolean
  readonly numProcesses: number
  readonly mixedPrecision: Precision
}

/** A frozen run configuration; `JSON.stringify` leaves out what isn't plain data (samplers, generators). */
export type TrainerRunConfig = RunConfigFields & { toJSON(): RunConfigFields }

/** The configuration of a run on one process, by its settings and its loaders. */
export function runConfigOf(
  settings: RunSettings,
  train: LoaderShape | null,
  evaluation: LoaderShape | null,
  precision: Precision = 'no',
): TrainerRunConfig {
  const { numEpochs, gradientAccumulationSteps, perDeviceBatchSize } = settings
  const trainBatch = train ? (train.batchSize ?? perDeviceBatchSize) : 0
  const evalBatch = evaluation ? (evaluation.batchSize ?? perDeviceBatchSize) : trainBatch
  const numUpdateStepsPerEpoch = Math.ceil((train?.length ?? 0) / gradientAccumulationSteps)
  const fields: RunConfigFields = {
    numEpochs,
    gradientAccumulationSteps,
    gradientClipValue: settings.gradientClipValue,
    gradientClipNorm: settings.gradientClipNorm,
    maxNumTrainSteps: Math.min(settings.maxNumTrainSteps, numEpochs * numUpdateStepsPerEpoch),
    trainDataLoaderOptions: settings.trainDataLoaderOptions,
    evalDataLoaderOptions: settings.evalDataLoaderOptions,
    trainPerDeviceBatchSize: trainBatch,
    evalPerDeviceBatchSize: evalBatch,
    trainTotalBatchSize: trainBatch * gradientAccumulationSteps,
    evalTotalBatchSize: evalBatch,
    numUpdateStepsPerEpoch,
    isLocalProcessZero: true,
    isWorldProcessZero: true,
    isDistributed: false,
    numProcesses: 1,
    mixedPrecision: precision,
  }
  return Object.freeze({
    ...fields,
    toJSON: () => ({
      ...fields,
      trainDataLoaderOptions: plain(fields.trainDataLoaderOptions),
      evalDataLoaderOptions: plain(fields.evalDataLoaderOptions),
    }),
  })
}

function plain(options: LoaderOptions | null): LoaderOptions | null {
  if (options === null) return null
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => typeof value !== 'object' && value !== undefined),
  )
}
