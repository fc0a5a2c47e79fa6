/** Loading state dicts: matching names, checking shapes, telling what is wrong before anything is changed. */
import { WickError } from '../errors.ts'
import { noGrad, type Tensor } from '../tensor/index.ts'
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

/** Loads `source` into the tensors of `entries`; see `Module.loadStateDict`. */
export function loadInto(
  owner: string,
  entries: readonly StateEntry[],
  source: StateSource,
  { strict = true, assign = false }: { strict?: boolean; assign?: boolean },
): LoadResult {
  const given = source instanceof Map ? (source as ReadonlyMap<string, Tensor>) : new Map(Object.entries(source))
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

  noGrad(() => {
    for (const { name, tensor } of found) {
      const value = given.get(name)!
      if (assign) assignData(tensor, value)
      else tensor.copy_(value)
    }
  })
  return { missingKeys, unexpectedKeys }
}

function sameShape(a: Tensor, b: Tensor): boolean {
  return a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])
}

function quoted(names: readonly string[]): string {
  return names.map(n => `'${n}'`).join(', ')
}
