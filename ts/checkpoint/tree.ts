/** State trees: what a checkpoint holds besides the model, as JSON with its tensors taken out. */
import { badOption, WickError } from '../errors.ts'
import { Tensor } from '../tensor/index.ts'

/** What a state may be made of: plain data and tensors. */
export type StateTree =
  | null
  | boolean
  | number
  | bigint
  | string
  | Tensor
  | readonly StateTree[]
  | { readonly [key: string]: StateTree | undefined }

/** A state by names. */
export type StateRecord = { readonly [key: string]: StateTree | undefined }

/** Something whose state a checkpoint can hold: an optimizer, a scheduler, a callback, a module. */
export interface Stateful {
  stateDict(): unknown
  loadStateDict(state: never): unknown
}

/** Whether `value` can give and take its state. */
export function isStateful(value: unknown): value is Stateful {
  return (
    typeof value === 'object' && value !== null && hasMethod(value, 'stateDict') && hasMethod(value, 'loadStateDict')
  )
}

function hasMethod(value: object, name: string): boolean {
  return typeof Reflect.get(value, name) === 'function'
}

/** Marks what JSON has no word for; the value says what it stands for. */
const MARK = '$'

/** `tree` as JSON; each of its tensors is put into `tensors` under its path, which begins with `path`. */
export function encodeTree(tree: unknown, path: string, tensors: Map<string, Tensor>): unknown {
  if (tree instanceof Tensor) {
    tensors.set(path, tree)
    return { [MARK]: 'tensor', name: path }
  }
  if (tree === null || typeof tree === 'boolean' || typeof tree === 'string') return tree
  if (typeof tree === 'number') {
    return Number.isFinite(tree) && !Object.is(tree, -0) ? tree : { [MARK]: 'number', value: numberName(tree) }
  }
  if (typeof tree === 'bigint') return { [MARK]: 'bigint', value: String(tree) }
  if (Array.isArray(tree)) return tree.map((item, i) => encodeTree(item, `${path}.${i}`, tensors))
  const prototype: unknown = typeof tree === 'object' ? Object.getPrototypeOf(tree) : undefined
  if (typeof tree === 'object' && (prototype === Object.prototype || prototype === null)) {
    const entries = Object.entries(tree)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, encodeTree(value, `${path}.${key}`, tensors)] as const)
    return Object.hasOwn(tree, MARK) ? { [MARK]: 'entries', entries } : Object.fromEntries(entries)
  }
  const kind = typeof tree === 'object' ? (tree.constructor?.name ?? 'object') : typeof tree
  throw badOption(
    'checkpoint',
    `'${path}' is a ${kind}; a state holds numbers, strings, booleans, tensors, arrays and plain objects`,
  )
}

const numberName = (n: number) => (Object.is(n, -0) ? '-0' : String(n))

/** The tree that `encodeTree` took apart; `tensorOf` gives its tensors. */
export function decodeTree(json: unknown, tensorOf: (name: string) => Tensor): StateTree {
  if (json === null || typeof json === 'boolean' || typeof json === 'string' || typeof json === 'number') return json
  if (Array.isArray(json)) return json.map(item => decodeTree(item, tensorOf))
  if (typeof json !== 'object') throw corruptTree()
  const mark: unknown = Reflect.get(json, MARK)
  if (mark === undefined) return decodeEntries(Object.entries(json), tensorOf)
  const { name, value, entries } = json as { name?: unknown; value?: unknown; entries?: unknown }
  if (mark === 'tensor') return tensorOf(String(name))
  if (mark === 'number') return Number(value)
  if (mark === 'bigint') return BigInt(String(value))
  if (mark === 'entries' && Array.isArray(entries)) return decodeEntries(entries, tensorOf)
  throw corruptTree()
}

function decodeEntries(entries: readonly [string, unknown][], tensorOf: (name: string) => Tensor): StateRecord {
  return Object.fromEntries(entries.map(([key, value]) => [key, decodeTree(value, tensorOf)]))
}

const corruptTree = () =>
  new WickError('CHECKPOINT_CORRUPT', 'the state is written in a form that this version does not know')
