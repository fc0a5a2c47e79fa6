//! The fastest of a few plans, measured on the device.
use super::graph::Plan;
use crate::context::Context;
use crate::gpu::Gpu;
use cudarc::driver::sys::{self, CUevent, CUgraphExec, CUstream};
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::{Error, Result};

/// Runs in one measured graph: a launch costs more than a small kernel takes, and in a graph it costs nothing.
const RUNS: usize = 5;
/// Launches of the graph, of which the fastest counts.
const REPEATS: usize = 3;
/// The heuristic's first choice stays unless another is faster by more than noise.
const GAIN: f32 = 0.98;

/// A stream of its own and two events: what is measured shares the device with nothing.
pub struct Tuner {
    context: Rc<Context>,
    stream: CUstream,
    events: [CUevent; 2],
}

impl Tuner {
    pub fn new(gpu: &Gpu) -> Result<Tuner> {
        let mut tuner = Tuner { context: gpu.context.clone(), stream: null_mut(), events: [null_mut(); 2] };
        gpu.check(unsafe { sys::cuStreamCreate(&mut tuner.stream, sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32) })?;
        for event in &mut tuner.events {
            gpu.check(unsafe { sys::cuEventCreate(event, sys::CUevent_flags::CU_EVENT_DEFAULT as u32) })?;
        }
        Ok(tuner)
    }

    /// The plan that takes the least time of those that run. Waits for all work given before, which `run` may depend on.
    pub fn fastest(&self, gpu: &Gpu, mut plans: Vec<Plan>, run: impl Fn(&Plan, CUstream) -> Result<()>) -> Result<Plan> {
        gpu.synchronize()?;
        let mut best = f32::INFINITY;
        let mut why = None;
        let mut times: Vec<f32> = Vec::with_capacity(plans.len());
        for plan in &plans {
            let time = self.measure(|| run(plan, self.stream), best).unwrap_or_else(|e| {
                why = Some(e);
                f32::INFINITY
            });
            best = best.min(time);
            times.push(time);
        }
        // The first was measured while clocks rose and code was loaded: once more, on equal terms.
        if times.first().is_some_and(|t| t.is_finite())
            && let Ok(time) = self.measure(|| run(&plans[0], self.stream), f32::INFINITY)
        {
            times[0] = times[0].min(time);
        }
        let fastest = (0..plans.len()).min_by(|a, b| times[*a].total_cmp(&times[*b]));
        match fastest {
            Some(fastest) if times[fastest].is_finite() => {
                let first = times[0] * GAIN <= times[fastest];
                Ok(plans.swap_remove(if first { 0 } else { fastest }))
            }
            _ => Err(why.unwrap_or_else(|| Error::internal("no plan to choose from"))),
        }
    }

    /// Milliseconds of one run; a rough figure where that is far above `best`.
    fn measure(&self, run: impl Fn() -> Result<()>, best: f32) -> Result<f32> {
        run()?; // loads code
        self.wait()?;
        let once = self.timed(&run)?;
        if once > 3.0 * best + 0.1 {
            return Ok(once);
        }
        // An engine that can't be captured is measured as it is.
        let Ok(graph) = self.capture(&run) else { return Ok(once) };
        let launch = || self.context.check(unsafe { sys::cuGraphLaunch(graph.0, self.stream) });
        launch()?;
        let mut time = f32::INFINITY;
        for _ in 0..REPEATS {
            time = time.min(self.timed(launch)? / RUNS as f32);
        }
        Ok(time)
    }

    fn timed(&self, f: impl Fn() -> Result<()>) -> Result<f32> {
        let check = |r| self.context.check(r);
        let mut time = 0.0;
        check(unsafe { sys::cuEventRecord(self.events[0], self.stream) })?;
        f()?;
        check(unsafe { sys::cuEventRecord(self.events[1], self.stream) })?;
        self.wait()?;
        check(unsafe { sys::cuEventElapsedTime_v2(&mut time, self.events[0], self.events[1]) })?;
        Ok(time)
    }

    fn wait(&self) -> Result<()> {
        self.context.check(unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    fn capture(&self, run: impl Fn() -> Result<()>) -> Result<Launchable> {
        let check = |r| self.context.check(r);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        check(unsafe { sys::cuStreamBeginCapture_v2(self.stream, mode) })?;
        let ran = (0..RUNS).try_for_each(|_| run());
        let mut graph = null_mut();
        // Ended after an error too, or the stream stays unusable.
        check(unsafe { sys::cuStreamEndCapture(self.stream, &mut graph) })?;
        let mut exec = Launchable(null_mut());
        let made = ran.and_then(|()| check(unsafe { sys::cuGraphInstantiateWithFlags(&mut exec.0, graph, 0) }));
        if !graph.is_null() {
            let _ = unsafe { sys::cuGraphDestroy(graph) };
        }
        made.map(|()| exec)
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        if self.context.bind().is_err() {
            return;
        }
        for event in self.events.iter().filter(|e| !e.is_null()) {
            let _ = unsafe { sys::cuEventDestroy_v2(*event) };
        }
        if !self.stream.is_null() {
            let _ = unsafe { sys::cuStreamDestroy_v2(self.stream) };
        }
    }
}

struct Launchable(CUgraphExec);
impl Drop for Launchable {
    fn drop(&mut self) {
        if !self.0.is_null() {
            let _ = unsafe { sys::cuGraphExecDestroy(self.0) };
        }
    }
}
