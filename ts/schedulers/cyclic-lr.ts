/** `CyclicLR`: up and down between two values. */
import { badOption } from '../errors.ts'
import {
  checkSchedulerOptions,
  perGroup,
  type ScheduledOptimizer,
  type SchedulerOptions,
  StatefulSchedulerBase,
} from './base.ts'
import { type CycledMomentum, cycledMomentum, setMomentum } from './momentum.ts'

/** Options of `CyclicLR`. */
export interface CyclicLROptions extends SchedulerOptions {
  /** The lower bound, for all groups or each. */
  baseLr: number | readonly number[]
  /** The upper bound, for all groups or each. */
  maxLr: number | readonly number[]
  /** Steps up. Default 2000. */
  stepSizeUp?: number | undefined
  /** Steps down. Default: as many as up. */
  stepSizeDown?: number | undefined
  /** `'triangular'` (default), `'triangular2'` (half the height in each cycle) or `'exp_range'` (`gamma ^ n` of the height). */
  mode?: 'triangular' | 'triangular2' | 'exp_range' | undefined
  /** Default 1. */
  gamma?: number | undefined
  /** Factor of the height instead of `mode`'s, of the cycle (from 1) or of the step. */
  scaleFn?: ((x: number) => number) | undefined
  /** What `scaleFn` is of: `'cycle'` (default) or `'iterations'`. */
  scaleMode?: 'cycle' | 'iterations' | undefined
  /** Whether momentum (or the first of `betas`) goes the other way. Default: true if the field is `lr`. */
  cycleMomentum?: boolean | undefined
  /** Default 0.8. */
  baseMomentum?: number | readonly number[] | undefined
  /** Default 0.9. */
  maxMomentum?: number | readonly number[] | undefined
}

const names = [
  'baseLr',
  'maxLr',
  'stepSizeUp',
  'stepSizeDown',
  'mode',
  'gamma',
  'scaleFn',
  'scaleMode',
  'cycleMomentum',
  'baseMomentum',
  'maxMomentum',
]

/** Goes from `baseLr` to `maxLr` and back in a line, again and again (arXiv 1506.01186). */
export class CyclicLR extends StatefulSchedulerBase {
  readonly #total: number
  readonly #ratio: number
  readonly #max: readonly number[]
  readonly #base: readonly number[]
  readonly #momentum: CycledMomentum | null
  /** Factor of the height in cycle `cycle`, at step `n`. */
  readonly #scale: (cycle: number, n: number) => number

  constructor(optimizer: ScheduledOptimizer, options: CyclicLROptions) {
    const op = 'CyclicLR'
    checkSchedulerOptions(op, options, names)
    super(optimizer, options)
    const { stepSizeUp = 2000, stepSizeDown = stepSizeUp, mode = 'triangular', gamma = 1, scaleFn, scaleMode } = options
    if (!(stepSizeUp > 0 && stepSizeDown > 0)) throw badOption(op, 'stepSizeUp and stepSizeDown must be above 0')
    if (!scaleFn && !['triangular', 'triangular2', 'exp_range'].includes(mode)) {
      throw badOption(op, `mode must be 'triangular', 'triangular2' or 'exp_range', not '${String(mode)}'`)
    }
    this.#total = stepSizeUp + stepSizeDown
    this.#ratio = stepSizeUp / this.#total
    this.#base = perGroup(op, 'baseLr', optimizer, options.baseLr)
    this.#max = perGroup(op, 'maxLr', optimizer, options.maxLr)
    if (scaleFn) this.#scale = scaleMode === 'iterations' ? (_, n) => scaleFn(n) : scaleFn
    else if (mode === 'triangular2') this.#scale = cycle => 1 / 2 ** (cycle - 1)
    else this.#scale = mode === 'exp_range' ? (_, n) => gamma ** n : () => 1
    this.#momentum = cycledMomentum(op, optimizer, this.paramGroupField, options, [0.8, 0.9])
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    const cycle = Math.floor(1 + numUpdates / this.#total)
    const x = 1 + numUpdates / this.#total - cycle
    const height = x <= this.#ratio ? x / this.#ratio : (x - 1) / (this.#ratio - 1)
    const scale = this.#scale(cycle, numUpdates)
    const momentum = this.#momentum
    if (momentum) {
      setMomentum(
        this.optimizer,
        momentum.max.map((max, i) => max - (max - momentum.base[i]!) * height * scale),
      )
    }
    return this.#base.map((base, i) => base + (this.#max[i]! - base) * height * scale)
  }
}
