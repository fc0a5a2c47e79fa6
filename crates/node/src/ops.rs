//! Ops that compute: pointwise, reductions, linear algebra, indexing, convolution and losses. Families of functions take a
//! code, whose names `unaryNames` and its like list.
use crate::args::Size;
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use wick_core::device::Device;
use wick_core::engine::{Engine, Handle};
use wick_core::error::{Error, Result as CoreResult};
use wick_core::op::{Binary, Conv2d, Dims, Op, Pool2d, ReduceKind, Reduction, Sc, Unary};

/// Calls an op and gives its first result; the others are of use to the derivative only.
pub(crate) fn first(e: &mut Engine, op: Op, ins: &[Handle]) -> CoreResult<Handle> {
    let name = op.name();
    let outs = e.call(op, ins)?;
    for extra in outs.iter().skip(1) {
        e.dispose(*extra)?;
    }
    outs.first().copied().ok_or_else(|| Error::internal("has no result").in_op(name))
}
fn one(op: Op, ins: &[Handle]) -> Result<f64> {
    with(|e| first(e, op, ins))
}

#[napi(catch_unwind)]
pub fn unary_names() -> Vec<&'static str> {
    Unary::ALL.iter().map(|u| u.name()).collect()
}
#[napi(catch_unwind)]
pub fn binary_names() -> Vec<&'static str> {
    Binary::ALL.iter().map(|b| b.name()).collect()
}
#[napi(catch_unwind)]
pub fn reduce_names() -> Vec<&'static str> {
    ReduceKind::ALL.iter().map(|k| k.name()).collect()
}

// pointwise

#[napi(catch_unwind)]
pub fn unary(code: u32, a: f64) -> Result<f64> {
    with(|e| first(e, Op::Unary(args::unary(code)?), &[a]))
}
#[napi(catch_unwind)]
pub fn binary(code: u32, a: f64, b: f64) -> Result<f64> {
    with(|e| first(e, Op::Binary(args::binary(code)?), &[a, b]))
}
#[napi(catch_unwind)]
pub fn scalar(code: u32, a: f64, value: f64, reversed: bool) -> Result<f64> {
    with(|e| first(e, Op::Scalar { op: args::binary(code)?, value: Sc::new(value), reversed }, &[a]))
}
#[napi(catch_unwind)]
pub fn clamp(a: f64, low: f64, high: f64) -> Result<f64> {
    one(Op::Clamp { low: Sc::new(low), high: Sc::new(high) }, &[a])
}
#[napi(catch_unwind, js_name = "where")]
pub fn where_(condition: f64, a: f64, b: f64) -> Result<f64> {
    one(Op::Where, &[condition, a, b])
}
#[napi(catch_unwind)]
pub fn cast(a: f64, dtype: u32) -> Result<f64> {
    with(|e| first(e, Op::Cast(args::dtype(dtype)?), &[a]))
}
#[napi(catch_unwind)]
pub fn is_contiguous(a: f64) -> Result<bool> {
    with(|e| e.is_contiguous(a))
}
/// `device`: 0 is the CPU, n + 1 is `cuda:n`.
#[napi(catch_unwind)]
pub fn to_device(a: f64, device: u32) -> Result<f64> {
    with(|e| first(e, Op::ToDevice(Device::from_code(device)?), &[a]))
}
#[napi(catch_unwind)]
pub fn contiguous(a: f64) -> Result<f64> {
    one(Op::Contiguous, &[a])
}

// in place

#[napi(catch_unwind)]
pub fn binary_into(code: u32, a: f64, b: f64) -> Result<()> {
    with(|e| e.call(Op::BinaryInto(args::binary(code)?), &[a, b]).map(drop))
}
#[napi(catch_unwind)]
pub fn scalar_into(code: u32, a: f64, value: f64) -> Result<()> {
    with(|e| e.call(Op::ScalarInto { op: args::binary(code)?, value: Sc::new(value) }, &[a]).map(drop))
}
#[napi(catch_unwind)]
pub fn copy_into(a: f64, source: f64) -> Result<()> {
    with(|e| e.call(Op::CopyInto, &[a, source]).map(drop))
}

// reductions

#[napi(catch_unwind)]
pub fn reduce_all(code: u32, a: f64) -> Result<f64> {
    with(|e| {
        let dims = Dims::all(e.meta(a)?.shape.rank());
        first(e, Op::Reduce { kind: args::reduce(code)?, dims, keepdim: false }, &[a])
    })
}
#[napi(catch_unwind)]
pub fn reduce_dim(code: u32, a: f64, dim: args::Whole, keepdim: bool) -> Result<f64> {
    with(|e| reduce_over(e, code, a, &[dim], keepdim))
}
/// Over `dims`, or all if there are none.
#[napi(catch_unwind)]
pub fn reduce(code: u32, a: f64, dims: Vec<args::Whole>, keepdim: bool) -> Result<f64> {
    with(|e| reduce_over(e, code, a, &dims, keepdim))
}
fn reduce_over(e: &mut Engine, code: u32, a: Handle, dims: &[args::Whole], keepdim: bool) -> CoreResult<Handle> {
    let kind = args::reduce(code)?;
    let dims = args::dims(e.meta(a)?.shape.rank(), dims).map_err(|x| x.in_op(kind.name()))?;
    first(e, Op::Reduce { kind, dims, keepdim }, &[a])
}
/// Over the last dimension.
#[napi(catch_unwind)]
pub fn softmax(a: f64, log: bool) -> Result<f64> {
    one(Op::Softmax { log }, &[a])
}
#[napi(catch_unwind)]
pub fn cumsum(a: f64, dim: args::Whole) -> Result<f64> {
    along(a, dim, &[a], |dim| Op::Cumsum { dim })
}
/// Along the last dimension: values and indices.
#[napi(catch_unwind)]
pub fn sort(a: f64, descending: bool) -> Result<Vec<f64>> {
    with(|e| e.call(Op::Sort { descending }, &[a]))
}

// linear algebra

#[napi(catch_unwind)]
pub fn matmul(a: f64, b: f64) -> Result<f64> {
    one(Op::Matmul { mask: false }, &[a, b])
}
#[napi(catch_unwind)]
pub fn linear(x: f64, weight: f64, bias: f64) -> Result<f64> {
    match args::optional(bias) {
        Some(b) => one(Op::Linear { bias: true, relu: false }, &[x, weight, b]),
        None => one(Op::Linear { bias: false, relu: false }, &[x, weight]),
    }
}

// indexing

/// An op along dimension `dim` of `of`, which may be negative.
fn along(of: Handle, dim: args::Whole, ins: &[Handle], op: impl FnOnce(usize) -> Op) -> Result<f64> {
    with(|e| {
        let at = args::dim(e.meta(of)?.shape.rank(), dim);
        match at {
            Ok(dim) => first(e, op(dim), ins),
            Err(err) => Err(err.in_op(op(0).name())),
        }
    })
}
#[napi(catch_unwind)]
pub fn gather(a: f64, dim: args::Whole, index: f64) -> Result<f64> {
    along(a, dim, &[a, index], |dim| Op::Gather { dim })
}
#[napi(catch_unwind)]
pub fn scatter_add(a: f64, dim: args::Whole, index: f64, source: f64) -> Result<f64> {
    along(a, dim, &[a, index, source], |dim| Op::ScatterAdd { dim })
}
#[napi(catch_unwind)]
pub fn index_select(a: f64, dim: args::Whole, index: f64) -> Result<f64> {
    along(a, dim, &[a, index], |dim| Op::IndexSelect { dim })
}
#[napi(catch_unwind)]
pub fn index_add(a: f64, dim: args::Whole, index: f64, source: f64) -> Result<f64> {
    along(a, dim, &[a, index, source], |dim| Op::IndexAdd { dim })
}
#[napi(catch_unwind)]
pub fn cat(tensors: Vec<f64>, dim: args::Whole) -> Result<f64> {
    let Some(head) = tensors.first().copied() else {
        return with(|_| Err(Error::bad_option("needs at least one tensor").in_op("cat")));
    };
    along(head, dim, &tensors, |dim| Op::Cat { dim })
}

// convolution and its relatives

#[allow(clippy::too_many_arguments)]
#[napi(catch_unwind, js_name = "conv2d")]
pub fn conv2d(x: f64, weight: f64, bias: f64, sh: Size, sw: Size, ph: Size, pw: Size, dh: Size, dw: Size, groups: Size) -> Result<f64> {
    let geometry = Conv2d { stride: pair(sh, sw), padding: pair(ph, pw), dilation: pair(dh, dw), groups: groups.0 };
    match args::optional(bias) {
        Some(b) => one(Op::Conv2d { geometry, bias: true }, &[x, weight, b]),
        None => one(Op::Conv2d { geometry, bias: false }, &[x, weight]),
    }
}
fn pair(h: Size, w: Size) -> [usize; 2] {
    [h.0, w.0]
}
/// Values and indices into the plane.
#[allow(clippy::too_many_arguments)]
#[napi(catch_unwind, js_name = "maxPool2d")]
pub fn max_pool2d(x: f64, kh: Size, kw: Size, sh: Size, sw: Size, ph: Size, pw: Size, dh: Size, dw: Size, ceil: bool) -> Result<Vec<f64>> {
    let pool = Pool2d { kernel: pair(kh, kw), stride: pair(sh, sw), padding: pair(ph, pw), dilation: pair(dh, dw), ceil };
    with(|e| e.call(Op::MaxPool2d(pool), &[x]))
}
#[allow(clippy::too_many_arguments)]
#[napi(catch_unwind, js_name = "avgPool2d")]
pub fn avg_pool2d(x: f64, kh: Size, kw: Size, sh: Size, sw: Size, ph: Size, pw: Size, ceil: bool) -> Result<f64> {
    one(Op::AvgPool2d(Pool2d { kernel: pair(kh, kw), stride: pair(sh, sw), padding: pair(ph, pw), dilation: [1, 1], ceil }), &[x])
}
/// Training mode; weight and bias, and the running statistics, are both given or both -1.
#[napi(catch_unwind)]
pub fn batch_norm(x: f64, weight: f64, bias: f64, mean: f64, variance: f64, momentum: f64, eps: f64) -> Result<f64> {
    let mut ins = vec![x];
    let affine = weight >= 0.0 && bias >= 0.0;
    let stats = mean >= 0.0 && variance >= 0.0;
    if affine {
        ins.extend([weight, bias]);
    }
    if stats {
        ins.extend([mean, variance]);
    }
    one(Op::BatchNorm { eps: Sc::new(eps), momentum: Sc::new(momentum), affine, stats, add: false, relu: false }, &ins)
}

// losses

/// `reduction`: 0 none, 1 mean, 2 sum.
#[napi(catch_unwind)]
pub fn cross_entropy(logits: f64, target: f64, ignore_index: args::Whole, smoothing: f64, reduction: u32) -> Result<f64> {
    with(|e| {
        let reduction = match reduction {
            0 => Reduction::None,
            1 => Reduction::Mean,
            2 => Reduction::Sum,
            other => return Err(Error::internal(format!("unknown reduction code {other}"))),
        };
        first(e, Op::CrossEntropy { ignore_index: ignore_index.0, smoothing: Sc::new(smoothing), reduction, grad: false }, &[logits, target])
    })
}
#[napi(catch_unwind)]
pub fn track_loss(tracker: f64, loss: f64, weight: f64) -> Result<()> {
    with(|e| e.call(Op::TrackLoss { weight: Sc::new(weight) }, &[tracker, loss]).map(drop))
}
