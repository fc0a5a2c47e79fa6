//! Counters in device memory by which the last block of a grid knows that it is the last.
use crate::gpu::Gpu;
use cudarc::driver::sys;
use wick_core::error::Result;

/// Bytes of one stream's counters.
const BYTES: usize = 256;

struct Counters(u64);

/// Address of 64 zeroed `u32` of the current stream. A kernel that counts in them leaves them at zero.
pub fn counters(gpu: &Gpu) -> Result<u64> {
    let all = gpu.state(|gpu| {
        let all = gpu.reserve(2 * BYTES)?;
        // Not on a stream of ours, which may be recording a graph.
        gpu.check(unsafe { sys::cuMemsetD8_v2(all, 0, 2 * BYTES) })?;
        gpu.check(unsafe { sys::cuStreamSynchronize(std::ptr::null_mut()) })?;
        Ok(Counters(all))
    })?;
    Ok(all.0 + (gpu.lane() * BYTES) as u64)
}
