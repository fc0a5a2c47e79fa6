/** What a Trainer's checkpoints and training states hold, gathered from its parts and given back to them. */
import { isStateful, type Stateful, type StateRecord, type StateTree } from '../checkpoint/index.ts'
import { WickError } from '../errors.ts'
import type { StateDict } from '../nn/index.ts'
import { Tensor } from '../tensor/index.ts'
import type { RunHistory, RunHistoryState } from './run-history.ts'
import type { TrainableOptimizer } from './types.ts'

/** The parts of a Trainer that have state. */
export interface StatefulParts {
  readonly model: object
  readonly optimizer: TrainableOptimizer
  readonly scheduler: object | null
  readonly scaler: Stateful | null
  readonly runHistory: RunHistory
  readonly callbackHandler: { readonly callbackList: readonly object[] }
}

/** Options of `saveCheckpoint`. */
export interface SaveCheckpointOptions {
  /** Default true. */
  saveOptimizer?: boolean | undefined
  /** Whether to save the scheduler, if the run has one. Default true. */
  saveScheduler?: boolean | undefined
  /** Data of your own, under a key of its own: plain data and tensors. */
  extra?: StateRecord | undefined
}

/** Options of `loadCheckpoint`. */
export interface LoadCheckpointOptions {
  /** Default true. */
  loadOptimizer?: boolean | undefined
  /** Default true. */
  loadScheduler?: boolean | undefined
}

/** Options of `saveTrainingState`. */
export interface SaveTrainingStateOptions {
  /** Data of your own: plain data and tensors. */
  extra?: StateRecord | undefined
  /**
   * Resolves as soon as the state is copied and writes it meanwhile; a save waits for the one before. `train` waits for all of
   * them at its end, and an error of writing is thrown by the next save or there. Default false: the state is durable on return.
   */
  background?: boolean | undefined
  /** Called once the state is durable. */
  onSaved?: (() => Promise<void> | void) | undefined
}

/** What `loadTrainingState` gives. */
export interface LoadedTrainingState {
  /** The epoch that the run is in, from 1. */
  currentEpoch: number
  /** Micro-batches that were complete. */
  globalStep: number
  /** What was saved as `extra`. */
  extra: StateRecord
}

/** What `loadCheckpoint` gives. */
export interface LoadedCheckpoint {
  /** What was saved as `extra`. */
  extra: StateRecord
}

/** The model's tensors by its own names; `NOT_SUPPORTED` for a model without state dict. */
export function modelTensors(model: object): Map<string, Tensor> {
  if (!isStateful(model))
    throw new WickError('NOT_SUPPORTED', 'the model has no stateDict() and loadStateDict()', { op: 'Trainer' })
  return new Map(Object.entries(model.stateDict() as StateDict))
}

/** The state of a part, null if it has none to give. */
export async function stateOf(part: unknown): Promise<StateTree> {
  return isStateful(part) ? ((await part.stateDict()) as StateTree) : null
}

/** A part by name, and what was saved of it. */
export type SavedPart = readonly [name: string, part: unknown, state: unknown]

/**
 * Gives parts their states back, once all of them are found to fit, so that a state that doesn't changes nothing. One that was saved
 * but whose part is missing is `STATE_DICT_MISMATCH`. Foreign parts without `checkStateDict` are asked only when they load.
 */
export async function loadAll(parts: readonly SavedPart[]): Promise<void> {
  const given = parts.filter(([, , state]) => state !== null && state !== undefined)
  for (const [name, part, state] of given) {
    if (!isStateful(part)) {
      const message = `the state has a ${name}, but the trainer has none that could take it`
      throw new WickError('STATE_DICT_MISMATCH', message, { op: 'Trainer' })
    }
    part.checkStateDict?.(state)
  }
  for (const [, part, state] of given) await (part as Stateful).loadStateDict(state as never)
}

/** Fields of a trainer that are told apart by name; what else it holds and has state is a subclass's. */
const ownFields = ['model', 'optimizer', 'scheduler', 'scaler', 'lossTracker', 'runHistory']

/** What a trainer holds besides its own parts and has state: its loss, and a subclass's models and optimizers. */
function furtherParts(trainer: StatefulParts): [string, Stateful][] {
  const found: [string, Stateful][] = []
  for (const [name, part] of Object.entries(trainer)) {
    if (!ownFields.includes(name) && isStateful(part)) found.push([name, part])
  }
  return found
}

/** The state of all parts but the model, the scheduler and what belongs to the position in a run. */
export async function partsState(trainer: StatefulParts): Promise<StateRecord> {
  const further: Record<string, StateTree> = {}
  for (const [name, part] of furtherParts(trainer)) further[name] = await stateOf(part)
  return {
    optimizer: await stateOf(trainer.optimizer),
    scaler: await stateOf(trainer.scaler),
    further,
    history: historyState(trainer.runHistory) as unknown as StateRecord,
    callbacks: await callbacksState(trainer),
  }
}

/** The parts of a trainer that `partsState` asks, with what they said then; the scheduler's only if it is to be loaded. */
export function savedParts(trainer: StatefulParts, state: StateRecord, further: StateRecord): SavedPart[] {
  const parts = new Map(furtherParts(trainer))
  return [
    ['optimizer', trainer.optimizer, state.optimizer],
    ['loss scaler', trainer.scaler, state.scaler],
    ...Object.entries(further).map(([name, part]): SavedPart => [`'${name}'`, parts.get(name), part]),
  ]
}

/** Callbacks by name; plain objects by their number. */
function namedCallbacks({ callbackHandler }: StatefulParts): [string, object][] {
  return callbackHandler.callbackList.map((callback, i) => {
    const { name } = callback.constructor
    return [name === 'Object' ? `callback ${i}` : name, callback]
  })
}

async function callbacksState(trainer: StatefulParts): Promise<StateRecord> {
  const states: Record<string, StateTree> = {}
  for (const [name, callback] of namedCallbacks(trainer)) {
    if (isStateful(callback)) states[name] = await stateOf(callback)
  }
  return states
}

/** Callbacks with what was saved of them. Those that the trainer lacks are left out with a warning if `warn` is set. */
export function savedCallbacks(trainer: StatefulParts, states: StateRecord, warn = false): SavedPart[] {
  const callbacks = new Map(namedCallbacks(trainer))
  const found: SavedPart[] = []
  for (const [name, state] of Object.entries(states)) {
    const callback = callbacks.get(name)
    if (isStateful(callback)) found.push([name, callback, state])
    else if (warn) console.warn(`The state has a ${name}, which the trainer doesn't have: its part is left out`)
  }
  return found
}

/** A history as plain data. */
export function historyState(history: RunHistory): RunHistoryState {
  const names = history.getMetricNames()
  return {
    currentEpoch: history.currentEpoch,
    metrics: Object.fromEntries(names.map(name => [name, history.getMetricValues(name)])),
  }
}

/** Makes a history what `historyState` gave. Works on every one, since it uses only the interface. */
export function setHistory(history: RunHistory, { currentEpoch, metrics }: RunHistoryState): void {
  const prefix = history.metricNamePrefix
  history.reset()
  history.setMetricNamePrefix('')
  for (const [name, values] of Object.entries(metrics)) for (const value of values) history.updateMetric(name, value)
  history.setMetricNamePrefix(prefix)
  history.setEpoch(currentEpoch)
}

/** The gradients of an open accumulation window, by the parameter's number; none are left out. */
export function gradientsOf(optimizer: TrainableOptimizer): Record<string, Tensor> {
  const gradients: Record<string, Tensor> = {}
  for (const [i, { grad }] of optimizer.paramGroups.flatMap(group => group.params).entries())
    if (grad) gradients[i] = grad
  return gradients
}

/** Gives parameters the gradients that `gradientsOf` found. */
export function setGradients(optimizer: TrainableOptimizer, gradients: StateRecord): void {
  for (const [i, parameter] of optimizer.paramGroups.flatMap(group => group.params).entries()) {
    const gradient = gradients[i]
    parameter.grad = gradient instanceof Tensor ? gradient : null
  }
}
