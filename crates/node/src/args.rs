//! PyTorch's conventions for dimensions and sizes: negative ones count from the end, one size may be -1.
use wick_core::dtype::DType;
use wick_core::engine::Handle;
use wick_core::error::{Error, Result};
use wick_core::op::{Binary, Dims, ReduceKind, Unary};
use wick_core::shape::Shape;

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
pub fn dim(rank: usize, d: i32) -> Result<usize> {
    let i = if d < 0 { d as i64 + rank as i64 } else { d as i64 };
    if (0..rank as i64).contains(&i) {
        return Ok(i as usize);
    }
    Err(Error::index(match rank {
        0 => format!("dim {d} of a tensor without dimensions"),
        _ => format!("dim {d} is out of range for a tensor of rank {rank} (-{rank} to {})", rank - 1),
    }))
}

/// The set of `dims`; without any, all. On a scalar, PyTorch takes 0 and -1 for "all".
pub fn dims(rank: usize, list: &[i32]) -> Result<Dims> {
    if list.is_empty() {
        return Ok(Dims::all(rank));
    }
    let mut set = Dims(0);
    for d in list {
        if rank == 0 && (*d == 0 || *d == -1) {
            continue;
        }
        let bit = Dims::of(&[dim(rank, *d)?]);
        if set.0 & bit.0 != 0 {
            return Err(Error::bad_option(format!("dim {d} is given twice")));
        }
        set.0 |= bit.0;
    }
    Ok(set)
}

/// An index into a dimension of size `n`, or with `end` the place behind its last element too.
pub fn index(n: usize, i: i64, end: bool) -> Result<usize> {
    let at = if i < 0 { i + n as i64 } else { i };
    if (0..n as i64 + end as i64).contains(&at) {
        return Ok(at as usize);
    }
    Err(Error::index(format!("index {i} is out of range for a dimension of size {n}")))
}

/// Sizes from JavaScript, none of them negative.
pub fn shape(sizes: &[i64]) -> Result<Shape> {
    if let Some(bad) = sizes.iter().find(|n| **n < 0) {
        return Err(Error::shape(format!("{sizes:?} has a negative size {bad}")));
    }
    let sizes: Vec<usize> = sizes.iter().map(|n| *n as usize).collect();
    Shape::checked(&sizes)
}

/// The shape that `sizes` name for `numel` elements; one size may be -1.
pub fn reshaped(from: &Shape, sizes: &[i64]) -> Result<Shape> {
    let Some(free) = sizes.iter().position(|n| *n == -1) else { return shape(sizes) };
    let mut full = sizes.to_vec();
    full[free] = 1;
    let known = shape(&full)?.numel();
    if known == 0 || !from.numel().is_multiple_of(known) {
        return Err(Error::shape(format!("{from:?} can't become {sizes:?}: {} elements aren't a multiple of {known}", from.numel())));
    }
    full[free] = (from.numel() / known) as i64;
    shape(&full)
}

/// The shape that `sizes` name for an expanded tensor; -1 keeps the size.
pub fn expanded(from: &Shape, sizes: &[i64]) -> Result<Shape> {
    let lead = sizes.len().checked_sub(from.rank()).ok_or_else(|| Error::shape(format!("{from:?} has more dimensions than {sizes:?}")))?;
    let full: Vec<i64> = sizes.iter().enumerate().map(|(i, n)| if *n == -1 && i >= lead { from[i - lead] as i64 } else { *n }).collect();
    shape(&full)
}
