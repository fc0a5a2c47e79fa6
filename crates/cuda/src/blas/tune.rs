//! Which candidate computes a product fastest, measured on its operands.
use super::lt::{Lt, Plan};
use super::{Choice, Product};
use crate::gpu::Gpu;
use cudarc::driver::sys::{self, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED};
use std::ptr::null_mut;
use wick_core::error::{Error, Result};

/// Milliseconds above which a product is long enough to be timed by itself; shorter ones are timed many in a graph, without their launches.
const LONG: f32 = 0.2;
/// Products in such a graph.
const MANY: usize = 20;
/// Milliseconds above which only a few candidates are tried.
const VERY_LONG: f32 = 5.0;
const FEW: usize = 5;

/// The fastest of `candidates`. The result's memory is written again and again: it is to be overwritten anyway, and where it isn't
/// (`accumulate`), another is taken.
///
/// # Safety
/// As [`super::run`]; nothing is being captured.
pub unsafe fn fastest(gpu: &Gpu, lt: &Lt, plan: &mut Plan, p: &Product, candidates: &[Choice]) -> Result<Choice> {
    let mut p = p.outer(0);
    p.relu = false;
    let other = match p.accumulate {
        true => Some(Temporary::new(gpu, (p.batches[1] - 1) * p.out_batch[1] * p.dtype.size() + p.m * p.ldo * p.dtype.size())?),
        false => None,
    };
    if let Some(other) = &other {
        p.out = other.ptr;
    }
    let clock = Clock::new(gpu)?;
    let mut best: Option<(f32, Choice)> = None;
    for (i, candidate) in candidates.iter().enumerate() {
        let longest = best.map_or(f32::INFINITY, |b| b.0);
        if (longest > VERY_LONG && longest.is_finite() && i >= FEW) || !lt.choose(plan, *candidate) {
            continue;
        }
        // One that fails to run is no candidate.
        if let Ok(time) = unsafe { time(&clock, longest, || lt.run(gpu, plan, &p)) }
            && time < longest
        {
            best = Some((time, *candidate));
        }
    }
    best.map(|b| b.1).ok_or_else(|| Error::not_supported("no kernel computes this product"))
}

/// Milliseconds of one run, the least of some; infinity if it is far from beating `longest`.
unsafe fn time(clock: &Clock, longest: f32, run: impl Fn() -> Result<()>) -> Result<f32> {
    run()?; // loads the kernel
    let once = clock.measure(&run)?;
    if once > 3.0 * longest + 0.05 {
        return Ok(f32::INFINITY);
    }
    if once > LONG {
        return (0..2).try_fold(once, |best, _| Ok(best.min(clock.measure(&run)?)));
    }
    let graph = Graph::capture(clock.gpu, || (0..MANY).try_for_each(|_| run()))?;
    graph.launch()?;
    let best = (0..4).try_fold(f32::INFINITY, |best, _| Ok::<f32, Error>(best.min(clock.measure(|| graph.launch())?)))?;
    Ok(best / MANY as f32)
}

struct Temporary<'a> {
    gpu: &'a Gpu,
    ptr: u64,
}
impl<'a> Temporary<'a> {
    fn new(gpu: &'a Gpu, bytes: usize) -> Result<Temporary<'a>> {
        let mut ptr = 0;
        gpu.check(unsafe { sys::cuMemAllocAsync(&mut ptr, bytes.max(1), gpu.stream()) })?;
        Ok(Temporary { gpu, ptr })
    }
}
impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = unsafe { sys::cuMemFreeAsync(self.ptr, self.gpu.stream()) };
    }
}

/// Two events around work on the current stream.
struct Clock<'a> {
    gpu: &'a Gpu,
    events: [sys::CUevent; 2],
}
impl<'a> Clock<'a> {
    fn new(gpu: &'a Gpu) -> Result<Clock<'a>> {
        let mut clock = Clock { gpu, events: [null_mut(); 2] };
        for e in &mut clock.events {
            gpu.check(unsafe { sys::cuEventCreate(e, sys::CUevent_flags::CU_EVENT_DEFAULT as u32) })?;
        }
        Ok(clock)
    }
    fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<f32> {
        let ([from, to], stream, mut ms) = (self.events, self.gpu.stream(), 0.0);
        self.gpu.check(unsafe { sys::cuEventRecord(from, stream) })?;
        work()?;
        self.gpu.check(unsafe { sys::cuEventRecord(to, stream) })?;
        self.gpu.check(unsafe { sys::cuEventSynchronize(to) })?;
        self.gpu.check(unsafe { sys::cuEventElapsedTime_v2(&mut ms, from, to) })?;
        Ok(ms)
    }
}
impl Drop for Clock<'_> {
    fn drop(&mut self) {
        for e in self.events.iter().filter(|e| !e.is_null()) {
            let _ = unsafe { sys::cuEventDestroy_v2(*e) };
        }
    }
}

struct Graph<'a> {
    gpu: &'a Gpu,
    exec: sys::CUgraphExec,
}
impl<'a> Graph<'a> {
    fn capture(gpu: &'a Gpu, work: impl FnOnce() -> Result<()>) -> Result<Graph<'a>> {
        let (mut recorded, mut exec) = (null_mut(), null_mut());
        gpu.check(unsafe { sys::cuStreamBeginCapture_v2(gpu.stream(), CU_STREAM_CAPTURE_MODE_RELAXED) })?;
        let done = work();
        // Ended after an error too, or the stream would stay in capture.
        let ended = gpu.check(unsafe { sys::cuStreamEndCapture(gpu.stream(), &mut recorded) });
        let made = done.and(ended).and_then(|()| gpu.check(unsafe { sys::cuGraphInstantiateWithFlags(&mut exec, recorded, 0) }));
        if !recorded.is_null() {
            let _ = unsafe { sys::cuGraphDestroy(recorded) };
        }
        made.map(|()| Graph { gpu, exec })
    }
    fn launch(&self) -> Result<()> {
        self.gpu.check(unsafe { sys::cuGraphLaunch(self.exec, self.gpu.stream()) })
    }
}
impl Drop for Graph<'_> {
    fn drop(&mut self) {
        let _ = unsafe { sys::cuGraphExecDestroy(self.exec) };
    }
}
