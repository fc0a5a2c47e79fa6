//! Functions of one tensor, over one block.
use super::half::{BF16, F16, Half, PART, narrow_part, widen_part};
use super::lanes::{Float, Number};
use super::walk::Operand;
use crate::cpu::simd::vectorised;
use crate::dtype::DType;
use crate::op::Unary;

/// Whether there is a kernel: floats have all, integers what keeps them integers, bool only the predicates.
pub fn supports(op: Unary, dtype: DType) -> bool {
    use Unary::*;
    op.is_predicate() || dtype.is_float() || dtype != DType::Bool && matches!(op, Neg | Abs | Sign | Relu | Floor | Ceil | Round)
}

/// `out[i] = f(x[i])`, vectorised.
///
/// # Safety
/// `x` holds `T`s and `out` has room for `n` `R`s; they don't overlap.
#[inline(always)]
pub unsafe fn map<T: Copy, R: Copy>(x: Operand, out: *mut u8, n: usize, f: impl Fn(T) -> R) {
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<R>(), n) };
    if x.repeated {
        out.fill(f(unsafe { x.ptr.cast::<T>().read() }));
    } else {
        let x = unsafe { std::slice::from_raw_parts(x.ptr.cast::<T>(), n) };
        vectorised(
            #[inline(always)]
            move || {
                for (o, x) in out.iter_mut().zip(x) {
                    *o = f(*x);
                }
            },
        );
    }
}

/// # Safety
/// As [`map`], with `dtype`'s type; predicates write bool. The pair must be supported.
pub unsafe fn block(op: Unary, dtype: DType, x: Operand, out: *mut u8, n: usize) {
    unsafe {
        match dtype {
            DType::Bool | DType::U8 => integer::<u8>(op, x, out, n),
            DType::I32 => integer::<i32>(op, x, out, n),
            DType::I64 => integer::<i64>(op, x, out, n),
            DType::F16 => half::<F16>(op, x, out, n),
            DType::BF16 => half::<BF16>(op, x, out, n),
            DType::F32 => float::<f32>(op, x, out, n),
            DType::F64 => float::<f64>(op, x, out, n),
        }
    }
}

unsafe fn integer<T: Number>(op: Unary, x: Operand, out: *mut u8, n: usize) {
    unsafe {
        match op {
            Unary::Neg => map(x, out, n, T::neg),
            Unary::Abs => map(x, out, n, T::abs),
            Unary::Sign => map(x, out, n, T::sign),
            Unary::Relu => map(x, out, n, T::relu),
            Unary::LogicalNot => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| !x.truth() as u8,
            ),
            Unary::IsNan | Unary::IsInf => map(x, out, n, |_: T| 0u8),
            Unary::IsFinite => map(x, out, n, |_: T| 1u8),
            // Floor, Ceil, Round; `supports` admits no other.
            _ => map(x, out, n, |x: T| x),
        }
    }
}

unsafe fn half<H: Half>(op: Unary, x: Operand, out: *mut u8, n: usize) {
    let (mut wide, mut result) = ([0f32; PART], [0f32; PART]);
    for start in (0..n).step_by(PART) {
        let m = PART.min(n - start);
        unsafe {
            let x = widen_part::<H>(x, start, m, &mut wide);
            if op.is_predicate() {
                float::<f32>(op, x, out.add(start), m);
            } else {
                float::<f32>(op, x, result.as_mut_ptr().cast(), m);
                narrow_part(&result[..m], out.cast::<H>().add(start));
            }
        }
    }
}

unsafe fn float<T: Float>(op: Unary, x: Operand, out: *mut u8, n: usize) {
    unsafe {
        match op {
            Unary::Neg => map(x, out, n, T::neg),
            Unary::Abs => map(x, out, n, T::abs),
            Unary::Sign => map(x, out, n, T::sign),
            Unary::Sqrt => map(x, out, n, T::sqrt),
            Unary::Rsqrt => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| T::ONE.div(x.sqrt()),
            ),
            Unary::Exp => map(x, out, n, T::exp),
            Unary::Log => map(x, out, n, T::log),
            Unary::Log1p => map(x, out, n, T::log1p),
            Unary::Expm1 => map(x, out, n, T::expm1),
            Unary::Sin => {
                map(x, out, n, T::sin);
                fix_trig::<T>(x, out, n, false);
            }
            Unary::Cos => {
                map(x, out, n, T::cos);
                fix_trig::<T>(x, out, n, true);
            }
            Unary::Tanh => map(x, out, n, T::tanh),
            Unary::Sigmoid => map(x, out, n, T::sigmoid),
            Unary::Erf => map(x, out, n, T::erf),
            Unary::Floor => map(x, out, n, T::floor),
            Unary::Ceil => map(x, out, n, T::ceil),
            Unary::Round => map(x, out, n, T::round),
            Unary::Reciprocal => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| T::ONE.div(x),
            ),
            Unary::Relu => map(x, out, n, T::relu),
            Unary::LogicalNot => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| !x.truth() as u8,
            ),
            #[allow(clippy::eq_op)]
            Unary::IsNan => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| (x != x) as u8,
            ),
            Unary::IsInf => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| x.is_inf() as u8,
            ),
            #[allow(clippy::eq_op)]
            Unary::IsFinite => map(
                x,
                out,
                n,
                #[inline(always)]
                |x: T| (x == x && !x.is_inf()) as u8,
            ),
        }
    }
}

/// Redoes the rare elements whose argument is too large for the vector code.
unsafe fn fix_trig<T: Float>(x: Operand, out: *mut u8, n: usize, cos: bool) {
    let xs = unsafe { std::slice::from_raw_parts(x.ptr.cast::<T>(), if x.repeated { 1 } else { n }) };
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<T>(), n) };
    let limit = T::from_f64(super::math::TRIG_LIMIT as f64);
    let any = vectorised(
        #[inline(always)]
        move || xs.iter().fold(false, |any, x| any | (x.abs() > limit)),
    );
    if any {
        for (i, o) in out.iter_mut().enumerate() {
            if let Some(v) = xs[if x.repeated { 0 } else { i }].trig_outside(cos) {
                *o = v;
            }
        }
    }
}
