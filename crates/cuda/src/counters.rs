//! Counters in device memory by which the last block of a grid knows that it is the last.
use crate::gpu::Gpu;
use cudarc::driver::sys;
use std::ptr::null_mut;
use wick_core::error::Result;

/// Counters of one stream.
pub const COUNTERS: u32 = 64;
const BYTES: usize = COUNTERS as usize * size_of::<u32>();

struct Counters(u64);
impl Counters {
    fn new(gpu: &Gpu) -> Result<Counters> {
        let all = gpu.reserve(2 * BYTES)?;
        // On a stream of its own: the current one may be noting down a graph, which would zero them at each launch.
        let mut stream = null_mut();
        gpu.check(unsafe { sys::cuStreamCreate(&mut stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32) })?;
        let zeroed = gpu
            .check(unsafe { sys::cuMemsetD8Async(all, 0, 2 * BYTES, stream) })
            .and_then(|()| gpu.check(unsafe { sys::cuStreamSynchronize(stream) }));
        let _ = unsafe { sys::cuStreamDestroy_v2(stream) };
        zeroed.map(|()| Counters(all))
    }
}

/// Address of [`COUNTERS`] zeroed `u32` of the current stream. A kernel that counts in them leaves them at zero.
pub fn counters(gpu: &Gpu) -> Result<u64> {
    Ok(gpu.state(Counters::new)?.0 + (gpu.lane() * BYTES) as u64)
}
