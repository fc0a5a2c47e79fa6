//! Batches from data in memory.
use crate::device::{self, Device};
use crate::engine::{Engine, Handle};
use crate::error::{Error, Result};
use crate::profile;
use crate::shape::Layout;
use crate::tensor::Tensor;

impl Engine {
    /// Rows `indices` of dimension 0 of `source`, as a new tensor off the tape.
    pub fn gather_rows(&mut self, source: Handle, indices: &[u32]) -> Result<Handle> {
        let t = self.settle(source, "rows are gathered from a result")?;
        let shape = t.shape();
        if shape.rank() == 0 || !t.layout.is_contiguous() {
            return Err(
                Error::shape(format!("rows can be gathered from a row-major tensor with a first dimension, not from {shape:?}")).in_op("gatherRows")
            );
        }
        let rows = shape[0];
        if let Some(i) = indices.iter().find(|i| **i as usize >= rows) {
            return Err(Error::index(format!("row {i} of {rows}")).in_op("gatherRows"));
        }
        let out = Tensor::empty(Layout::contiguous(shape.with(0, indices.len())), t.dtype, t.device())?;
        let bytes = t.meta().bytes() / rows.max(1);
        profile::span(
            t.device(),
            0,
            |shapes| profile::plain_key("gatherRows", &[&out.arg()], shapes),
            || {
                // SAFETY: rows lie inside of the source, and the output has as many as there are indices.
                unsafe {
                    if let Device::Cuda(device) = t.device() {
                        return device::backend(device)?.gather_rows(t.ptr(), bytes, indices, out.ptr());
                    }
                    for (k, i) in indices.iter().enumerate() {
                        std::ptr::copy_nonoverlapping(t.ptr().add(*i as usize * bytes), out.ptr().add(k * bytes), bytes);
                    }
                }
                Ok(())
            },
        )?;
        self.put_external(out)
    }
}
