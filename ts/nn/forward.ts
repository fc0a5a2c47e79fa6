/**
 * What happens around a module's `forward`: hooks run after it, and an error on its way out is given the path of the module
 * that it comes from (`Net.layers.3.fc: ...`).
 *
 * Users call `forward` itself, so it is wrapped once per class, when the first instance is made. A call costs a comparison and
 * a `try`; names are looked up only when an error passes through.
 */
import { WickError } from '../errors.ts'
import type { Module } from './module.ts'

/** Called after `forward`; a result other than undefined replaces the module's. */
export type ForwardHook<M, Args extends unknown[], Out> = (module: M, args: Args, output: Out) => Out | undefined

type Forward = (this: Module, ...args: unknown[]) => unknown
type AnyHook = (module: Module, args: unknown[], output: unknown) => unknown

const ready = new WeakSet<object>()
const wrappers = new WeakSet<Forward>()
const hooks = new WeakMap<Module, Set<AnyHook>>()
let hookCount = 0

/** Wraps `forward` of the module's class, unless that has been done. */
export function instrument(module: Module): void {
  const prototype: object = Object.getPrototypeOf(module)
  if (ready.has(prototype)) return
  ready.add(prototype)
  let owner: object | null = prototype
  while (owner !== null && !Object.hasOwn(owner, 'forward')) owner = Object.getPrototypeOf(owner)
  if (owner === null) return
  const original: unknown = Reflect.get(owner, 'forward')
  if (!isForward(original) || wrappers.has(original)) return
  Object.defineProperty(owner, 'forward', { value: wrap(original), writable: true, configurable: true })
}

function isForward(value: unknown): value is Forward {
  return typeof value === 'function'
}

function wrap(original: Forward): Forward {
  function forward(this: Module, ...args: unknown[]): unknown {
    // A call by `super.forward` is a part of the subclass's forward.
    if (this.forward !== forward) return original.apply(this, args)
    try {
      const output = original.apply(this, args)
      return hookCount === 0 ? output : runHooks(this, args, output)
    } catch (error) {
      if (error instanceof WickError) locate(error, this)
      throw error
    }
  }
  wrappers.add(forward)
  return forward
}

function runHooks(module: Module, args: unknown[], output: unknown): unknown {
  let result = output
  for (const hook of hooks.get(module) ?? []) result = hook(module, args, result) ?? result
  return result
}

/** Adds a hook; the result removes it. */
export function addForwardHook<M extends Module<Args, Out>, Args extends unknown[], Out>(
  module: M,
  hook: ForwardHook<M, Args, Out>,
): () => void {
  const own = hooks.get(module) ?? new Set()
  hooks.set(module, own)
  own.add(hook as AnyHook)
  hookCount++
  return () => {
    if (own.delete(hook as AnyHook)) hookCount--
  }
}

/** The outermost module that an error has passed, the path from there to where it arose, and the error's own text. */
interface Trail {
  module: Module
  path: string
  message: string
  stack: string | undefined
}
const trails = new WeakMap<WickError, Trail>()

/** Notes that `error` leaves the `forward` of `module`. */
function locate(error: WickError, module: Module): void {
  const trail = trails.get(error) ?? { module, path: '', message: error.message, stack: error.stack }
  if (trail.module !== module) {
    const name = nameIn(module, trail.module)
    trail.path = trail.path === '' ? name : `${name}.${trail.path}`
    trail.module = module
  }
  trails.set(error, trail)
  const where = trail.path === '' ? module.constructor.name : `${module.constructor.name}.${trail.path}`
  error.modulePath = trail.path
  error.message = `${where}: ${trail.message}`
  if (trail.stack !== undefined) error.stack = trail.stack.replace(trail.message, () => error.message)
}

function nameIn(module: Module, child: Module): string {
  return module.namedModules().find(([, m]) => m === child)?.[0] ?? child.constructor.name
}
