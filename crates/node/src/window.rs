//! Step windows.
use crate::lifetime::{self, Owned};
use crate::with;
use napi::bindgen_prelude::*;
use napi_derive::napi;

#[napi(catch_unwind)]
pub fn new_site(name: String) -> Result<u32> {
    with(|e| e.new_site(name))
}
/// An object whose collection frees the site.
#[napi(catch_unwind)]
pub fn own_site(env: &Env, site: u32) -> Result<Unknown<'_>> {
    lifetime::owner(env, Owned::Site(site))
}
#[napi(catch_unwind)]
pub fn free_site(site: u32) -> Result<()> {
    with(|e| {
        e.free_site(site);
        Ok(())
    })
}
/// False inside another window: the caller opens a scope instead. `full`: the arguments, if a later call may skip the function.
#[napi(catch_unwind)]
pub fn window_begin(site: u32, auto: bool, full: Option<Vec<f64>>) -> Result<bool> {
    with(|e| e.window_begin(site, auto, full.as_deref()))
}
#[napi(catch_unwind)]
pub fn window_end(keep: Vec<f64>, failed: bool) -> Result<()> {
    with(|e| e.window_end(&keep, failed))
}
/// By tensor that the site's last window returned, its number among the plan's values, or -1 for a tensor from outside. Null
/// if `fullSteps` can't run the window again.
#[napi(catch_unwind)]
pub fn full_form(site: u32) -> Result<Option<Vec<i32>>> {
    with(|e| Ok(e.full_form(site)))
}
/// While on, updates of optimizers only tell the engine their options, which the next `fullSteps` uses.
#[napi(catch_unwind)]
pub fn offer_updates(on: bool) -> Result<()> {
    with(|e| {
        e.offer_updates(on);
        Ok(())
    })
}
/// The running function does what a launch of its plan doesn't: its JavaScript runs the next time too.
#[napi(catch_unwind)]
pub fn needs_javascript() -> Result<()> {
    with(|e| {
        e.needs_javascript();
        Ok(())
    })
}
/// Runs `steps` steps of what the site's last window matched, or gives null if they need their JavaScript.
#[napi(catch_unwind)]
pub fn full_steps(site: u32, args: Vec<f64>, steps: u32) -> Result<Option<Vec<f64>>> {
    with(|e| e.full(site, &args, steps as usize))
}

/// How a site's windows ran.
#[napi(object)]
pub struct SiteReport {
    pub windows: f64,
    pub matched: f64,
    pub eager: f64,
    pub diverged: f64,
    pub switched: f64,
    pub full: f64,
    pub cuts: f64,
    pub plans: u32,
    pub ops: u32,
    pub kernels: u32,
    pub arena_bytes: f64,
    pub reason: String,
}
#[napi(catch_unwind)]
pub fn report(site: u32) -> Result<SiteReport> {
    with(|e| {
        let r = e.report(site)?;
        let c = r.counts;
        Ok(SiteReport {
            windows: c.windows as f64,
            matched: c.matched as f64,
            eager: c.eager as f64,
            diverged: c.diverged as f64,
            switched: c.switched as f64,
            full: c.full as f64,
            cuts: c.cuts as f64,
            plans: r.plans as u32,
            ops: r.ops as u32,
            kernels: r.kernels as u32,
            arena_bytes: r.arena_bytes as f64,
            reason: r.reason,
        })
    })
}
