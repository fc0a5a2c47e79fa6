//! Pointwise kernels: unary, binary, scalar, clamp, where, cast, dropout, copies, and their in-place forms.
//!
//! [`kernel::Kernel`] computes blocks of contiguous elements and nothing else knows an op's meaning; [`walk`] brings tensors of
//! any layout into that form. So an element's bits depend neither on its place nor on layouts, threads or fusion.
mod binary;
pub(crate) mod cast;
pub(crate) mod copy;
mod half;
pub(crate) mod kernel;
mod lanes;
pub mod math;
mod select;
#[cfg(test)]
pub(crate) mod tests;
mod unary;
pub(crate) mod walk;

use super::Arg;
use crate::dtype::DType;
use crate::error::{Code, Error, Result};
use crate::op::Op;
use crate::shape::Layout;
use kernel::Kernel;

/// Runs a pointwise op. Inputs have the result's shape (stride 0 where broadcast) and any strides.
///
/// # Safety
/// As [`super::run`]. An input that is written has no stride 0, and overlaps another input only if both are the same.
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let result = unsafe {
        match op {
            Op::Contiguous => {
                copy::strided(&ins[0], &outs[0]);
                Ok(())
            }
            Op::CopyInto if ins[0].dtype == ins[1].dtype => {
                copy::strided(&ins[1], &ins[0]);
                Ok(())
            }
            Op::CopyInto => in_place(&Kernel::cast(ins[1].dtype, ins[0].dtype), &ins[1..2], &ins[0]),
            Op::BinaryInto(b) => kernel(&Op::Binary(*b), params, ins).and_then(|k| in_place(&k, ins, &ins[0])),
            Op::ScalarInto { op, value } => {
                let op = Op::Scalar { op: *op, value: *value, reversed: false };
                kernel(&op, params, ins).and_then(|k| in_place(&k, ins, &ins[0]))
            }
            _ => kernel(op, params, ins).and_then(|k| apply(&k, ins, &outs[0], false)),
        }
    };
    result.map_err(|e| e.in_op(op.name()))
}

fn kernel(op: &Op, params: &[f64], ins: &[Arg]) -> Result<Kernel> {
    let mut dtypes = [DType::Bool; walk::MAX_OPERANDS];
    for (d, a) in dtypes.iter_mut().zip(ins) {
        *d = a.dtype;
    }
    Kernel::new(op, params, &dtypes[..ins.len().min(walk::MAX_OPERANDS)])
}

unsafe fn in_place(kernel: &Kernel, ins: &[Arg], target: &Arg) -> Result<()> {
    if kernel.out() != target.dtype {
        return Err(Error::dtype(format!("gives {}, which can't be stored in {}", kernel.out().name(), target.dtype.name())));
    }
    if target.layout.is_contiguous() {
        return unsafe { apply(kernel, ins, target, true) };
    }
    // Any order of elements will do: take the target's.
    let order = copy::memory_order(target);
    let mut sorted = [*target; walk::MAX_OPERANDS];
    for (s, a) in sorted.iter_mut().zip(ins) {
        *s = copy::reordered(a, order);
    }
    unsafe { apply(kernel, &sorted[..ins.len()], &copy::reordered(target, order), true) }
}

unsafe fn apply(kernel: &Kernel, ins: &[Arg], out: &Arg, in_place: bool) -> Result<()> {
    let mut buffers: [Vec<u64>; walk::MAX_OPERANDS] = Default::default();
    let mut inputs = [*out; walk::MAX_OPERANDS];
    for ((input, buffer), a) in inputs.iter_mut().zip(&mut buffers).zip(ins) {
        *input = if is_large_transpose(a) { unsafe { straightened(a, buffer)? } } else { *a };
    }
    let work = kernel.work() * out.numel();
    unsafe { walk::walk(&inputs[..ins.len()], out, in_place, work, |start, n, operands, out| kernel.run(start, n, operands, out)) }
}

/// Whether packing it block by block would fetch a cache line for each element: tiles are faster, even with a copy.
fn is_large_transpose(a: &Arg) -> bool {
    let (shape, strides) = (a.layout.shape, a.layout.strides());
    a.numel() >= walk::CHUNK
        && shape.iter().zip(strides).rev().find(|(dim, _)| **dim > 1).is_some_and(|(_, stride)| *stride >= 16)
        && shape.iter().zip(strides).any(|(dim, stride)| *dim >= 4 && *stride == 1)
}

/// A row-major copy of `a` in `buffer`.
unsafe fn straightened(a: &Arg, buffer: &mut Vec<u64>) -> Result<Arg> {
    let words = (a.numel() * a.dtype.size()).div_ceil(8);
    buffer.try_reserve_exact(words).map_err(|_| Error::new(Code::OutOfMemory, format!("no memory for a copy of {words} words")))?;
    let copy = Arg { ptr: buffer.as_mut_ptr().cast(), layout: Layout::contiguous(a.layout.shape), dtype: a.dtype };
    unsafe { copy::strided(a, &copy) };
    Ok(copy)
}
