/** What a checkpoint is made of, and how it is taken apart into tensors and JSON and put together again. */
import { isRecord } from '../forms.ts'
import type { Tensor } from '../tensor/index.ts'
import { corrupt, type Reading } from './disk.ts'
import { type TensorPlace, tensorOfBytes } from './safetensors.ts'
import { decodeTree, encodeTree, type StateRecord } from './tree.ts'

/** What a checkpoint is made of. */
export interface Contents {
  /** The model's tensors, by its own names. */
  model: ReadonlyMap<string, Tensor>
  /** Everything else. */
  state: StateRecord
}

/** The state as JSON, and the tensors in it by the names that the JSON has for them. */
export function splitState(state: StateRecord): { json: string; tensors: Map<string, Tensor> } {
  const tensors = new Map<string, Tensor>()
  const given = Object.entries(state).filter(([, value]) => value !== undefined)
  const json = JSON.stringify(Object.fromEntries(given.map(([key, value]) => [key, encodeTree(value, key, tensors)])))
  return { json, tensors }
}

/** Puts together what was read of `path`: `json` is the state, `rest` the tensors in it. */
export function joinState(
  path: string,
  model: ReadonlyMap<string, Tensor>,
  rest: ReadonlyMap<string, Tensor>,
  json: string,
): Contents {
  const tensorOf = (name: string): Tensor => {
    const x = rest.get(name)
    if (!x) throw corrupt(path, `the tensor '${name}' is missing`)
    return x
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {
    throw corrupt(path, 'the state is not JSON')
  }
  if (!isRecord(parsed)) throw corrupt(path, 'the state is not an object')
  const state = Object.fromEntries(
    Object.entries(parsed).map(([key, value]) => [key, decodeTree(value, tensorOf, why => corrupt(path, why))]),
  )
  return { model, state }
}

/** Reads the tensors of a file at their places, onto `device`. */
export async function readTensors(
  file: Reading,
  places: ReadonlyMap<string, TensorPlace>,
  device: string,
): Promise<Map<string, Tensor>> {
  const tensors = new Map<string, Tensor>()
  for (const [name, place] of places) {
    tensors.set(name, tensorOfBytes(await file.bytes(place.begin, place.end), place, device))
  }
  return tensors
}
