//! The CPU backend: `run` and one file of kernels a family. A kernel gets pointers and never allocates its results.
pub mod chain;
pub mod conv;
pub mod creation;
pub mod cumsum;
pub mod dot;
pub mod gemm;
mod half;
pub mod index;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod parallel;
pub mod philox;
pub mod pointwise;
pub mod pool;
mod real;
pub mod reduce;
mod scratch;
pub mod simd;
pub mod softmax;
pub mod sort;
#[cfg(test)]
mod test_args;
#[cfg(test)]
mod testing;

use crate::device::Part;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Binary, Op};
use crate::reserve;
use crate::shape::{Layout, Shape};

/// Whether `op` refuses the values of its operand `Op::checked_operand`, given as `checked`, or its own scalar; `first` is the first
/// operand's shape. A step that is matched asks before it promises a result.
///
/// # Safety
/// The operand's elements are computed and nothing writes them meanwhile.
pub unsafe fn refuses(op: &Op, first: &Shape, dtype: DType, checked: Option<&Arg>) -> bool {
    let outside = |size: usize| checked.is_some_and(|x| unsafe { any_integer(x, |i| i < 0 || i as u64 >= size as u64) });
    match op {
        Op::Gather { dim } | Op::ScatterAdd { dim } | Op::IndexSelect { dim } | Op::IndexAdd { dim } => {
            outside(first.get(*dim).copied().unwrap_or(1))
        }
        Op::CrossEntropy { ignore_index, .. } => {
            let classes = first.get(1).copied().unwrap_or(1) as i64;
            checked.is_some_and(|x| unsafe { any_integer(x, |i| i != *ignore_index && !(0..classes).contains(&i)) })
        }
        _ if !op.can_fail(dtype) => false,
        Op::Scalar { op: Binary::Remainder, value, reversed: false } | Op::ScalarInto { op: Binary::Remainder, value } => {
            value.recorded() as i64 == 0
        }
        Op::Scalar { op: Binary::Pow, value, reversed: false } | Op::ScalarInto { op: Binary::Pow, value } => value.recorded() < 0.0,
        _ => checked.is_some_and(|x| unsafe { any_integer(x, |i| i == 0) }),
    }
}
/// Whether an element of an integer operand is one that `f` looks for.
unsafe fn any_integer(x: &Arg, f: impl Fn(i64) -> bool) -> bool {
    let at = |i: usize| unsafe {
        match x.dtype {
            DType::I64 => x.ptr.cast::<i64>().add(i).read(),
            DType::I32 => x.ptr.cast::<i32>().add(i).read() as i64,
            DType::U8 | DType::Bool => x.ptr.add(i).read() as i64,
            // no index
            _ => 0,
        }
    };
    if !matches!(x.dtype, DType::I64 | DType::I32 | DType::U8 | DType::Bool) {
        return false;
    }
    if x.layout.is_contiguous() {
        return (0..x.numel()).any(|i| f(at(i)));
    }
    let (shape, strides) = (x.layout.shape, x.layout.strides());
    (0..x.numel()).any(|mut i| {
        let mut offset = 0;
        for d in (0..shape.rank()).rev() {
            offset += i % shape[d] * strides[d];
            i /= shape[d];
        }
        f(at(offset))
    })
}

/// One operand. The layout's offset is already in `ptr` (so `layout.offset` is 0).
#[derive(Clone, Copy)]
pub struct Arg {
    pub ptr: *mut u8,
    pub layout: Layout,
    pub dtype: DType,
}
impl Arg {
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }
    /// The elements of a contiguous operand.
    ///
    /// # Safety
    /// `T` is the dtype's type, and nothing writes the memory while the slice lives.
    pub unsafe fn slice<T>(&self) -> &[T] {
        debug_assert!(self.layout.is_contiguous() && size_of::<T>() == self.dtype.size());
        unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.numel()) }
    }
    /// # Safety
    /// As [`Arg::slice`], and nothing else reads or writes the memory.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut<T>(&self) -> &mut [T] {
        debug_assert!(self.layout.is_contiguous() && size_of::<T>() == self.dtype.size());
        unsafe { std::slice::from_raw_parts_mut(self.ptr.cast(), self.numel()) }
    }
}

/// Runs ops that share a launch of a plan, one by one.
///
/// # Safety
/// As [`run`].
pub unsafe fn run_together(parts: &[Part], params: &[f64], mut ins: &[Arg], mut outs: &[Arg]) -> Result<()> {
    for p in parts {
        let (own_ins, own_outs);
        (own_ins, ins) = ins.split_at(p.ins);
        (own_outs, outs) = outs.split_at(p.outs);
        unsafe { run(&p.op, params, own_ins, own_outs)? };
    }
    Ok(())
}

/// Runs `op`. Shapes and dtypes have been checked by its `infer`. `outs` are contiguous and alias no input; inputs in
/// `op.writes()` are written in place. `params` are a plan's scalars, empty in eager mode.
///
/// # Safety
/// Every pointer is valid for its layout, and no other thread touches the memory.
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    use Op::*;
    reserve::caught(|| match op {
        Fill { .. } | Arange { .. } | Random { .. } => unsafe { creation::run(op, params, ins, outs) },
        Unary(_)
        | Binary(_)
        | Scalar { .. }
        | Clamp { .. }
        | Where
        | Cast(_)
        | Contiguous
        | Dropout { .. }
        | CopyInto
        | BinaryInto(_)
        | ScalarInto { .. } => unsafe { pointwise::run(op, params, ins, outs) },
        Reduce { .. } => unsafe { reduce::run(op, params, ins, outs) },
        Softmax { .. } => unsafe { softmax::run(op, params, ins, outs) },
        Matmul { .. } | Linear { .. } => unsafe { matmul::run(op, params, ins, outs) },
        Conv2d { .. } | Conv2dGradInput { .. } | Conv2dGradWeight { .. } => unsafe { conv::run(op, params, ins, outs) },
        MaxPool2d(_) | MaxPool2dGrad { .. } | AvgPool2d(_) | AvgPool2dGrad { .. } => unsafe { pool::run(op, params, ins, outs) },
        BatchNorm { .. } | BatchNormGrad { .. } => unsafe { norm::run(op, params, ins, outs) },
        CrossEntropy { .. } | CrossEntropyGrad { .. } | TrackLoss { .. } => unsafe { loss::run(op, params, ins, outs) },
        ClipGradNorm { .. } | ClipGradValue { .. } | Unscale { .. } | UpdateScale { .. } | Sgd { .. } | AdamW { .. } => unsafe {
            optim::run(op, params, ins, outs)
        },
        Gather { .. } | ScatterAdd { .. } | IndexSelect { .. } | IndexAdd { .. } | Cat { .. } | NarrowGrad { .. } => unsafe {
            index::run(op, params, ins, outs)
        },
        Cumsum { .. } => unsafe { cumsum::run(op, params, ins, outs) },
        Sort { .. } => unsafe { sort::run(op, params, ins, outs) },
        FromHost { .. } | ToDevice(_) | View(_) | Backward { .. } | ZeroGrad { .. } | HostRead => {
            Err(Error::internal("has no kernel").in_op(op.name()))
        }
    })
}
