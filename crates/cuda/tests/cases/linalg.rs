//! Matrix products: every layout of operands, batches, odd and tiny sizes.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::Op;

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

fn matmul(a: &[usize], la: Lay, b: &[usize], lb: Lay, dtype: DType) -> Case {
    let name = format!("matmul {a:?} {la:?} {b:?} {lb:?} {dtype:?}");
    Case::new(name, Op::Matmul { mask: false }, vec![Input::new(a, dtype).lay(la), Input::new(b, dtype).lay(lb)])
}

/// With a relu's derivative on the product.
fn masked([m, n, k]: [usize; 3], la: Lay, lb: Lay, dtype: DType) -> Case {
    let name = format!("masked matmul {m}x{k} {la:?} {k}x{n} {lb:?} {dtype:?}");
    let ins = vec![Input::new(&[m, k], dtype).lay(la), Input::new(&[k, n], dtype).lay(lb), Input::new(&[m, n], dtype)];
    Case::new(name, Op::Matmul { mask: true }, ins)
}

fn linear(x: &[usize], n: usize, bias: bool, relu: bool, dtype: DType) -> Case {
    let k = x.last().copied().unwrap_or(1);
    let mut ins = vec![Input::new(x, dtype), Input::new(&[n, k], dtype)];
    if bias {
        ins.push(Input::new(&[n], dtype));
    }
    let what = format!("linear{}{}", if bias { " bias" } else { "" }, if relu { " relu" } else { "" });
    Case::new(format!("{what} {x:?} {n} {dtype:?}"), Op::Linear { bias, relu }, ins)
}

/// m, n, k: single elements, odd numbers, a classifier's head and its gradients, more than a tile of each kernel.
const SIZES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (3, 5, 7),
    (32, 10, 64),
    (10, 64, 32),
    (32, 64, 10),
    (10, 64, 512),
    (7, 13, 300),
    (33, 70, 257),
    (1, 9, 100),
    (9, 1, 100),
    (128, 784, 32),
    (64, 48, 2),
    (130, 70, 65),
    (256, 256, 256),
];

fn matrices() -> Vec<Case> {
    let mut all = vec![];
    for (m, n, k) in SIZES {
        for dtype in FLOATS {
            let common = matches!(dtype, DType::F32 | DType::BF16);
            for (la, lb) in [
                (Lay::Contiguous, Lay::Contiguous),
                (Lay::Contiguous, Lay::Transposed),
                (Lay::Transposed, Lay::Contiguous),
                (Lay::Transposed, Lay::Transposed),
            ] {
                if common || la == Lay::Contiguous {
                    all.push(matmul(&[m, k], la, &[k, n], lb, dtype));
                }
            }
        }
        for dtype in [DType::F32, DType::BF16] {
            // Addresses, strides and repetition that the library doesn't take, or takes slowly.
            all.push(matmul(&[m, k], Lay::Offset, &[k, n], Lay::Offset, dtype).outputs(Lay::Offset));
            all.push(matmul(&[m, k], Lay::Strided, &[k, n], Lay::Contiguous, dtype));
            all.push(matmul(&[m, k], Lay::Contiguous, &[k, n], Lay::Strided, dtype));
            all.push(matmul(&[m, k], Lay::Expanded, &[k, n], Lay::Expanded, dtype));
        }
    }
    for (m, n, k) in [(32, 64, 10), (32, 128, 64), (7, 13, 300), (130, 70, 65), (1, 9, 100), (700, 900, 520), (512, 128, 64)] {
        for dtype in FLOATS {
            all.push(masked([m, n, k], Lay::Contiguous, Lay::Contiguous, dtype));
            all.push(masked([m, n, k], Lay::Transposed, Lay::Strided, dtype));
        }
    }
    // Strided and too large for our kernel: copied first.
    all.push(matmul(&[520, 260], Lay::Strided, &[260, 300], Lay::Strided, DType::F32));
    all.push(matmul(&[520, 260], Lay::Transposed, &[260, 300], Lay::Expanded, DType::BF16));
    for dtype in FLOATS {
        all.push(matmul(&[700, 520], Lay::Contiguous, &[520, 900], Lay::Transposed, dtype));
    }
    // TF32 has ten bits of mantissa.
    for (m, n, k) in [(32, 10, 64), (128, 256, 512), (33, 70, 257)] {
        let mut case = matmul(&[m, k], Lay::Contiguous, &[k, n], Lay::Transposed, DType::F32).tf32().tolerance(100.0);
        case.name += " tf32";
        all.push(case);
    }
    all
}

fn batches() -> Vec<Case> {
    use Lay::{ChannelsLast, Contiguous, Expanded, Offset, Strided, Transposed};
    let mut all = vec![];
    // What the two batches are, and how they lie.
    let batches: [(&[usize], &[usize]); 7] =
        [(&[6], &[6]), (&[6], &[1]), (&[1], &[6]), (&[2, 3], &[2, 3]), (&[2, 3], &[1, 3]), (&[4, 1], &[1, 3]), (&[2, 1, 3], &[1, 4, 1])];
    for (ba, bb) in batches {
        for (m, n, k) in [(5, 7, 9), (1, 8, 16), (64, 64, 32), (8, 1, 40)] {
            let a = [ba, &[m, k]].concat();
            let b = [bb, &[k, n]].concat();
            for dtype in [DType::F32, DType::BF16] {
                all.push(matmul(&a, Contiguous, &b, Contiguous, dtype));
                all.push(matmul(&a, Transposed, &b, Transposed, dtype));
            }
            for (la, lb) in
                [(Expanded, Contiguous), (Contiguous, Expanded), (ChannelsLast, Contiguous), (Strided, Transposed), (Offset, ChannelsLast)]
            {
                all.push(matmul(&a, la, &b, lb, DType::F32));
            }
            all.push(matmul(&a, Contiguous, &b, Transposed, DType::F64));
        }
    }
    // Copied first; more products than are launched one by one; more than a grid's second dimension.
    all.push(matmul(&[2, 8, 256, 128], ChannelsLast, &[2, 8, 128, 256], Contiguous, DType::BF16));
    all.push(matmul(&[12, 1, 64, 64], Contiguous, &[1, 16, 64, 64], Transposed, DType::F32));
    all.push(matmul(&[70_000, 2, 3], Contiguous, &[70_000, 3, 2], Transposed, DType::F32));
    all.push(matmul(&[70_000, 2, 3], Strided, &[70_000, 3, 2], Contiguous, DType::F32));
    all
}

fn layers() -> Vec<Case> {
    let mut all = vec![];
    for dtype in FLOATS {
        for x in [&[64][..], &[32, 784], &[512, 64], &[3, 5, 33], &[2, 3, 4, 16], &[1, 7]] {
            for n in [10, 128, 1] {
                for (bias, relu) in [(true, false), (true, true), (false, false), (false, true)] {
                    if n == 10 || bias {
                        all.push(linear(x, n, bias, relu, dtype));
                    }
                }
            }
        }
    }
    all.push(linear(&[2048, 768], 3072, true, false, DType::BF16));
    all.push(linear(&[2048, 768], 3072, true, true, DType::BF16));
    // A NaN stays one through a relu.
    for (rows, n) in [(4, 8), (256, 512)] {
        let mut case = linear(&[rows, 64], n, true, true, DType::F32);
        case.name += " of NaN";
        case.inputs[2] = Input::new(&[n], DType::F32).values(Values::Given(vec![f64::NAN, 1.0, -1.0, 0.5]));
        all.push(case);
    }
    all
}

fn special() -> Vec<Case> {
    use Lay::{Contiguous, Strided, Transposed};
    let mut all = vec![];
    for dtype in [DType::F32, DType::BF16, DType::F64, DType::I64] {
        for (m, n, k) in [(3, 4, 0), (0, 4, 3), (3, 0, 4), (0, 0, 0)] {
            all.push(matmul(&[m, k], Contiguous, &[k, n], Contiguous, dtype));
            all.push(matmul(&[2, m, k], Contiguous, &[1, k, n], Contiguous, dtype));
        }
        all.push(matmul(&[0, 3, 4], Contiguous, &[1, 4, 5], Contiguous, dtype));
    }
    for (x, n) in [(&[5, 0][..], 3), (&[0, 4], 3), (&[0], 70), (&[5, 4], 0)] {
        all.push(linear(x, n, true, true, DType::F32));
        all.push(linear(x, n, false, false, DType::F16));
    }
    for dtype in [DType::I32, DType::I64, DType::U8] {
        for (m, n, k) in [(5, 3, 7), (33, 40, 130), (1, 1, 300)] {
            all.push(matmul(&[m, k], Contiguous, &[k, n], Transposed, dtype));
            all.push(matmul(&[2, 3, m, k], Strided, &[1, 3, k, n], Contiguous, dtype));
        }
        // Sums wrap.
        let mut case = matmul(&[4, 50], Contiguous, &[50, 4], Contiguous, dtype);
        case.name += " large";
        let large = if dtype == DType::U8 { 255 } else { 0x7fff_fff0 };
        case.inputs.iter_mut().for_each(|i| i.values = Values::Integers(large - 10, large));
        all.push(case);
    }
    all
}

pub fn cases() -> Vec<Case> {
    [matrices(), batches(), layers(), special()].concat()
}
