/**
 * Mode `full`, the part that JavaScript knows: what a call consists of besides the contents of its tensors, and what it gives. The engine knows the rest (`crates/core/src/full.rs`).
 */
import { native } from './native/index.ts'
import { Tensor } from './tensor/index.ts'
import { isPlain } from './tensor/tree.ts'

// ---- optimizers

/** Optimizers that stepped while a function of mode `full` ran, with what tells the engine their options. */
export type Stepped = Map<object, () => void>
let stepped: Stepped | undefined

/** Notes which optimizers step until `end` is called. */
export function watchSteps(): { stepped: Stepped; end: () => void } {
  const before = stepped
  const mine: Stepped = new Map()
  stepped = mine
  return {
    stepped: mine,
    end: () => {
      stepped = before
    },
  }
}

/** An optimizer steps; `update` calls its native updates with the options as they are when it is called. */
export function noteStep(optimizer: object, update: () => void): void {
  stepped?.set(optimizer, update)
}

/** Launches `steps` steps of a site's last window with the options that optimizers have now; null if they need their JavaScript. */
export function replay(site: number, optimizers: Stepped, handles: readonly number[], steps: number): number[] | null {
  if (optimizers.size > 0) {
    native.offerUpdates(true)
    try {
      for (const update of optimizers.values()) update()
    } catch {
      return null // the step will throw it
    } finally {
      native.offerUpdates(false)
    }
  }
  return native.fullSteps(site, handles, steps)
}

// ---- calls

const marks = {
  tensor: Symbol('tensor'),
  array: Symbol('array'),
  object: Symbol('object'),
  map: Symbol('map'),
  set: Symbol('set'),
  again: Symbol('again'),
}

/** A tree of arguments: its tensors, and all that isn't one as a list to compare. */
export interface Described {
  readonly tensors: readonly Tensor[]
  readonly handles: readonly number[]
  /** Undefined if it holds what can change unseen. */
  readonly rest: readonly unknown[] | undefined
  readonly containers: ReadonlyMap<object, number>
}

/** Describes a tree of arguments. */
export function describe(tree: unknown): Described {
  const tensors: Tensor[] = []
  const numbers = new Map<Tensor, number>()
  const containers = new Map<object, number>()
  const rest: unknown[] = []
  let isKnown = true
  const walk = (x: unknown): void => {
    if (x instanceof Tensor) {
      const number = numbers.get(x) ?? numbers.size
      numbers.set(x, number)
      tensors.push(x)
      rest.push(marks.tensor, number, x.constructor)
      return
    }
    if (typeof x !== 'object' || x === null) return void rest.push(x)
    const seen = containers.get(x)
    if (seen !== undefined) return void rest.push(marks.again, seen)
    containers.set(x, containers.size)
    if (Array.isArray(x)) {
      rest.push(marks.array, x.length)
      for (const item of x) walk(item)
    } else if (x instanceof Map) {
      rest.push(marks.map, x.size)
      for (const [key, item] of x) {
        walk(key)
        walk(item)
      }
    } else if (x instanceof Set) {
      rest.push(marks.set, x.size)
      for (const item of x) walk(item)
    } else if (isPlain(x)) {
      const keys = Object.keys(x)
      rest.push(marks.object, Object.getPrototypeOf(x), keys.length)
      for (const key of keys) {
        rest.push(key)
        walk(x[key])
      }
    } else if (ArrayBuffer.isView(x) || x instanceof ArrayBuffer || x instanceof Date) {
      isKnown = false
    } else {
      rest.push(x)
    }
  }
  walk(tree)
  return { tensors, handles: tensors.map(x => x.handle), rest: isKnown ? rest : undefined, containers }
}

/** Whether two calls differ at most in the contents of their tensors. */
export function isSameCall(a: Described, b: Described): boolean {
  return a.rest !== undefined && b.rest !== undefined && isSame(a.rest, b.rest)
}

/** Whether two lists hold the same. */
export function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((x, i) => Object.is(x, b[i]))
}

// ---- results

/** Makes a result of the tensors that a launch gave and those of the call. */
export type Rebuild = (made: readonly Tensor[], given: readonly Tensor[]) => unknown

/**
 * How to make `out`, which a call gave, again. `form` says of each tensor in `tensors`, those of `out`, whether the launch makes it
 * (at least 0). Undefined if there is no saying: it holds something of the call that isn't a tensor, or an object of a class.
 */
export function rebuilder(
  out: unknown,
  tensors: readonly Tensor[],
  form: readonly number[],
  call: Described,
): Rebuild | undefined {
  const seen = new Set<object>()
  const made = tensors.filter((_, i) => form[i]! >= 0)
  const all = (items: readonly unknown[], make: (parts: unknown[]) => unknown): Rebuild | undefined => {
    const parts = items.map(build)
    if (parts.some(part => part === undefined)) return undefined
    return (fresh, given) => make(parts.map(part => part!(fresh, given)))
  }
  const build = (x: unknown): Rebuild | undefined => {
    if (x instanceof Tensor) {
      const number = made.indexOf(x)
      if (number >= 0) return x.constructor === Tensor ? fresh => fresh[number] : undefined
      const place = call.tensors.indexOf(x)
      return place >= 0 ? (_, given) => given[place] : () => x
    }
    if (typeof x === 'function') return undefined
    if (typeof x !== 'object' || x === null) return () => x
    if (seen.has(x) || call.containers.has(x)) return undefined
    seen.add(x)
    if (Array.isArray(x)) return all(x, parts => parts)
    if (x instanceof Map) {
      const keys = [...x.keys()]
      if (keys.some(key => typeof key === 'object' && key !== null)) return undefined
      return all([...x.values()], parts => new Map(parts.map((part, i) => [keys[i], part])))
    }
    if (x instanceof Set) return all([...x], parts => new Set(parts))
    if (Object.getPrototypeOf(x) !== Object.prototype) return undefined
    const keys = Object.keys(x)
    return all(Object.values(x), parts => Object.fromEntries(parts.map((part, i) => [keys[i], part])))
  }
  return build(out)
}
