//! Reductions: rows and columns, short and long, with and without pieces, over any dimensions of any layout.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::{Dims, Op, ReduceKind};

fn reduce(kind: ReduceKind, shape: &[usize], dtype: DType, lay: Lay, dims: &[usize], keepdim: bool) -> Case {
    let values = match (kind, dtype.is_float()) {
        // Products neither overflow nor vanish, and are never of many numbers.
        (ReduceKind::Prod, true) => Values::Between(0.9, 1.1),
        (ReduceKind::Prod, false) => Values::Integers(1, 3),
        // Sums that are not small differences of large ones.
        (ReduceKind::Sum | ReduceKind::Mean, true) => Values::Between(-0.5, 1.0),
        // Few different numbers: ties are the rule.
        (ReduceKind::Argmax | ReduceKind::Argmin, true) => Values::Integers(-3, 3),
        (ReduceKind::Any | ReduceKind::All, _) => Values::Bool,
        _ => Values::Normal,
    };
    let name = format!("{} {shape:?} {dtype:?} {lay:?} over {dims:?}", kind.name());
    let op = Op::Reduce { kind, dims: Dims::of(dims), keepdim };
    Case::new(name, op, vec![Input::new(shape, dtype).lay(lay).values(values)])
}

/// Kinds by dtype: everything for the common ones, of the others what differs.
fn kinds(dtype: DType) -> Vec<ReduceKind> {
    use ReduceKind::*;
    match dtype {
        DType::F32 | DType::BF16 => ReduceKind::ALL.to_vec(),
        DType::F16 | DType::F64 => vec![Sum, Mean, Amin, Argmax],
        DType::I64 => vec![Sum, Prod, Amax, Argmin],
        DType::Bool => vec![Sum, Any, All, Amax],
        _ => vec![Sum, Amin, Argmax, Any],
    }
}

pub fn cases() -> Vec<Case> {
    use ReduceKind::*;
    let mut all = vec![];
    // Rows of a few threads, of vectors and single elements; blocks; columns of both kinds; dimensions in between.
    let shapes: [(&[usize], &[usize]); 17] = [
        (&[7, 10], &[1]),
        (&[5, 64], &[1]),
        (&[33, 129], &[1]),
        (&[3, 4000], &[1]),
        (&[3, 4003], &[1]),
        (&[50, 24], &[0]),
        (&[50, 23], &[0]),
        (&[3, 1000], &[0]),
        (&[4, 5, 48], &[1]),
        (&[4, 5, 6], &[0, 2]),
        (&[2, 3, 4, 8], &[1, 3]),
        (&[2, 3, 4, 8], &[0, 2]),
        (&[2, 3, 4, 5, 6], &[0, 2, 4]),
        (&[40], &[0]),
        (&[1, 1, 9], &[0, 1]),
        (&[2, 16, 7, 7], &[2, 3]),
        (&[2, 16, 7, 7], &[0, 2, 3]),
    ];
    for dtype in DType::ALL {
        for kind in kinds(dtype) {
            let is_place = matches!(kind, Argmax | Argmin);
            for (shape, dims) in shapes {
                // The place of an extreme is defined along one dimension or all.
                let ordered = is_place && dims.len() > 1 && dims.len() < shape.len();
                if ordered || (kind == Prod && dims.iter().map(|d| shape[*d]).product::<usize>() > if dtype.is_float() { 200 } else { 24 }) {
                    continue;
                }
                for lay in [Lay::Contiguous, Lay::Transposed, Lay::ChannelsLast] {
                    if lay == Lay::Contiguous || matches!(dtype, DType::F32 | DType::BF16) {
                        all.push(reduce(kind, shape, dtype, lay, dims, false));
                    }
                }
                all.push(reduce(kind, shape, dtype, Lay::Offset, dims, true));
            }
        }
    }
    for lay in [Lay::Contiguous, Lay::Transposed, Lay::ChannelsLast, Lay::Expanded, Lay::Strided, Lay::Offset] {
        for kind in [Sum, Mean, Amax, Argmax, Any] {
            for dims in [&[0][..], &[1], &[2], &[3], &[0, 1, 2, 3]] {
                all.push(reduce(kind, &[3, 10, 12, 14], DType::F32, lay, dims, true));
                all.push(reduce(kind, &[3, 16, 8, 8], DType::F16, lay, dims, false));
            }
        }
        for kind in [Sum, Mean] {
            for dims in [&[0, 2, 3][..], &[1, 2], &[0, 1], &[0, 3]] {
                all.push(reduce(kind, &[3, 16, 8, 8], DType::BF16, lay, dims, true).outputs(Lay::ChannelsLast));
            }
        }
    }
    all.extend(large());
    all.extend(special());
    all
}

/// Several pieces a result, and more results than fit the device at a time.
fn large() -> Vec<Case> {
    use ReduceKind::*;
    let mut all = vec![];
    for (dtype, kind) in
        [(DType::F32, Sum), (DType::BF16, Mean), (DType::F64, Sum), (DType::I32, Sum), (DType::F16, Amax), (DType::F32, Argmin), (DType::U8, Any)]
    {
        for (shape, dims) in [
            (&[3_000_017][..], &[0][..]),
            (&[1 << 21], &[0]),
            (&[2000, 1500], &[0, 1]),
            (&[5, 400_000], &[1]),
            (&[300_000, 10], &[1]),
            (&[300_000, 10], &[0]),
            (&[20_000, 96], &[0]),
            (&[4096, 768], &[0]),
            (&[700, 3, 1000], &[1]),
            (&[1000, 3000], &[1]),
            (&[40, 50_000], &[0]),
        ] {
            all.push(reduce(kind, shape, dtype, Lay::Contiguous, dims, false));
        }
        if kind != Argmin {
            all.push(reduce(kind, &[64, 24, 56, 56], dtype, Lay::Contiguous, &[0, 2, 3], false));
            all.push(reduce(kind, &[64, 24, 56, 56], dtype, Lay::ChannelsLast, &[0, 2, 3], false));
            all.push(reduce(kind, &[32, 512, 7, 7], dtype, Lay::ChannelsLast, &[2, 3], true));
            all.push(reduce(kind, &[32, 512, 7, 7], dtype, Lay::Contiguous, &[2, 3], true));
        }
    }
    all
}

/// NaN, infinities, empty tensors, scalars.
fn special() -> Vec<Case> {
    use ReduceKind::*;
    let mut all = vec![];
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for dtype in [DType::F32, DType::BF16, DType::F64] {
        for kind in [Sum, Mean, Amax, Amin, Argmax, Argmin, Any, All] {
            for (what, values) in [
                ("nan", vec![1.0, nan, 3.0, -inf, nan, 2.0, 0.0]),
                ("late nan", vec![1.0, 5.0, 3.0, 0.0, 1.0, 2.0, 7.0, 7.0, 1.0, 1.0, nan]),
                ("lowest", vec![-inf]),
                ("highest", vec![inf]),
                ("zeros", vec![0.0]),
            ] {
                for (shape, dims) in [(&[6, 35][..], &[1][..]), (&[6, 35], &[0]), (&[3, 5000], &[1]), (&[4, 5, 6], &[0, 1, 2])] {
                    let x = Input::new(shape, dtype).values(Values::Given(values.clone()));
                    let name = format!("{} of {what} {shape:?} {dtype:?} over {dims:?}", kind.name());
                    all.push(Case::new(name, Op::Reduce { kind, dims: Dims::of(dims), keepdim: false }, vec![x]));
                }
            }
        }
    }
    for dtype in [DType::F32, DType::I64, DType::Bool] {
        for kind in [Sum, Prod, Any, All] {
            for (shape, dims) in [(&[0][..], &[0][..]), (&[3, 0], &[1]), (&[0, 3], &[0]), (&[0, 3], &[1]), (&[4, 0, 2], &[0, 1])] {
                all.push(reduce(kind, shape, dtype, Lay::Contiguous, dims, false));
            }
            all.push(reduce(kind, &[], dtype, Lay::Contiguous, &[], false));
            all.push(reduce(kind, &[4, 6], dtype, Lay::Transposed, &[], false));
        }
    }
    all.push(reduce(Mean, &[3, 0], DType::F32, Lay::Contiguous, &[1], false));
    all.push(reduce(Amax, &[], DType::F32, Lay::Contiguous, &[], false));
    all.push(reduce(Argmax, &[], DType::F32, Lay::Contiguous, &[], false));
    // int64 that wraps.
    let x = Input::new(&[9, 100], DType::I64).values(Values::Given(vec![9e18, 5e18, -3.0]));
    all.push(Case::new("sum that wraps", Op::Reduce { kind: Sum, dims: Dims::of(&[1]), keepdim: false }, vec![x]).exact());
    all
}
