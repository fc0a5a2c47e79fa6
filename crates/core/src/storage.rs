//! Memory with an identity that is never used again, from a caching pool.
use crate::error::{Code, Error, Result};
use std::alloc::{Layout as Alloc, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::rc::Rc;

const ALIGN: usize = 64;
/// Freed blocks are kept for the next of their size up to this many bytes in all.
const CACHE_LIMIT: usize = 1 << 30;

/// What a thread's tensors occupy.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    pub storages: usize,
    pub bytes: usize,
    pub peak_bytes: usize,
    /// In use or kept for reuse.
    pub reserved_bytes: usize,
}

#[derive(Default)]
struct Pool {
    free: HashMap<usize, Vec<NonNull<u8>>>,
    usage: Usage,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
    static NEXT_ID: Cell<u64> = const { Cell::new(1) };
}

/// Block sizes grow by eighths of a power of two, so that nearly equal tensors share blocks.
fn block_size(bytes: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 8).max(ALIGN);
    bytes.max(1).next_multiple_of(step)
}

fn layout_of(block: usize) -> Result<Alloc> {
    Alloc::from_size_align(block, ALIGN).map_err(|_| Error::new(Code::OutOfMemory, format!("{block} bytes can't be addressed")))
}

pub struct Storage {
    id: u64,
    ptr: NonNull<u8>,
    block: usize,
    /// Raised by every write in place; saved state remembers it.
    version: Cell<u64>,
}

impl Storage {
    /// Uninitialised memory of at least `bytes` bytes, aligned to a cache line.
    pub fn new(bytes: usize) -> Result<Rc<Storage>> {
        let block = block_size(bytes);
        let ptr = POOL.with(|p| {
            let mut p = p.borrow_mut();
            let ptr = match p.free.get_mut(&block).and_then(Vec::pop) {
                Some(ptr) => ptr,
                None => {
                    let layout = layout_of(block)?;
                    // SAFETY: the block is never empty.
                    let mut ptr = NonNull::new(unsafe { alloc(layout) });
                    if ptr.is_none() {
                        p.release();
                        ptr = NonNull::new(unsafe { alloc(layout) });
                    }
                    let ptr = ptr.ok_or_else(|| {
                        Error::new(
                            Code::OutOfMemory,
                            format!("{block} bytes asked for while {} tensors' memory holds {} bytes", p.usage.storages, p.usage.bytes),
                        )
                    })?;
                    p.usage.reserved_bytes += block;
                    ptr
                }
            };
            let u = &mut p.usage;
            u.storages += 1;
            u.bytes += block;
            u.peak_bytes = u.peak_bytes.max(u.bytes);
            Ok(ptr)
        })?;
        let id = NEXT_ID.with(|n| n.replace(n.get() + 1));
        Ok(Rc::new(Storage { id, ptr, block, version: Cell::new(0) }))
    }
    pub fn id(&self) -> u64 {
        self.id
    }
    pub fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    pub fn bytes(&self) -> usize {
        self.block
    }
    pub fn version(&self) -> u64 {
        self.version.get()
    }
    pub fn bump(&self, by: i64) {
        self.version.set(self.version.get().wrapping_add_signed(by));
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let (ptr, block) = (self.ptr, self.block);
        let kept = POOL.try_with(|p| {
            let mut p = p.borrow_mut();
            p.usage.storages -= 1;
            p.usage.bytes -= block;
            if p.usage.reserved_bytes - p.usage.bytes <= CACHE_LIMIT {
                p.free.entry(block).or_default().push(ptr);
                return true;
            }
            p.usage.reserved_bytes -= block;
            false
        });
        // At thread exit the pool may be gone before the last tensor.
        if kept != Ok(true) {
            // SAFETY: allocated with this layout and no longer referenced.
            unsafe { dealloc(ptr.as_ptr(), Alloc::from_size_align_unchecked(block, ALIGN)) }
        }
    }
}

impl Pool {
    fn release(&mut self) {
        for (block, list) in self.free.drain() {
            self.usage.reserved_bytes -= block * list.len();
            for ptr in list {
                // SAFETY: free blocks were allocated with this layout.
                unsafe { dealloc(ptr.as_ptr(), Alloc::from_size_align_unchecked(block, ALIGN)) }
            }
        }
    }
}
impl Drop for Pool {
    fn drop(&mut self) {
        self.release();
    }
}

pub fn usage() -> Usage {
    POOL.with(|p| p.borrow().usage)
}

/// Gives cached blocks back to the system.
pub fn empty_cache() {
    POOL.with(|p| p.borrow_mut().release());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_reused_and_identities_are_not() {
        let a = Storage::new(1000).unwrap();
        let (id, ptr) = (a.id(), a.ptr());
        drop(a);
        let b = Storage::new(990).unwrap();
        assert_eq!(b.ptr(), ptr);
        assert_ne!(b.id(), id);
        assert_eq!(b.ptr() as usize % ALIGN, 0);
        assert!(b.bytes() >= 1000);
    }

    #[test]
    fn absurd_sizes_are_an_error() {
        assert_eq!(Storage::new(1 << 46).err().map(|e| e.code), Some(Code::OutOfMemory));
    }
}
