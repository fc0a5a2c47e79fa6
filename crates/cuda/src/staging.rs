//! Pinned memory between the host and the device: copies from it run beside the host, and large ones beside the compute stream.
//!
//! An upload is written to a block of the ring. A small one is copied from there in the compute stream's order. A large one is
//! copied at once by the copy stream, to the block's twin on the device, while the compute stream still works on what came
//! before; the compute stream takes it from there when its turn comes. So the copy of the next batch overlaps the current step.
use crate::context::Context;
use cudarc::driver::sys::{self, CUresult};
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::Result;

/// Bytes of one block. Larger copies go in pieces, one being filled while another is under way.
const BLOCK: usize = 4 << 20;
/// Blocks that the ring may grow to: the host may be so far ahead. It grows where the device is behind.
const BLOCKS: usize = 64;
/// From so many bytes on a copy takes longer than what another stream costs.
const LARGE: usize = 128 << 10;

/// Pinned host memory with an event that says when the device is done with it.
struct Block {
    context: Rc<Context>,
    ptr: *mut u8,
    /// As much memory on the device, once a large upload wants it.
    twin: u64,
    event: sys::CUevent,
    pending: bool,
}

impl Block {
    fn new(context: &Rc<Context>) -> Result<Block> {
        let mut block = Block { context: context.clone(), ptr: null_mut(), twin: 0, event: null_mut(), pending: false };
        unsafe {
            let mut ptr = null_mut();
            context.check(sys::cuMemHostAlloc(&mut ptr, BLOCK, 0))?;
            block.ptr = ptr.cast();
            context.check(sys::cuEventCreate(&mut block.event, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32))?;
        }
        Ok(block)
    }
    fn twin(&mut self) -> Result<u64> {
        if self.twin == 0 {
            self.twin = self.context.allocate_now(BLOCK)?;
        }
        Ok(self.twin)
    }
    /// The device's work so far includes every use of this block.
    fn mark(&mut self) -> Result<()> {
        self.pending = true;
        self.context.check(unsafe { sys::cuEventRecord(self.event, self.context.streams[0]) })
    }
    /// Whether the device still has work to do with it.
    fn busy(&mut self) -> Result<bool> {
        if !self.pending {
            return Ok(false);
        }
        let state = unsafe { sys::cuEventQuery(self.event) };
        if state == CUresult::CUDA_ERROR_NOT_READY {
            return Ok(true);
        }
        self.pending = false;
        self.context.check(state).map(|()| false)
    }
    /// Waits until the block can be used again.
    fn wait(&mut self) -> Result<()> {
        if std::mem::take(&mut self.pending) { self.context.check(unsafe { sys::cuEventSynchronize(self.event) }) } else { Ok(()) }
    }
}
impl Drop for Block {
    fn drop(&mut self) {
        // Errors have no reader here.
        let _ = self.context.bind();
        let _ = self.wait();
        unsafe {
            if !self.event.is_null() {
                let _ = sys::cuEventDestroy_v2(self.event);
            }
            if !self.ptr.is_null() {
                let _ = sys::cuMemFreeHost(self.ptr.cast());
            }
        }
        if self.twin != 0 {
            self.context.release_now(self.twin);
        }
    }
}

/// A ring of blocks that uploads go through.
pub struct Staging {
    context: Rc<Context>,
    blocks: Vec<Block>,
    current: usize,
    used: usize,
    /// How far the copy stream has come.
    copied: sys::CUevent,
}

impl Staging {
    pub fn new(context: Rc<Context>) -> Staging {
        Staging { context, blocks: vec![], current: 0, used: BLOCK, copied: null_mut() }
    }

    /// Copies `bytes` bytes to the device, in the compute stream's order. `fill` writes them piece by piece, told where a piece
    /// begins, before this returns.
    ///
    /// # Safety
    /// `to` has room.
    pub unsafe fn upload(&mut self, bytes: usize, to: u64, fill: &mut dyn FnMut(usize, &mut [u8])) -> Result<()> {
        let mut done = 0;
        while done < bytes {
            let len = (bytes - done).min(BLOCK);
            if self.used + len > BLOCK {
                self.next()?;
            }
            let (at, copied) = (self.used, self.copied()?);
            let context = &self.context;
            let block = &mut self.blocks[self.current];
            let [compute, _, copy] = context.streams;
            let to = to + done as u64;
            unsafe {
                let piece = std::slice::from_raw_parts_mut(block.ptr.add(at), len);
                fill(done, piece);
                // without memory for a twin it goes the way of the small ones
                let twin = if len < LARGE { None } else { block.twin().ok() };
                match twin {
                    None => context.check(sys::cuMemcpyHtoDAsync_v2(to, piece.as_ptr().cast(), len, compute))?,
                    Some(twin) => {
                        let twin = twin + at as u64;
                        context.check(sys::cuMemcpyHtoDAsync_v2(twin, piece.as_ptr().cast(), len, copy))?;
                        context.check(sys::cuEventRecord(copied, copy))?;
                        context.check(sys::cuStreamWaitEvent(compute, copied, 0))?;
                        context.check(sys::cuMemcpyDtoDAsync_v2(to, twin, len, compute))?;
                    }
                }
            }
            self.used = (at + len).next_multiple_of(256);
            done += len;
        }
        Ok(())
    }

    fn copied(&mut self) -> Result<sys::CUevent> {
        if self.copied.is_null() {
            self.context.check(unsafe { sys::cuEventCreate(&mut self.copied, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32) })?;
        }
        Ok(self.copied)
    }

    /// Leaves the current block and goes to one that the device is done with.
    fn next(&mut self) -> Result<()> {
        let mut next = 0;
        if let Some(block) = self.blocks.get_mut(self.current) {
            block.mark()?;
            next = (self.current + 1) % self.blocks.len();
        }
        let grow = match self.blocks.get_mut(next) {
            None => true,
            Some(oldest) => oldest.busy()? && self.blocks.len() < BLOCKS,
        };
        if grow {
            // Between the newest block and the oldest.
            next = if self.blocks.is_empty() { 0 } else { self.current + 1 };
            self.blocks.insert(next, Block::new(&self.context)?);
        } else {
            self.blocks[next].wait()?;
        }
        (self.current, self.used) = (next, 0);
        Ok(())
    }
}
impl Drop for Staging {
    fn drop(&mut self) {
        if !self.copied.is_null() && self.context.bind().is_ok() {
            let _ = unsafe { sys::cuEventDestroy_v2(self.copied) };
        }
    }
}

/// Two blocks that downloads go through in turn.
pub struct Readback {
    context: Rc<Context>,
    blocks: Vec<Block>,
}

impl Readback {
    pub fn new(context: Rc<Context>) -> Readback {
        Readback { context, blocks: vec![] }
    }

    /// Copies from the device after all work of the compute stream so far, and waits.
    ///
    /// # Safety
    /// `from` has as many bytes as `to`.
    pub unsafe fn download(&mut self, from: u64, to: &mut [u8]) -> Result<()> {
        while self.blocks.len() < 2 {
            self.blocks.push(Block::new(&self.context)?);
        }
        let context = self.context.clone();
        let start = |block: &mut Block, at: usize, len: usize| -> Result<()> {
            context.check(unsafe { sys::cuMemcpyDtoHAsync_v2(block.ptr.cast(), from + at as u64, len, context.streams[0]) })?;
            block.mark()
        };
        let pieces = to.len().div_ceil(BLOCK);
        let length = |i: usize| (to.len() - i * BLOCK).min(BLOCK);
        let lengths: Vec<usize> = (0..pieces).map(length).collect();
        if let Some(first) = lengths.first() {
            start(&mut self.blocks[0], 0, *first)?;
        }
        for (i, piece) in to.chunks_mut(BLOCK).enumerate() {
            if let Some(next) = lengths.get(i + 1) {
                start(&mut self.blocks[(i + 1) % 2], (i + 1) * BLOCK, *next)?;
            }
            let block = &mut self.blocks[i % 2];
            block.wait()?;
            piece.copy_from_slice(unsafe { std::slice::from_raw_parts(block.ptr, piece.len()) });
        }
        Ok(())
    }
}
