//! Whole numbers from JavaScript, and PyTorch's conventions for dimensions and sizes: negative ones count from the end, one size
//! may be -1.
use crate::error::thrown;
use napi::bindgen_prelude::{FromNapiValue, TypeName, ValidateNapiValue};
use napi::{ValueType, sys};
use wick_core::dtype::DType;
use wick_core::engine::Handle;
use wick_core::error::{Error, Result};
use wick_core::op::{Binary, Dims, ReduceKind, Unary};
use wick_core::shape::Shape;

/// A whole number, as every size, dimension and index is. napi's own integers take what they get modulo 2^32, and 0 for NaN.
#[derive(Clone, Copy)]
pub struct Whole(pub i64);
/// A whole number that isn't negative.
#[derive(Clone, Copy)]
pub struct Size(pub usize);

/// Numbers above it aren't all whole numbers of their own.
const MAX_SAFE: f64 = ((1u64 << 53) - 1) as f64;

fn whole(n: f64, least: f64, what: &str) -> napi::Result<f64> {
    if n.fract() == 0.0 && (least..=MAX_SAFE).contains(&n) {
        return Ok(n);
    }
    Err(thrown(Error::bad_option(format!("expected a whole number{what}, not {n}"))))
}
impl FromNapiValue for Whole {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let n = unsafe { f64::from_napi_value(env, value)? };
        whole(n, -MAX_SAFE, "").map(|n| Whole(n as i64))
    }
}
impl FromNapiValue for Size {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let n = unsafe { f64::from_napi_value(env, value)? };
        whole(n, 0.0, " of at least 0").map(|n| Size(n as usize))
    }
}
macro_rules! number {
    ($($t:ty),*) => { $(
        impl TypeName for $t {
            fn type_name() -> &'static str {
                "number"
            }
            fn value_type() -> ValueType {
                ValueType::Number
            }
        }
        impl ValidateNapiValue for $t {}
    )* };
}
number!(Whole, Size);

/// A handle of JavaScript's, where -1 is none.
pub fn optional(h: Handle) -> Option<Handle> {
    (h >= 0.0).then_some(h)
}

/// A generator's number, where -1 is the global one.
pub fn generator(g: i32) -> Option<u32> {
    u32::try_from(g).ok()
}

fn coded<T: Copy>(all: &[T], code: u32, what: &str) -> Result<T> {
    all.get(code as usize).copied().ok_or_else(|| Error::internal(format!("unknown {what} code {code}")))
}
pub fn unary(code: u32) -> Result<Unary> {
    coded(&Unary::ALL, code, "unary")
}
pub fn binary(code: u32) -> Result<Binary> {
    coded(&Binary::ALL, code, "binary")
}
pub fn reduce(code: u32) -> Result<ReduceKind> {
    coded(&ReduceKind::ALL, code, "reduce")
}
pub fn dtype(code: u32) -> Result<DType> {
    coded(&DType::ALL, code, "dtype")
}

/// Dimension `d` of a tensor of this rank.
pub fn dim(rank: usize, Whole(d): Whole) -> Result<usize> {
    let i = if d < 0 { d + rank as i64 } else { d };
    if (0..rank as i64).contains(&i) {
        return Ok(i as usize);
    }
    Err(Error::index(match rank {
        0 => format!("dim {d} of a tensor without dimensions"),
        _ => format!("dim {d} is out of range for a tensor of rank {rank} (-{rank} to {})", rank - 1),
    }))
}

/// The set of `dims`; without any, all. On a scalar, PyTorch takes 0 and -1 for "all".
pub fn dims(rank: usize, list: &[Whole]) -> Result<Dims> {
    if list.is_empty() {
        return Ok(Dims::all(rank));
    }
    let mut set = Dims(0);
    for d in list {
        if rank == 0 && matches!(d, Whole(0 | -1)) {
            continue;
        }
        let bit = Dims::of(&[dim(rank, *d)?]);
        if set.0 & bit.0 != 0 {
            return Err(Error::bad_option(format!("dim {} is given twice", d.0)));
        }
        set.0 |= bit.0;
    }
    Ok(set)
}

/// An index into a dimension of size `n`, or with `end` the place behind its last element too.
pub fn index(n: usize, Whole(i): Whole, end: bool) -> Result<usize> {
    let at = if i < 0 { i + n as i64 } else { i };
    if (0..n as i64 + end as i64).contains(&at) {
        return Ok(at as usize);
    }
    Err(Error::index(format!("index {i} is out of range for a dimension of size {n}")))
}

/// Sizes from JavaScript, none of them negative.
pub fn shape(sizes: &[Whole]) -> Result<Shape> {
    checked(&sizes.iter().map(|n| n.0).collect::<Vec<_>>())
}
fn checked(sizes: &[i64]) -> Result<Shape> {
    if let Some(bad) = sizes.iter().find(|n| **n < 0) {
        return Err(Error::shape(format!("{sizes:?} has a negative size {bad}")));
    }
    let sizes: Vec<usize> = sizes.iter().map(|n| *n as usize).collect();
    Shape::checked(&sizes)
}

/// The shape that `sizes` name for `numel` elements; one size may be -1.
pub fn reshaped(from: &Shape, sizes: &[Whole]) -> Result<Shape> {
    let mut full: Vec<i64> = sizes.iter().map(|n| n.0).collect();
    let Some(free) = full.iter().position(|n| *n == -1) else { return checked(&full) };
    let sizes = full.clone();
    full[free] = 1;
    let known = checked(&full)?.numel();
    if known == 0 || !from.numel().is_multiple_of(known) {
        return Err(Error::shape(format!("{from:?} can't become {sizes:?}: {} elements aren't a multiple of {known}", from.numel())));
    }
    full[free] = (from.numel() / known) as i64;
    checked(&full)
}

/// The shape that `sizes` name for an expanded tensor; -1 keeps the size.
pub fn expanded(from: &Shape, sizes: &[Whole]) -> Result<Shape> {
    let sizes: Vec<i64> = sizes.iter().map(|n| n.0).collect();
    let lead = sizes.len().checked_sub(from.rank()).ok_or_else(|| Error::shape(format!("{from:?} has more dimensions than {sizes:?}")))?;
    let full: Vec<i64> = sizes.iter().enumerate().map(|(i, n)| if *n == -1 && i >= lead { from[i - lead] as i64 } else { *n }).collect();
    checked(&full)
}
