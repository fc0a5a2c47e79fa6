//! Pinned memory between the host and the device: copies from it run beside the host.
use crate::context::Context;
use cudarc::driver::sys;
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::Result;

/// Bytes of one block. Larger copies go in pieces, one being filled while another is under way.
const BLOCK: usize = 4 << 20;
/// Blocks of the ring for uploads: the host may be so far ahead.
const BLOCKS: usize = 4;

/// Pinned host memory with an event that says when the device is done with it.
struct Block {
    context: Rc<Context>,
    ptr: *mut u8,
    event: sys::CUevent,
    pending: bool,
}

impl Block {
    fn new(context: &Rc<Context>) -> Result<Block> {
        let mut block = Block { context: context.clone(), ptr: null_mut(), event: null_mut(), pending: false };
        unsafe {
            let mut ptr = null_mut();
            context.check(sys::cuMemHostAlloc(&mut ptr, BLOCK, 0))?;
            block.ptr = ptr.cast();
            context.check(sys::cuEventCreate(&mut block.event, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32))?;
        }
        Ok(block)
    }
    /// The device's work so far includes every use of this block.
    fn mark(&mut self) -> Result<()> {
        self.pending = true;
        self.context.check(unsafe { sys::cuEventRecord(self.event, self.context.streams[0]) })
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
    }
}

/// A ring of blocks that uploads go through.
pub struct Staging {
    context: Rc<Context>,
    blocks: Vec<Block>,
    current: usize,
    used: usize,
}

impl Staging {
    pub fn new(context: Rc<Context>) -> Staging {
        Staging { context, blocks: vec![], current: 0, used: BLOCK }
    }

    /// Copies to the device in the compute stream's order; `from` may be reused on return.
    ///
    /// # Safety
    /// `to` has room.
    pub unsafe fn upload(&mut self, from: &[u8], to: u64) -> Result<()> {
        let mut to = to;
        for piece in from.chunks(BLOCK) {
            if self.used + piece.len() > BLOCK {
                self.next()?;
            }
            let block = &mut self.blocks[self.current];
            let context = &self.context;
            unsafe {
                let at = block.ptr.add(self.used);
                at.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                context.check(sys::cuMemcpyHtoDAsync_v2(to, at.cast(), piece.len(), context.streams[0]))?;
            }
            self.used = (self.used + piece.len()).next_multiple_of(64);
            to += piece.len() as u64;
        }
        Ok(())
    }

    /// Leaves the current block and goes to one that the device is done with.
    fn next(&mut self) -> Result<()> {
        if let Some(block) = self.blocks.get_mut(self.current) {
            block.mark()?;
        }
        if self.blocks.len() < BLOCKS {
            self.blocks.push(Block::new(&self.context)?);
            self.current = self.blocks.len() - 1;
        } else {
            self.current = (self.current + 1) % BLOCKS;
            self.blocks[self.current].wait()?;
        }
        self.used = 0;
        Ok(())
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
