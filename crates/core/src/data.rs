//! Batches from data in memory.
use crate::device::{self, Device, Rows, transfer};
use crate::dtype::DType;
use crate::engine::{Engine, Handle};
use crate::error::{Error, Result};
use crate::profile;
use crate::shape::{Layout, Shape};
use crate::storage::Block;
use crate::tensor::Tensor;

impl Engine {
    /// Rows `indices` of dimension 0 of each source, as new tensors off the tape: on `device`, or each where its source is.
    pub fn gather_rows(&mut self, sources: &[Handle], indices: &[u32], device: Option<Device>) -> Result<Vec<Handle>> {
        self.impure("it gathers rows");
        let sources = sources.iter().map(|h| self.landed(*h, "rows of memory that the step writes")).collect::<Result<Vec<_>>>()?;
        for t in &sources {
            let shape = t.shape();
            if shape.rank() == 0 || !t.layout.is_contiguous() {
                let message = format!("rows can be gathered from a row-major tensor with a first dimension, not from {shape:?}");
                return Err(Error::shape(message).in_op("gatherRows"));
            }
            if let Some(i) = indices.iter().find(|i| **i as usize >= shape[0]) {
                return Err(Error::index(format!("row {i} of {}", shape[0])).in_op("gatherRows"));
            }
        }
        let target = |t: &Tensor| device.unwrap_or(t.device());
        // rows of a GPU's tensors are gathered there, those of the CPU's on their way
        let home = |t: &Tensor| if t.device() == Device::Cpu { target(t) } else { t.device() };
        let outs = sources
            .iter()
            .map(|t| Tensor::empty(Layout::contiguous(t.shape().with(0, indices.len())), t.dtype, home(t)))
            .collect::<Result<Vec<_>>>()?;
        let pairs: Vec<(&Tensor, &Tensor)> = sources.iter().zip(&outs).collect();
        for group in pairs.chunk_by(|a, b| (a.0.device(), a.1.device()) == (b.0.device(), b.1.device())) {
            gather(group, indices)?;
        }
        let outs = sources.iter().zip(outs).map(|(t, out)| on_device(out, target(t))).collect::<Result<Vec<_>>>()?;
        outs.into_iter().map(|t| self.put_external(t)).collect()
    }

    /// The row-major data of a block as a tensor off the tape; on the CPU it keeps the block.
    pub fn adopt(&mut self, block: Block, shape: Shape, dtype: DType, device: Device) -> Result<Handle> {
        let t = Tensor::new(block.into_storage()?, Layout::contiguous(shape), dtype);
        if t.meta().bytes() > t.storage.bytes() {
            return Err(Error::internal("a block that is smaller than its tensor"));
        }
        self.put_external(on_device(t, device)?)
    }

    /// A number that changes whenever the tensor's memory is written.
    pub fn version(&mut self, h: Handle) -> Result<u64> {
        self.impure("it reads a tensor's version");
        let t = self.settle(h, "the version of a result")?;
        Ok(self.version_of(&t))
    }
}

impl Rows {
    /// Rows of `source`, which go to `to`.
    pub(crate) fn of(source: &Tensor, to: &Tensor) -> Rows {
        Rows { source: source.ptr(), bytes: source.meta().bytes() / source.shape()[0].max(1), to: to.ptr() }
    }
}

/// A row-major tensor on `device`: itself if it is there.
fn on_device(t: Tensor, device: Device) -> Result<Tensor> {
    if t.device() == device {
        return Ok(t);
    }
    let moved = Tensor::empty(t.layout, t.dtype, device)?;
    // SAFETY: both are row-major, of one shape and dtype.
    unsafe { transfer(&t.arg(), t.device(), &moved.arg(), device)? }
    Ok(moved)
}

/// Gathers rows of sources of one device to results of one device.
fn gather(pairs: &[(&Tensor, &Tensor)], indices: &[u32]) -> Result<()> {
    let rows: Vec<Rows> = pairs.iter().map(|(t, out)| Rows::of(t, out)).collect();
    let (from, to) = (pairs[0].0.device(), pairs[0].1.device());
    let name = if from == to { "gatherRows" } else { "upload rows" };
    let args: Vec<_> = pairs.iter().map(|p| p.1.arg()).collect();
    let key = |shapes| profile::plain_key(name, &args.iter().collect::<Vec<_>>(), shapes);
    // SAFETY: indices are in range, and each result has as many rows as there are.
    profile::span(to, 0, key, || unsafe {
        match (from, to) {
            (Device::Cuda(i), _) => device::backend(i)?.gather_rows(&rows, indices),
            (Device::Cpu, Device::Cuda(i)) => {
                let backend = device::backend(i)?;
                rows.iter().try_for_each(|r| backend.upload(r.bytes * indices.len(), r.to, &mut |at, part| copy_rows(r, indices, at, part)))
            }
            (Device::Cpu, Device::Cpu) => {
                for r in &rows {
                    copy_rows(r, indices, 0, std::slice::from_raw_parts_mut(r.to, r.bytes * indices.len()));
                }
                Ok(())
            }
        }
    })
}

/// Fills `to` with the bytes from `at` on of the chosen rows, one behind the other.
///
/// # Safety
/// The source is the host's and has every row; `to` ends with the last row or before.
pub(crate) unsafe fn copy_rows(rows: &Rows, indices: &[u32], at: usize, to: &mut [u8]) {
    let mut done = 0;
    while done < to.len() {
        let (row, inside) = ((at + done) / rows.bytes, (at + done) % rows.bytes);
        let n = (rows.bytes - inside).min(to.len() - done);
        // SAFETY: as the caller says.
        unsafe { to.as_mut_ptr().add(done).copy_from_nonoverlapping(rows.source.add(indices[row] as usize * rows.bytes + inside), n) }
        done += n;
    }
}
