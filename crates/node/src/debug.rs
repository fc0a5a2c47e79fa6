//! Switches for the differential tests of plans.
use crate::with;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::engine::Debug;

/// No fusion; NaN in the arena before a launch; inputs copied to a fixed place; the rule of the plan to break (0: none).
#[napi(catch_unwind)]
pub fn set_debug(no_fusion: bool, poison: bool, copy_slots: bool, mutant: u32) -> Result<()> {
    with(|e| {
        e.debug = Debug { no_fusion, poison, copy_slots, mutant };
        Ok(())
    })
}
