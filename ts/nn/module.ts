/**
 * `Module`: the base of every layer and model.
 *
 * ```ts
 * class Net extends nn.Module<[Tensor], Tensor> {
 *   hidden = new nn.Linear(784, 128)
 *   out = new nn.Linear(128, 10)
 *
 *   forward(x: Tensor) {
 *     return this.out.forward(this.hidden.forward(x).relu())
 *   }
 * }
 * ```
 *
 * Nothing is registered: what a module owns is found by walking its fields. A field counts if it is a `Parameter`, a `Buffer`,
 * a `Module`, or an array, `Map` or plain object of such.
 */
import { noteChange } from '../changes.ts'
import { WickError } from '../errors.ts'
import { type Device, type DType, noGrad, type Tensor } from '../tensor/index.ts'
import { addForwardHook, type ForwardHook, instrument } from './forward.ts'
import { clearGradients } from './groups.ts'
import { Buffer, moveData, Parameter } from './parameter.ts'
import { tree } from './repr.ts'
import { fitInto, type LoadResult, loadInto, type StateDict, type StateEntry, type StateSource } from './state-dict.ts'

/** What one module holds itself, by name: its own tensors and its child modules. */
export interface Members {
  parameters: [string, Parameter][]
  buffers: [string, Buffer][]
  children: [string, Module][]
}

/** What `module.to` changes: a device, a dtype, or both. */
export type ModuleTarget = Device | DType | { dtype?: DType; device?: Device }

/**
 * Base class of layers and models: `Args` are the arguments of `forward`, `Out` is its result. Call `model.forward(x)`.
 * Plain `Module` stands for a module of any kind.
 */
export abstract class Module<Args extends unknown[] = unknown[], Out = unknown> {
  /**
   * State-dict names of fields whose name differs from PyTorch's, such as `{ runningMean: 'running_mean' }`. A subclass that
   * sets it replaces its base's, so it spreads the base's in.
   */
  static readonly stateKeys: Readonly<Record<string, string>> = {}

  /** Whether dropout, batch norm and their like behave as in training; `train()` and `eval()` set it. */
  training = true

  constructor() {
    instrument(this)
  }

  /** Computes the module's result. */
  abstract forward(...args: Args): Out

  /** Every parameter of this module and of those in it; one that is used twice appears once. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, p]) => p)
  }

  /** `[name, parameter]` pairs, named as in PyTorch's state dicts (`layers.0.weight`). */
  namedParameters(): [string, Parameter][] {
    return collect(this, m => m.parameters)
  }

  /** Every buffer, persistent or not. */
  buffers(): Buffer[] {
    return this.namedBuffers().map(([, b]) => b)
  }

  /** `[name, buffer]` pairs. */
  namedBuffers(): [string, Buffer][] {
    return collect(this, m => m.buffers)
  }

  /** This module and all modules in it, each once, parents first. */
  modules(): Module[] {
    return this.namedModules().map(([, m]) => m)
  }

  /** `[path, module]` pairs; this module's own path is `''`. */
  namedModules(): [string, Module][] {
    const found: [string, Module][] = []
    walk(this, '', new Set(), (path, module) => found.push([path, module]))
    return found
  }

  /** The modules that are fields of this one. */
  children(): Module[] {
    return this.namedChildren().map(([, m]) => m)
  }

  /** `[name, module]` pairs of the direct children. */
  namedChildren(): [string, Module][] {
    const seen = new Set<Module>()
    return Module.members(this).children.filter(([, m]) => !seen.has(m) && seen.add(m))
  }

  /** Sets training mode on this module and all in it. */
  train(mode = true): this {
    for (const m of this.modules()) {
      if (m.training !== mode) noteChange()
      m.training = mode
    }
    return this
  }

  /** Sets evaluation mode: `train(false)`. */
  eval(): this {
    return this.train(false)
  }

  /**
   * Moves parameters and buffers to a device or dtype, in place; a dtype applies to floating-point tensors only. An optimizer
   * that was made before has to be made again.
   */
  to(target: ModuleTarget): this {
    noGrad(() => {
      for (const t of [...this.parameters(), ...this.buffers()]) moveData(t, target)
    })
    return this
  }

  /** Switches gradients of all parameters on or off. */
  requiresGrad_(on = true): this {
    for (const p of this.parameters()) p.requiresGrad_(on)
    return this
  }

  /** Clears the gradients of all parameters. */
  zeroGrad(): void {
    clearGradients(this.parameters())
  }

  /** Calls `fn` on every module, children before their parents. */
  apply(fn: (module: Module) => void): this {
    for (const child of this.children()) child.apply(fn)
    fn(this)
    return this
  }

  /**
   * The parameters and persistent buffers by PyTorch's names, detached and sharing memory with the module. A tied parameter
   * appears under its first name.
   */
  stateDict(): StateDict {
    const state: StateDict = {}
    const seen = new Set<Tensor>()
    for (const { name, tensor } of stateEntries(this)) {
      if (seen.has(tensor)) continue
      seen.add(tensor)
      state[name] = tensor.detach()
    }
    return state
  }

  /**
   * Copies the tensors of `state` into this module's. With `assign` a parameter takes over the given tensor, dtype and all,
   * instead of copying it.
   *
   * Throws before it changes anything: `SHAPE_MISMATCH` for a tensor of another shape, and `STATE_DICT_MISMATCH` for missing or
   * unexpected names unless `strict` is false, which returns them.
   */
  loadStateDict(state: StateSource, options: { strict?: boolean; assign?: boolean } = {}): LoadResult {
    return loadInto(this.constructor.name, stateEntries(this), state, options)
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    fitInto(this.constructor.name, stateEntries(this), state)
  }

  /** Sets field `name` to a buffer: state that no optimizer trains. It is part of the state dict unless `persistent` is false. */
  registerBuffer(name: string, tensor: Tensor | null, options: { persistent?: boolean } = {}): void {
    const value = tensor === null || tensor instanceof Buffer ? tensor : new Buffer(tensor, options)
    Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
  }

  /** Calls `hook` after each `forward`; a result other than undefined replaces the module's. Returns a function that removes it. */
  registerForwardHook(hook: ForwardHook<this, Args, Out>): () => void {
    return addForwardHook(this, hook)
  }

  /** The module at a dotted path, such as `layers.0.fc`. */
  getSubmodule(path: string): Module {
    const found = this.namedModules().find(([name]) => name === path)
    if (found !== undefined) return found[1]
    const known = this.namedModules().map(([name]) => name)
    throw new WickError(
      'BAD_OPTION',
      `${this.constructor.name} has no submodule '${path}'; it has ${known.slice(1).join(', ')}`,
    )
  }

  /** The part of the printed tree between a layer's brackets, as PyTorch prints it. */
  extraRepr(): string {
    return ''
  }

  /** PyTorch's tree of modules. */
  toString(): string {
    return tree(this)
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  /** The fields that are searched for parameters, buffers and modules. Containers override it. */
  protected moduleFields(): Iterable<readonly [string, unknown]> {
    return Object.entries(this)
  }

  /** @internal What this module holds itself. Not deduplicated. */
  static members(module: Module): Members {
    const into: Members = { parameters: [], buffers: [], children: [] }
    const keys = (module.constructor as typeof Module).stateKeys
    const containers = new Set<object>()
    for (const [name, value] of module.moduleFields()) addMember(into, keys[name] ?? name, value, containers)
    return into
  }
}

function addMember(into: Members, name: string, value: unknown, containers: Set<object>): void {
  if (typeof value !== 'object' || value === null) return
  if (value instanceof Parameter) into.parameters.push([name, value])
  else if (value instanceof Buffer) into.buffers.push([name, value])
  else if (value instanceof Module) into.children.push([name, value])
  else {
    const entries = containerEntries(value)
    if (entries === undefined || containers.has(value)) return
    containers.add(value)
    for (const [key, element] of entries) addMember(into, `${name}.${String(key)}`, element, containers)
  }
}

/** The elements of an array, `Map` or plain object; other objects are opaque. */
function containerEntries(value: object): Iterable<readonly [unknown, unknown]> | undefined {
  if (Array.isArray(value)) return value.entries()
  if (value instanceof Map) return value.entries()
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? Object.entries(value) : undefined
}

const join = (prefix: string, name: string): string => (prefix === '' ? name : `${prefix}.${name}`)

/** Visits `module` and the modules in it, each once, parents first. */
function walk(module: Module, path: string, seen: Set<Module>, visit: (path: string, module: Module) => void): void {
  if (seen.has(module)) return
  seen.add(module)
  visit(path, module)
  for (const [name, child] of Module.members(module).children) walk(child, join(path, name), seen, visit)
}

/** What `pick` finds in each module, under its full name, each tensor once. */
function collect<T extends Tensor>(root: Module, pick: (members: Members) => [string, T][]): [string, T][] {
  const found = new Map<T, string>()
  for (const [path, module] of root.namedModules()) {
    for (const [name, tensor] of pick(Module.members(module))) {
      if (!found.has(tensor)) found.set(tensor, join(path, name))
    }
  }
  return [...found].map(([tensor, name]) => [name, tensor])
}

/** The tensors of a state dict under all their names, tied ones several times, in PyTorch's order. */
function stateEntries(module: Module, prefix = '', ancestors: readonly Module[] = []): StateEntry[] {
  if (ancestors.includes(module)) return []
  const { parameters, buffers, children } = Module.members(module)
  const entries: StateEntry[] = parameters.map(([name, tensor]) => ({ name: join(prefix, name), tensor }))
  for (const [name, tensor] of buffers) if (tensor.persistent) entries.push({ name: join(prefix, name), tensor })
  const inside = [...ancestors, module]
  for (const [name, child] of children) entries.push(...stateEntries(child, join(prefix, name), inside))
  return entries
}
