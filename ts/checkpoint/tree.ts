/** State trees: what a checkpoint holds besides the model, as JSON with its tensors taken out. */
import { badOption, type WickError } from '../errors.ts'
import { type Form, isRecord, isText, listOf } from '../forms.ts'
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
  /** Throws what `loadStateDict` would, and changes nothing: a checkpoint is loaded once all of it fits. */
  checkStateDict?(state: unknown): void
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
/** Objects in objects that a state may have. */
const DEPTH = 200

/** `tree` as JSON; each of its tensors is put into `tensors` under its path, which begins with `path`. */
export function encodeTree(tree: unknown, path: string, tensors: Map<string, Tensor>, depth = 0): unknown {
  if (depth > DEPTH) throw badOption('checkpoint', `'${path.slice(0, 40)}…' is nested more than ${DEPTH} deep`)
  if (tree instanceof Tensor) {
    tensors.set(path, tree)
    return { [MARK]: 'tensor', name: path }
  }
  if (tree === null || typeof tree === 'boolean' || typeof tree === 'string') return tree
  if (typeof tree === 'number') {
    return Number.isFinite(tree) && !Object.is(tree, -0) ? tree : { [MARK]: 'number', value: numberName(tree) }
  }
  if (typeof tree === 'bigint') return { [MARK]: 'bigint', value: String(tree) }
  if (Array.isArray(tree)) return tree.map((item, i) => encodeTree(item, `${path}.${i}`, tensors, depth + 1))
  const prototype: unknown = typeof tree === 'object' ? Object.getPrototypeOf(tree) : undefined
  if (typeof tree === 'object' && (prototype === Object.prototype || prototype === null)) {
    const entries = Object.entries(tree)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, encodeTree(value, `${path}.${key}`, tensors, depth + 1)] as const)
    return Object.hasOwn(tree, MARK) ? { [MARK]: 'entries', entries } : Object.fromEntries(entries)
  }
  const kind = typeof tree === 'object' ? (tree.constructor?.name ?? 'object') : typeof tree
  throw badOption(
    'checkpoint',
    `'${path}' is a ${kind}; a state holds numbers, strings, booleans, tensors, arrays and plain objects`,
  )
}

const numberName = (n: number) => (Object.is(n, -0) ? '-0' : String(n))

/** The tree that `encodeTree` took apart; `tensorOf` gives its tensors, `corrupt` the error of what it never makes. */
export function decodeTree(
  json: unknown,
  tensorOf: (name: string) => Tensor,
  corrupt: (why: string) => WickError,
  depth = 0,
): StateTree {
  if (json === null || typeof json === 'boolean' || typeof json === 'string' || typeof json === 'number') return json
  if (depth > DEPTH) throw corrupt(`the state is nested more than ${DEPTH} deep`)
  const inner = (value: unknown) => decodeTree(value, tensorOf, corrupt, depth + 1)
  const named = (entries: readonly [string, unknown][]): StateRecord =>
    Object.fromEntries(entries.map(([key, value]) => [key, inner(value)]))
  if (Array.isArray(json)) return json.map(inner)
  if (!isRecord(json)) throw corrupt('the state holds what JSON has no word for')
  const { [MARK]: mark, name, value, entries } = json
  if (!Object.hasOwn(json, MARK)) return named(Object.entries(json))
  if (mark === 'tensor' && isText(name)) return tensorOf(name)
  if (mark === 'number' && isText(value) && numberNames.includes(value)) return Number(value)
  if (mark === 'bigint' && isText(value) && /^-?\d+$/.test(value)) return BigInt(value)
  if (mark === 'entries' && isEntries(entries)) return named(entries)
  throw corrupt('the state is written in a form that this version does not know')
}

const numberNames: readonly string[] = ['-0', 'NaN', 'Infinity', '-Infinity']
const isEntries: Form<[string, unknown][]> = listOf(
  (entry): entry is [string, unknown] => Array.isArray(entry) && entry.length === 2 && isText(entry[0]),
)
