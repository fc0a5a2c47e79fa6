/**
 * In-place ops. They write the tensor's memory, are tracked by autograd, and are refused on a leaf that requires gradients
 * (outside `noGrad`), as in PyTorch. Each returns the tensor.
 */
import { binaryCode, native } from '../native/index.ts'
import { dtypeCode } from './dtype.ts'
import { handle, type Operand } from './operand.ts'
import { num } from './sizes.ts'
import type { Tensor } from './tensor.ts'

const ADD = binaryCode('add')
const SUB = binaryCode('sub')
const MUL = binaryCode('mul')
const DIV = binaryCode('div')
const POW = binaryCode('pow')

function into<T extends Tensor>(op: string, code: number, x: T, other: Operand): T {
  if (typeof other === 'number') native.scalarInto(code, x.handle, other)
  else native.binaryInto(code, x.handle, handle(op, other))
  return x
}

/** `x += other`. */
export function add_<T extends Tensor>(x: T, other: Operand, options?: { alpha?: number }): T {
  const alpha = options?.alpha ?? 1
  return into('add_', ADD, x, alpha === 1 ? other : typeof other === 'number' ? other * alpha : other.mul(alpha))
}
/** `x -= other`. */
export function sub_<T extends Tensor>(x: T, other: Operand, options?: { alpha?: number }): T {
  const alpha = options?.alpha ?? 1
  return into('sub_', SUB, x, alpha === 1 ? other : typeof other === 'number' ? other * alpha : other.mul(alpha))
}
/** `x *= other`. */
export function mul_<T extends Tensor>(x: T, other: Operand): T {
  return into('mul_', MUL, x, other)
}
/** `x /= other`. */
export function div_<T extends Tensor>(x: T, other: Operand): T {
  return into('div_', DIV, x, other)
}
/** `x **= other`. */
export function pow_<T extends Tensor>(x: T, other: Operand): T {
  return into('pow_', POW, x, other)
}

/** Copies `source`, broadcast and cast, into `x`. */
export function copy_<T extends Tensor>(x: T, source: Tensor): T {
  native.copyInto(x.handle, handle('copy_', source))
  return x
}
/** Sets every element to `value`. */
export function fill_<T extends Tensor>(x: T, value: number): T {
  const filling = native.full([], num('fill_', 'value', value), dtypeCode(x.dtype), native.deviceOf(x.handle))
  native.copyInto(x.handle, filling)
  native.release(filling)
  return x
}
/** Sets every element to 0. */
export function zero_<T extends Tensor>(x: T): T {
  return fill_(x, 0)
}
