/**
 * `Optimizer`: the base of all optimizers. Parameters come in groups, each with its own options; `paramGroups[i].lr` and the rest may be
 * changed at any time and are read at each step. The engine keeps a group's parameters, gradients and moments each in one flat
 * buffer and updates them with one op.
 */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { checkForm, isCount } from '../forms.ts'
import { noteStep } from '../full.ts'
import { native } from '../native/index.ts'
import { type FlatGroup, newFlatGroup } from '../nn/groups.ts'
import { noGrad, Tensor } from '../tensor/index.ts'
import {
  fromTorchOptions,
  isOptimizerState,
  type OptimizerState,
  type ParameterState,
  sameKind,
  toTorchOptions,
} from './state.ts'

/** Parameters with options of their own; what isn't given is the optimizer's. */
export type ParamGroupInput<Options> = { readonly params: Iterable<Tensor> | Tensor } & Partial<Options>
/** What an optimizer takes: parameters such as `model.parameters()`, or groups of them. */
export type Params<Options> = Iterable<Tensor> | Iterable<ParamGroupInput<Options>>
/** A group of an optimizer: its parameters and all options, which may be changed between steps. */
export type ParamGroup<Options> = Options & { readonly params: readonly Tensor[] }

/** Options of `step`. */
export interface StepOptions {
  /** A float64 scalar on the device: where it isn't 0, the update is left out. The host doesn't wait for it. */
  skip?: Tensor
}

/** A parameter's place in the engine: flat groups hold one dtype each. */
interface Place {
  group: FlatGroup
  index: number
}

/** Base class of optimizers with options of type `Options`. */
export abstract class Optimizer<Options extends object> {
  /** The groups, with their options as of now. */
  readonly paramGroups: ParamGroup<Options>[] = []
  readonly #name: string
  readonly #defaults: Options
  readonly #slots: readonly string[]
  readonly #flat: FlatGroup[][] = []
  readonly #places = new Map<Tensor, Place>()
  /** Each frees the engine's part of a flat group when it is collected, which is when the optimizer is. */
  #owners: object[] = []

  /** `slots` names what is kept of each parameter, as PyTorch's state dicts do, in the order of the native moment buffers. */
  protected constructor(params: Params<Options>, defaults: Options, slots: readonly string[]) {
    this.#name = new.target.name
    this.#defaults = defaults
    this.#slots = slots
    const given = [...params]
    if (given.length === 0) throw badOption(this.#name, 'the list of parameters is empty')
    const groups = given.filter(isGroup)
    const tensors = given.filter(p => !isGroup(p))
    if (groups.length > 0 && tensors.length > 0) throw badOption(this.#name, 'give parameters or groups, not both')
    for (const group of groups.length > 0 ? groups : [{ params: tensors.map(p => this.#parameter(p)) }]) {
      this.addParamGroup(group as ParamGroupInput<Options>)
    }
  }

  /** Throws `BAD_OPTION` for options that no step could use. */
  protected abstract validate(options: Options): void

  /** Updates the parameters of one flat group whose options are `options`; `skip` is a handle or -1. */
  protected abstract update(group: number, options: Options, skip: number): void

  /** Whether the moments of a group with these options hold anything. */
  protected hasMoments(_options: Options): boolean {
    return true
  }

  /** Adds parameters with options of their own. Throws `BAD_OPTION` if one belongs to a group already. */
  addParamGroup(group: ParamGroupInput<Options>): void {
    const { params, ...given } = group
    checkOptions(this.#name, given, Object.keys(this.#defaults))
    const options: Options = { ...this.#defaults, ...given }
    this.validate(options)
    const list = (params instanceof Tensor ? [params] : [...params]).map(p => this.#parameter(p))
    if (list.length === 0) throw badOption(this.#name, 'a group has no parameters')
    if (new Set(list).size !== list.length) throw badOption(this.#name, 'a parameter is twice in one group')
    if (list.some(p => this.#places.has(p))) throw badOption(this.#name, 'a parameter is in more than one group')
    this.#flat.push(this.#bringTogether(list))
    this.paramGroups.push({ ...options, params: list })
  }

  #bringTogether(list: readonly Tensor[]): FlatGroup[] {
    const flat = [...byKind(list).values()].map(same => newFlatGroup(same, this.#slots.length))
    for (const f of flat) {
      this.#owners.push(native.ownGroup(f.id))
      for (const [index, p] of f.params.entries()) this.#places.set(p, { group: f, index })
    }
    return flat
  }

  /**
   * Follows parameters that were moved to another device or dtype since the optimizer was made; its state goes with them.
   * `Trainer` calls it after it has moved the model.
   */
  followParameters(): void {
    if (!this.#flat.some(flat => flat.some(f => native.groupIsLeft(f.id)))) return
    const state = this.stateDict()
    const old = this.#flat.flat()
    for (const [i, { params }] of this.paramGroups.entries()) this.#flat[i] = this.#bringTogether(params)
    this.loadStateDict(state)
    for (const { id } of old) native.freeGroup(id)
    this.#owners.splice(0, old.length)
  }

  /**
   * Gives up moments and buffers; the parameters stay as they are. What follows on the optimizer is a `DISPOSED` error. Garbage
   * collection does the same.
   */
  dispose(): void {
    for (const { id } of this.#flat.flat()) native.freeGroup(id)
    this.#owners = []
  }
  /** As `dispose`: for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  #parameter(p: unknown): Tensor {
    if (!(p instanceof Tensor)) throw badOption(this.#name, 'parameters must be tensors')
    if (!p.isLeaf) throw new WickError('NO_GRAD', `${this.#name} can't optimize a tensor that is computed from others`)
    return p
  }

  /** Updates every parameter that has a gradient. */
  step(options: StepOptions = {}): void {
    checkOptions(`${this.#name}.step`, options, ['skip'])
    noteStep(this, () => this.#update(-1))
    this.#update(options.skip === undefined ? -1 : options.skip.handle)
  }

  #update(skip: number): void {
    for (const [i, group] of this.paramGroups.entries()) {
      for (const flat of this.#flat[i] ?? []) this.update(flat.id, group, skip)
    }
  }

  /** Clears the gradients of all parameters. */
  zeroGrad(): void {
    for (const flat of this.#flat) for (const { id } of flat) native.zeroGrad(id)
  }

  /**
   * Groups' options and parameters' moments, in PyTorch's layout and under its names: parameters are numbered through all groups. The
   * moments share memory with the optimizer's.
   */
  stateDict(): OptimizerState {
    const state: Record<string, ParameterState> = {}
    const groups = []
    let next = 0
    for (const paramGroup of this.paramGroups) {
      const { params, ...options } = paramGroup
      const slots = this.hasMoments(paramGroup) ? this.#slots : []
      const numbers = params.map(() => next++)
      for (const [i, p] of params.entries()) {
        const { group, index } = this.#place(p)
        const step = native.groupSteps(group.id, index)
        if (step === 0) continue
        const moments = slots.map((name, slot) => [name, new Tensor(native.groupSlot(group.id, index, slot))])
        state[String(numbers[i])] = { step, ...Object.fromEntries(moments) }
      }
      groups.push({ ...toTorchOptions(options), params: numbers })
    }
    return { state, param_groups: groups }
  }

  /** Takes over the state of `stateDict()`, of this optimizer or PyTorch's. Throws `STATE_DICT_MISMATCH` if it doesn't fit. */
  loadStateDict(saved: OptimizerState): void {
    this.#fit(saved)()
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(saved: unknown): void {
    this.#fit(saved)
  }

  /** Checks a state; the result takes it over. */
  #fit(saved: unknown): () => void {
    checkForm(this, saved, isOptimizerState)
    const sizes = saved.param_groups.map(g => g.params.length)
    const own = this.paramGroups.map(g => g.params.length)
    if (String(sizes) !== String(own)) {
      throw this.#mismatch(
        `it has groups of ${sizes.join(', ')} parameters, the optimizer has groups of ${own.join(', ')}`,
      )
    }
    const options = saved.param_groups.map(({ params: _, ...rest }) => fromTorchOptions(rest))
    for (const [i, given] of options.entries()) {
      const group = this.paramGroups[i]!
      const wrong = Object.keys(given).find(name => !sameKind(Reflect.get(group, name), given[name]))
      if (wrong !== undefined) throw this.#mismatch(`'${wrong}' of group ${i} is of another type`)
      this.validate({ ...group, ...given })
    }
    const loads: (() => void)[] = []
    for (const [i, { params }] of this.paramGroups.entries()) {
      for (const [j, p] of params.entries()) {
        const key = String(saved.param_groups[i]?.params[j])
        loads.push(this.#loadParameter(p, key, saved.state[key]))
      }
    }
    return () => {
      for (const [i, given] of options.entries()) Object.assign(this.paramGroups[i]!, given)
      noGrad(() => {
        for (const load of loads) load()
      })
    }
  }

  /** Checks what was saved of a parameter; the result copies it. */
  #loadParameter(p: Tensor, key: string, saved: ParameterState | undefined): () => void {
    const { group, index } = this.#place(p)
    const copies: [slot: number, value: Tensor][] = []
    for (const [slot, name] of this.#slots.entries()) {
      const value = saved?.[name]
      if (value === undefined || value === null) continue
      if (!(value instanceof Tensor)) throw this.#mismatch(`'${name}' of parameter ${key} is no tensor`)
      if (String(value.shape) !== String(p.shape)) {
        const shapes = `[${value.shape.join(', ')}], the parameter's is [${p.shape.join(', ')}]`
        throw new WickError('SHAPE_MISMATCH', `${this.#name}: '${name}' of parameter ${key} has shape ${shapes}`)
      }
      copies.push([slot, value])
    }
    const steps = saved?.step
    const seen =
      steps instanceof Tensor && steps.numel === 1 ? Number(steps.itemSync()) : (steps ?? Math.min(copies.length, 1))
    if (!isCount(seen)) throw this.#mismatch(`'step' of parameter ${key} is no number of updates`)
    return () => {
      for (const [slot, name] of this.#slots.entries()) {
        const moment = new Tensor(native.groupSlot(group.id, index, slot))
        const value = saved?.[name]
        if (value instanceof Tensor) moment.copy_(value.to(moment.device))
        else moment.zero_()
        moment.dispose()
      }
      native.setGroupSteps(group.id, index, seen)
    }
  }

  #place(p: Tensor): Place {
    const place = this.#places.get(p)
    if (place === undefined) throw new WickError('INTERNAL', `${this.#name} lost a parameter`)
    return place
  }

  #mismatch(message: string): WickError {
    return new WickError('STATE_DICT_MISMATCH', `the state dict doesn't fit this ${this.#name}: ${message}`)
  }

  toString(): string {
    const groups = this.paramGroups.map(({ params: _, ...options }, i) => {
      const lines = Object.entries(options).map(([key, value]) => `    ${key}: ${JSON.stringify(value)}\n`)
      return `Parameter Group ${i}\n${lines.join('')}`
    })
    return `${this.#name} (\n${groups.join('\n')})`
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

function isGroup(p: unknown): p is { params: Iterable<Tensor> | Tensor } {
  return typeof p === 'object' && p !== null && !(p instanceof Tensor) && 'params' in p
}

/** Parameters that can share a buffer. */
function byKind(params: readonly Tensor[]): Map<string, Tensor[]> {
  const groups = new Map<string, Tensor[]>()
  for (const p of params) {
    const kind = `${p.dtype} ${p.device}`
    const same = groups.get(kind)
    if (same === undefined) groups.set(kind, [p])
    else same.push(p)
  }
  return groups
}
