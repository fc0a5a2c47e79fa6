//! Sorting, short rows to merged ones, and running sums.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::Op;

fn sort(descending: bool, shape: &[usize], dtype: DType, values: Values) -> Case {
    let what = match &values {
        Values::Given(_) => " special",
        Values::Permutation => " distinct",
        _ => "",
    };
    let name = format!("sort{} {shape:?} {dtype:?}{what}", if descending { " descending" } else { "" });
    Case::new(name, Op::Sort { descending }, vec![Input::new(shape, dtype).values(values)]).exact()
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    let inf = f64::INFINITY;
    let special = vec![2.0, f64::NAN, -0.0, 0.0, -inf, 1.0, inf, -1.0, 0.0, -0.0, f64::NAN, 3.5, -2.0];
    for dtype in DType::ALL {
        for descending in [false, true] {
            for shape in [
                &[5, 1][..],
                &[70, 2],
                &[33, 10],
                &[9, 64],
                &[3, 100],
                &[4, 1000],
                &[2, 2048],
                &[2, 2049],
                &[2, 4096],
                &[3, 4097],
                &[2, 10_000],
                &[0, 4],
                &[3, 0],
                &[2, 3, 17],
            ] {
                // Few different numbers show what is stable.
                let few = if dtype == DType::Bool { Values::Bool } else { Values::Integers(0, 6) };
                all.push(sort(descending, shape, dtype, few));
            }
            if dtype.is_float() {
                for shape in [&[7, 13][..], &[2, 700], &[2, 9000]] {
                    all.push(sort(descending, shape, dtype, Values::Given(special.clone())));
                }
            }
        }
    }
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64] {
        all.push(sort(false, &[200_003], dtype, Values::Permutation));
        all.push(sort(true, &[3, 65_536], dtype, Values::Permutation));
        all.push(sort(false, &[1000, 1024], dtype, Values::Normal));
        all.push(sort(false, &[100_000, 5], dtype, Values::Normal));
    }
    all.push(sort(false, &[40, 6], DType::I64, Values::Given(vec![3.0, i64::MIN as f64, -1.0, 9e18, 0.0])));
    all.push(sort(false, &[40, 6], DType::I32, Values::Given(vec![3.0, i32::MIN as f64, -1.0, i32::MAX as f64, 0.0])));
    // Batches: more rows than are merged at a time.
    all.push(sort(false, &[2000, 5000], DType::I64, Values::Normal).no_graph());
    all.extend(sums());
    all
}

fn sums() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bool) {
        for (shape, dim) in [
            (&[7][..], 0),
            (&[3, 5, 4], 1),
            (&[3, 5, 4], 0),
            (&[20, 31], 1),
            (&[20, 33], 1),
            (&[6, 128], 1),
            (&[2, 300], 1),
            (&[3, 5000], 1),
            (&[300, 40], 0),
            (&[2, 40, 5000], 1),
            (&[1, 100_000], 1),
            (&[5000, 3], 1),
            (&[0, 3], 1),
            (&[3, 0], 1),
        ] {
            let values = if dtype.is_float() { Values::Between(-0.5, 1.0) } else { Values::Integers(0, 3) };
            let name = format!("cumsum {shape:?} {dtype:?} along {dim}");
            all.push(Case::new(name, Op::Cumsum { dim }, vec![Input::new(shape, dtype).values(values)]));
        }
    }
    // What is before an infinity or a NaN isn't touched by it.
    for dtype in [DType::F32, DType::BF16, DType::F64] {
        for (shape, dim) in [(&[2, 300][..], 1), (&[300, 3], 0), (&[1, 9000], 1)] {
            for odd in [f64::INFINITY, f64::NAN] {
                let n: usize = shape.iter().product();
                let values: Vec<f64> = (0..n).map(|i| if i % 217 == 150 { odd } else { (i % 3) as f64 }).collect();
                let name = format!("cumsum {shape:?} {dtype:?} with {odd}");
                all.push(Case::new(name, Op::Cumsum { dim }, vec![Input::new(shape, dtype).values(Values::Given(values))]));
            }
        }
    }
    for lay in [Lay::Offset, Lay::Contiguous] {
        all.push(
            Case::new(
                format!("cumsum {lay:?} to an offset"),
                Op::Cumsum { dim: 1 },
                vec![Input::new(&[9, 700], DType::F32).lay(lay).values(Values::Uniform)],
            )
            .outputs(Lay::Offset),
        );
    }
    all
}
