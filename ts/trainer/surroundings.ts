/** What a training step sees besides its batch: compared before steps run without their JavaScript. */
import { changesSoFar } from '../changes.ts'
import { Module } from '../nn/index.ts'
import { Optimizer } from '../optim/index.ts'
import { getDefaultDevice, Tensor } from '../tensor/index.ts'
import { isPlain } from '../tensor/tree.ts'

/** Arrays up to this length are looked into: a vocabulary isn't a module's setting. */
const LOOKED_INTO = 256

/**
 * The fields of `trainer`, and those of its model, loss and own optimizer through modules, arrays and plain objects, as a list:
 * two that hold the same mean that nothing was assigned in between. Options of wick's optimizers are left out: the engine takes them.
 */
export function surroundings(trainer: object, parts: readonly unknown[]): unknown[] {
  const found: unknown[] = [changesSoFar(), getDefaultDevice(), ...Object.values(trainer)]
  const seen = new Set<object>()
  const walk = (x: unknown): void => {
    found.push(x)
    if (typeof x !== 'object' || x === null || seen.has(x)) return
    seen.add(x)
    if (x instanceof Tensor) {
      found.push(x.handle)
    } else if (Array.isArray(x)) {
      found.push(x.length)
      if (x.length <= LOOKED_INTO) for (const item of x) walk(item)
    } else if (x instanceof Module || isPlain(x) || parts.includes(x)) {
      for (const key of Object.keys(x)) {
        found.push(key)
        walk((x as Record<string, unknown>)[key])
      }
      // a module may hold others in private fields
      if (x instanceof Module) for (const module of x.modules()) walk(module)
    }
  }
  for (const part of parts) if (!(part instanceof Optimizer)) walk(part)
  return found
}
