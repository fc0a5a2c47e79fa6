/** Loading state dicts: matching names, checking shapes, telling what is wrong before anything is changed. */
import { WickError } from '../errors.ts'
import { isRecord } from '../forms.ts'
import { noGrad, Tensor } from '../tensor/index.ts'
import { assignData } from './parameter.ts'

/** Tensors by PyTorch's names (`layers.0.weight`). */
export type StateDict = Record<string, Tensor>
/** What `loadStateDict` reads: a record or a `Map`, such as `loadSafetensors` gives. */
export type StateSource = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>
/** Names without a partner: of the module's tensors, and of the given ones. */
export interface LoadResult {
  missingKeys: string[]
  unexpectedKeys: string[]
}
/** A tensor of a module under one of its names. */
export interface StateEntry {
  name: string
  tensor: Tensor
}

/** What of a source goes where. */
interface Fitting extends LoadResult {
  loads: (readonly [tensor: Tensor, value: Tensor])[]
}

/** Matches `source` with `entries`; throws what `Module.loadStateDict` says, and changes nothing. */
export function fitInto(owner: string, entries: readonly StateEntry[], source: unknown, strict = true): Fitting {
  const given = tensorsOf(owner, source)
  const found = entries.filter(e => given.has(e.name))
  const loaded = new Set(found.map(e => e.tensor))
  const known = new Set(entries.map(e => e.name))
  // A tied tensor is complete under any one of its names.
  const missingKeys = entries.filter(e => !loaded.has(e.tensor)).map(e => e.name)
  const unexpectedKeys = [...given.keys()].filter(name => !known.has(name))

  const wrong = found.filter(e => !sameShape(e.tensor, given.get(e.name)!))
  const problems = wrong.map(
    e =>
      `'${e.name}' has shape [${given.get(e.name)!.shape.join(', ')}], the module's is [${e.tensor.shape.join(', ')}]`,
  )
  if (strict && missingKeys.length > 0) problems.push(`missing: ${quoted(missingKeys)}`)
  if (strict && unexpectedKeys.length > 0) problems.push(`unexpected: ${quoted(unexpectedKeys)}`)
  if (problems.length > 0) {
    const code = wrong.length > 0 ? 'SHAPE_MISMATCH' : 'STATE_DICT_MISMATCH'
    throw new WickError(code, `the state dict doesn't fit ${owner}: ${problems.join('; ')}`, {
      details: { missingKeys, unexpectedKeys, mismatchedKeys: wrong.map(e => e.name) },
    })
  }

  return { loads: found.map(e => [e.tensor, given.get(e.name)!]), missingKeys, unexpectedKeys }
}

/** Loads `source` into the tensors of `entries`; see `Module.loadStateDict`. */
export function loadInto(
  owner: string,
  entries: readonly StateEntry[],
  source: StateSource,
  { strict = true, assign = false }: { strict?: boolean; assign?: boolean },
): LoadResult {
  const { loads, missingKeys, unexpectedKeys } = fitInto(owner, entries, source, strict)
  noGrad(() => {
    for (const [tensor, value] of loads) {
      if (assign) assignData(tensor, value)
      else tensor.copy_(value)
    }
  })
  return { missingKeys, unexpectedKeys }
}

function tensorsOf(owner: string, source: unknown): ReadonlyMap<string, Tensor> {
  const given: Map<string, unknown> | null =
    source instanceof Map ? source : isRecord(source) ? new Map(Object.entries(source)) : null
  const other = given && [...given].find(([, value]) => !(value instanceof Tensor))
  if (given && !other) return given as Map<string, Tensor>
  const what = other ? `'${other[0]}' is no tensor` : 'it is neither a record nor a Map of tensors'
  throw new WickError('STATE_DICT_MISMATCH', `the state dict doesn't fit ${owner}: ${what}`)
}

function sameShape(a: Tensor, b: Tensor): boolean {
  return a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])
}

function quoted(names: readonly string[]): string {
  return names.map(n => `'${n}'`).join(', ')
}
