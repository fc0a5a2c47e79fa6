/** Trees: tensors in arrays, plain objects, maps and sets, as functions take and return them. */
import { native } from '../native/index.ts'
import { deviceCode } from './dtype.ts'
import { Tensor } from './tensor.ts'

/** Whether a value is a promise or acts like one. */
export function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Whether an object is of no class: a tree's node, not a leaf. */
export function isPlain(value: object): value is Record<string, unknown> {
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

/** The tensors of a tree, in order. */
export function tensorsIn(tree: unknown): Tensor[] {
  const found: Tensor[] = []
  collect(tree, found, new Set())
  return found
}

function collect(tree: unknown, found: Tensor[], seen: Set<object>): void {
  if (tree instanceof Tensor) {
    found.push(tree)
    return
  }
  if (typeof tree !== 'object' || tree === null || seen.has(tree)) return
  if (Array.isArray(tree) || tree instanceof Set) {
    seen.add(tree)
    for (const item of tree) collect(item, found, seen)
  } else if (tree instanceof Map) {
    seen.add(tree)
    for (const item of tree.values()) collect(item, found, seen)
  } else if (isPlain(tree)) {
    seen.add(tree)
    for (const key of Object.keys(tree)) collect(tree[key], found, seen)
  }
}

/** The handles of a tree's tensors, in order. */
export function handlesIn(tree: unknown): number[] {
  if (tree === undefined) return []
  if (tree instanceof Tensor) return [tree.handle]
  return tensorsIn(tree).map(x => x.handle)
}

/** The tree with each tensor replaced by what `f` makes of it. */
export function mapTensors(tree: unknown, f: (x: Tensor) => Tensor): unknown {
  if (tree instanceof Tensor) return f(tree)
  if (Array.isArray(tree)) return tree.map(item => mapTensors(item, f))
  if (tree instanceof Map) return new Map([...tree].map(([key, item]) => [key, mapTensors(item, f)]))
  if (tree instanceof Set) return new Set([...tree].map(item => mapTensors(item, f)))
  if (typeof tree !== 'object' || tree === null || !isPlain(tree)) return tree
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, mapTensors(item, f)]))
}

/** The tree with its tensors on `device`; the tree itself if they are all there. */
export function onDevice<T>(tree: T, device: string): T {
  const code = deviceCode('to', device)
  if (tensorsIn(tree).every(x => native.deviceOf(x.handle) === code)) return tree
  return mapTensors(tree, x => x.to(device)) as T
}
