//! Gradients.
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;

#[napi(catch_unwind)]
pub fn backward(a: f64, gradient: f64, retain: bool, create_graph: bool) -> Result<()> {
    with(|e| e.backward(a, args::optional(gradient), retain, create_graph))
}
/// One handle an input, -1 where the outputs don't depend on it.
#[napi(catch_unwind)]
pub fn grad(outputs: Vec<f64>, grads: Vec<f64>, inputs: Vec<f64>, retain: bool, create_graph: bool, allow_unused: bool) -> Result<Vec<f64>> {
    let grads: Vec<Option<f64>> = grads.into_iter().map(args::optional).collect();
    with(|e| {
        let found = e.grad(&outputs, &grads, &inputs, retain, create_graph, allow_unused)?;
        Ok(found.into_iter().map(|g| g.unwrap_or(-1.0)).collect())
    })
}
#[napi(catch_unwind)]
pub fn requires_grad(a: f64) -> Result<bool> {
    with(|e| e.requires_grad(a))
}
#[napi(catch_unwind)]
pub fn set_requires_grad(a: f64, on: bool) -> Result<()> {
    with(|e| e.set_requires_grad(a, on))
}
#[napi(catch_unwind)]
pub fn is_leaf(a: f64) -> Result<bool> {
    with(|e| e.is_leaf(a))
}
/// -1 if there is no gradient.
#[napi(catch_unwind)]
pub fn grad_of(a: f64) -> Result<f64> {
    with(|e| Ok(e.grad_of(a)?.unwrap_or(-1.0)))
}
#[napi(catch_unwind)]
pub fn set_grad(a: f64, grad: f64) -> Result<()> {
    with(|e| e.set_grad(a, args::optional(grad)))
}
#[napi(catch_unwind)]
pub fn retain_grad(a: f64) -> Result<()> {
    with(|e| e.retain_grad(a))
}
/// Gives the previous state.
#[napi(catch_unwind)]
pub fn set_grad_enabled(on: bool) -> Result<bool> {
    with(|e| Ok(e.set_grad_enabled(on)))
}
#[napi(catch_unwind)]
pub fn grad_enabled() -> Result<bool> {
    with(|e| Ok(e.grad_enabled()))
}
