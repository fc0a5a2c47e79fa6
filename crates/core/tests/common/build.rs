//! An `Op` from a fixture's `op` and `attrs`: the variant's name and its fields.
use serde_json::Value;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::op::{Binary, Conv2d, Dims, NormMask, Op, Perm, Pool2d, ReduceKind, Reduction, Sc, Unary, View};
use wick_core::shape::Shape;

fn numbers(v: &Value) -> Vec<usize> {
    v.as_array().unwrap_or_else(|| panic!("{v} is no list")).iter().map(|n| n.as_u64().unwrap() as usize).collect()
}
fn pair(v: &Value) -> [usize; 2] {
    numbers(v).try_into().unwrap()
}
fn number(v: &Value) -> usize {
    v.as_u64().unwrap_or_else(|| panic!("{v} is no size")) as usize
}
fn flag(v: &Value) -> bool {
    v.as_bool().unwrap_or_else(|| panic!("{v} is no flag"))
}
fn scalar(v: &Value) -> Sc {
    Sc::new(v.as_f64().unwrap_or_else(|| panic!("{v} is no number")))
}
fn shape(v: &Value) -> Shape {
    Shape::new(&numbers(v))
}
fn dtype(v: &Value) -> DType {
    DType::ALL.into_iter().find(|d| v == d.name()).unwrap_or_else(|| panic!("{v} is no dtype"))
}
fn unary(v: &Value) -> Unary {
    Unary::ALL.into_iter().find(|u| v == u.name()).unwrap_or_else(|| panic!("no unary {v}"))
}
fn binary(v: &Value) -> Binary {
    Binary::ALL.into_iter().find(|b| v == b.name()).unwrap_or_else(|| panic!("no binary {v}"))
}
fn reduction(v: &Value) -> Reduction {
    match v.as_str() {
        Some("none") => Reduction::None,
        Some("mean") => Reduction::Mean,
        Some("sum") => Reduction::Sum,
        _ => panic!("no reduction {v}"),
    }
}
fn convolution(a: &Value) -> Conv2d {
    Conv2d { stride: pair(&a["stride"]), padding: pair(&a["padding"]), dilation: pair(&a["dilation"]), groups: number(&a["groups"]) }
}
fn pool(a: &Value) -> Pool2d {
    Pool2d {
        kernel: pair(&a["kernel"]),
        stride: pair(&a["stride"]),
        padding: pair(&a["padding"]),
        dilation: pair(&a["dilation"]),
        ceil: flag(&a["ceil"]),
    }
}

/// A view from `{kind: argument}`.
pub fn view(v: &Value) -> View {
    let (kind, a) = v.as_object().and_then(|o| o.iter().next()).unwrap_or_else(|| panic!("{v} is no view"));
    match kind.as_str() {
        "reshape" => View::Reshape(shape(a)),
        "permute" => View::Permute(Perm::new(&numbers(a))),
        "expand" => View::Expand(shape(a)),
        "narrow" => View::Narrow { dim: number(&a["dim"]), start: number(&a["start"]), len: number(&a["len"]), step: number(&a["step"]) },
        "select" => View::Select { dim: number(&a["dim"]), index: number(&a["index"]) },
        "detach" => View::Detach,
        other => panic!("no view {other}"),
    }
}

pub fn op(variant: &str, a: &Value) -> Op {
    match variant {
        "Fill" => Op::Fill { shape: shape(&a["shape"]), dtype: dtype(&a["dtype"]), device: Device::Cpu, value: scalar(&a["value"]) },
        "Arange" => Op::Arange {
            len: number(&a["len"]),
            dtype: dtype(&a["dtype"]),
            device: Device::Cpu,
            start: scalar(&a["start"]),
            step: scalar(&a["step"]),
        },
        "Unary" => Op::Unary(unary(&a["kind"])),
        "Binary" => Op::Binary(binary(&a["kind"])),
        "Scalar" => Op::Scalar { op: binary(&a["kind"]), value: scalar(&a["value"]), reversed: flag(&a["reversed"]) },
        "Clamp" => {
            Op::Clamp { low: Sc::new(a["low"].as_f64().unwrap_or(f64::NEG_INFINITY)), high: Sc::new(a["high"].as_f64().unwrap_or(f64::INFINITY)) }
        }
        "Where" => Op::Where,
        "Cast" => Op::Cast(dtype(&a["dtype"])),
        "Contiguous" => Op::Contiguous,
        "View" => Op::View(view(a)),
        "Reduce" => {
            let kind = ReduceKind::ALL.into_iter().find(|k| a["kind"] == k.name()).unwrap_or_else(|| panic!("no reduction {a}"));
            Op::Reduce { kind, dims: Dims::of(&numbers(&a["dims"])), keepdim: flag(&a["keepdim"]) }
        }
        "Softmax" => Op::Softmax { log: flag(&a["log"]) },
        "Cumsum" => Op::Cumsum { dim: number(&a["dim"]) },
        "Sort" => Op::Sort { descending: flag(&a["descending"]) },
        "Matmul" => Op::Matmul { mask: false },
        "Linear" => Op::Linear { bias: flag(&a["bias"]), relu: flag(&a["relu"]) },
        "Gather" => Op::Gather { dim: number(&a["dim"]) },
        "ScatterAdd" => Op::ScatterAdd { dim: number(&a["dim"]) },
        "IndexSelect" => Op::IndexSelect { dim: number(&a["dim"]) },
        "IndexAdd" => Op::IndexAdd { dim: number(&a["dim"]) },
        "Cat" => Op::Cat { dim: number(&a["dim"]) },
        "NarrowGrad" => Op::NarrowGrad { shape: shape(&a["shape"]), dim: number(&a["dim"]), start: number(&a["start"]), step: number(&a["step"]) },
        "Conv2d" => Op::Conv2d { geometry: convolution(a), bias: flag(&a["bias"]) },
        "Conv2dGradInput" => Op::Conv2dGradInput { geometry: convolution(a), shape: shape(&a["shape"]) },
        "Conv2dGradWeight" => Op::Conv2dGradWeight { geometry: convolution(a), shape: shape(&a["shape"]) },
        "MaxPool2d" => Op::MaxPool2d(pool(a)),
        "MaxPool2dGrad" => Op::MaxPool2dGrad { geometry: pool(a), shape: shape(&a["shape"]) },
        "AvgPool2d" => Op::AvgPool2d(pool(a)),
        "AvgPool2dGrad" => Op::AvgPool2dGrad { geometry: pool(a), shape: shape(&a["shape"]) },
        "BatchNorm" => Op::BatchNorm {
            eps: scalar(&a["eps"]),
            momentum: scalar(&a["momentum"]),
            affine: flag(&a["affine"]),
            stats: flag(&a["stats"]),
            add: false,
            relu: false,
        },
        "BatchNormGrad" => Op::BatchNormGrad { affine: flag(&a["affine"]), mask: NormMask::None, sum: false, keep: false },
        "CrossEntropy" => Op::CrossEntropy {
            ignore_index: a["ignore_index"].as_i64().unwrap(),
            smoothing: scalar(&a["smoothing"]),
            reduction: reduction(&a["reduction"]),
            grad: false,
        },
        "CrossEntropyGrad" => Op::CrossEntropyGrad {
            ignore_index: a["ignore_index"].as_i64().unwrap(),
            smoothing: scalar(&a["smoothing"]),
            reduction: reduction(&a["reduction"]),
        },
        "TrackLoss" => Op::TrackLoss { weight: scalar(&a["weight"]) },
        "CopyInto" => Op::CopyInto,
        "BinaryInto" => Op::BinaryInto(binary(&a["kind"])),
        "ScalarInto" => Op::ScalarInto { op: binary(&a["kind"]), value: scalar(&a["value"]) },
        other => panic!("no op {other}"),
    }
}
