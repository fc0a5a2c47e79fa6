//! Garbage collection: objects of JavaScript whose collection frees what belongs to the engine.
//!
//! The addon declares Node-API's experimental version, under which finalizers run during the collection itself. Otherwise
//! they wait for the next turn of the event loop, which a training loop that only awaits what is ready never takes: all its
//! tensors would stay. Collectors are told what tensors weigh, so that they run as often as memory needs it.
use crate::ENGINE;
use napi::bindgen_prelude::*;
use napi::sys;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wick_core::engine::{Engine, Handle};
use wick_core::storage;

/// Node-API's `NAPI_VERSION_EXPERIMENTAL`.
#[unsafe(no_mangle)]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    i32::MAX
}

/// A collector hears of memory in steps of this many bytes.
const STEP: i64 = 4 << 20;

thread_local! {
    /// Bytes that the collector knows of.
    static TOLD: Cell<i64> = const { Cell::new(0) };
    /// What was collected while the engine ran.
    static LATE: RefCell<Vec<Owned>> = const { RefCell::new(vec![]) };
}

/// What a collected object leaves behind.
#[derive(Clone, Copy)]
pub enum Owned {
    Tensor(Handle),
    Group(u32),
    Site(u32),
}
impl Owned {
    /// As the address of an external: a handle has 52 bits.
    fn packed(self) -> usize {
        match self {
            Owned::Tensor(h) => (h as usize) << 2 | 1,
            Owned::Group(g) => (g as usize) << 2 | 2,
            Owned::Site(s) => (s as usize) << 2 | 3,
        }
    }
    fn unpacked(bits: usize) -> Owned {
        match (bits & 3, bits >> 2) {
            (1, n) => Owned::Tensor(n as f64),
            (2, n) => Owned::Group(n as u32),
            (_, n) => Owned::Site(n as u32),
        }
    }
    fn free(self, e: &mut Engine) {
        match self {
            Owned::Tensor(h) => e.release_if_live(h),
            Owned::Group(g) => e.free_group(g),
            Owned::Site(s) => e.free_site(s),
        }
    }
}

/// An object whose collection frees `owned`, if that is still there.
pub fn owner(env: &Env, owned: Owned) -> Result<Unknown<'_>> {
    free_late();
    tell(env)?;
    let mut value = std::ptr::null_mut();
    let data = std::ptr::without_provenance_mut(owned.packed());
    // SAFETY: the address is a number that only the finalizer reads.
    check_status!(unsafe { sys::napi_create_external(env.raw(), data, Some(collected), std::ptr::null_mut(), &mut value) })?;
    // SAFETY: made just now.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), value) })
}

/// Tells the collector what tensors weigh now, if that has changed by much.
fn tell(env: &Env) -> Result<()> {
    let now = storage::weight() as i64;
    let change = now - TOLD.get();
    if change.abs() >= STEP {
        TOLD.set(now);
        env.adjust_external_memory(change)?;
    }
    Ok(())
}

/// The collector calls this, maybe in the midst of a call of the engine or after the thread's end: no JavaScript may run.
unsafe extern "C" fn collected(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    let owned = Owned::unpacked(data.addr());
    let free = || ENGINE.try_with(|e| e.try_borrow_mut().map(|mut e| owned.free(&mut e)).is_ok());
    if let Ok(Ok(false)) = catch_unwind(AssertUnwindSafe(free)) {
        let _ = LATE.try_with(|l| l.borrow_mut().push(owned));
    }
}

fn free_late() {
    let late = LATE.take();
    if !late.is_empty() {
        ENGINE.with(|e| {
            if let Ok(mut e) = e.try_borrow_mut() {
                late.into_iter().for_each(|o| o.free(&mut e));
            }
        });
    }
}
