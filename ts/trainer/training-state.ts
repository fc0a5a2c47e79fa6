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

/** Loads tensors into the model. */
export function loadModel(model: object, tensors: ReadonlyMap<string, Tensor>): void {
  if (!isStateful(model))
    throw new WickError('NOT_SUPPORTED', 'the model has no stateDict() and loadStateDict()', { op: 'Trainer' })
  model.loadStateDict(tensors as never)
}

/** The state of a part, null if it has none to give. */
export async function stateOf(part: unknown): Promise<StateTree> {
  return isStateful(part) ? ((await part.stateDict()) as StateTree) : null
}

/** Gives a part its state back. One that was saved but whose part is missing is `STATE_DICT_MISMATCH`. */
export async function loadPart(name: string, part: unknown, state: StateTree | undefined): Promise<void> {
  if (state === null || state === undefined) return
  if (!isStateful(part)) {
    throw new WickError('STATE_DICT_MISMATCH', `the state has a ${name}, but the trainer has none that could take it`, {
      op: 'Trainer',
    })
  }
  await part.loadStateDict(state as never)
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

/** Gives all parts what `partsState` gathered. */
export async function loadParts(trainer: StatefulParts, state: StateRecord): Promise<void> {
  await loadPart('optimizer', trainer.optimizer, state.optimizer)
  await loadPart('loss scaler', trainer.scaler, state.scaler)
  const parts = new Map(furtherParts(trainer))
  for (const [name, part] of Object.entries(state.further as StateRecord))
    await loadPart(`'${name}'`, parts.get(name), part)
  setHistory(trainer.runHistory, state.history as unknown as RunHistoryState)
  const lacking = await loadCallbacks(trainer, state.callbacks as StateRecord)
  for (const name of lacking)
    console.warn(`The state has a ${name}, which the trainer doesn't have: its part is left out`)
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

/** Gives callbacks their state back; the result names those that the trainer lacks. */
export async function loadCallbacks(trainer: StatefulParts, states: StateRecord): Promise<string[]> {
  const callbacks = new Map(namedCallbacks(trainer))
  const lacking: string[] = []
  for (const [name, state] of Object.entries(states)) {
    const callback = callbacks.get(name)
    if (isStateful(callback)) await callback.loadStateDict(state as never)
    else lacking.push(name)
  }
  return lacking
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
