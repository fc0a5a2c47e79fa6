/** What ops take besides tensors, and how they refuse what they can't. */
import { badOption } from '../errors.ts'
import { native } from '../native/index.ts'
import { type DType, dtypeCode, isFloating } from './dtype.ts'
import { Tensor } from './tensor.ts'

/** A tensor, or a number that takes the other operand's shape and, as in PyTorch, mostly its dtype. */
export type Operand = Tensor | number

/** The handle of an operand; `BAD_OPTION` if it is no tensor. */
export function handle(op: string, x: Tensor): number {
  if (x instanceof Tensor) return x.handle
  throw badOption(op, `expected a tensor, got ${x === null ? 'null' : typeof x}`)
}

/** A tensor without dimensions that holds `value` in the dtype that it has beside a tensor of dtype `beside`. */
export function scalarTensor(value: number, beside: DType): Tensor {
  const dtype = isFloating(beside)
    ? beside
    : !Number.isInteger(value)
      ? 'float32'
      : beside === 'bool'
        ? 'int64'
        : beside
  return new Tensor(native.full([], value, dtypeCode(dtype), 0))
}

/** The operand itself, or its number as a tensor beside `other`. */
export function tensorOf(x: Operand, other: Tensor): Tensor {
  return typeof x === 'number' ? scalarTensor(x, other.dtype) : x
}
