//! Conversions between dtypes, over one block. Float to integer drops the fraction and saturates, 16-bit floats go through
//! float32, and whatever isn't 0 is true.
use super::half::{BF16, F16, Half};
use super::lanes::Number;
use super::unary::map;
use super::walk::Operand;
use crate::dtype::DType;

/// # Safety
/// `x` holds `from`s, and `out` has room for `n` `to`s and doesn't overlap `x`.
pub unsafe fn block(from: DType, to: DType, x: Operand, out: *mut u8, n: usize) {
    /// From `$s` to every dtype: `$wide` is the element `$v` as a number that `as` can convert, `$float` as float32.
    macro_rules! from {
        ($s:ty, $v:ident, $wide:expr, $float:expr) => {
            unsafe {
                match to {
                    DType::Bool => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide.truth() as u8,
                    ),
                    DType::U8 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide as u8,
                    ),
                    DType::I32 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide as i32,
                    ),
                    DType::I64 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide as i64,
                    ),
                    DType::F16 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| F16::narrow($float),
                    ),
                    DType::BF16 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| BF16::narrow($float),
                    ),
                    DType::F32 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide as f32,
                    ),
                    DType::F64 => map(
                        x,
                        out,
                        n,
                        #[inline(always)]
                        |$v: $s| $wide as f64,
                    ),
                }
            }
        };
    }
    if from == to {
        return unsafe { same(to.size(), x, out, n) };
    }
    match from {
        DType::Bool | DType::U8 => from!(u8, v, v, v as f32),
        DType::I32 => from!(i32, v, v, v as f32),
        DType::I64 => from!(i64, v, v, v as f32),
        DType::F16 => from!(F16, v, v.widen(), v.widen()),
        DType::BF16 => from!(BF16, v, v.widen(), v.widen()),
        DType::F32 => from!(f32, v, v, v as f32),
        DType::F64 => from!(f64, v, v, v as f32),
    }
}

/// A cast that changes nothing.
unsafe fn same(size: usize, x: Operand, out: *mut u8, n: usize) {
    unsafe {
        match size {
            1 => map(x, out, n, |v: u8| v),
            2 => map(x, out, n, |v: u16| v),
            4 => map(x, out, n, |v: u32| v),
            _ => map(x, out, n, |v: u64| v),
        }
    }
}

/// `value` as an element of `dtype`, in the low-address bytes.
pub fn element(value: f64, dtype: DType) -> u64 {
    let mut bytes = 0u64;
    let x = Operand { ptr: (&raw const value).cast(), repeated: true };
    // SAFETY: one element of at most 8 bytes.
    unsafe { block(DType::F64, dtype, x, (&raw mut bytes).cast(), 1) };
    bytes
}
