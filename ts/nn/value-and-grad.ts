/** A loss together with its gradients by parameter name, without touching `.grad`. */
import { grad, type Tensor } from '../tensor/index.ts'
import type { Module } from './module.ts'

/** A loss, and the gradient of each parameter that it depends on, by name. */
export interface ValueAndGrad {
  value: Tensor
  grads: Map<string, Tensor>
}

/**
 * A function that calls `fn` and gives its result, a scalar, with the gradients of `model`'s parameters.
 *
 * ```ts
 * const step = nn.valueAndGrad(model, (x: Tensor, y: Tensor) => F.crossEntropy(model.forward(x), y))
 * const { value, grads } = step(x, y)
 * ```
 */
export function valueAndGrad<Args extends unknown[]>(
  model: Module,
  fn: (...args: Args) => Tensor,
): (...args: Args) => ValueAndGrad {
  return (...args) => {
    const named = model.namedParameters().filter(([, p]) => p.requiresGrad)
    const value = fn(...args)
    const found = grad(
      value,
      named.map(([, p]) => p),
      { allowUnused: true },
    )
    const grads = new Map<string, Tensor>()
    for (const [i, [name]] of named.entries()) {
      const g = found[i]
      if (g) grads.set(name, g)
    }
    return { value: value.detach(), grads }
  }
}
