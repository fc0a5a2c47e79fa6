/** `OneCycleLR`: up once, then down to almost nothing. */
import { checkCount } from '../data/sampler.ts'
import { badOption } from '../errors.ts'
import {
  checkSchedulerOptions,
  perGroup,
  type ScheduledOptimizer,
  type SchedulerOptions,
  StatefulSchedulerBase,
} from './base.ts'
import { type CycledMomentum, cycledMomentum, setMomentum } from './momentum.ts'

/** Options of `OneCycleLR`. */
export interface OneCycleLROptions extends SchedulerOptions {
  /** The highest value, for all groups or each. */
  maxLr: number | readonly number[]
  /** Steps of the cycle; or give `epochs` and `stepsPerEpoch`. */
  totalSteps?: number | undefined
  epochs?: number | undefined
  stepsPerEpoch?: number | undefined
  /** Share of the steps that go up. Default 0.3. */
  pctStart?: number | undefined
  /** `'cos'` (default) or `'linear'`. */
  annealStrategy?: 'cos' | 'linear' | undefined
  /** Whether momentum (or the first of `betas`) goes the other way. Default: true if the field is `lr`. */
  cycleMomentum?: boolean | undefined
  /** Default 0.85. */
  baseMomentum?: number | readonly number[] | undefined
  /** Default 0.95. */
  maxMomentum?: number | readonly number[] | undefined
  /** The first value is `maxLr / divFactor`. Default 25. */
  divFactor?: number | undefined
  /** The last value is the first one divided by this. Default 10000. */
  finalDivFactor?: number | undefined
  /** Whether to go down to the first value in as many steps as up, and only then to the last. Default false. */
  threePhase?: boolean | undefined
}

const names = [
  'maxLr',
  'totalSteps',
  'epochs',
  'stepsPerEpoch',
  'pctStart',
  'annealStrategy',
  'cycleMomentum',
  'baseMomentum',
  'maxMomentum',
  'divFactor',
  'finalDivFactor',
  'threePhase',
]

type Level = 'first' | 'max' | 'last'
interface Phase {
  end: number
  from: Level
  to: Level
  momentum: readonly [from: 'base' | 'max', to: 'base' | 'max']
}

/** The 1cycle policy (arXiv 1708.07120): one rise to `maxLr`, one fall to almost 0. A step past its end is an error. */
export class OneCycleLR extends StatefulSchedulerBase {
  readonly #totalSteps: number
  readonly #phases: readonly Phase[]
  readonly #levels: Record<Level, readonly number[]>
  readonly #momentum: CycledMomentum | null
  readonly #anneal: (start: number, end: number, share: number) => number

  constructor(optimizer: ScheduledOptimizer, options: OneCycleLROptions) {
    const op = 'OneCycleLR'
    checkSchedulerOptions(op, options, names)
    super(optimizer, options)
    const { epochs, stepsPerEpoch, pctStart = 0.3, annealStrategy = 'cos', threePhase = false } = options
    const { divFactor = 25, finalDivFactor = 1e4 } = options
    const product = epochs === undefined || stepsPerEpoch === undefined ? undefined : epochs * stepsPerEpoch
    if ((options.totalSteps ?? product) === undefined) {
      throw badOption(op, 'give totalSteps, or epochs and stepsPerEpoch')
    }
    if (!(pctStart >= 0 && pctStart <= 1)) throw badOption(op, `pctStart must be from 0 to 1, not ${pctStart}`)
    if (annealStrategy !== 'cos' && annealStrategy !== 'linear') {
      throw badOption(op, `annealStrategy must be 'cos' or 'linear', not '${String(annealStrategy)}'`)
    }
    const total = checkCount(options.totalSteps ?? product ?? 0, 'totalSteps', op)
    this.#totalSteps = total
    this.#anneal =
      annealStrategy === 'cos'
        ? (start, end, share) => end + ((start - end) / 2) * (Math.cos(Math.PI * share) + 1)
        : (start, end, share) => (end - start) * share + start
    const up: Phase = { end: pctStart * total - 1, from: 'first', to: 'max', momentum: ['max', 'base'] }
    const down: readonly Phase[] = threePhase
      ? [
          { end: 2 * pctStart * total - 2, from: 'max', to: 'first', momentum: ['base', 'max'] },
          { end: total - 1, from: 'first', to: 'last', momentum: ['max', 'max'] },
        ]
      : [{ end: total - 1, from: 'max', to: 'last', momentum: ['base', 'max'] }]
    this.#phases = [up, ...down]
    const max = perGroup(op, 'maxLr', optimizer, options.maxLr)
    const first = max.map(value => value / divFactor)
    this.#levels = { first, max, last: first.map(value => value / finalDivFactor) }
    this.#momentum = cycledMomentum(op, optimizer, this.paramGroupField, options, [0.85, 0.95])
    this.start()
  }

  getUpdatedValues(numUpdates: number): number[] {
    if (numUpdates > this.#totalSteps) {
      throw badOption('OneCycleLR', `step ${numUpdates}, but the cycle has ${this.#totalSteps}`)
    }
    const at = this.#phases.findIndex(({ end }) => numUpdates <= end)
    const index = at < 0 ? this.#phases.length - 1 : at
    const phase = this.#phases[index]!
    const start = this.#phases[index - 1]?.end ?? 0
    const share = (numUpdates - start) / (phase.end - start)
    const momentum = this.#momentum
    if (momentum) {
      const [from, to] = phase.momentum
      setMomentum(
        this.optimizer,
        momentum[from].map((value, i) => this.#anneal(value, momentum[to][i]!, share)),
      )
    }
    return this.#levels[phase.from].map((value, i) => this.#anneal(value, this.#levels[phase.to][i]!, share))
  }
}
