/**
 * Collating: many items become one batch of the same form, with a tensor in each place.
 *
 * A field's dtype: a tensor's or typed array's own; JavaScript numbers int64 if the first batch's are all whole, else float32;
 * bigint int64; boolean bool. Strings stay an array of strings.
 */
import { badOption, WickError } from '../errors.ts'
import { fromTypedArray, stack, Tensor, type TypedArray } from '../tensor/index.ts'

/** What the default collate makes of items of type `T`. */
export type Collated<T> = T extends Tensor | TypedArray | number | bigint | boolean
  ? Tensor
  : T extends string
    ? string[]
    : T extends readonly unknown[] | object
      ? { -readonly [K in keyof T]: Collated<T[K]> }
      : never

/** Makes a batch of items. */
export type Collate<Item, Batch> = (items: Item[]) => Batch

/**
 * Collates `items` of one form (tensors, numbers, booleans, bigints, strings, typed arrays, and arrays or plain objects of
 * these). Items that differ in form or shape are an error that names the field.
 *
 * ```ts
 * defaultCollate([{ x: [1, 2], label: 0 }, { x: [3, 4], label: 1 }]) // { x: [tensor [2], tensor [2]], label: tensor [2] }
 * ```
 */
export function defaultCollate<Item>(items: Item[]): Collated<Item> {
  return createCollate<Item>()(items)
}

/** Makes what a batch holds for a field of JavaScript numbers. */
export type MakeNumbers = (values: number[], path: string) => unknown

/** Tensors of number fields, each of the dtype that it had in its first batch. */
export function numberFields(): MakeNumbers {
  const whole = new Map<string, boolean>()
  return (values, path) => numbers(values, path, whole)
}

/** A default collate, which holds on to the dtype that each number field had in its first batch. */
export function createCollate<Item>(makeNumbers = numberFields()): Collate<Item, Collated<Item>> {
  return items => {
    if (items.length === 0) throw badOption('collate', 'there are no items')
    return collateField(items, '', makeNumbers) as Collated<Item>
  }
}

const named = (path: string) => (path === '' ? 'the item' : `field '${path}'`)

function mismatch(path: string, message: string): WickError {
  return new WickError('DTYPE_MISMATCH', `${named(path)} ${message}`, { op: 'collate' })
}

function collateField(values: readonly unknown[], path: string, makeNumbers: MakeNumbers): unknown {
  const first = values[0]
  if (first instanceof Tensor)
    return stackTensors(
      all(values, path, v => v instanceof Tensor, 'a tensor'),
      path,
    )
  switch (typeof first) {
    case 'number':
      return makeNumbers(
        all(values, path, v => typeof v === 'number', 'a number'),
        path,
      )
    case 'bigint': {
      const list = all(values, path, v => typeof v === 'bigint', 'a bigint')
      return fromTypedArray(BigInt64Array.from(list), [list.length])
    }
    case 'boolean': {
      const list = all(values, path, v => typeof v === 'boolean', 'a boolean')
      return fromTypedArray(Uint8Array.from(list, Number), [list.length], { dtype: 'bool' })
    }
    case 'string':
      return all(values, path, v => typeof v === 'string', 'a string')
  }
  if (ArrayBuffer.isView(first)) return stackArrays(values, path)
  if (Array.isArray(first)) return collateTuple(values, first.length, path, makeNumbers)
  if (isRecord(first)) return collateRecord(values, Object.keys(first), path, makeNumbers)
  throw mismatch(path, `holds ${describe(first)}, which has no tensor form; give the loader a collate function`)
}

/** `values` as a list of one type; the first other value is an error. */
function all<T>(values: readonly unknown[], path: string, is: (v: unknown) => v is T, what: string): T[] {
  const odd = values.findIndex(v => !is(v))
  if (odd !== -1) throw mismatch(path, `is ${what} in item 0 and ${describe(values[odd])} in item ${odd}`)
  return values.filter(is)
}

function stackTensors(tensors: Tensor[], path: string): Tensor {
  const shape = String(tensors[0]?.shape)
  const odd = tensors.find(t => String(t.shape) !== shape)
  if (odd) {
    throw new WickError('SHAPE_MISMATCH', `${named(path)} has shapes [${shape}] and [${odd.shape}] in one batch`, {
      op: 'collate',
    })
  }
  return stack(tensors, 0)
}

function numbers(values: number[], path: string, whole: Map<string, boolean>): Tensor {
  const isWhole = values.every(Number.isSafeInteger)
  const wanted = whole.get(path) ?? isWhole
  whole.set(path, wanted)
  if (!wanted) return fromTypedArray(Float32Array.from(values), [values.length])
  if (!isWhole) {
    const odd = values.find(v => !Number.isSafeInteger(v))
    throw mismatch(
      path,
      `was whole numbers (int64) in the first batch and is ${odd} now; make it float32 with a typed array`,
    )
  }
  return fromTypedArray(BigInt64Array.from(values, BigInt), [values.length])
}

function stackArrays(values: readonly unknown[], path: string): Tensor {
  const [first] = values
  if (first instanceof Float32Array) return join(values, path, first, Float32Array)
  if (first instanceof Float64Array) return join(values, path, first, Float64Array)
  if (first instanceof Int32Array) return join(values, path, first, Int32Array)
  if (first instanceof Uint8Array) return join(values, path, first, Uint8Array)
  if (first instanceof BigInt64Array) {
    const same = (v: unknown): v is BigInt64Array => v instanceof BigInt64Array && v.length === first.length
    const rows = all(values, path, same, likeFirst(first))
    return fromTypedArray(BigInt64Array.from(rows.flatMap(row => [...row])), [rows.length, first.length])
  }
  throw mismatch(path, `is a ${describe(first)}, which no dtype stands for`)
}

type NumberArray = Float32Array | Float64Array | Int32Array | Uint8Array
const likeFirst = (first: { length: number }) => `${describe(first)} of length ${first.length}`

function join<T extends NumberArray>(
  values: readonly unknown[],
  path: string,
  first: T,
  make: new (n: number) => T,
): Tensor {
  const same = (v: unknown): v is T => v instanceof make && v.length === first.length
  const rows = all(values, path, same, likeFirst(first))
  const out = new make(rows.length * first.length)
  rows.forEach((row, i) => {
    out.set(row, i * first.length)
  })
  return fromTypedArray(out, [rows.length, first.length])
}

function collateTuple(values: readonly unknown[], length: number, path: string, makeNumbers: MakeNumbers): unknown[] {
  const isTuple = (v: unknown): v is unknown[] => Array.isArray(v) && v.length === length
  const rows = all(values, path, isTuple, `an array of length ${length}`)
  return Array.from({ length }, (_, i) =>
    collateField(
      rows.map(row => row[i]),
      `${path}[${i}]`,
      makeNumbers,
    ),
  )
}

function collateRecord(values: readonly unknown[], keys: string[], path: string, makeNumbers: MakeNumbers) {
  const hasKeys = (v: unknown): v is Record<string, unknown> =>
    isRecord(v) && Object.keys(v).length === keys.length && keys.every(key => Object.hasOwn(v, key))
  const rows = all(values, path, hasKeys, `an object with the keys ${keys.join(', ')}`)
  return Object.fromEntries(
    keys.map(key => [
      key,
      collateField(
        rows.map(row => row[key]),
        path === '' ? key : `${path}.${key}`,
        makeNumbers,
      ),
    ]),
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return `an array of length ${value.length}`
  if (typeof value !== 'object') return `a ${typeof value}`
  return isRecord(value) ? `an object with the keys ${Object.keys(value).join(', ')}` : value.constructor.name
}
