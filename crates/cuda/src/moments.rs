//! Moments of a stream, by which the profiler measures, and a kernel that holds a stream up.
use crate::context::Context;
use crate::gpu::{Gpu, Source, args};
use cudarc::driver::sys;
use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::{Error, Result};

static SOURCE: Source = Source { name: "hold", text: include_str!("kernels/hold.cu") };

/// Events with their time, used again once they are forgotten.
pub struct Moments {
    context: Rc<Context>,
    events: RefCell<Vec<sys::CUevent>>,
    noted: Cell<usize>,
}

impl Moments {
    pub fn new(context: Rc<Context>) -> Moments {
        Moments { context, events: RefCell::default(), noted: Cell::new(0) }
    }

    /// Notes the moment when `stream` comes here.
    pub fn note(&self, stream: sys::CUstream) -> Result<usize> {
        let (number, mut events) = (self.noted.get(), self.events.borrow_mut());
        if events.len() == number {
            let mut event = null_mut();
            self.context.check(unsafe { sys::cuEventCreate(&mut event, sys::CUevent_flags::CU_EVENT_DEFAULT as u32) })?;
            events.push(event);
        }
        self.context.check(unsafe { sys::cuEventRecord(events[number], stream) })?;
        self.noted.set(number + 1);
        Ok(number)
    }

    /// Microseconds between two moments that have passed.
    pub fn elapsed(&self, from: usize, to: usize) -> Result<f64> {
        let events = self.events.borrow();
        let event = |i: usize| events.get(i).filter(|_| i < self.noted.get()).copied().ok_or_else(|| Error::internal("no such moment"));
        let mut milliseconds = 0.0;
        self.context.check(unsafe { sys::cuEventElapsedTime_v2(&mut milliseconds, event(from)?, event(to)?) })?;
        Ok(milliseconds as f64 * 1e3)
    }

    pub fn forget(&self) {
        self.noted.set(0);
    }
}

impl Drop for Moments {
    fn drop(&mut self) {
        let _ = self.context.bind();
        for event in self.events.get_mut().drain(..) {
            let _ = unsafe { sys::cuEventDestroy_v2(event) };
        }
    }
}

/// Keeps the current stream busy for about `microseconds`.
pub fn hold(gpu: &Gpu, microseconds: u32) -> Result<()> {
    let kernel = gpu.kernel(&SOURCE, "", "hold")?;
    let nanoseconds = microseconds as u64 * 1000;
    gpu.launch(kernel, (1, 1, 1), (1, 1, 1), 0, args![nanoseconds])
}

/// Everything of this file that can be compiled.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    vec![(&SOURCE, String::new(), vec!["hold".into()])]
}
