//! Optimizers over flat buffers, and clipping.
use crate::lifetime::{self, Owned};
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;

/// The parameters become views of one buffer; `slots` moment buffers lie beside it.
#[napi(catch_unwind)]
pub fn new_group(params: Vec<f64>, slots: u32) -> Result<u32> {
    with(|e| e.group(&params, slots as usize))
}
/// An object whose collection frees the group.
#[napi(catch_unwind)]
pub fn own_group(env: &Env, group: u32) -> Result<Unknown<'_>> {
    lifetime::owner(env, Owned::Group(group))
}
#[napi(catch_unwind)]
pub fn free_group(group: u32) -> Result<()> {
    with(|e| {
        e.free_group(group);
        Ok(())
    })
}
#[napi(catch_unwind)]
pub fn has_group(group: u32) -> Result<bool> {
    with(|e| Ok(e.has_group(group)))
}
/// A parameter gets other memory.
#[napi(catch_unwind)]
pub fn leave_groups(a: f64) -> Result<()> {
    with(|e| e.leave_groups(a))
}
/// Whether a parameter of the group got other memory.
#[napi(catch_unwind)]
pub fn group_is_left(group: u32) -> Result<bool> {
    with(|e| e.is_left(group))
}
#[napi(catch_unwind)]
pub fn group_slot(group: u32, param: u32, slot: u32) -> Result<f64> {
    with(|e| e.group_slot(group, param as usize, slot as usize))
}
#[napi(catch_unwind)]
pub fn group_steps(group: u32, param: u32) -> Result<f64> {
    with(|e| e.group_steps(group, param as usize))
}
#[napi(catch_unwind)]
pub fn set_group_steps(group: u32, param: u32, steps: f64) -> Result<()> {
    with(|e| e.set_group_steps(group, param as usize, steps))
}
#[napi(catch_unwind)]
pub fn zero_grad(group: u32) -> Result<()> {
    with(|e| e.zero_grad(group))
}
#[allow(clippy::too_many_arguments)]
#[napi(catch_unwind)]
pub fn sgd_step(group: u32, lr: f64, momentum: f64, dampening: f64, weight_decay: f64, nesterov: bool, maximize: bool, skip: f64) -> Result<()> {
    with(|e| e.sgd_step(group, lr, momentum, dampening, weight_decay, nesterov, maximize, args::optional(skip)))
}
#[allow(clippy::too_many_arguments)]
#[napi(catch_unwind)]
pub fn adamw_step(group: u32, lr: f64, beta1: f64, beta2: f64, eps: f64, weight_decay: f64, maximize: bool, skip: f64) -> Result<()> {
    with(|e| e.adamw_step(group, lr, beta1, beta2, eps, weight_decay, maximize, args::optional(skip)))
}
/// The norm before clipping.
#[napi(catch_unwind)]
pub fn clip_grad_norm(groups: Vec<u32>, max: f64) -> Result<f64> {
    with(|e| e.clip_grad_norm(&groups, max))
}
#[napi(catch_unwind)]
pub fn clip_grad_value(groups: Vec<u32>, max: f64) -> Result<()> {
    with(|e| e.clip_grad_value(&groups, max))
}
