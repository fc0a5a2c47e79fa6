//! How far results may lie from PyTorch's: |a - b| <= absolute + relative * |b|.
use super::array::Array;
use wick_core::dtype::DType;
use wick_core::op::{Op, ReduceKind};

#[derive(Clone, Copy)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

/// The table. Everything that isn't a float must be equal, and so must what only moves values.
pub fn tolerance(op: &Op, dtype: DType) -> Tolerance {
    let t = |relative, absolute| Tolerance { relative, absolute };
    let sums = matches!(
        op,
        Op::Reduce { kind: ReduceKind::Sum | ReduceKind::Mean | ReduceKind::Prod, .. }
            | Op::Softmax { .. }
            | Op::Cumsum { .. }
            | Op::Matmul { .. }
            | Op::Linear { .. }
            | Op::ScatterAdd { .. }
            | Op::IndexAdd { .. }
            | Op::Conv2d { .. }
            | Op::Conv2dGradInput { .. }
            | Op::Conv2dGradWeight { .. }
            | Op::AvgPool2d(_)
            | Op::AvgPool2dGrad { .. }
            | Op::MaxPool2dGrad { .. }
            | Op::BatchNorm { .. }
            | Op::BatchNormGrad { .. }
            | Op::CrossEntropy { .. }
            | Op::CrossEntropyGrad { .. }
    );
    let moves = matches!(
        op,
        Op::View(_)
            | Op::Contiguous
            | Op::Cast(_)
            | Op::Where
            | Op::Gather { .. }
            | Op::IndexSelect { .. }
            | Op::Cat { .. }
            | Op::NarrowGrad { .. }
            | Op::Fill { .. }
            | Op::CopyInto
    );
    match (dtype, sums, moves) {
        (_, _, true) => t(0.0, 0.0),
        (DType::F32, true, _) => t(2e-5, 4e-6),
        (DType::F32, ..) => t(1e-5, 1e-6),
        (DType::F64, true, _) => t(1e-11, 1e-12),
        (DType::F64, ..) => t(1e-12, 1e-13),
        // half precision: one unit in the last place
        (DType::F16, ..) => t(1e-3, 1e-7),
        (DType::BF16, ..) => t(8e-3, 1e-7),
        _ => t(0.0, 0.0),
    }
}

/// Gradients of ops that only move values may be sums (of a broadcast, of repeated indices).
pub fn gradient_tolerance(op: &Op, dtype: DType) -> Tolerance {
    let t = tolerance(op, dtype);
    let floor = match dtype {
        DType::F64 => Tolerance { relative: 1e-11, absolute: 1e-12 },
        DType::F32 => Tolerance { relative: 2e-5, absolute: 4e-6 },
        _ => t,
    };
    Tolerance { relative: t.relative.max(floor.relative), absolute: t.absolute.max(floor.absolute) }
}

/// Says what differs first, if anything does. NaN equals NaN; infinities must be equal.
pub fn difference(got: &Array, want: &Array, t: Tolerance) -> Option<String> {
    if got.dtype != want.dtype || got.shape != want.shape {
        return Some(format!("is {}{:?}, not {}{:?}", got.dtype.name(), got.shape, want.dtype.name(), want.shape));
    }
    let (a, b) = (got.f64s(), want.f64s());
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= t.absolute + t.relative * b.abs() && b.is_finite();
    let wrong: Vec<usize> = (0..a.len()).filter(|i| !close(a[*i], b[*i])).collect();
    let first = *wrong.first()?;
    Some(format!("{} of {} elements differ, [{first}] is {:e}, not {:e}", wrong.len(), a.len(), a[first], b[first]))
}
