/** The momentum that cyclic schedules move against the learning rate. */
import { badOption } from '../errors.ts'
import type { ScheduledOptimizer } from './base.ts'

/** Sets each group's momentum, or the first of its `betas`. */
export function setMomentum(optimizer: ScheduledOptimizer, values: readonly number[]): void {
  for (const [i, group] of optimizer.paramGroups.entries()) {
    const betas: unknown = Reflect.get(group, 'betas')
    if (Array.isArray(betas)) Reflect.set(group, 'betas', [values[i], ...betas.slice(1)])
    else Reflect.set(group, 'momentum', values[i])
  }
}

/** Throws `BAD_OPTION` if the optimizer has no momentum to cycle. */
export function checkMomentum(op: string, optimizer: ScheduledOptimizer): void {
  if (optimizer.paramGroups.every(group => 'betas' in group || 'momentum' in group)) return
  throw badOption(op, 'cycleMomentum needs an optimizer with momentum or betas')
}
