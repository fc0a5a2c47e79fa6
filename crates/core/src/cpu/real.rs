//! The two float types that the dense kernels are written for, as scalars and as vectors, and the types that tensors of them
//! are stored in.
use super::half::{BF16, F16, Half};
use pulp::Simd;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy + Default + PartialOrd + Send + Sync + 'static + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + AddAssign
{
    /// A register of this type.
    type Vector<S: Simd>: Copy;
    const ZERO: Self;
    const NEG_INFINITY: Self;

    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn is_nan(self) -> bool;
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a * b + c`.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn minus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// The transpose of a tile.
    #[inline(always)]
    fn transpose8<S: Simd>(tile: [[Self; 8]; 8]) -> [[Self; 8]; 8] {
        std::array::from_fn(|j| std::array::from_fn(|i| tile[i][j]))
    }

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
    ($t:ident, $vector:ident, $splat:ident, $mul_add:ident, $add:ident, $sub:ident, $($more:item)*) => {
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
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
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
            #[inline(always)]
            fn minus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }
            $($more)*
        }
    };
}
real!(
    f32,
    f32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s,
    sub_f32s,
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn transpose8<S: Simd>(tile: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        if f32::lanes::<S>() >= 8 {
            // SAFETY: eight lanes mean AVX.
            unsafe { transpose8_avx(tile) }
        } else {
            std::array::from_fn(|j| std::array::from_fn(|i| tile[i][j]))
        }
    }
);
real!(f64, f64s, splat_f64s, mul_add_e_f64s, add_f64s, sub_f64s,);

/// By shuffles: the compiler would make gathers of the plain loops, at three times the cost.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
fn transpose8_avx(tile: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    use std::arch::x86_64::*;
    // SAFETY: both types are 64 plain floats.
    let rows: [__m256; 8] = unsafe { std::mem::transmute(tile) };
    // Pairs of rows, then fours, within halves of a register; then the halves.
    let mut fours = [_mm256_setzero_ps(); 8];
    for i in [0, 4] {
        let (a, b) = (_mm256_unpacklo_ps(rows[i], rows[i + 1]), _mm256_unpackhi_ps(rows[i], rows[i + 1]));
        let (c, d) = (_mm256_unpacklo_ps(rows[i + 2], rows[i + 3]), _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]));
        fours[i] = _mm256_shuffle_ps::<0x44>(a, c);
        fours[i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
        fours[i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
        fours[i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
    }
    let mut out = [_mm256_setzero_ps(); 8];
    for i in 0..4 {
        out[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        out[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute(out) }
}

/// An element as it lies in memory: a [`Real`] itself, or a 16-bit float, which is computed in float32 and rounded once.
pub(crate) trait Stored: Copy + Send + Sync + 'static {
    type Real: Real;
    fn get(self) -> Self::Real;
    fn round(x: Self::Real) -> Self;
}
macro_rules! stored {
    ($($t:ty: $real:ty, $get:expr, $round:expr;)*) => {$(
        impl Stored for $t {
            type Real = $real;
            #[inline(always)]
            fn get(self) -> $real {
                $get(self)
            }
            #[inline(always)]
            fn round(x: $real) -> $t {
                $round(x)
            }
        }
    )*};
}
stored! {
    f32: f32, std::convert::identity, std::convert::identity;
    f64: f64, std::convert::identity, std::convert::identity;
    F16: f32, Half::widen, Half::narrow;
    BF16: f32, Half::widen, Half::narrow;
}

/// Evaluates `$body` with `$T` standing for the [`Stored`] type of `$dtype`; any other dtype is an error.
macro_rules! for_stored {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::dtype::DType::F16 => {
                type $T = crate::cpu::half::F16;
                $body
            }
            crate::dtype::DType::BF16 => {
                type $T = crate::cpu::half::BF16;
                $body
            }
            crate::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            crate::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err(crate::error::Error::dtype(format!("has kernels for floats, not {}", other.name()))),
        }
    };
}
pub(crate) use for_stored;

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
