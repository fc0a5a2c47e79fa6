//! Blocks that end at an inaccessible page, for tests: what reads or writes behind one, or after it was freed, ends the process.
use std::ptr::NonNull;
use std::sync::OnceLock;

/// Blocks begin at multiples of it, so that they end at a page: the size of the largest element.
pub const ALIGN: usize = 8;

/// Whether the process runs with `WICK_GUARD=1`.
pub fn on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| cfg!(unix) && std::env::var_os("WICK_GUARD").is_some_and(|v| v == "1"))
}

/// The bytes of the pages of a block, without the one behind it, and of a page.
#[cfg(unix)]
fn pages(bytes: usize) -> Option<(usize, usize)> {
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some((bytes.checked_next_multiple_of(page)?, page))
}

/// `bytes` bytes, a multiple of [`ALIGN`] above 0, right before an inaccessible page.
#[cfg(unix)]
pub fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    let (inside, page) = pages(bytes)?;
    let whole = inside.checked_add(page)?;
    // SAFETY: new pages, of which the last one is given away.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), whole, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if start == libc::MAP_FAILED {
            return None;
        }
        if libc::mprotect(start.byte_add(inside), page, libc::PROT_NONE) != 0 {
            libc::munmap(start, whole);
            return None;
        }
        NonNull::new(start.byte_add(inside - bytes).cast())
    }
}

/// Unmaps a block.
///
/// # Safety
/// It is one of `allocate(bytes)`, and nothing refers to it.
#[cfg(unix)]
pub unsafe fn free(ptr: NonNull<u8>, bytes: usize) {
    let (inside, page) = pages(bytes).unwrap_or_default();
    // SAFETY: `allocate` mapped these pages.
    unsafe {
        libc::munmap(ptr.as_ptr().sub(inside - bytes).cast(), inside + page);
    }
}

#[cfg(not(unix))]
pub fn allocate(_bytes: usize) -> Option<NonNull<u8>> {
    None
}
/// # Safety
/// Never called: there are no such blocks.
#[cfg(not(unix))]
pub unsafe fn free(_ptr: NonNull<u8>, _bytes: usize) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The signal that ends a process that runs `f`, or 0.
    fn signal(f: impl FnOnce()) -> i32 {
        // SAFETY: the child only touches memory and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                f();
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 }
        }
    }

    #[test]
    fn a_byte_behind_a_block_and_a_freed_block_end_the_process() {
        for bytes in [8, 4096, 5000, 1 << 20] {
            let block = allocate(bytes).unwrap();
            // SAFETY: the child reads or writes where it may not, on purpose.
            unsafe {
                block.write_bytes(7, bytes);
                assert_eq!(signal(|| block.add(bytes - 1).write_volatile(1)), 0);
                assert_eq!(signal(|| _ = block.add(bytes).read_volatile()), libc::SIGSEGV);
                free(block, bytes);
                assert_eq!(signal(|| block.write_volatile(1)), libc::SIGSEGV);
            }
        }
    }
}
