/** What a run changes, copied, so that it can be put back as if there had been no run. */
import type { StateTree } from '../checkpoint/index.ts'
import { native } from '../native/index.ts'
import { keep, mapTensors, noGrad, tensorsIn } from '../tensor/index.ts'
import { asyncScope } from '../tensor/memory.ts'
import type { RunHistory } from './run-history.ts'
import { historyState, setHistory, stateOf } from './training-state.ts'
import type { TrainableOptimizer } from './types.ts'

/** The parts of a Trainer that a run changes. */
interface Changing {
  readonly model: object
  readonly optimizer: TrainableOptimizer
  readonly scaler: object | null
  readonly runHistory: RunHistory
}

/** Copies of a Trainer's parts. */
export interface Snapshot {
  /** Puts everything back; may be called several times. */
  restore(): Promise<void>
  /** Frees the copies. */
  dispose(): void
}

/** The global generator's number. */
const GLOBAL = -1

/** Copies the model, the optimizer, the loss scaler, the history and the random numbers' state. */
export async function snapshotOf(trainer: Changing): Promise<Snapshot> {
  const { model, optimizer, scaler, runHistory } = trainer
  const parts = [model, optimizer, scaler]
  const copies = await asyncScope(async () => {
    const states: StateTree[] = []
    for (const part of parts) states.push(await stateOf(part))
    return noGrad(() => mapTensors(states, x => keep(x.clone()))) as StateTree[]
  })
  const fields = optimizer.paramGroups.map(group => ({ ...group }))
  const history = historyState(runHistory)
  const random = native.generatorState(GLOBAL)
  return {
    async restore() {
      for (const [i, part] of parts.entries()) {
        if (part && 'loadStateDict' in part && typeof part.loadStateDict === 'function')
          await part.loadStateDict(copies[i])
      }
      for (const [i, group] of optimizer.paramGroups.entries()) {
        // A scheduler may have added its initial values.
        for (const name of Object.keys(group)) if (!(name in fields[i]!)) Reflect.deleteProperty(group, name)
        Object.assign(group, fields[i])
      }
      setHistory(runHistory, history)
      native.setGeneratorState(GLOBAL, ...random)
    },
    dispose() {
      for (const copy of tensorsIn(copies)) copy.dispose()
    },
  }
}
