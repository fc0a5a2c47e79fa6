//! napi glue, and nothing else: every export decodes plain numbers, calls the engine of its JavaScript thread and turns an
//! error into a `WickError`. A handle is a number; -1 stands for "none". Loading the addon does no work.
mod amp;
mod args;
mod autograd;
mod checksum;
mod creation;
mod cuda;
mod debug;
mod error;
mod images;
mod io;
mod lifetime;
mod memory;
mod ops;
mod optim;
mod profile;
mod views;
mod window;

use error::thrown;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wick_core::engine::Engine;
use wick_core::error::{Error, Result};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(start());
}

fn start() -> Engine {
    wick_core::device::set_opener(wick_cuda::open);
    Engine::new()
}

/// Runs `f` on this thread's engine. A panic is caught here, so that it reaches JavaScript as a `WickError` too.
fn with<T>(f: impl FnOnce(&mut Engine) -> Result<T>) -> napi::Result<T> {
    let run = || {
        ENGINE.with(|e| match e.try_borrow_mut() {
            Ok(mut engine) => f(&mut engine),
            Err(_) => Err(Error::internal("the engine was called while it was running")),
        })
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(v)) => Ok(v),
        Ok(Err(e)) => Err(thrown(e)),
        Err(panic) => Err(thrown(error::of_panic(&*panic))),
    }
}
