/** Runs on only a part of the data, for trying things out. */

import { DataLoaderSlice } from '../data/batches.ts'
import { badOption, checkOptions } from '../errors.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Environment variable with a number of batches, or `none`. */
const VARIABLE = 'WICK_LIMIT_BATCHES'

/** Uses only the first `numBatches` batches of the training and evaluation data. */
export class LimitBatchesCallback implements Callback {
  readonly numBatches: number

  constructor(options: { numBatches: number }) {
    checkOptions('LimitBatchesCallback', options, ['numBatches'])
    const { numBatches } = options
    if (!Number.isInteger(numBatches) || numBatches < 1) {
      throw badOption('LimitBatchesCallback', `numBatches must be a whole number of at least 1, not ${numBatches}`)
    }
    this.numBatches = numBatches
  }

  onDataLoadersCreated(trainer: AnyTrainer): void {
    limitLoaders(trainer, this.numBatches)
  }
}

/** Makes a trainer's loaders end after `numBatches` batches. */
export function limitLoaders(trainer: AnyTrainer, numBatches: number): void {
  const { trainDataLoader, evalDataLoader } = trainer
  if (trainDataLoader) trainer.trainDataLoader = new DataLoaderSlice(trainDataLoader, numBatches)
  if (evalDataLoader) trainer.evalDataLoader = new DataLoaderSlice(evalDataLoader, numBatches)
}

/** The callback that `WICK_LIMIT_BATCHES` asks for, if it does. */
export function limitFromEnvironment(): LimitBatchesCallback | null {
  const value = process.env[VARIABLE]
  if (!value || value.toLowerCase() === 'none') return null
  const numBatches = Number(value)
  if (!Number.isInteger(numBatches) || numBatches < 1) {
    throw badOption(VARIABLE, `must be a whole number of at least 1, or none, not '${value}'`)
  }
  return new LimitBatchesCallback({ numBatches })
}

/** Runs `fn` with `WICK_LIMIT_BATCHES` set to `numBatches`: Trainers made in it use that many batches. */
export function limitBatches<T>(numBatches: number, fn: () => T): T {
  const before = process.env[VARIABLE]
  process.env[VARIABLE] = String(numBatches)
  try {
    return fn()
  } finally {
    if (before === undefined) delete process.env[VARIABLE]
    else process.env[VARIABLE] = before
  }
}
