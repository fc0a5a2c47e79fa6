/** What a Trainer and its runs are told, checked and with defaults filled in. */
import type { DataLoaderOptions, LoaderOptions } from '../data/index.ts'
import { checkCount } from '../data/sampler.ts'
import { badOption, checkOptions } from '../errors.ts'
import { deviceCode } from '../tensor/dtype.ts'
import type { EvaluateOptions, ScheduleContext, TrainableScheduler, TrainOptions } from './types.ts'

/** The settings of one run. */
export interface RunSettings {
  numEpochs: number
  perDeviceBatchSize: number
  maxNumTrainSteps: number
  gradientAccumulationSteps: number
  gradientClipValue: number | null
  gradientClipNorm: number | null
  createScheduler: ((context: ScheduleContext) => TrainableScheduler | null) | null
  trainDataLoaderOptions: LoaderOptions | null
  evalDataLoaderOptions: LoaderOptions | null
}

const constructorNames = [
  'model',
  'loss',
  'optimizer',
  'callbacks',
  'runHistory',
  'device',
  'precision',
  'seed',
  'loggers',
  'logger',
  'capture',
  'stepsPerCall',
]
const trainNames = [
  'trainDataset',
  'numEpochs',
  'evalDataset',
  'perDeviceBatchSize',
  'maxNumTrainSteps',
  'gradientAccumulationSteps',
  'gradientClipValue',
  'gradientClipNorm',
  'createScheduler',
  'trainDataLoaderOptions',
  'evalDataLoaderOptions',
  'resetRunHistory',
  'autoBatchSize',
  'resumeFrom',
  'collate',
]
const evaluateNames = ['dataset', 'perDeviceBatchSize', 'dataLoaderOptions', 'collate']

/** Checks the constructor's options. */
export function checkTrainerOptions(options: {
  model: object
  loss: object | null
  optimizer: object
  device?: string | undefined
  precision?: string | undefined
  seed?: number | undefined
  capture?: string | undefined
  stepsPerCall?: number | undefined
}): void {
  const op = 'Trainer'
  checkOptions(op, options, constructorNames)
  const { model, loss, optimizer, device, precision = 'no', capture = 'auto', stepsPerCall = 1 } = options
  if (!hasMethods(model, 'forward', 'train', 'eval')) throw badOption(op, 'model must be an nn.Module')
  if (!hasMethods(optimizer, 'step', 'zeroGrad'))
    throw badOption(op, 'optimizer must be an optimizer such as new optim.SGD(…)')
  if (loss !== null && typeof loss !== 'function' && !hasMethods(loss, 'forward')) {
    throw badOption(op, 'loss must be a loss module or function, or null if a subclass computes it')
  }
  deviceCode(op, device)
  if (!['no', 'bf16', 'fp16'].includes(precision)) {
    throw badOption(op, `precision must be 'no', 'bf16' or 'fp16', not '${precision}'`)
  }
  if (!['auto', 'full', 'off'].includes(capture)) {
    throw badOption(op, `capture must be 'auto', 'full' or 'off', not '${capture}'`)
  }
  checkCount(stepsPerCall, 'stepsPerCall', op)
  if (options.seed !== undefined && !Number.isSafeInteger(options.seed)) {
    throw badOption(op, `seed must be a whole number, not ${options.seed}`)
  }
}

function hasMethods(value: object | null | undefined, ...names: string[]): boolean {
  return (
    typeof value === 'object' && value !== null && names.every(name => typeof Reflect.get(value, name) === 'function')
  )
}

/** Checks the options of `train`. */
export function trainSettings<Item>(options: TrainOptions<Item>): RunSettings {
  const op = 'Trainer.train'
  checkOptions(op, options, trainNames)
  return {
    numEpochs: checkCount(options.numEpochs, 'numEpochs', op),
    perDeviceBatchSize: checkCount(options.perDeviceBatchSize ?? 8, 'perDeviceBatchSize', op),
    maxNumTrainSteps:
      options.maxNumTrainSteps === undefined
        ? Number.POSITIVE_INFINITY
        : checkCount(options.maxNumTrainSteps, 'maxNumTrainSteps', op),
    gradientAccumulationSteps: checkCount(options.gradientAccumulationSteps ?? 1, 'gradientAccumulationSteps', op),
    gradientClipValue: checkClip(options.gradientClipValue, 'gradientClipValue'),
    gradientClipNorm: checkClip(options.gradientClipNorm, 'gradientClipNorm'),
    createScheduler: options.createScheduler ?? null,
    trainDataLoaderOptions: options.trainDataLoaderOptions ?? null,
    evalDataLoaderOptions: options.evalDataLoaderOptions ?? null,
  }
}

function checkClip(value: number | undefined, name: string): number | null {
  if (value === undefined) return null
  if (value > 0) return value
  throw badOption('Trainer.train', `${name} must be a number above 0, not ${value}`)
}

/** Checks the options of `evaluate` or `predict`, named by `op`. */
export function evaluateSettings<Item>(op: string, options: EvaluateOptions<Item>): RunSettings {
  checkOptions(op, options, evaluateNames)
  return {
    numEpochs: 0,
    perDeviceBatchSize: checkCount(options.perDeviceBatchSize ?? 8, 'perDeviceBatchSize', op),
    maxNumTrainSteps: 0,
    gradientAccumulationSteps: 1,
    gradientClipValue: null,
    gradientClipNorm: null,
    createScheduler: null,
    trainDataLoaderOptions: null,
    evalDataLoaderOptions: options.dataLoaderOptions ?? null,
  }
}

/** A loader's options: the defaults, overridden by `given`. A sampler or batch sampler drops what it decides itself. */
export function mergeLoaderOptions<Item, Batch>(
  defaults: LoaderOptions,
  given: LoaderOptions | undefined,
  collate: DataLoaderOptions<Item, Batch>['collate'],
): DataLoaderOptions<Item, Batch> {
  const { shuffle, batchSize, ...rest } = defaults
  if (given?.batchSampler) return { ...rest, collate, ...given }
  if (given?.sampler) return { ...rest, batchSize, collate, ...given }
  return { ...defaults, collate, ...given }
}
