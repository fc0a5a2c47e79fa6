//! The two float types that the dense kernels are written for, as scalars and as vectors.
use pulp::Simd;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
{
    /// A register of this type.
    type Vector<S: Simd>: Copy;
    const ZERO: Self;
    const NEG_INFINITY: Self;

    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a * b + c`.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// Elements in a register.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// # Safety
    /// `p` points to a whole vector; it need not be aligned.
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> Self::Vector<S> {
        unsafe { p.cast::<Self::Vector<S>>().read_unaligned() }
    }
    /// # Safety
    /// As [`Real::load`].
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut Self, v: Self::Vector<S>) {
        unsafe { p.cast::<Self::Vector<S>>().write_unaligned(v) }
    }
}

macro_rules! real {
    ($t:ident, $vector:ident, $splat:ident, $mul_add:ident, $add:ident) => {
        impl Real for $t {
            type Vector<S: Simd> = S::$vector;
            const ZERO: $t = 0.0;
            const NEG_INFINITY: $t = $t::NEG_INFINITY;
            #[inline(always)]
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: $t) -> S::$vector {
                simd.$splat(x)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }
        }
    };
}
real!(f32, f32s, splat_f32s, mul_add_e_f32s, add_f32s);
real!(f64, f64s, splat_f64s, mul_add_e_f64s, add_f64s);

/// Evaluates `$body` with `$T` standing for the float type of `$dtype`; any other dtype is an error.
macro_rules! for_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            crate::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err(crate::error::Error::dtype(format!("has kernels for float32 and float64, not {}", other.name()))),
        }
    };
}
pub(crate) use for_real;
