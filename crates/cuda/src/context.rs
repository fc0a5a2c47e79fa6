//! A device's context: its streams, what its errors mean, and memory.
use crate::libs;
use cudarc::driver::sys::{self, CUresult};
use std::cell::RefCell;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};
use wick_core::device::Properties;
use wick_core::error::{Code, Error, Result};

/// The device's primary context (shared with whatever else in the process uses CUDA) and the streams of one thread's work.
pub struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    pool: sys::CUmemoryPool,
    /// Compute, side, copy.
    pub streams: [sys::CUstream; 3],
    pub properties: Properties,
    /// The error after which nothing runs any more.
    lost: RefCell<Option<String>>,
}

impl Context {
    /// The context of device `index`; `Code::NotSupported` says which library, driver or device is missing.
    pub fn new(index: usize) -> Result<Context> {
        libs::require("cuda")?;
        libs::require("nvrtc")?;
        unsafe {
            let mut count = 0;
            match sys::cuInit(0) {
                CUresult::CUDA_SUCCESS => plain(sys::cuDeviceGetCount(&mut count))?,
                CUresult::CUDA_ERROR_NO_DEVICE => {}
                other => return Err(Error::not_supported(format!("CUDA doesn't start: {}", describe(other)))),
            }
            if index >= count as usize {
                let devices = if count == 1 { "1 CUDA device".to_string() } else { format!("{count} CUDA devices") };
                return Err(Error::not_supported(format!("there is no CUDA device {index}: this machine has {devices}")));
            }
            let mut device = 0;
            plain(sys::cuDeviceGet(&mut device, index as i32))?;
            let properties = properties(device)?;
            if properties.compute < (8, 0) {
                let (major, minor) = properties.compute;
                let name = &properties.name;
                return Err(Error::not_supported(format!("{name} has compute capability {major}.{minor}; 8.0 (Ampere) or newer is needed")));
            }
            let mut context = Context { device, raw: null_mut(), pool: null_mut(), streams: [null_mut(); 3], properties, lost: RefCell::new(None) };
            plain(sys::cuDevicePrimaryCtxRetain(&mut context.raw, device))?;
            // From here on dropping `context` gives back what there is.
            context.bind()?;
            for stream in &mut context.streams {
                // Non-blocking: the legacy default stream, which other libraries use, orders nothing here.
                plain(sys::cuStreamCreate(stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32))?;
            }
            plain(sys::cuDeviceGetDefaultMemPool(&mut context.pool, device))?;
            // Freed memory stays with the pool; by default it would go back to the system at every wait.
            let mut keep = u64::MAX;
            let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            plain(sys::cuMemPoolSetAttribute(context.pool, threshold, (&raw mut keep).cast()))?;
            Ok(context)
        }
    }

    /// Makes this the calling thread's context, if another library or device has changed it.
    #[inline]
    pub fn bind(&self) -> Result<()> {
        let mut current = null_mut();
        unsafe {
            self.check(sys::cuCtxGetCurrent(&mut current))?;
            if current != self.raw { self.check(sys::cuCtxSetCurrent(self.raw)) } else { Ok(()) }
        }
    }

    /// An error for every result but success.
    #[inline]
    pub fn check(&self, result: CUresult) -> Result<()> {
        if result == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(self.error(result)) }
    }

    #[cold]
    fn error(&self, result: CUresult) -> Error {
        let text = describe(result);
        let mut lost = self.lost.borrow_mut();
        if let Some(first) = &*lost {
            return Error::new(Code::Cuda, format!("the CUDA context is lost after {first}; the process must be restarted to use this device again"));
        }
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return Error::new(Code::OutOfMemory, text);
        }
        if is_final(result) {
            *lost = Some(text.clone());
            let hint = "This op or one before it failed on the device; CUDA_LAUNCH_BLOCKING=1 finds out which";
            return Error::new(Code::Cuda, format!("{text}. The CUDA context is lost. {hint}"));
        }
        Error::new(Code::Cuda, text)
    }

    /// Free and total bytes of the device.
    pub fn memory(&self) -> Result<(usize, usize)> {
        let (mut free, mut total) = (0, 0);
        self.check(unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free, total))
    }

    /// Memory from the pool, ordered on the compute stream.
    pub fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        let mut ptr = 0;
        self.with_memory(bytes, || unsafe { sys::cuMemAllocAsync(&mut ptr, bytes.max(1), self.streams[0]) })?;
        NonNull::new(ptr as *mut u8).ok_or_else(|| Error::internal("CUDA gave memory at address 0"))
    }

    /// Memory outside the pool that any stream can use at once, also while a graph is captured.
    pub fn allocate_now(&self, bytes: usize) -> Result<u64> {
        let mut ptr = 0;
        self.with_memory(bytes, || unsafe { sys::cuMemAlloc_v2(&mut ptr, bytes.max(1)) })?;
        Ok(ptr)
    }

    /// Asks once more after the pool has given back what it keeps; then `Code::OutOfMemory`.
    fn with_memory(&self, bytes: usize, mut ask: impl FnMut() -> CUresult) -> Result<()> {
        let result = ask();
        if result != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return self.check(result);
        }
        if !self.is_capturing() {
            self.trim()?;
            let result = ask();
            if result != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return self.check(result);
            }
        }
        let (free, total) = self.memory()?;
        let name = &self.properties.name;
        Err(Error::new(
            Code::OutOfMemory,
            format!("{} asked for on {name}, of whose {} only {} are free", amount(bytes), amount(total), amount(free)),
        ))
    }

    /// Waits until what was freed is free, and gives it back to the system.
    pub fn trim(&self) -> Result<()> {
        self.synchronize()?;
        self.check(unsafe { sys::cuMemPoolTrimTo(self.pool, 0) })
    }

    /// Frees memory of [`Context::allocate`] once the compute stream has come so far.
    pub fn release(&self, ptr: u64) {
        // Nothing can be done about an error here; a lost context reports itself at the next call.
        let _ = unsafe { sys::cuMemFreeAsync(ptr, self.streams[0]) };
    }

    /// Frees memory of [`Context::allocate_now`]; waits for work that uses it.
    pub fn release_now(&self, ptr: u64) {
        let _ = unsafe { sys::cuMemFree_v2(ptr) };
    }

    /// Waits until all streams are done.
    pub fn synchronize(&self) -> Result<()> {
        self.streams.iter().try_for_each(|s| self.check(unsafe { sys::cuStreamSynchronize(*s) }))
    }

    fn is_capturing(&self) -> bool {
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        let result = unsafe { sys::cuStreamIsCapturing(self.streams[0], &mut status) };
        result == CUresult::CUDA_SUCCESS && status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        unsafe {
            if !self.raw.is_null() && self.bind().is_ok() {
                for stream in self.streams.iter().filter(|s| !s.is_null()) {
                    let _ = sys::cuStreamSynchronize(*stream);
                    let _ = sys::cuStreamDestroy_v2(*stream);
                }
            }
            if !self.raw.is_null() {
                let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
            }
        }
    }
}

/// Before there is a context, no error is final.
fn plain(result: CUresult) -> Result<()> {
    if result == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(Error::new(Code::Cuda, describe(result))) }
}

/// A result's name and text, as in `CUDA_ERROR_INVALID_VALUE (invalid argument)`.
fn describe(result: CUresult) -> String {
    let text = |get: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut text = MaybeUninit::new(std::ptr::null());
        unsafe {
            let known = get(result, text.as_mut_ptr()) == CUresult::CUDA_SUCCESS && !text.assume_init().is_null();
            known.then(|| CStr::from_ptr(text.assume_init()).to_string_lossy().into_owned())
        }
    };
    let name = text(sys::cuGetErrorName).unwrap_or_else(|| format!("CUDA error {}", result as u32));
    match text(sys::cuGetErrorString) {
        Some(text) => format!("{name} ({text})"),
        None => name,
    }
}

/// After these every later call fails too.
fn is_final(result: CUresult) -> bool {
    use CUresult::*;
    matches!(
        result,
        CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_DEINITIALIZED
    )
}

/// What is known of every device.
pub fn devices() -> Result<Vec<Properties>> {
    libs::require("cuda")?;
    let mut count = 0;
    unsafe {
        plain(sys::cuInit(0))?;
        plain(sys::cuDeviceGetCount(&mut count))?;
    }
    (0..count)
        .map(|index| {
            let mut device = 0;
            plain(unsafe { sys::cuDeviceGet(&mut device, index) })?;
            properties(device)
        })
        .collect()
}
fn properties(device: sys::CUdevice) -> Result<Properties> {
    use sys::CUdevice_attribute::*;
    let attribute = |which| {
        let mut value = 0;
        plain(unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) }).map(|()| value as u32)
    };
    let mut name = [0; 256];
    let mut memory_bytes = 0;
    unsafe {
        plain(sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as i32, device))?;
        plain(sys::cuDeviceTotalMem_v2(&mut memory_bytes, device))?;
        Ok(Properties {
            name: CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned(),
            memory_bytes,
            compute: (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?, attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?),
            multiprocessors: attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        })
    }
}

/// Bytes as a person reads them.
fn amount(bytes: usize) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for next in ["KiB", "MiB", "GiB"] {
        if value >= 1024.0 {
            (value, unit) = (value / 1024.0, next);
        }
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}
