//! The profiler.
use crate::with;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::profile::Options;

/// Memory of a device: bytes before, bytes, buffers and plans' bytes at the peak, bytes reserved.
#[napi(object)]
pub struct ProfiledMemory {
    pub device: u32,
    pub before: f64,
    pub peak: f64,
    pub storages: f64,
    pub plans: f64,
    pub reserved: f64,
}
/// What a profile noted. `events` has eight numbers for each piece of work: index into `names` and `signatures`, device, stream,
/// begin and duration on the host, 1 if a GPU ran it, begin and duration there. Times are in microseconds.
#[napi(object)]
pub struct ProfileData {
    pub names: Vec<String>,
    pub signatures: Vec<String>,
    pub events: Float64Array,
    pub wall: f64,
    pub memory: Vec<ProfiledMemory>,
}

/// `shapes`: ops are told apart by them; `graphs`: plans on a GPU stay graphs.
#[napi(catch_unwind)]
pub fn profile_begin(shapes: bool, graphs: bool) -> Result<()> {
    with(|e| e.profile_begin(Options { shapes, graphs }))
}
#[napi(catch_unwind)]
pub fn profile_end() -> Result<ProfileData> {
    with(|e| {
        let p = e.profile_end()?;
        let mut events = Vec::with_capacity(p.events.len() * 8);
        for e in &p.events {
            let (begin, duration) = e.gpu.unwrap_or_default();
            let gpu = e.gpu.is_some() as u32 as f64;
            events.extend([e.key as f64, e.device.code() as f64, e.lane as f64, e.start, e.duration, gpu, begin, duration]);
        }
        let memory = p.memory.iter().map(|m| ProfiledMemory {
            device: m.device.code(),
            before: m.before as f64,
            peak: m.peak.bytes as f64,
            storages: m.peak.storages as f64,
            plans: m.plans as f64,
            reserved: m.peak.reserved_bytes as f64,
        });
        let memory = memory.collect();
        let (names, signatures) = p.keys.into_iter().map(|k| (k.name, k.signature)).unzip();
        Ok(ProfileData { names, signatures, events: events.into(), wall: p.wall, memory })
    })
}
