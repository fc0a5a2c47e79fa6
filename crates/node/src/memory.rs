//! Lifetimes of handles, memory and threads.
use crate::lifetime::{self, Owned};
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::context::Modes;
use wick_core::cpu::parallel;
use wick_core::device::{self, Device};
use wick_core::error::Error;

#[napi(catch_unwind)]
pub fn dispose(a: f64) -> Result<()> {
    with(|e| e.dispose(a))
}
/// Frees the handle if it is alive.
#[napi(catch_unwind)]
pub fn release(a: f64) -> Result<()> {
    with(|e| {
        e.release_if_live(a);
        Ok(())
    })
}
/// An object whose collection frees the handle.
#[napi(catch_unwind)]
pub fn own(env: &Env, a: f64) -> Result<Unknown<'_>> {
    lifetime::owner(env, Owned::Tensor(a))
}
#[napi(catch_unwind)]
pub fn is_live(a: f64) -> Result<bool> {
    with(|e| Ok(e.is_live(a)))
}
#[napi(catch_unwind)]
pub fn keep(a: f64) -> Result<()> {
    with(|e| e.keep(a))
}
#[napi(catch_unwind)]
pub fn scope_begin() -> Result<()> {
    with(|e| {
        e.scope_begin();
        Ok(())
    })
}
#[napi(catch_unwind)]
pub fn scope_end(keep: Vec<f64>) -> Result<()> {
    with(|e| e.scope_end(&keep))
}
/// Begins a region, with a scope if asked for. `grad`: 1 on, 0 off, -1 as it is; `autocast`: the low dtype, -1 off, -2 as it is.
#[napi(catch_unwind)]
pub fn region_begin(scoped: bool, grad: i32, autocast: i32) -> Result<()> {
    with(|e| {
        let grad_enabled = (grad >= 0).then_some(grad == 1);
        let autocast = match autocast {
            -2 => None,
            dtype => Some(u32::try_from(dtype).ok().map(args::dtype).transpose()?),
        };
        e.region_begin(scoped, Modes { grad_enabled, autocast })
    })
}
/// The newest region becomes a context of its own; its number.
#[napi(catch_unwind)]
pub fn region_suspend() -> Result<u32> {
    with(|e| e.region_suspend())
}
/// Ends the newest region; whether `keep` belongs to no scope now.
#[napi(catch_unwind)]
pub fn region_end(keep: Vec<f64>) -> Result<bool> {
    with(|e| e.region_end(&keep))
}
/// Goes over to another context, 0 for that of no region; whether it has no scope.
#[napi(catch_unwind)]
pub fn enter_context(id: u32) -> Result<bool> {
    with(|e| e.enter_context(id))
}
/// Tensors, storages, bytes, peak bytes, reserved bytes.
#[napi(catch_unwind)]
pub fn memory(device: u32) -> Result<Vec<f64>> {
    with(|e| {
        let m = e.memory(Device::from_code(device)?);
        let u = m.usage;
        Ok([m.tensors, u.storages, u.bytes, u.peak_bytes, u.reserved_bytes].iter().map(|n| *n as f64).collect())
    })
}
/// Bytes that can be allocated on a GPU.
#[napi(catch_unwind)]
pub fn free_memory(device: u32) -> Result<f64> {
    with(|_| match Device::from_code(device)? {
        Device::Cuda(i) => Ok(device::backend(i)?.free_memory()? as f64),
        Device::Cpu => Err(Error::not_supported("the CPU's free memory isn't known")),
    })
}
#[napi(catch_unwind)]
pub fn empty_cache() -> Result<()> {
    with(|e| e.empty_cache())
}
#[napi(catch_unwind)]
pub fn set_num_threads(n: args::Size) {
    parallel::set_num_threads(n.0)
}
#[napi(catch_unwind)]
pub fn get_num_threads() -> u32 {
    parallel::num_threads() as u32
}
