//! Reductions over any set of dimensions.
mod arg;
mod drive;
mod fold;
mod geometry;

use super::Arg;
use super::half::{Widened, is_half};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Dims, Op, ReduceKind};
use drive::fold;
use fold::{Extreme, Fold, Logical, Number, Prod, Sum, Wrapping};
use geometry::{DimList, split};

/// Runs `Op::Reduce`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, _: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::Reduce { kind, dims, .. } => unsafe { reduce(kind, dims, &ins[0], &outs[0]) },
        _ => Err(Error::internal("is not a reduction")),
    }
    .map_err(|e| e.in_op(op.name()))
}

unsafe fn reduce(kind: ReduceKind, dims: Dims, x: &Arg, out: &Arg) -> Result<()> {
    use ReduceKind::*;
    if out.numel() == 0 {
        return Ok(());
    }
    if x.numel() == 0 && matches!(kind, Amax | Amin | Argmax | Argmin) {
        return Err(Error::shape(format!("has no result for the empty dimensions of {:?}", x.layout.shape)));
    }
    if is_half(x.dtype) {
        let mut wide = unsafe { Widened::new(x) };
        if !is_half(out.dtype) {
            return unsafe { reduce(kind, dims, &wide.arg(), out) };
        }
        let mut result = Widened::empty(&out.layout);
        unsafe {
            reduce(kind, dims, &wide.arg(), &result.arg())?;
            result.store(out);
        }
        return Ok(());
    }
    unsafe {
        match (kind, x.dtype) {
            (Sum | Mean | Prod, DType::F32) => float::<f32>(kind, dims, x, out, |v| v as f32),
            (Sum | Mean | Prod, DType::F64) => float::<f64>(kind, dims, x, out, |v| v),
            (Mean, d) => Err(Error::dtype(format!("needs floats, not {}", d.name()))),
            (Sum | Prod, DType::I64) => whole::<i64>(kind, dims, x, out),
            (Sum | Prod, DType::I32) => whole::<i32>(kind, dims, x, out),
            (Sum | Prod, _) => whole::<u8>(kind, dims, x, out),
            (_, DType::F32) => compare::<f32>(kind, dims, x, out),
            (_, DType::F64) => compare::<f64>(kind, dims, x, out),
            (_, DType::I64) => compare::<i64>(kind, dims, x, out),
            (_, DType::I32) => compare::<i32>(kind, dims, x, out),
            (_, _) => compare::<u8>(kind, dims, x, out),
        }
    }
}

unsafe fn go<F: Fold, O: Copy>(dims: Dims, x: &Arg, out: &Arg, finish: impl Fn(F::Total) -> O) -> Result<()> {
    if size_of::<O>() != out.dtype.size() {
        return Err(Error::internal(format!("has no kernel from {} to {}", x.dtype.name(), out.dtype.name())));
    }
    let to = out.ptr.cast::<O>();
    if x.numel() == 0 {
        unsafe { std::slice::from_raw_parts_mut(to, out.numel()) }.fill(finish(F::TOTAL));
        return Ok(());
    }
    let (kept, reduced) = split(x, dims, true);
    unsafe { fold::<F, O>(x.ptr.cast(), to, kept, reduced, finish) };
    Ok(())
}

unsafe fn float<T: Number<Total = f64>>(kind: ReduceKind, dims: Dims, x: &Arg, out: &Arg, round: impl Fn(f64) -> T) -> Result<()> {
    let count = (0..x.layout.rank()).filter(|d| dims.has(*d)).map(|d| x.layout.shape[d]).product::<usize>() as f64;
    unsafe {
        match kind {
            ReduceKind::Prod => go::<Prod<T>, T>(dims, x, out, round),
            ReduceKind::Mean => go::<Sum<T>, T>(dims, x, out, |v| round(v / count)),
            _ => go::<Sum<T>, T>(dims, x, out, round),
        }
    }
}

unsafe fn whole<T: Number<Total = Wrapping>>(kind: ReduceKind, dims: Dims, x: &Arg, out: &Arg) -> Result<()> {
    unsafe {
        match (kind, out.dtype) {
            (ReduceKind::Prod, DType::I64) => go::<Prod<T>, i64>(dims, x, out, |v| v.0),
            (ReduceKind::Prod, DType::I32) => go::<Prod<T>, i32>(dims, x, out, |v| v.0 as i32),
            (_, DType::I64) => go::<Sum<T>, i64>(dims, x, out, |v| v.0),
            (_, DType::I32) => go::<Sum<T>, i32>(dims, x, out, |v| v.0 as i32),
            (_, d) => Err(Error::internal(format!("has no kernel from {} to {}", x.dtype.name(), d.name()))),
        }
    }
}

unsafe fn compare<T: Number>(kind: ReduceKind, dims: Dims, x: &Arg, out: &Arg) -> Result<()> {
    unsafe {
        match kind {
            ReduceKind::Amax => go::<Extreme<T, true>, T>(dims, x, out, |v| v),
            ReduceKind::Amin => go::<Extreme<T, false>, T>(dims, x, out, |v| v),
            ReduceKind::Any => go::<Logical<T, true>, u8>(dims, x, out, |v| v as u8),
            ReduceKind::All => go::<Logical<T, false>, u8>(dims, x, out, |v| v as u8),
            ReduceKind::Argmax | ReduceKind::Argmin => {
                let (kept, reduced): (DimList, DimList) = split(x, dims, false);
                let to = out.ptr.cast::<i64>();
                if kind == ReduceKind::Argmax {
                    arg::position::<T, true>(x.ptr.cast(), to, kept, reduced)
                } else {
                    arg::position::<T, false>(x.ptr.cast(), to, kept, reduced)
                }
                Ok(())
            }
            _ => Err(Error::internal("is not a comparison")),
        }
    }
}

#[cfg(test)]
mod tests;
