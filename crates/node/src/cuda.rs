//! CUDA devices: what is there, and their switches.
use crate::with;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::device::{self, DeviceOption};
use wick_core::error::Error;

/// A library of CUDA: where it was found, or why it can't be used.
#[napi(object)]
pub struct CudaLibrary {
    pub name: String,
    pub path: Option<String>,
    pub version: Option<String>,
    pub problem: Option<String>,
}
#[napi(catch_unwind)]
pub fn probe_cuda() -> Vec<CudaLibrary> {
    let found = wick_cuda::probe();
    found.into_iter().map(|l| CudaLibrary { name: l.name.into(), path: l.path, version: l.version, problem: l.problem }).collect()
}

/// A GPU.
#[napi(object)]
pub struct CudaDevice {
    pub name: String,
    pub memory_bytes: f64,
    /// Compute capability, major and minor.
    pub compute: Vec<u32>,
    pub multiprocessors: u32,
}
/// The GPUs that can be opened; none where the driver or a library is missing.
#[napi(catch_unwind)]
pub fn cuda_devices() -> Vec<CudaDevice> {
    let all = wick_cuda::devices();
    all.into_iter()
        .map(|p| CudaDevice {
            name: p.name,
            memory_bytes: p.memory_bytes as f64,
            compute: vec![p.compute.0, p.compute.1],
            multiprocessors: p.multiprocessors,
        })
        .collect()
}
/// Waits for all work given to `cuda:index`.
#[napi(catch_unwind)]
pub fn cuda_synchronize(index: u32) -> Result<()> {
    with(|_| device::backend(index as u8)?.synchronize())
}
/// `option`: 0 TF32 in float32 products and convolutions, 1 deterministic kernels.
#[napi(catch_unwind)]
pub fn set_cuda_option(index: u32, option: u32, on: bool) -> Result<()> {
    with(|_| {
        let option = match option {
            0 => DeviceOption::Tf32,
            1 => DeviceOption::Deterministic,
            other => return Err(Error::internal(format!("unknown device option {other}"))),
        };
        device::backend(index as u8)?.set_option(option, on);
        Ok(())
    })
}
