/** Element types and devices: their names, codes and host arrays. */

import { badOption, nearest, WickError } from '../errors.ts'
import { dtypeNames } from '../native/index.ts'

/** The element type of a tensor. */
export type DType = 'float32' | 'float64' | 'float16' | 'bfloat16' | 'int64' | 'int32' | 'uint8' | 'bool'

/** Where a tensor lives: `'cpu'`, or with a GPU backend `'cuda'` or `'cuda:1'`. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`

/** The array that holds a dtype's elements on the host; float16 and bfloat16 are bits, bool is bytes of 0 and 1. */
export type HostArray = Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array | Uint16Array

/** Any array of numbers that JavaScript has; its kind says the dtype. */
export type TypedArray = HostArray | Int8Array | Int16Array | Uint32Array | Uint8ClampedArray | BigUint64Array

const codes = new Map(dtypeNames.map((name, code) => [name, code]))

/** The addon's code of a dtype; `BAD_OPTION` for an unknown name. */
export function dtypeCode(dtype: DType): number {
  const code = codes.get(dtype)
  if (code === undefined) throw unknownDtype(dtype)
  return code
}

function unknownDtype(name: string): WickError {
  const near = nearest(String(name), dtypeNames)
  return badOption('dtype', `unknown dtype '${name}'; ${near ? `did you mean '${near}'?` : dtypeNames.join(', ')}`)
}

/** The dtype of an addon's code. */
export function dtypeName(code: number): DType {
  const name = dtypeNames[code]
  if (!isDType(name)) throw new WickError('INTERNAL', `unknown dtype code ${code}`)
  return name
}

/** Whether a string names a dtype. */
export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && codes.has(name)
}

/** Whether a dtype is one of the four floating ones. */
export function isFloating(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64' || dtype === 'float16' || dtype === 'bfloat16'
}

/** Bytes that an element takes. */
export function dtypeBytes(dtype: DType): number {
  return hostArray(dtype, 0).BYTES_PER_ELEMENT
}

/** A host array of `length` elements of a dtype. */
export function hostArray(dtype: DType, length: number): HostArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(length)
    case 'float64':
      return new Float64Array(length)
    case 'float16':
    case 'bfloat16':
      return new Uint16Array(length)
    case 'int64':
      return new BigInt64Array(length)
    case 'int32':
      return new Int32Array(length)
    case 'uint8':
    case 'bool':
      return new Uint8Array(length)
    default:
      throw unknownDtype(dtype)
  }
}

/** The dtype that follows from an array's kind; narrow and unsigned integers become the next dtype that holds them. */
export function arrayDtype(array: TypedArray): DType {
  if (array instanceof Float32Array) return 'float32'
  if (array instanceof Float64Array) return 'float64'
  if (array instanceof Int32Array || array instanceof Int16Array || array instanceof Int8Array) return 'int32'
  if (array instanceof Uint16Array) return 'int32'
  if (array instanceof Uint8Array || array instanceof Uint8ClampedArray) return 'uint8'
  return 'int64'
}

/** The bytes of an array, without a copy. */
export function bytesOf(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)

/** float16 or bfloat16 bits as numbers. */
export function widen(dtype: DType, bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length)
  for (let i = 0; i < bits.length; i++) out[i] = dtype === 'bfloat16' ? fromBfloat16(bits[i]!) : fromFloat16(bits[i]!)
  return out
}

function fromBfloat16(bits: number): number {
  word[0] = bits << 16
  return single[0]!
}

function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The number of the device for new tensors. */
let defaultCode = 0

/**
 * Sets where tensors are made that are not told where: by creation functions, from files, and in the Trainer. `'cpu'` at first.
 * After torch.set_default_device. What is there already stays where it is.
 */
export function setDefaultDevice(device: string): void {
  defaultCode = deviceCode('setDefaultDevice', device)
}

/** Where tensors are made that are not told where. */
export function getDefaultDevice(): Device {
  return deviceName(defaultCode)
}

/** The addon's number of a device, the default one's if there is none; 0 is the CPU. `BAD_OPTION` for an unknown name. */
export function deviceCode(op: string, device: string | undefined): number {
  if (device === undefined) return defaultCode
  if (device === 'cpu') return 0
  const index = /^cuda(?::(\d{1,2}))?$/.exec(device)
  if (index === null) throw badOption(op, `unknown device '${device}'; expected 'cpu', 'cuda' or 'cuda:N'`)
  return Number(index[1] ?? 0) + 1
}

/** The device of an addon's number. */
export function deviceName(code: number): Device {
  return code === 0 ? 'cpu' : `cuda:${code - 1}`
}
