//! Memory with an identity that is never used again, from a caching pool.
use crate::device::{self, Backend, Device};
use crate::error::{Code, Error, Result};
use crate::guard;
use crate::profile;
use std::alloc::{Layout as Alloc, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::rc::Rc;

const ALIGN: usize = 64;
/// A GPU's blocks: rows of any kernel's vectors start aligned, and small tensors share few sizes.
const DEVICE_ALIGN: usize = 512;
/// Freed blocks of the CPU are kept for the next of their size up to this many bytes in all.
const CACHE_LIMIT: usize = 1 << 30;

/// More can't be had anywhere, and could not be rounded up.
const MOST_BYTES: usize = isize::MAX as usize / 2;

/// What a thread's tensors occupy on a device.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    pub storages: usize,
    pub bytes: usize,
    pub peak_bytes: usize,
    /// In use or kept for reuse.
    pub reserved_bytes: usize,
}

/// The blocks of one device. Without a backend it is the CPU.
struct Pool {
    device: Device,
    backend: Option<Rc<dyn Backend>>,
    free: HashMap<usize, Vec<NonNull<u8>>>,
    usage: Usage,
    /// What it was when most was in use since [`restart_peaks`].
    peak: Usage,
}

thread_local! {
    static POOLS: RefCell<Vec<Pool>> = const { RefCell::new(vec![]) };
    static NEXT_ID: Cell<u64> = const { Cell::new(1) };
}

/// Block sizes grow by eighths of a power of two, so that nearly equal tensors share blocks.
fn block_size(bytes: usize, align: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 8).max(align);
    bytes.max(1).next_multiple_of(step)
}

/// Gives a block of the CPU back to the system.
///
/// # Safety
/// A pool allocated it with this size, and nothing refers to it.
unsafe fn free_block(ptr: NonNull<u8>, block: usize) {
    // SAFETY: as above.
    unsafe {
        if guard::on() {
            guard::free(ptr, block);
        } else {
            dealloc(ptr.as_ptr(), Alloc::from_size_align_unchecked(block, ALIGN));
        }
    }
}

pub struct Storage {
    id: u64,
    ptr: NonNull<u8>,
    block: usize,
    device: Device,
    /// Raised by every write in place; saved state remembers it.
    version: Cell<u64>,
}

impl Storage {
    /// Uninitialised memory of at least `bytes` bytes, aligned to a cache line.
    pub fn new(bytes: usize, device: Device) -> Result<Rc<Storage>> {
        let (ptr, block) = with_pool(device, |p| p.take(bytes))??;
        let id = NEXT_ID.with(|n| n.replace(n.get() + 1));
        Ok(Rc::new(Storage { id, ptr, block, device, version: Cell::new(0) }))
    }
    /// Memory of zero bytes.
    pub fn zeros(bytes: usize, device: Device) -> Result<Rc<Storage>> {
        let s = Storage::new(bytes, device)?;
        s.fill(0, bytes)?;
        Ok(s)
    }
    /// Sets the first `bytes` bytes.
    pub fn fill(&self, byte: u8, bytes: usize) -> Result<()> {
        debug_assert!(bytes <= self.block);
        profile::span(
            self.device,
            0,
            |shapes| profile::plain_key("fill memory", &[], shapes),
            || {
                // SAFETY: the block has that many bytes.
                unsafe {
                    match self.device {
                        Device::Cpu => std::ptr::write_bytes(self.ptr(), byte, bytes),
                        Device::Cuda(i) => device::backend(i)?.fill(self.ptr(), byte, bytes)?,
                    }
                }
                Ok(())
            },
        )
    }
    /// Copies `bytes` bytes from `at` to the start of `to`, which is on the same device.
    pub fn copy_to(&self, at: usize, to: &Storage, bytes: usize) -> Result<()> {
        debug_assert!(self.device == to.device && at + bytes <= self.block && bytes <= to.block);
        profile::span(
            self.device,
            0,
            |shapes| profile::plain_key("copy memory", &[], shapes),
            || {
                // SAFETY: both blocks have the bytes, and distinct blocks don't overlap.
                unsafe {
                    match self.device {
                        Device::Cpu => std::ptr::copy_nonoverlapping(self.ptr().add(at), to.ptr(), bytes),
                        Device::Cuda(i) => device::backend(i)?.copy(self.ptr().add(at), to.ptr(), bytes)?,
                    }
                }
                Ok(())
            },
        )
    }
    pub fn id(&self) -> u64 {
        self.id
    }
    /// An address on the device.
    pub fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    pub fn bytes(&self) -> usize {
        self.block
    }
    pub fn device(&self) -> Device {
        self.device
    }
    pub fn version(&self) -> u64 {
        self.version.get()
    }
    pub fn bump(&self, by: i64) {
        self.version.set(self.version.get().wrapping_add_signed(by));
    }
}

/// Memory of the CPU that any thread may fill, before it becomes a tensor's.
pub struct Block {
    ptr: NonNull<u8>,
    block: usize,
}

// SAFETY: a block is only memory, and it has one owner.
unsafe impl Send for Block {}

impl Block {
    /// Uninitialised memory of at least `bytes` bytes, aligned to a cache line: one that this thread keeps for reuse, or a new one.
    pub fn new(bytes: usize) -> Result<Block> {
        let (ptr, block) = with_pool(Device::Cpu, |p| {
            let taken = p.obtain(bytes)?;
            // It belongs to no pool until it is a tensor's.
            p.usage.reserved_bytes -= taken.1;
            Ok(taken)
        })??;
        Ok(Block { ptr, block })
    }
    pub fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    /// The memory of a tensor of this thread.
    pub fn into_storage(self) -> Result<Rc<Storage>> {
        with_pool(Device::Cpu, |p| {
            p.usage.reserved_bytes += self.block;
            p.lend(self.block);
        })?;
        let block = std::mem::ManuallyDrop::new(self);
        let id = NEXT_ID.with(|n| n.replace(n.get() + 1));
        Ok(Rc::new(Storage { id, ptr: block.ptr, block: block.block, device: Device::Cpu, version: Cell::new(0) }))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and no longer referenced.
        unsafe { free_block(self.ptr, self.block) }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // at thread exit the pools may be gone before the last tensor
        let kept = POOLS.try_with(|p| {
            let mut pools = p.borrow_mut();
            pools.iter_mut().find(|p| p.device == self.device).map(|p| p.give(self.ptr, self.block))
        });
        if self.device == Device::Cpu && !matches!(kept, Ok(Some(()))) {
            // SAFETY: allocated with this layout and no longer referenced.
            unsafe { free_block(self.ptr, self.block) }
        }
    }
}

impl Pool {
    /// A block in use.
    fn take(&mut self, bytes: usize) -> Result<(NonNull<u8>, usize)> {
        let (ptr, block) = self.obtain(bytes)?;
        self.lend(block);
        Ok((ptr, block))
    }
    /// A block that was kept, or a new one.
    fn obtain(&mut self, bytes: usize) -> Result<(NonNull<u8>, usize)> {
        if bytes > MOST_BYTES {
            return Err(Error::new(Code::OutOfMemory, format!("no device has {bytes} bytes")));
        }
        let block = match &self.backend {
            Some(_) => block_size(bytes, DEVICE_ALIGN),
            None if guard::on() => bytes.max(1).next_multiple_of(guard::ALIGN),
            None => block_size(bytes, ALIGN),
        };
        let ptr = match self.free.get_mut(&block).and_then(Vec::pop) {
            Some(ptr) => ptr,
            None => {
                let ptr = match self.allocate(block) {
                    Err(e) if e.code == Code::OutOfMemory => {
                        self.release();
                        self.allocate(block).map_err(|mut e| {
                            let u = &self.usage;
                            e.message = format!(
                                "{}; {block} bytes were asked for on {} while {} tensors' memory holds {} bytes there (scope() or capture() frees a step's at its end)",
                                e.message,
                                self.device.name(),
                                u.storages,
                                u.bytes
                            );
                            e
                        })?
                    }
                    r => r?,
                };
                self.usage.reserved_bytes += block;
                ptr
            }
        };
        Ok((ptr, block))
    }
    fn lend(&mut self, block: usize) {
        let u = &mut self.usage;
        u.storages += 1;
        u.bytes += block;
        u.peak_bytes = u.peak_bytes.max(u.bytes);
        if u.bytes > self.peak.bytes {
            self.peak = *u;
        }
    }
    fn allocate(&self, block: usize) -> Result<NonNull<u8>> {
        if let Some(b) = &self.backend {
            return b.allocate(block);
        }
        let none = || Error::new(Code::OutOfMemory, "memory is exhausted");
        if guard::on() {
            return guard::allocate(block).ok_or_else(none);
        }
        let layout = Alloc::from_size_align(block, ALIGN).map_err(|_| none())?;
        // SAFETY: the block is never empty.
        NonNull::new(unsafe { alloc(layout) }).ok_or_else(none)
    }
    fn give(&mut self, ptr: NonNull<u8>, block: usize) {
        self.usage.storages -= 1;
        self.usage.bytes -= block;
        let limit = if guard::on() { 0 } else { CACHE_LIMIT };
        if self.backend.is_some() || self.usage.reserved_bytes - self.usage.bytes <= limit {
            self.free.entry(block).or_default().push(ptr);
        } else {
            self.usage.reserved_bytes -= block;
            self.return_block(ptr, block);
        }
    }
    fn return_block(&self, ptr: NonNull<u8>, block: usize) {
        match &self.backend {
            Some(b) => b.release(ptr, block),
            // SAFETY: free blocks were allocated with this layout.
            None => unsafe { free_block(ptr, block) },
        }
    }
    fn release(&mut self) {
        for (block, list) in std::mem::take(&mut self.free) {
            self.usage.reserved_bytes -= block * list.len();
            for ptr in list {
                self.return_block(ptr, block);
            }
        }
    }
}
impl Drop for Pool {
    fn drop(&mut self) {
        self.release();
    }
}

fn with_pool<T>(device: Device, f: impl FnOnce(&mut Pool) -> T) -> Result<T> {
    POOLS.with(|p| {
        let mut pools = p.borrow_mut();
        let at = match pools.iter().position(|p| p.device == device) {
            Some(at) => at,
            None => {
                let backend = match device {
                    Device::Cpu => None,
                    Device::Cuda(i) => Some(device::backend(i)?),
                };
                pools.push(Pool { device, backend, free: HashMap::new(), usage: Usage::default(), peak: Usage::default() });
                pools.len() - 1
            }
        };
        Ok(f(&mut pools[at]))
    })
}

/// Gives this thread's cached blocks of the CPU back to the system.
pub(crate) fn release_cpu() {
    POOLS.with(|p| p.borrow_mut().iter_mut().filter(|p| p.backend.is_none()).for_each(Pool::release));
}

/// What this thread's tensors occupy on `device`.
pub fn usage(device: Device) -> Usage {
    POOLS.with(|p| p.borrow().iter().find(|p| p.device == device).map(|p| p.usage).unwrap_or_default())
}

/// Bytes of this thread's tensors as a garbage collector should see them: those of GPUs weigh an eighth, as there are more of
/// them, and a collection frees none of the host's memory.
pub fn weight() -> usize {
    POOLS.with(|p| p.borrow().iter().map(|p| if p.backend.is_some() { p.usage.bytes / 8 } else { p.usage.bytes }).sum())
}

/// Each device's usage when most was in use since [`restart_peaks`].
pub(crate) fn peaks() -> Vec<(Device, Usage)> {
    POOLS.with(|p| p.borrow().iter().map(|p| (p.device, p.peak)).collect())
}
/// Peaks begin at what is in use now.
pub(crate) fn restart_peaks() {
    POOLS.with(|p| p.borrow_mut().iter_mut().for_each(|p| p.peak = p.usage));
}

/// Gives cached blocks back to the system.
pub fn empty_cache() -> Result<()> {
    POOLS.with(|p| {
        p.borrow_mut().iter_mut().try_for_each(|pool| {
            pool.release();
            pool.backend.as_ref().map_or(Ok(()), |b| b.trim())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_reused_and_identities_are_not() {
        let a = Storage::new(1000, Device::Cpu).unwrap();
        let (id, ptr) = (a.id(), a.ptr());
        drop(a);
        let b = Storage::new(990, Device::Cpu).unwrap();
        assert_eq!(b.ptr(), ptr);
        assert_ne!(b.id(), id);
        assert_eq!(b.ptr() as usize % ALIGN, 0);
        assert!(b.bytes() >= 1000);
    }

    #[test]
    fn a_block_filled_elsewhere_becomes_a_tensors_memory_and_is_reused() {
        let before = usage(Device::Cpu);
        let block = Block::new(5000).unwrap();
        assert_eq!(usage(Device::Cpu).bytes, before.bytes);
        let block = std::thread::spawn(move || {
            // SAFETY: the block has the byte, and this thread has the block.
            unsafe { block.ptr().write(7) };
            block
        });
        let storage = block.join().unwrap().into_storage().unwrap();
        // SAFETY: the byte was written.
        assert_eq!(unsafe { storage.ptr().read() }, 7);
        assert_eq!(usage(Device::Cpu).bytes, before.bytes + storage.bytes());
        let ptr = storage.ptr();
        drop(storage);
        assert_eq!(usage(Device::Cpu).bytes, before.bytes);
        assert_eq!(Block::new(5000).unwrap().ptr(), ptr);
    }

    #[test]
    fn absurd_sizes_are_an_error() {
        assert_eq!(Storage::new(1 << 46, Device::Cpu).err().map(|e| e.code), Some(Code::OutOfMemory));
    }
}
