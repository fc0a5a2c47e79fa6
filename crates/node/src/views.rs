//! Views. Sizes up to rank 4 travel as numbers: an array costs more than the rest of a matched op.
use crate::ops::first;
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::error::Error;
use wick_core::op::{Op, Perm, View};
use wick_core::shape::{MAX_RANK, Shape};

/// Sizes from four numbers, of which `rank` count.
fn short(rank: u32, sizes: &[args::Whole; 4]) -> &[args::Whole] {
    &sizes[..(rank as usize).min(4)]
}
fn view(a: f64, view: impl FnOnce(&Shape) -> wick_core::error::Result<View>, name: &'static str) -> Result<f64> {
    with(|e| {
        let shape = e.meta(a)?.shape;
        first(e, Op::View(view(&shape).map_err(|x| x.in_op(name))?), &[a])
    })
}

/// One size may be -1.
#[napi(catch_unwind)]
pub fn reshape(a: f64, rank: u32, s0: args::Whole, s1: args::Whole, s2: args::Whole, s3: args::Whole) -> Result<f64> {
    view(a, |s| args::reshaped(s, short(rank, &[s0, s1, s2, s3])).map(View::Reshape), "reshape")
}
#[napi(catch_unwind)]
pub fn reshape_list(a: f64, sizes: Vec<args::Whole>) -> Result<f64> {
    view(a, |s| args::reshaped(s, &sizes).map(View::Reshape), "reshape")
}
/// -1 keeps a size.
#[napi(catch_unwind)]
pub fn expand(a: f64, rank: u32, s0: args::Whole, s1: args::Whole, s2: args::Whole, s3: args::Whole) -> Result<f64> {
    view(a, |s| args::expanded(s, short(rank, &[s0, s1, s2, s3])).map(View::Expand), "expand")
}
#[napi(catch_unwind)]
pub fn expand_list(a: f64, sizes: Vec<args::Whole>) -> Result<f64> {
    view(a, |s| args::expanded(s, &sizes).map(View::Expand), "expand")
}
/// `order` holds the dimensions, three bits each, the first lowest.
#[napi(catch_unwind)]
pub fn permute(a: f64, rank: u32, order: u32) -> Result<f64> {
    let permuted = |s: &Shape| {
        let dims: Vec<usize> = (0..rank.min(MAX_RANK as u32)).map(|i| (order >> (3 * i) & 7) as usize).collect();
        let seen = dims.iter().fold(0u32, |m, d| m | 1 << d);
        if rank as usize != s.rank() || seen != (1u32 << s.rank()) - 1 {
            return Err(Error::shape(format!("{dims:?} isn't an order of the dimensions of {s:?}")));
        }
        Ok(View::Permute(Perm::new(&dims)))
    };
    view(a, permuted, "permute")
}
#[napi(catch_unwind)]
pub fn transpose(a: f64, dim0: args::Whole, dim1: args::Whole) -> Result<f64> {
    view(a, |s| Ok(View::Permute(Perm::swap(s.rank(), args::dim(s.rank(), dim0)?, args::dim(s.rank(), dim1)?))), "transpose")
}
/// `len` elements of dimension `dim` from `start`, each `step`-th.
#[napi(catch_unwind)]
pub fn narrow(a: f64, dim: args::Whole, start: args::Whole, len: args::Whole, step: args::Size) -> Result<f64> {
    let narrowed = |s: &Shape| {
        let dim = args::dim(s.rank(), dim)?;
        let start = args::index(s[dim], start, true)?;
        let (len, step) = (len.0, step.0.max(1));
        let last = (len - 1).saturating_mul(step as i64).saturating_add(start as i64);
        if len < 0 || (len > 0 && last >= s[dim] as i64) {
            return Err(Error::index(format!("{len} elements from {start} are out of range for a dimension of size {}", s[dim])));
        }
        Ok(View::Narrow { dim, start, len: len as usize, step })
    };
    view(a, narrowed, "narrow")
}
#[napi(catch_unwind)]
pub fn select(a: f64, dim: args::Whole, index: args::Whole) -> Result<f64> {
    let selected = |s: &Shape| {
        let dim = args::dim(s.rank(), dim)?;
        Ok(View::Select { dim, index: args::index(s[dim], index, false)? })
    };
    view(a, selected, "select")
}
#[napi(catch_unwind)]
pub fn detach(a: f64) -> Result<f64> {
    with(|e| first(e, Op::View(View::Detach), &[a]))
}
