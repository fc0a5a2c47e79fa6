/** Modules that hold others: in a row, as a list, by name; and a list of parameters. */
import { badOption, WickError } from '../errors.ts'
import type { Tensor } from '../tensor/index.ts'
import { Module } from './module.ts'
import type { Parameter } from './parameter.ts'
import { shortTree } from './repr.ts'

/** A layer of a `Sequential`: one tensor in, one out. */
export type Layer = Module<[Tensor], Tensor>

/**
 * Modules run one after the other; named by their numbers, or by the keys of a record.
 *
 * ```ts
 * const net = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))
 * net.stateDict() // keys 0.weight, 0.bias, 2.weight, 2.bias
 * ```
 */
export class Sequential extends Module<[Tensor], Tensor> implements Iterable<Layer> {
  readonly #layers: Map<string, Layer>
  #order: readonly Layer[]

  constructor(...layers: Layer[] | [Readonly<Record<string, Layer>>]) {
    super()
    const [first] = layers
    const named = first === undefined || first instanceof Module ? Object.entries(layers) : Object.entries(first)
    this.#layers = new Map(named)
    this.#order = [...this.#layers.values()]
  }

  forward(x: Tensor): Tensor {
    let y = x
    for (const layer of this.#order) y = layer.forward(y)
    return y
  }

  /** How many layers there are. */
  get length(): number {
    return this.#order.length
  }

  /** The layer at `index`; negative counts from the end. */
  at(index: number): Layer {
    return elementAt('Sequential', this.#order, index)
  }

  /** Adds a layer at the end. */
  append(layer: Layer): this {
    this.#layers.set(String(this.#layers.size), layer)
    this.#order = [...this.#layers.values()]
    return this
  }

  [Symbol.iterator](): Iterator<Layer> {
    return this.#order[Symbol.iterator]()
  }

  protected override *moduleFields(): Iterable<readonly [string, unknown]> {
    yield* super.moduleFields()
    yield* this.#layers
  }
}

/** A list of modules, for a `forward` of one's own to go through. It has no `forward`. */
export class ModuleList<M extends Module = Module> extends Module<never[], never> implements Iterable<M> {
  readonly #modules: M[]

  constructor(modules: Iterable<M> = []) {
    super()
    this.#modules = [...modules]
  }

  forward(): never {
    throw noForward('ModuleList')
  }

  /** How many modules there are. */
  get length(): number {
    return this.#modules.length
  }

  /** The module at `index`; negative counts from the end. */
  at(index: number): M {
    return elementAt('ModuleList', this.#modules, index)
  }

  /** Adds a module at the end. */
  append(module: M): this {
    this.#modules.push(module)
    return this
  }

  /** Adds modules at the end. */
  extend(modules: Iterable<M>): this {
    this.#modules.push(...modules)
    return this
  }

  /** Adds a module before the one at `index`. */
  insert(index: number, module: M): this {
    this.#modules.splice(index, 0, module)
    return this
  }

  [Symbol.iterator](): Iterator<M> {
    return this.#modules[Symbol.iterator]()
  }

  override toString(): string {
    return shortTree(this)
  }

  protected override *moduleFields(): Iterable<readonly [string, unknown]> {
    yield* super.moduleFields()
    yield* numbered(this.#modules)
  }
}

/** Modules by name, for a `forward` of one's own to pick from. It has no `forward`. */
export class ModuleDict<M extends Module = Module> extends Module<never[], never> implements Iterable<[string, M]> {
  readonly #modules: Map<string, M>

  constructor(modules: Readonly<Record<string, M>> | Iterable<readonly [string, M]> = {}) {
    super()
    this.#modules = new Map(Symbol.iterator in modules ? modules : Object.entries(modules))
  }

  forward(): never {
    throw noForward('ModuleDict')
  }

  /** How many modules there are. */
  get size(): number {
    return this.#modules.size
  }

  /** The module called `key`. Throws `BAD_OPTION` if there is none. */
  get(key: string): M {
    const module = this.#modules.get(key)
    if (module === undefined) throw badOption('ModuleDict', `no module '${key}'; it has ${[...this.keys()].join(', ')}`)
    return module
  }

  /** Whether there is a module called `key`. */
  has(key: string): boolean {
    return this.#modules.has(key)
  }

  /** Adds a module, or replaces the one of that name. */
  set(key: string, module: M): this {
    this.#modules.set(key, module)
    return this
  }

  /** The names. */
  keys(): Iterable<string> {
    return this.#modules.keys()
  }

  /** The modules. */
  values(): Iterable<M> {
    return this.#modules.values()
  }

  [Symbol.iterator](): Iterator<[string, M]> {
    return this.#modules[Symbol.iterator]()
  }

  protected override *moduleFields(): Iterable<readonly [string, unknown]> {
    yield* super.moduleFields()
    yield* this.#modules
  }
}

/** A list of parameters. It has no `forward`. */
export class ParameterList extends Module<never[], never> implements Iterable<Parameter> {
  readonly #parameters: Parameter[]

  constructor(parameters: Iterable<Parameter> = []) {
    super()
    this.#parameters = [...parameters]
  }

  forward(): never {
    throw noForward('ParameterList')
  }

  /** How many parameters there are. */
  get length(): number {
    return this.#parameters.length
  }

  /** The parameter at `index`; negative counts from the end. */
  at(index: number): Parameter {
    return elementAt('ParameterList', this.#parameters, index)
  }

  /** Adds a parameter at the end. */
  append(parameter: Parameter): this {
    this.#parameters.push(parameter)
    return this
  }

  [Symbol.iterator](): Iterator<Parameter> {
    return this.#parameters[Symbol.iterator]()
  }

  override extraRepr(): string {
    const line = (p: Parameter, i: number) =>
      `  (${i}): Parameter containing: [torch.${p.dtype} of size ${p.shape.join('x')}]`
    return this.#parameters.map(line).join('\n')
  }

  protected override *moduleFields(): Iterable<readonly [string, unknown]> {
    yield* super.moduleFields()
    yield* numbered(this.#parameters)
  }
}

function* numbered<T>(items: readonly T[]): Iterable<readonly [string, T]> {
  for (const [i, item] of items.entries()) yield [String(i), item]
}

function elementAt<T>(owner: string, items: readonly T[], index: number): T {
  const item = items.at(index)
  if (item !== undefined) return item
  throw new WickError('INDEX_OUT_OF_RANGE', `index ${index} is out of range for ${items.length} elements`, {
    op: owner,
  })
}

function noForward(name: string): WickError {
  return new WickError('NOT_SUPPORTED', `${name} has no forward; go through what it holds instead`)
}
