//! Functions of two tensors of one dtype, over one block.
use super::half::{BF16, F16, Half, PART, narrow_part, widen_part};
use super::lanes::Number;
use super::unary::map;
use super::walk::Operand;
use crate::cpu::simd::vectorised;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Binary;

/// Whether there is a kernel. Bool adds and multiplies as `or` and `and`; integers don't divide.
pub fn supports(op: Binary, dtype: DType) -> bool {
    use Binary::*;
    match op {
        Div => dtype.is_float(),
        Sub | Pow | Remainder | ReluGrad => dtype != DType::Bool,
        _ => true,
    }
}

/// `out[i] = f(a[i], b[i])`, vectorised.
///
/// # Safety
/// The operands hold `T`s and `out` has room for `n` `R`s and overlaps neither.
#[inline(always)]
pub unsafe fn zip<T: Copy, R: Copy>(a: Operand, b: Operand, out: *mut u8, n: usize, f: impl Fn(T, T) -> R) {
    unsafe {
        if b.repeated {
            let b = b.ptr.cast::<T>().read();
            map(
                a,
                out,
                n,
                #[inline(always)]
                move |a| f(a, b),
            )
        } else if a.repeated {
            let a = a.ptr.cast::<T>().read();
            map(
                b,
                out,
                n,
                #[inline(always)]
                move |b| f(a, b),
            )
        } else {
            let (a, b) = (std::slice::from_raw_parts(a.ptr.cast::<T>(), n), std::slice::from_raw_parts(b.ptr.cast::<T>(), n));
            let out = std::slice::from_raw_parts_mut(out.cast::<R>(), n);
            vectorised(
                #[inline(always)]
                move || {
                    for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                        *o = f(*a, *b);
                    }
                },
            )
        }
    }
}

/// Fails on an integer's remainder by zero.
///
/// # Safety
/// As [`zip`], with `dtype`'s type; predicates write bool. The pair must be supported.
pub unsafe fn block(op: Binary, dtype: DType, a: Operand, b: Operand, out: *mut u8, n: usize) -> Result<()> {
    unsafe {
        match dtype {
            DType::Bool => number::<u8>(on_bool(op), a, b, out, n),
            DType::U8 => number::<u8>(op, a, b, out, n),
            DType::I32 => number::<i32>(op, a, b, out, n),
            DType::I64 => number::<i64>(op, a, b, out, n),
            DType::F16 => half::<F16>(op, a, b, out, n),
            DType::BF16 => half::<BF16>(op, a, b, out, n),
            DType::F32 => number::<f32>(op, a, b, out, n),
            DType::F64 => number::<f64>(op, a, b, out, n),
        }
    }
}

fn on_bool(op: Binary) -> Binary {
    match op {
        Binary::Add => Binary::LogicalOr,
        Binary::Mul => Binary::LogicalAnd,
        op => op,
    }
}

unsafe fn half<H: Half>(op: Binary, a: Operand, b: Operand, out: *mut u8, n: usize) -> Result<()> {
    let (mut wide_a, mut wide_b, mut result) = ([0f32; PART], [0f32; PART], [0f32; PART]);
    for start in (0..n).step_by(PART) {
        let m = PART.min(n - start);
        unsafe {
            let (a, b) = (widen_part::<H>(a, start, m, &mut wide_a), widen_part::<H>(b, start, m, &mut wide_b));
            if op.is_predicate() {
                number::<f32>(op, a, b, out.add(start), m)?;
            } else {
                number::<f32>(op, a, b, result.as_mut_ptr().cast(), m)?;
                narrow_part(&result[..m], out.cast::<H>().add(start));
            }
        }
    }
    Ok(())
}

unsafe fn number<T: Number>(op: Binary, a: Operand, b: Operand, out: *mut u8, n: usize) -> Result<()> {
    unsafe {
        match op {
            Binary::Add => zip(a, b, out, n, T::add),
            Binary::Sub => zip(a, b, out, n, T::sub),
            Binary::Mul => zip(a, b, out, n, T::mul),
            Binary::Div => zip(a, b, out, n, T::div),
            Binary::Pow => pow::<T>(a, b, out, n),
            Binary::Minimum => zip(a, b, out, n, T::minimum),
            Binary::Maximum => zip(a, b, out, n, T::maximum),
            Binary::Remainder => {
                if !T::IS_FLOAT && n > 0 {
                    let divisors = std::slice::from_raw_parts(b.ptr.cast::<T>(), if b.repeated { 1 } else { n });
                    if divisors.iter().any(|d| !d.truth()) {
                        return Err(Error::bad_option("integer remainder by zero"));
                    }
                }
                zip(a, b, out, n, T::remainder)
            }
            Binary::ReluGrad => zip(a, b, out, n, T::relu_grad),
            Binary::Eq => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a == b) as u8,
            ),
            Binary::Ne => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a != b) as u8,
            ),
            Binary::Lt => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a < b) as u8,
            ),
            Binary::Le => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a <= b) as u8,
            ),
            Binary::Gt => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a > b) as u8,
            ),
            Binary::Ge => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a >= b) as u8,
            ),
            Binary::LogicalAnd => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a.truth() & b.truth()) as u8,
            ),
            Binary::LogicalOr => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a.truth() | b.truth()) as u8,
            ),
            Binary::LogicalXor => zip(
                a,
                b,
                out,
                n,
                #[inline(always)]
                |a: T, b: T| (a.truth() ^ b.truth()) as u8,
            ),
        }
    }
    Ok(())
}

/// One exponent for all is tested once, outside the loop: the loop of its formula vectorises.
unsafe fn pow<T: Number>(a: Operand, b: Operand, out: *mut u8, n: usize) {
    unsafe {
        if b.repeated && n > 0 {
            let y = b.ptr.cast::<T>().read();
            for special in [2.0, 1.0, 3.0, 0.5, -1.0, -0.5, -2.0] {
                if T::IS_FLOAT && y == T::from_f64(special) {
                    return special_pow::<T>(special, a, out, n);
                }
            }
        }
        zip(a, b, out, n, T::pow)
    }
}

unsafe fn special_pow<T: Number>(exponent: f64, a: Operand, out: *mut u8, n: usize) {
    macro_rules! with {
        ($($e:literal)*) => {
            $(if exponent == $e {
                return unsafe { map(a, out, n, #[inline(always)] |a: T| a.pow(T::from_f64($e))) };
            })*
        };
    }
    with!(2.0 1.0 3.0 0.5 -1.0 -0.5 -2.0);
}
