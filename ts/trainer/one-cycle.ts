/** What `fitOneCycle` adds to `train`. */
import { OneCycleLR, type OneCycleLROptions } from '../schedulers/index.ts'
import type { ScheduleContext, TrainOptions } from './types.ts'

/** Options of `fitOneCycle`: those of `train`, and of the cycle. */
export interface FitOneCycleOptions<Item> extends Omit<TrainOptions<Item>, 'createScheduler'> {
  /** The highest learning rate, for all groups or each. Default: what the groups have. */
  maxLr?: number | readonly number[] | undefined
  /** Further options of `OneCycleLR`. */
  oneCycle?: Omit<OneCycleLROptions, 'maxLr' | 'totalSteps' | 'epochs' | 'stepsPerEpoch'> | undefined
}

/** The scheduler of a run with one cycle. */
export function oneCycleOf(
  maxLr: number | readonly number[] | undefined,
  options: FitOneCycleOptions<never>['oneCycle'],
): (context: ScheduleContext) => OneCycleLR {
  return ({ optimizer, maxNumTrainSteps }) => {
    const own = optimizer.paramGroups.map(group => Number(Reflect.get(group, options?.paramGroupField ?? 'lr')))
    return new OneCycleLR(optimizer, { ...options, maxLr: maxLr ?? own, totalSteps: maxNumTrainSteps })
  }
}
