//! A captured plan, and events between its streams.
use crate::context::Context;
use crate::gpu::Gpu;
use cudarc::driver::sys;
use std::cell::RefCell;
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::device::Graph;
use wick_core::error::{Error, Result};

/// Events by number, made on demand.
pub struct Events {
    context: Rc<Context>,
    made: RefCell<Vec<sys::CUevent>>,
}

impl Events {
    pub fn new(context: Rc<Context>) -> Events {
        Events { context, made: RefCell::default() }
    }

    pub fn get(&self, number: usize) -> Result<sys::CUevent> {
        let mut made = self.made.borrow_mut();
        while made.len() <= number {
            let mut event = null_mut();
            // Without timing an event costs next to nothing.
            self.context.check(unsafe { sys::cuEventCreate(&mut event, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32) })?;
            made.push(event);
        }
        Ok(made[number])
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.context.bind();
        for event in self.made.get_mut().drain(..) {
            let _ = unsafe { sys::cuEventDestroy_v2(event) };
        }
    }
}

impl Gpu {
    pub(crate) fn begin_capture(&self) -> Result<()> {
        if self.capturing() {
            return Err(Error::internal("a capture inside a capture"));
        }
        self.set_lane(0);
        // Relaxed: another thread of the process may allocate or load meanwhile, and so may we (a kernel's first use, a larger scratch).
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.check(unsafe { sys::cuStreamBeginCapture_v2(self.stream(), mode) })?;
        self.capturing.set(true);
        Ok(())
    }

    pub(crate) fn end_capture(&self) -> Result<Captured> {
        if !self.capturing.replace(false) {
            return Err(Error::internal("no capture to end"));
        }
        self.set_lane(0);
        let mut graph = null_mut();
        let ended = self.check(unsafe { sys::cuStreamEndCapture(self.stream(), &mut graph) });
        self.postponed.borrow_mut().drain(..).for_each(|p| self.context.release(p));
        ended?;
        if graph.is_null() {
            return Err(Error::internal("the capture recorded nothing"));
        }
        let mut captured = Captured { context: self.context.clone(), exec: null_mut(), _alive: self.graphs.clone() };
        let made = self.check(unsafe { sys::cuGraphInstantiateWithFlags(&mut captured.exec, graph, 0) });
        let _ = unsafe { sys::cuGraphDestroy(graph) };
        made?;
        // Now, not within the first launch.
        self.check(unsafe { sys::cuGraphUpload(captured.exec, self.stream()) })?;
        Ok(captured)
    }
}

/// An instantiated graph. While it lives, scratch memory that it was captured with stays.
pub struct Captured {
    context: Rc<Context>,
    exec: sys::CUgraphExec,
    _alive: Rc<()>,
}

impl Graph for Captured {
    fn launch(&self) -> Result<()> {
        self.context.bind()?;
        self.context.check(unsafe { sys::cuGraphLaunch(self.exec, self.context.streams[0]) })
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        if !self.exec.is_null() {
            let _ = self.context.bind();
            // A launch under way is finished first: the driver keeps what it needs.
            let _ = unsafe { sys::cuGraphExecDestroy(self.exec) };
        }
    }
}
