//! Memory that a kernel needs besides its operands: one block a thread and use, kept from call to call.
use crate::reserve;
use std::cell::Cell;

/// Who uses the block. A chunk runs on the calling thread too, so it must not find its caller's block in its hands.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    Call,
    Chunk,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static BLOCKS: [Cell<Vec<Line>>; 2] = const { [Cell::new(Vec::new()), Cell::new(Vec::new())] };
}

/// Calls `body` with room for `len` elements of `T`, aligned to a cache line. The contents are left from an earlier use.
pub(crate) fn with<T: Copy, R>(owner: Owner, len: usize, body: impl FnOnce(*mut T) -> R) -> R {
    let mut block = BLOCKS.with(|b| b[owner as usize].take());
    let lines = len.saturating_mul(size_of::<T>()).div_ceil(size_of::<Line>());
    if block.capacity() < lines {
        drop(block);
        block = reserve::raising(lines);
    }
    let result = body(block.as_mut_ptr().cast());
    BLOCKS.with(|b| b[owner as usize].set(block));
    result
}

/// A pointer that chunks on several threads share; each must write elements of its own.
pub(crate) struct Shared<T>(*mut T);
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: a pointer alone does nothing; whoever follows it vouches that the chunks' elements are disjoint.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}
impl<T> Shared<T> {
    pub(crate) fn new(p: *mut u8) -> Shared<T> {
        Shared(p.cast())
    }
    /// # Safety
    /// `offset` stays within the operand.
    pub(crate) unsafe fn at(&self, offset: usize) -> *mut T {
        unsafe { self.0.add(offset) }
    }
    /// # Safety
    /// As [`std::slice::from_raw_parts`], from `offset` on.
    pub(crate) unsafe fn slice<'a>(&self, offset: usize, len: usize) -> &'a [T] {
        unsafe { std::slice::from_raw_parts(self.0.add(offset), len) }
    }
    /// # Safety
    /// As [`std::slice::from_raw_parts_mut`], from `offset` on.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice_mut<'a>(&self, offset: usize, len: usize) -> &'a mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }
}
