/** Pointwise arithmetic, comparison and logic, broadcast as in PyTorch. */
import { badOption, checkOptions } from '../errors.ts'
import { binaryCode, native, unaryCode } from '../native/index.ts'
import { type DType, deviceCode, dtypeBytes, dtypeCode, isDType } from './dtype.ts'
import { handle, type Operand, scalarTensor, tensorOf } from './operand.ts'
import { num } from './sizes.ts'
import { Tensor } from './tensor.ts'

const NEG = unaryCode('neg')
const ABS = unaryCode('abs')
const SIGN = unaryCode('sign')
const SQRT = unaryCode('sqrt')
const RSQRT = unaryCode('rsqrt')
const EXP = unaryCode('exp')
const LOG = unaryCode('log')
const LOG1P = unaryCode('log1p')
const EXPM1 = unaryCode('expm1')
const SIN = unaryCode('sin')
const COS = unaryCode('cos')
const TANH = unaryCode('tanh')
const SIGMOID = unaryCode('sigmoid')
const ERF = unaryCode('erf')
const FLOOR = unaryCode('floor')
const CEIL = unaryCode('ceil')
const ROUND = unaryCode('round')
const RECIPROCAL = unaryCode('reciprocal')
const RELU = unaryCode('relu')
const LOGICAL_NOT = unaryCode('logicalNot')
const IS_NAN = unaryCode('isnan')
const IS_INF = unaryCode('isinf')
const IS_FINITE = unaryCode('isfinite')

const ADD = binaryCode('add')
const SUB = binaryCode('sub')
const MUL = binaryCode('mul')
const DIV = binaryCode('div')
const POW = binaryCode('pow')
const MINIMUM = binaryCode('minimum')
const MAXIMUM = binaryCode('maximum')
const REMAINDER = binaryCode('remainder')
const EQ = binaryCode('eq')
const NE = binaryCode('ne')
const LT = binaryCode('lt')
const LE = binaryCode('le')
const GT = binaryCode('gt')
const GE = binaryCode('ge')
const LOGICAL_AND = binaryCode('logicalAnd')
const LOGICAL_OR = binaryCode('logicalOr')
const LOGICAL_XOR = binaryCode('logicalXor')

/** `-x`. */
export function neg(x: Tensor): Tensor {
  return new Tensor(native.unary(NEG, handle('neg', x)))
}
/** `|x|`. */
export function abs(x: Tensor): Tensor {
  return new Tensor(native.unary(ABS, handle('abs', x)))
}
/** -1, 0 or 1. */
export function sign(x: Tensor): Tensor {
  return new Tensor(native.unary(SIGN, handle('sign', x)))
}
/** The square root; integers give float32. */
export function sqrt(x: Tensor): Tensor {
  return new Tensor(native.unary(SQRT, handle('sqrt', x)))
}
/** `1 / sqrt(x)`. */
export function rsqrt(x: Tensor): Tensor {
  return new Tensor(native.unary(RSQRT, handle('rsqrt', x)))
}
/** `e ** x`. */
export function exp(x: Tensor): Tensor {
  return new Tensor(native.unary(EXP, handle('exp', x)))
}
/** The natural logarithm. */
export function log(x: Tensor): Tensor {
  return new Tensor(native.unary(LOG, handle('log', x)))
}
/** The logarithm to base 2. */
export function log2(x: Tensor): Tensor {
  return mul(log(x), Math.LOG2E)
}
/** The logarithm to base 10. */
export function log10(x: Tensor): Tensor {
  return mul(log(x), Math.LOG10E)
}
/** `log(1 + x)`, exact near 0. */
export function log1p(x: Tensor): Tensor {
  return new Tensor(native.unary(LOG1P, handle('log1p', x)))
}
/** `e ** x - 1`, exact near 0. */
export function expm1(x: Tensor): Tensor {
  return new Tensor(native.unary(EXPM1, handle('expm1', x)))
}
/** The sine of radians. */
export function sin(x: Tensor): Tensor {
  return new Tensor(native.unary(SIN, handle('sin', x)))
}
/** The cosine of radians. */
export function cos(x: Tensor): Tensor {
  return new Tensor(native.unary(COS, handle('cos', x)))
}
/** The tangent of radians. */
export function tan(x: Tensor): Tensor {
  return div(sin(x), cos(x))
}
/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return new Tensor(native.unary(TANH, handle('tanh', x)))
}
/** `1 / (1 + exp(-x))`. */
export function sigmoid(x: Tensor): Tensor {
  return new Tensor(native.unary(SIGMOID, handle('sigmoid', x)))
}
/** The error function. */
export function erf(x: Tensor): Tensor {
  return new Tensor(native.unary(ERF, handle('erf', x)))
}
/** The next whole number below. */
export function floor(x: Tensor): Tensor {
  return new Tensor(native.unary(FLOOR, handle('floor', x)))
}
/** The next whole number above. */
export function ceil(x: Tensor): Tensor {
  return new Tensor(native.unary(CEIL, handle('ceil', x)))
}
/** The nearest whole number; halves go to the even one. */
export function round(x: Tensor): Tensor {
  return new Tensor(native.unary(ROUND, handle('round', x)))
}
/** The whole number towards 0. */
export function trunc(x: Tensor): Tensor {
  return mul(floor(abs(x)), sign(x))
}
/** `1 / x`. */
export function reciprocal(x: Tensor): Tensor {
  return new Tensor(native.unary(RECIPROCAL, handle('reciprocal', x)))
}
/** `x * x`. */
export function square(x: Tensor): Tensor {
  return new Tensor(native.binary(MUL, handle('square', x), x.handle))
}
/** `max(x, 0)`. */
export function relu(x: Tensor): Tensor {
  return new Tensor(native.unary(RELU, handle('relu', x)))
}
/** Where `x` is 0 or false; bool. */
export function logicalNot(x: Tensor): Tensor {
  return new Tensor(native.unary(LOGICAL_NOT, handle('logicalNot', x)))
}
/** Where `x` is NaN; bool. */
export function isnan(x: Tensor): Tensor {
  return new Tensor(native.unary(IS_NAN, handle('isnan', x)))
}
/** Where `x` is infinite; bool. */
export function isinf(x: Tensor): Tensor {
  return new Tensor(native.unary(IS_INF, handle('isinf', x)))
}
/** Where `x` is neither infinite nor NaN; bool. */
export function isfinite(x: Tensor): Tensor {
  return new Tensor(native.unary(IS_FINITE, handle('isfinite', x)))
}

function binary(op: string, code: number, a: Operand, b: Operand): Tensor {
  if (typeof b === 'number') return new Tensor(native.scalar(code, handle(op, a as Tensor), b, false))
  if (typeof a === 'number') return new Tensor(native.scalar(code, handle(op, b), a, true))
  return new Tensor(native.binary(code, handle(op, a), handle(op, b)))
}

/** Options of `add` and `sub`: `alpha` multiplies the second operand. */
export interface AlphaOptions {
  alpha?: number
}

function scaled(op: string, b: Operand, options: AlphaOptions): Operand {
  checkOptions(op, options, ['alpha'])
  const { alpha = 1 } = options
  return alpha === 1 ? b : typeof b === 'number' ? b * alpha : mul(b, alpha)
}

/** `a + alpha * b`, broadcast. */
export function add(a: Operand, b: Operand, options?: AlphaOptions): Tensor {
  return binary('add', ADD, a, options === undefined ? b : scaled('add', b, options))
}
/** `a - alpha * b`, broadcast. */
export function sub(a: Operand, b: Operand, options?: AlphaOptions): Tensor {
  return binary('sub', SUB, a, options === undefined ? b : scaled('sub', b, options))
}
/** `a * b`, broadcast. */
export function mul(a: Operand, b: Operand): Tensor {
  return binary('mul', MUL, a, b)
}

/** Options of `div`: `roundingMode` rounds the quotient towards 0 (`'trunc'`) or down (`'floor'`) and keeps integers integers. */
export interface DivOptions {
  roundingMode?: 'trunc' | 'floor' | null
}

/** `a / b`, broadcast; integers give float32 unless `roundingMode` is set. */
export function div(a: Operand, b: Operand, options?: DivOptions): Tensor {
  const quotient = binary('div', DIV, a, b)
  if (options === undefined) return quotient
  checkOptions('div', options, ['roundingMode'])
  const { roundingMode = null } = options
  if (roundingMode === null) return quotient
  if (roundingMode !== 'trunc' && roundingMode !== 'floor') {
    throw badOption('div', `roundingMode must be 'trunc' or 'floor', not '${String(roundingMode)}'`)
  }
  const rounded = roundingMode === 'trunc' ? trunc(quotient) : floor(quotient)
  // Exact for integers below 2 ** 24, which is as far as the quotient is.
  const whole = binary('mul', MUL, a, b).dtype
  return to(rounded, whole)
}
/** `floor(a / b)`, broadcast; integers stay integers. */
export function floorDivide(a: Operand, b: Operand): Tensor {
  return div(a, b, { roundingMode: 'floor' })
}
/** `a ** b`, broadcast. */
export function pow(a: Operand, b: Operand): Tensor {
  return binary('pow', POW, a, b)
}
/** The smaller of the two, broadcast; NaN wins. */
export function minimum(a: Operand, b: Operand): Tensor {
  return binary('minimum', MINIMUM, a, b)
}
/** The larger of the two, broadcast; NaN wins. */
export function maximum(a: Operand, b: Operand): Tensor {
  return binary('maximum', MAXIMUM, a, b)
}
/** `a - floor(a / b) * b`, broadcast: the sign is the divisor's, as in Python. */
export function remainder(a: Operand, b: Operand): Tensor {
  return binary('remainder', REMAINDER, a, b)
}
/** Where `a == b`; bool. */
export function eq(a: Operand, b: Operand): Tensor {
  return binary('eq', EQ, a, b)
}
/** Where `a != b`; bool. */
export function ne(a: Operand, b: Operand): Tensor {
  return binary('ne', NE, a, b)
}
/** Where `a < b`; bool. */
export function lt(a: Operand, b: Operand): Tensor {
  return binary('lt', LT, a, b)
}
/** Where `a <= b`; bool. */
export function le(a: Operand, b: Operand): Tensor {
  return binary('le', LE, a, b)
}
/** Where `a > b`; bool. */
export function gt(a: Operand, b: Operand): Tensor {
  return binary('gt', GT, a, b)
}
/** Where `a >= b`; bool. */
export function ge(a: Operand, b: Operand): Tensor {
  return binary('ge', GE, a, b)
}
/** Where both are not 0; bool. */
export function logicalAnd(a: Operand, b: Operand): Tensor {
  return binary('logicalAnd', LOGICAL_AND, a, b)
}
/** Where at least one is not 0; bool. */
export function logicalOr(a: Operand, b: Operand): Tensor {
  return binary('logicalOr', LOGICAL_OR, a, b)
}
/** Where just one is not 0; bool. */
export function logicalXor(a: Operand, b: Operand): Tensor {
  return binary('logicalXor', LOGICAL_XOR, a, b)
}

/** Bounds of `clamp`. */
export interface ClampOptions {
  min?: number
  max?: number
}

/** `x` held between two bounds: `clamp(x, 0, 1)` or `clamp(x, { max: 1 })`. NaN stays NaN. */
export function clamp(x: Tensor, min?: number | ClampOptions, max?: number): Tensor {
  let low = min
  let high = max
  if (typeof min === 'object') {
    checkOptions('clamp', min, ['min', 'max'])
    low = min.min
    high = min.max
  }
  if (low === undefined && high === undefined) throw badOption('clamp', 'needs a bound: min, max or both')
  const [from, to] = [low ?? Number.NEGATIVE_INFINITY, high ?? Number.POSITIVE_INFINITY]
  return new Tensor(native.clamp(handle('clamp', x), num('clamp', 'min', from as number), num('clamp', 'max', to)))
}

/** `a` where `condition` (bool) is true, else `b`; broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const c = handle('where', condition)
  if (typeof a === 'number' && typeof b === 'number') {
    const beside = Number.isInteger(a) && Number.isInteger(b) ? 'int64' : 'float32'
    return new Tensor(native.where(c, scalarTensor(a, beside).handle, scalarTensor(b, beside).handle))
  }
  const x = tensorOf(a, b as Tensor)
  const y = tensorOf(b, x)
  return new Tensor(native.where(c, handle('where', x), handle('where', y)))
}

/** Options of `addcmul` and `addcdiv`: `value` multiplies the product or quotient. */
export interface ValueOptions {
  value?: number
}

/** `x + value * a * b`, broadcast. */
export function addcmul(x: Tensor, a: Tensor, b: Tensor, options: ValueOptions = {}): Tensor {
  checkOptions('addcmul', options, ['value'])
  const { value = 1 } = options
  const product = mul(a, b)
  return add(x, value === 1 ? product : mul(product, value))
}
/** `x + value * a / b`, broadcast. */
export function addcdiv(x: Tensor, a: Tensor, b: Tensor, options: ValueOptions = {}): Tensor {
  checkOptions('addcdiv', options, ['value'])
  const { value = 1 } = options
  const quotient = div(a, b)
  return add(x, value === 1 ? quotient : mul(quotient, value))
}
/** `x + weight * (end - x)`, broadcast. */
export function lerp(x: Tensor, end: Tensor, weight: Operand): Tensor {
  return add(x, mul(sub(end, x), weight))
}

/** Where a tensor goes: a dtype, a device, or both. */
export interface ToOptions {
  dtype?: DType
  device?: string
  /** Whether a copy to a device may return before it is done. */
  nonBlocking?: boolean
}

/** `x` in another dtype or on another device; `x` itself if it is so already. Gradients come back in `x`'s dtype. */
export function to(x: Tensor, target: string | ToOptions): Tensor {
  let dtype: DType | undefined
  let device: string | undefined
  if (typeof target === 'object') {
    checkOptions('to', target, ['dtype', 'device', 'nonBlocking'])
    dtype = target.dtype
    device = target.device
  } else if (isDType(target)) {
    dtype = target
  } else {
    device = target
  }
  const code = device === undefined ? undefined : deviceCode('to', device)
  const move = (t: Tensor) =>
    code === undefined || code === native.deviceOf(t.handle) ? t : new Tensor(native.toDevice(t.handle, code))
  if (dtype === undefined || dtype === x.dtype) return move(x)
  const cast = (t: Tensor) => new Tensor(native.cast(t.handle, dtypeCode(dtype)))
  // what is smaller goes over the bus
  return dtypeBytes(dtype) < dtypeBytes(x.dtype) ? move(cast(x)) : cast(move(x))
}
