/** The momentum that cyclic schedules move against the learning rate. */
import { badOption } from '../errors.ts'
import { perGroup, type ScheduledOptimizer } from './base.ts'

/** Sets each group's momentum, or the first of its `betas`. */
export function setMomentum(optimizer: ScheduledOptimizer, values: readonly number[]): void {
  for (const [i, group] of optimizer.paramGroups.entries()) {
    const betas: unknown = Reflect.get(group, 'betas')
    if (Array.isArray(betas)) Reflect.set(group, 'betas', [values[i], ...betas.slice(1)])
    else Reflect.set(group, 'momentum', values[i])
  }
}

/** The options by which cyclic schedules say how momentum goes. */
export interface CycledMomentumOptions {
  cycleMomentum?: boolean | undefined
  baseMomentum?: number | readonly number[] | undefined
  maxMomentum?: number | readonly number[] | undefined
}

/** The least and the largest momentum of each group. */
export interface CycledMomentum {
  readonly base: readonly number[]
  readonly max: readonly number[]
}

/**
 * What `options` ask for, with the defaults `base` and `max`; null if momentum isn't cycled, which is so by default for fields other
 * than `lr`. `BAD_OPTION` if the optimizer has no momentum to cycle.
 */
export function cycledMomentum(
  op: string,
  optimizer: ScheduledOptimizer,
  field: string,
  options: CycledMomentumOptions,
  [base, max]: readonly [base: number, max: number],
): CycledMomentum | null {
  if (!(options.cycleMomentum ?? field === 'lr')) return null
  if (!optimizer.paramGroups.every(group => 'betas' in group || 'momentum' in group)) {
    throw badOption(op, 'cycleMomentum needs an optimizer with momentum or betas')
  }
  return {
    base: perGroup(op, 'baseMomentum', optimizer, options.baseMomentum ?? base),
    max: perGroup(op, 'maxMomentum', optimizer, options.maxMomentum ?? max),
  }
}
