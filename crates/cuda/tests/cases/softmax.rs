//! Softmax and its logarithm: every kernel by the rows' length, rows that don't come out even, infinities and NaN.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::Op;

fn softmax(log: bool, shape: &[usize], dtype: DType, lay: Lay, values: Values) -> Case {
    let what = if matches!(values, Values::Given(_)) { " special" } else { "" };
    let name = format!("{} {shape:?} {dtype:?} {lay:?}{what}", if log { "logSoftmax" } else { "softmax" });
    Case::new(name, Op::Softmax { log }, vec![Input::new(shape, dtype).lay(lay).values(values)])
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    let lengths =
        [1, 2, 3, 8, 10, 16, 31, 32, 33, 40, 64, 100, 127, 128, 129, 200, 256, 500, 512, 513, 768, 1000, 1001, 1024, 2048, 2056, 4096, 4100];
    let longer = [8192, 10_000, 16_384, 16_388, 20_000, 32_768, 33_000, 50_257, 70_000];
    for dtype in [DType::F32, DType::BF16, DType::F16, DType::F64] {
        for log in [false, true] {
            for length in lengths {
                all.push(softmax(log, &[37, length], dtype, Lay::Contiguous, Values::Between(-8.0, 8.0)));
            }
            for length in longer {
                all.push(softmax(log, &[3, length], dtype, Lay::Contiguous, Values::Between(-8.0, 8.0)));
            }
            all.push(softmax(log, &[4, 12, 33, 64], dtype, Lay::Contiguous, Values::Normal));
            all.push(softmax(log, &[20_000, 10], dtype, Lay::Contiguous, Values::Normal));
            for shape in [&[5, 64][..], &[5, 1024], &[2, 8192]] {
                all.push(softmax(log, shape, dtype, Lay::Offset, Values::Normal));
                all.push(softmax(log, shape, dtype, Lay::Contiguous, Values::Normal).outputs(Lay::Offset));
            }
            for shape in [&[0, 5][..], &[5, 0], &[1, 1, 1]] {
                all.push(softmax(log, shape, dtype, Lay::Contiguous, Values::Normal));
            }
            // Rows with every mixture, rows of infinities alone, large numbers.
            let (inf, nan) = (f64::INFINITY, f64::NAN);
            for length in [4, 36, 1000, 3000, 9000, 40_000] {
                for values in
                    [vec![-inf], vec![-inf, -inf, -inf, 2.0, 1.0], vec![1.0, 2.0, inf], vec![5.0, -inf, 1.0, 0.5, 2.0, -3.0, 7.5], vec![3e4, -3e4]]
                {
                    all.push(softmax(log, &[3, length], dtype, Lay::Contiguous, Values::Given(values)));
                }
                let mut late = vec![1.0; length];
                late[length - 1] = nan;
                all.push(softmax(log, &[2, length], dtype, Lay::Contiguous, Values::Given(late)));
                // The first thread's elements are all -infinity, so the maximum must come from the others.
                let mut low = vec![-inf; length];
                low[length - 1] = 2.0;
                all.push(softmax(log, &[2, length], dtype, Lay::Contiguous, Values::Given(low)));
            }
        }
    }
    all
}
