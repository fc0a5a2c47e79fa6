/**
 * Collating: many items become one batch of the same form, with a tensor in each place.
 *
 * A field's dtype: a tensor's or typed array's own; JavaScript numbers int64 if the first batch's are all whole, else float32;
 * bigint int64; boolean bool. Strings stay an array of strings.
 */
import { badOption, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { arrayDtype, bytesOf, deviceCode, dtypeCode } from '../tensor/dtype.ts'
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

/** Typed arrays that have a dtype. */
export type RowArray = Float32Array | Float64Array | Int32Array | Uint8Array | BigInt64Array
const rowTypes: readonly (new (buffer: ArrayBuffer) => RowArray)[] = [
  Float32Array,
  Float64Array,
  Int32Array,
  Uint8Array,
  BigInt64Array,
]

/** What a batch holds for each kind of field. */
export interface Fields {
  numbers: MakeNumbers
  /** For tensors of one shape. */
  tensors(values: Tensor[]): unknown
  /** For arrays of one type and length. */
  arrays(values: RowArray[]): unknown
}

/** Tensors of number fields, each of the dtype that it had in its first batch. */
export function numberFields(): MakeNumbers {
  const whole = new Map<string, boolean>()
  return (values, path) => numbers(values, path, whole)
}

/** A tensor for each field. */
function tensorFields(): Fields {
  return { numbers: numberFields(), tensors: values => stack(values, 0), arrays: joined }
}

/** A default collate, which holds on to the dtype that each number field had in its first batch. */
export function createCollate<Item>(fields = tensorFields()): Collate<Item, Collated<Item>> {
  return items => {
    if (items.length === 0) throw badOption('collate', 'there are no items')
    return collateField(items, '', fields) as Collated<Item>
  }
}

const named = (path: string) => (path === '' ? 'the item' : `field '${path}'`)

function mismatch(path: string, message: string): WickError {
  return new WickError('DTYPE_MISMATCH', `${named(path)} ${message}`, { op: 'collate' })
}

function collateField(values: readonly unknown[], path: string, fields: Fields): unknown {
  const first = values[0]
  if (first instanceof Tensor) return fields.tensors(tensorsOfOneShape(values, path))
  switch (typeof first) {
    case 'number':
      return fields.numbers(
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
  if (ArrayBuffer.isView(first)) return fields.arrays(arraysOfOneForm(values, path, first))
  if (Array.isArray(first)) return collateTuple(values, first.length, path, fields)
  if (isRecord(first)) return collateRecord(values, Object.keys(first), path, fields)
  throw mismatch(path, `holds ${describe(first)}, which has no tensor form; give the loader a collate function`)
}

/** `values` as a list of one type; the first other value is an error. */
function all<T>(values: readonly unknown[], path: string, is: (v: unknown) => v is T, what: string): T[] {
  const odd = values.findIndex(v => !is(v))
  if (odd !== -1) throw mismatch(path, `is ${what} in item 0 and ${describe(values[odd])} in item ${odd}`)
  return values.filter(is)
}

function tensorsOfOneShape(values: readonly unknown[], path: string): Tensor[] {
  const tensors = all(values, path, v => v instanceof Tensor, 'a tensor')
  const shape = String(tensors[0]?.shape)
  const odd = tensors.find(t => String(t.shape) !== shape)
  if (odd) {
    throw new WickError('SHAPE_MISMATCH', `${named(path)} has shapes [${shape}] and [${odd.shape}] in one batch`, {
      op: 'collate',
    })
  }
  return tensors
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

function arraysOfOneForm(values: readonly unknown[], path: string, first: ArrayBufferView): RowArray[] {
  const type = rowTypes.find(rowType => first instanceof rowType)
  if (!type) throw mismatch(path, `is a ${describe(first)}, which no dtype stands for`)
  const { byteLength } = first
  const same = (v: unknown): v is RowArray => v instanceof type && v.byteLength === byteLength
  return all(values, path, same, `${describe(first)} of length ${(first as RowArray).length}`)
}

function joined(rows: RowArray[]): Tensor {
  const [first = new Float32Array()] = rows
  const out = new Uint8Array(rows.length * first.byteLength)
  rows.forEach((row, i) => {
    out.set(bytesOf(row), i * first.byteLength)
  })
  const shape = [rows.length, first.length]
  return new Tensor(native.fromHost(out, shape, dtypeCode(arrayDtype(first)), deviceCode('collate', undefined)))
}

function collateTuple(values: readonly unknown[], length: number, path: string, fields: Fields): unknown[] {
  const isTuple = (v: unknown): v is unknown[] => Array.isArray(v) && v.length === length
  const rows = all(values, path, isTuple, `an array of length ${length}`)
  return Array.from({ length }, (_, i) =>
    collateField(
      rows.map(row => row[i]),
      `${path}[${i}]`,
      fields,
    ),
  )
}

function collateRecord(values: readonly unknown[], keys: string[], path: string, fields: Fields) {
  const hasKeys = (v: unknown): v is Record<string, unknown> =>
    isRecord(v) && Object.keys(v).length === keys.length && keys.every(key => Object.hasOwn(v, key))
  const rows = all(values, path, hasKeys, `an object with the keys ${keys.join(', ')}`)
  return Object.fromEntries(
    keys.map(key => [
      key,
      collateField(
        rows.map(row => row[key]),
        path === '' ? key : `${path}.${key}`,
        fields,
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
