/**
 * Batches on their way between threads: tensors and typed arrays as bytes, the rest by structured clone.
 */
import { WickError } from '../../errors.ts'
import { native } from '../../native/index.ts'
import { arrayDtype, bytesOf, dtypeBytes, dtypeCode } from '../../tensor/dtype.ts'
import { stack, Tensor } from '../../tensor/index.ts'
import type { Fields, MakeNumbers, RowArray } from '../collate.ts'

const arrayTypes = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
}
type ArrayType = keyof typeof arrayTypes

/** A batch's form; `at` is where bytes lie in its region. */
export type Form =
  | { kind: 'tensor'; dtype: number; shape: number[]; at: number; bytes: number }
  | { kind: 'array'; type: ArrayType; at: number; bytes: number }
  | { kind: 'numbers'; path: string; at: number; bytes: number }
  | { kind: 'list'; items: Form[] }
  | { kind: 'record'; keys: string[]; items: Form[] }
  | { kind: 'value'; value: unknown }

/** A field of JavaScript numbers, whose dtype the main thread decides: it alone knows the loader's first batch. */
export class NumberField {
  readonly path: string
  readonly values: Float64Array

  constructor(values: number[], path: string) {
    this.values = Float64Array.from(values)
    this.path = path
  }
}

/** Tensors or arrays that become one tensor; as they are, so that their bytes are copied once, to the main thread. */
export class Stacked {
  readonly dtype: number
  readonly shape: number[]
  readonly rows: readonly (Tensor | RowArray)[]

  constructor(dtype: number, shape: readonly number[], rows: readonly (Tensor | RowArray)[]) {
    this.dtype = dtype
    this.shape = [rows.length, ...shape]
    this.rows = rows
  }
}

/** What a batch of the default collate holds on its way. */
export const packedFields: Fields = {
  numbers: (values, path) => new NumberField(values, path),
  tensors(values) {
    const [first] = values
    if (!first || values.some(x => x.dtype !== first.dtype)) return stack(values, 0)
    return new Stacked(native.dtypeOf(first.handle), first.shape, values)
  },
  arrays(values) {
    const [first = new Float32Array()] = values
    return new Stacked(dtypeCode(arrayDtype(first)), [first.length], values)
  },
}

/** Where pieces begin: a cache line apart, which suits every array. */
const ALIGN = 64

/** A batch that is ready to be written. */
export class Packed {
  readonly form: Form
  /** Bytes that its region takes. */
  bytes = 0
  readonly #writes: ((target: Uint8Array) => void)[] = []

  constructor(batch: unknown) {
    this.form = this.#form(batch, 'the batch', [])
  }

  /** Copies all pieces into the region that begins at `start`. */
  write(buffer: SharedArrayBuffer, start: number): void {
    const target = new Uint8Array(buffer, start, this.bytes)
    for (const write of this.#writes) write(target)
  }

  #form(value: unknown, path: string, above: readonly object[]): Form {
    if (value instanceof Tensor) return this.#tensor(value)
    if (value instanceof Stacked) return this.#stacked(value)
    if (value instanceof NumberField) return { kind: 'numbers', path: value.path, ...this.#bytes(value.values) }
    if (ArrayBuffer.isView(value)) {
      const type = Object.prototype.toString.call(value).slice(8, -1)
      if (isArrayType(type)) return { kind: 'array', type, ...this.#bytes(value) }
    }
    if (typeof value !== 'object' || value === null) {
      if (typeof value === 'function' || typeof value === 'symbol') throw stuck(path, `a ${typeof value}`)
      return { kind: 'value', value }
    }
    if (above.includes(value)) throw stuck(path, 'an object that holds itself')
    const path2 = [...above, value]
    if (Array.isArray(value)) {
      return { kind: 'list', items: value.map((item, i) => this.#form(item, `${path}[${i}]`, path2)) }
    }
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) {
      const entries = Object.entries(value)
      return {
        kind: 'record',
        keys: entries.map(([key]) => key),
        items: entries.map(([key, item]) => this.#form(item, `${path}.${key}`, path2)),
      }
    }
    if (value instanceof Date || value instanceof ArrayBuffer) return { kind: 'value', value }
    throw stuck(path, value.constructor.name)
  }

  #tensor(x: Tensor): Form {
    const place = this.#place(bytesOfRow(x), (target, at) => write(x, target, at))
    return { kind: 'tensor', dtype: native.dtypeOf(x.handle), shape: [...x.shape], ...place }
  }

  #stacked({ dtype, shape, rows }: Stacked): Form {
    const [first] = rows
    const bytes = first ? bytesOfRow(first) : 0
    const place = this.#place(rows.length * bytes, (target, at) => {
      rows.forEach((row, i) => {
        write(row, target, at + i * bytes)
      })
    })
    return { kind: 'tensor', dtype, shape, ...place }
  }

  #bytes(array: ArrayBufferView) {
    const source = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    return this.#place(source.length, (target, at) => target.set(source, at))
  }

  #place(bytes: number, copy: (target: Uint8Array, at: number) => void) {
    const at = this.bytes
    this.bytes += Math.ceil(bytes / ALIGN) * ALIGN
    if (bytes > 0) this.#writes.push(target => copy(target, at))
    return { at, bytes }
  }
}

function bytesOfRow(row: Tensor | RowArray): number {
  return row instanceof Tensor ? row.numel * dtypeBytes(row.dtype) : row.byteLength
}

/** Copies a row's bytes. */
function write(row: Tensor | RowArray, target: Uint8Array, at: number): void {
  if (row instanceof Tensor) native.readInto(row.handle, target.subarray(at, at + bytesOfRow(row)))
  else target.set(bytesOf(row), at)
}

/** The batch of `form`, whose bytes lie at `start` in `buffer` and are copied; tensors are made on `device`. */
export function unpack(
  form: Form,
  buffer: SharedArrayBuffer,
  start: number,
  makeNumbers: MakeNumbers,
  device: number,
): unknown {
  const make = (part: Form): unknown => {
    switch (part.kind) {
      case 'tensor': {
        const bytes = new Uint8Array(buffer, start + part.at, part.bytes)
        return new Tensor(native.fromHost(bytes, part.shape, part.dtype, device))
      }
      case 'array':
        return new arrayTypes[part.type](copied(part))
      case 'numbers':
        return makeNumbers(Array.from(new Float64Array(copied(part))), part.path)
      case 'list':
        return part.items.map(make)
      case 'record':
        return Object.fromEntries(part.keys.map((key, i) => [key, make(part.items[i] as Form)]))
      case 'value':
        return part.value
    }
  }
  const copied = ({ at, bytes }: { at: number; bytes: number }) =>
    new Uint8Array(buffer, start + at, bytes).slice().buffer as ArrayBuffer
  return make(form)
}

function isArrayType(name: string): name is ArrayType {
  return name in arrayTypes
}

function stuck(path: string, what: string): WickError {
  const message = `${path} holds ${what}, which can't go from a worker to the main thread`
  return new WickError('NOT_SUPPORTED', message, { op: 'DataLoader' })
}
