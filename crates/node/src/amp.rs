//! Mixed precision.
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;

/// Sets the low dtype of autocast, -1 for none, and gives the one before.
#[napi(catch_unwind)]
pub fn set_autocast(dtype: i32) -> Result<i32> {
    with(|e| {
        let low = u32::try_from(dtype).ok().map(args::dtype).transpose()?;
        Ok(e.set_autocast(low)?.map_or(-1, |d| d as i32))
    })
}
/// The low dtype of autocast, -1 for none.
#[napi(catch_unwind)]
pub fn autocast_dtype() -> Result<i32> {
    with(|e| Ok(e.autocast().map_or(-1, |d| d as i32)))
}
/// Divides gradients by the scale; the result is 1 if any is not finite.
#[napi(catch_unwind)]
pub fn unscale(groups: Vec<u32>, scale: f64) -> Result<f64> {
    with(|e| e.unscale(&groups, scale))
}
#[napi(catch_unwind)]
pub fn update_scale(scale: f64, tracker: f64, found: f64, growth: f64, backoff: f64, interval: f64) -> Result<()> {
    with(|e| e.update_scale(scale, tracker, found, growth, backoff, interval))
}
