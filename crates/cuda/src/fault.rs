//! What kernels do where the CPU's would fail: an index out of range. Nothing waits for it: a word of host memory is looked at when
//! the host waits anyway, and until then a word on the device keeps optimizers from updating anything.
use crate::context::Context;
use crate::gpu::Gpu;
use cudarc::driver::sys;
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::{Error, Result};

struct Fault {
    context: Rc<Context>,
    /// Pinned, and mapped into the device's addresses: reading it takes no copy.
    word: *mut u32,
    /// `Fault` of `common.cuh`.
    address: u64,
}
/// As in `common.cuh`.
#[repr(C)]
struct OnDevice {
    seen: u64,
    host: u64,
}
impl Fault {
    fn new(gpu: &Gpu) -> Result<Fault> {
        let context = &gpu.context;
        let mut fault = Fault { context: context.clone(), word: null_mut(), address: gpu.reserve(size_of::<OnDevice>())? };
        unsafe {
            let mut ptr = null_mut();
            context.check(sys::cuMemHostAlloc(&mut ptr, size_of::<u32>(), sys::CU_MEMHOSTALLOC_DEVICEMAP))?;
            fault.word = ptr.cast();
            fault.word.write_volatile(0);
            let mut made = OnDevice { seen: 0, host: 0 };
            context.check(sys::cuMemHostGetDevicePointer_v2(&mut made.host, ptr, 0))?;
            context.check(sys::cuMemcpyHtoD_v2(fault.address, (&raw const made).cast(), size_of::<OnDevice>()))?;
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
    /// Device address of the `Fault` (`common.cuh`) that a kernel raises when it meets an index out of range.
    pub fn fault_flag(&self) -> Result<u64> {
        Ok(self.state(Fault::new)?.address)
    }

    /// An error if a kernel that has been waited for met an index out of range since the last call.
    pub(crate) fn check_fault(&self) -> Result<()> {
        let fault = self.state(Fault::new)?;
        unsafe {
            if fault.word.read_volatile() == 0 {
                return Ok(());
            }
            fault.word.write_volatile(0);
            self.check(sys::cuMemsetD32Async(fault.address, 0, 1, self.stream()))?;
        }
        let ops = "gather, scatterAdd, indexSelect or indexAdd, or a target of crossEntropy,";
        let since = "since the last time the device was waited for";
        Err(Error::index(format!("an index of {ops} was out of range in one of the ops {since}; no optimizer has updated anything after it")))
    }
}
