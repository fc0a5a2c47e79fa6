//! A word of host memory that kernels write where the CPU's would fail: an index out of range. Nothing waits for it; it is looked at
//! when the host waits anyway.
use crate::context::Context;
use crate::gpu::Gpu;
use cudarc::driver::sys;
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::{Error, Result};

/// Pinned, and mapped into the device's addresses: reading it takes no copy.
struct Fault {
    context: Rc<Context>,
    word: *mut u32,
    address: u64,
}
impl Fault {
    fn new(context: &Rc<Context>) -> Result<Fault> {
        let mut fault = Fault { context: context.clone(), word: null_mut(), address: 0 };
        unsafe {
            let mut ptr = null_mut();
            context.check(sys::cuMemHostAlloc(&mut ptr, size_of::<u32>(), sys::CU_MEMHOSTALLOC_DEVICEMAP))?;
            fault.word = ptr.cast();
            fault.word.write_volatile(0);
            context.check(sys::cuMemHostGetDevicePointer_v2(&mut fault.address, ptr, 0))?;
        }
        Ok(fault)
    }
}
impl Drop for Fault {
    fn drop(&mut self) {
        if !self.word.is_null() && self.context.bind().is_ok() {
            // Errors have no reader here.
            let _ = unsafe { sys::cuMemFreeHost(self.word.cast()) };
        }
    }
}

impl Gpu {
    /// Device address of an u32 that a kernel sets to 1 when it meets an index out of range.
    pub fn fault_flag(&self) -> Result<u64> {
        Ok(self.state(|gpu| Fault::new(&gpu.context))?.address)
    }

    /// An error if a kernel that has been waited for met an index out of range since the last call.
    pub(crate) fn check_fault(&self) -> Result<()> {
        let fault = self.state(|gpu| Fault::new(&gpu.context))?;
        unsafe {
            if fault.word.read_volatile() == 0 {
                return Ok(());
            }
            fault.word.write_volatile(0);
        }
        let ops = "gather, scatterAdd, indexSelect or indexAdd";
        Err(Error::index(format!("an index of {ops} was out of range in one of the ops since the last time the device was waited for")))
    }
}
