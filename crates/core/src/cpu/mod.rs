//! The CPU backend: `run` and one file of kernels a family. A kernel gets pointers and never allocates its results.
pub mod parallel;
pub mod simd;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use crate::shape::Layout;

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

/// Runs `op`. Shapes and dtypes have been checked by its `infer`. `outs` are contiguous and alias no input; inputs in
/// `op.writes()` are written in place. `params` are a plan's scalars, empty in eager mode.
///
/// # Safety
/// Every pointer is valid for its layout, and no other thread touches the memory.
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let _ = (params, ins, outs);
    Err(Error::not_supported("has no CPU kernel").in_op(op.name()))
}
