//! Pointwise ops alone: layouts, alignments and sizes, casts, scalars, copies and in-place forms. Every function at every dtype
//! is in `chain.rs`, which also runs its steps one by one.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::{Binary, Op, Sc, Unary};

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
const LAYS: [Lay; 6] = [Lay::Contiguous, Lay::Transposed, Lay::Offset, Lay::ChannelsLast, Lay::Expanded, Lay::Strided];

pub fn cases() -> Vec<Case> {
    [sizes(), layouts(), broadcasts(), casts(), scalars(), selects(), dropouts(), copies(), in_place(), large()].concat()
}

fn add(name: String, a: Input, b: Input) -> Case {
    Case::new(name, Op::Binary(Binary::Add), vec![a, b]).exact()
}

/// Around vectors, blocks, and the point from which threads have several vectors.
fn sizes() -> Vec<Case> {
    let mut all = vec![];
    for dtype in [DType::U8, DType::BF16, DType::F32, DType::F64] {
        for n in [0, 1, 3, 15, 16, 17, 511, 512, 513, 4097, 70_001] {
            all.push(add(format!("add {n} {dtype:?}"), Input::new(&[n], dtype), Input::new(&[n], dtype)));
        }
    }
    for shape in [&[][..], &[1], &[1, 1, 1], &[0, 5], &[3, 0, 2]] {
        all.push(add(format!("add {shape:?}"), Input::new(shape, DType::F32), Input::new(shape, DType::F32)));
    }
    all
}

/// Every pair of layouts, for operands and results.
fn layouts() -> Vec<Case> {
    let mut all = vec![];
    for a in LAYS {
        for b in LAYS {
            let (x, y) = (Input::new(&[3, 6, 5, 8], DType::F32).lay(a), Input::new(&[3, 6, 5, 8], DType::F32).lay(b));
            all.push(add(format!("add {a:?} {b:?}"), x, y));
        }
        for out in [Lay::Contiguous, Lay::Offset, Lay::ChannelsLast] {
            for dtype in [DType::U8, DType::F16, DType::I64] {
                let x = Input::new(&[2, 8, 3, 4], dtype).lay(a);
                let op = if dtype.is_float() { Unary::Sqrt } else { Unary::Neg };
                all.push(Case::new(format!("{} {a:?} to {out:?} {dtype:?}", op.name()), Op::Unary(op), vec![x]).outputs(out).exact());
            }
        }
    }
    // Vectors that begin anywhere: every count of elements behind an unaligned address.
    for n in 1..40 {
        let x = Input::new(&[n], DType::BF16).lay(Lay::Offset);
        all.push(add(format!("add offset {n}"), x.clone(), x.lay(Lay::Contiguous)));
    }
    all
}

/// Rows, columns, channels, one element, and what has none of their shapes.
fn broadcasts() -> Vec<Case> {
    let shapes: [&[usize]; 9] = [&[], &[1], &[7], &[8], &[4, 1], &[6, 1, 1], &[5, 1, 1, 8], &[5, 6, 1, 1], &[1, 6, 4, 8]];
    let mut all = vec![];
    for small in shapes {
        for dtype in [DType::F32, DType::BF16, DType::I32, DType::Bool] {
            let whole: &[usize] = if small == [7] { &[5, 6, 4, 7] } else { &[5, 6, 4, 8] };
            for out in [Lay::Contiguous, Lay::ChannelsLast] {
                let (x, y) = (Input::new(whole, dtype).lay(out), Input::new(small, dtype));
                let name = format!("{dtype:?} {whole:?} {small:?} {out:?}");
                all.push(add(format!("add {name}"), x.clone(), y.clone()).outputs(out));
                all.push(Case::new(format!("lt reversed {name}"), Op::Binary(Binary::Lt), vec![y, x]).outputs(out).exact());
            }
        }
    }
    let (column, row) = (Input::new(&[37, 1], DType::F32), Input::new(&[1, 53], DType::F32));
    all.push(add("add column and row".into(), column, row));
    all
}

/// Numbers that don't fit, fractions, ties, NaN, infinities and zeros.
pub fn special(dtype: DType) -> Values {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let floats =
        [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.7, -3.7, 255.5, 256.0, -7.0, 300.5, 65504.0, 65520.0, 1e-7, 3e-8, 2e5, -2e5, 3e9, -3e9];
    let more =
        [1e19, -1e19, 1e-39, -1e-39, nan, inf, -inf, 2147483647.0, 1.0000001, 1.00390625, 0.1, 16777217.0, 33000.0, 4097.0, 1e-45, -6e-8, 2049.0];
    let integers =
        [0.0, 1.0, -1.0, 2.0, 255.0, 256.0, -3.0, 70000.0, 2147483647.0, -2147483648.0, 16777217.0, 123456789.0, 127.0, 128.0, 9007199254740991.0];
    Values::Given(if dtype.is_float() { [&floats[..], &more[..]].concat() } else { integers.to_vec() })
}

fn casts() -> Vec<Case> {
    let mut all = vec![];
    for from in DType::ALL {
        for to in DType::ALL {
            let x = Input::new(&[211], from).values(special(from));
            all.push(Case::new(format!("cast {from:?} {to:?}"), Op::Cast(to), vec![x]).exact());
        }
    }
    for (from, to) in [(DType::F32, DType::BF16), (DType::U8, DType::F32), (DType::F64, DType::Bool), (DType::Bool, DType::F16)] {
        for lay in LAYS {
            let x = Input::new(&[2, 12, 9, 10], from).lay(lay);
            all.push(Case::new(format!("cast {from:?} {to:?} {lay:?}"), Op::Cast(to), vec![x.clone()]).exact());
            all.push(Case::new(format!("cast {from:?} {to:?} {lay:?} to last"), Op::Cast(to), vec![x]).outputs(Lay::ChannelsLast).exact());
        }
    }
    all
}

fn scalars() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL {
        let ops: &[Binary] = match dtype {
            DType::Bool => &[Binary::Add, Binary::Mul, Binary::LogicalXor, Binary::Maximum],
            d if d.is_float() => &[Binary::Sub, Binary::Div, Binary::Remainder, Binary::Minimum, Binary::Ge],
            _ => &[Binary::Sub, Binary::Mul, Binary::Pow, Binary::Ne],
        };
        for op in ops {
            for (value, reversed) in [(3.0, false), (2.0, true)] {
                let op = Op::Scalar { op: *op, value: Sc::new(value), reversed };
                let low = if dtype == DType::I32 || dtype == DType::I64 { 0.0 } else { 0.5 };
                let x = Input::new(&[333], dtype).values(if dtype == DType::Bool { Values::Bool } else { Values::Between(low, 6.0) });
                all.push(Case::new(format!("scalar {} {value} {dtype:?}", op.name()), op, vec![x]).exact());
            }
        }
    }
    // A remainder by an integer, rounding of the scalar to the dtype, powers with a formula and without.
    for value in [3.0, -3.0] {
        let op = Op::Scalar { op: Binary::Remainder, value: Sc::new(value), reversed: false };
        for dtype in [DType::I32, DType::I64] {
            let x = Input::new(&[64], dtype).values(Values::Integers(-20, 20));
            all.push(Case::new(format!("remainder {value} {dtype:?}"), op.clone(), vec![x]).exact());
        }
    }
    for value in [2.0, 1.0, 3.0, 0.5, -1.0, -0.5, -2.0, 1.7, 0.0, f64::INFINITY] {
        for dtype in FLOATS {
            let x = Input::new(&[129], dtype).values(Values::Between(-0.5, 3.0));
            let op = Op::Scalar { op: Binary::Pow, value: Sc::new(value), reversed: false };
            all.push(Case::new(format!("pow {value} {dtype:?}"), op, vec![x.clone()]).same_dtype());
            let op = Op::Scalar { op: Binary::Mul, value: Sc::new(value / 3.0), reversed: false };
            all.push(Case::new(format!("mul {value}/3 {dtype:?}"), op, vec![x]).exact());
        }
    }
    all
}

fn selects() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL {
        for (shape, small) in [(&[6, 35][..], &[35][..]), (&[4, 3, 8], &[]), (&[9], &[9])] {
            let ins = vec![Input::new(shape, DType::Bool), Input::new(small, dtype).values(special(dtype)), Input::new(shape, dtype)];
            all.push(Case::new(format!("where {dtype:?} {shape:?} {small:?}"), Op::Where, ins).exact());
        }
        for (low, high) in [(-1.0, 2.0), (f64::NEG_INFINITY, 1.0), (0.25, f64::INFINITY), (2.0, 1.0), (f64::NAN, 1.0)] {
            // No bound is NaN but a broken one: what it does to integers is that of a cast.
            if dtype != DType::Bool {
                let op = Op::Clamp { low: Sc::new(low), high: Sc::new(high) };
                all.push(Case::new(format!("clamp {low} {high} {dtype:?}"), op, vec![Input::new(&[301], dtype).values(special(dtype))]).exact());
            }
        }
    }
    all
}

fn dropouts() -> Vec<Case> {
    let dropout = |p: f64| Op::Dropout { p: Sc::new(p), seed: Sc::new(42.0), offset: Sc::new(17.0) };
    let mut all = vec![];
    for dtype in FLOATS {
        for p in [0.0, 0.1, 0.5, 1.0] {
            all.push(Case::new(format!("dropout {p} {dtype:?}"), dropout(p), vec![Input::new(&[1031], dtype)]).exact());
        }
        // The mask goes by row-major numbers, whatever the layout.
        for lay in LAYS {
            for out in [Lay::Contiguous, Lay::Offset, Lay::ChannelsLast] {
                for shape in [&[3, 8, 5, 4][..], &[2, 3, 7, 5]] {
                    let name = format!("dropout {shape:?} {dtype:?} {lay:?} to {out:?}");
                    all.push(Case::new(name, dropout(0.4), vec![Input::new(shape, dtype).lay(lay)]).outputs(out).exact());
                }
            }
        }
    }
    let op = Op::Dropout { p: Sc::new(0.3), seed: Sc::new(-5.0), offset: Sc::new(4294967290.0) };
    all.push(Case::new("dropout at the counter's edge", op, vec![Input::new(&[999], DType::F32)]).exact());
    all
}

fn copies() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL {
        for lay in LAYS {
            for shape in [&[2, 16, 9, 8][..], &[1, 8, 64, 64], &[3, 33, 5, 7], &[2, 3, 10, 11]] {
                let x = Input::new(shape, dtype).lay(lay);
                all.push(Case::new(format!("contiguous {shape:?} {dtype:?} {lay:?}"), Op::Contiguous, vec![x.clone()]).exact());
                let name = format!("contiguous {shape:?} {dtype:?} {lay:?} to last");
                all.push(Case::new(name, Op::Contiguous, vec![x]).outputs(Lay::ChannelsLast).exact());
            }
        }
        for shape in [&[70, 130][..], &[128, 256], &[5, 64, 40], &[9, 8], &[31, 33], &[4, 100]] {
            let x = Input::new(shape, dtype).lay(Lay::Transposed);
            all.push(Case::new(format!("transpose {shape:?} {dtype:?}"), Op::Contiguous, vec![x]).exact());
        }
    }
    // Values that must come through as they are.
    all.push(Case::new("contiguous special", Op::Contiguous, vec![Input::new(&[100], DType::F16).values(special(DType::F16))]).exact());
    all
}

fn in_place() -> Vec<Case> {
    let mut all = vec![];
    for lay in [Lay::Contiguous, Lay::Transposed, Lay::Offset, Lay::ChannelsLast, Lay::Strided] {
        for (to, from) in [(DType::F32, DType::F32), (DType::BF16, DType::F32), (DType::I64, DType::U8), (DType::F16, DType::F16)] {
            for source in [Lay::Contiguous, Lay::Transposed, Lay::Expanded] {
                let x = Input::new(&[2, 9, 10, 12], to).lay(lay);
                let ins = vec![x, Input::new(&[2, 9, 10, 12], from).lay(source)];
                all.push(Case::new(format!("copy_ {to:?} {lay:?} {from:?} {source:?}"), Op::CopyInto, ins).exact());
            }
        }
        for dtype in [DType::F32, DType::F16, DType::I32] {
            let x = Input::new(&[3, 4, 5, 6], dtype).lay(lay);
            for small in [&[][..], &[6], &[4, 1, 1], &[3, 4, 5, 6]] {
                let ins = vec![x.clone(), Input::new(small, dtype)];
                all.push(Case::new(format!("add_ {dtype:?} {lay:?} {small:?}"), Op::BinaryInto(Binary::Add), ins).exact());
            }
            let op = Op::ScalarInto { op: Binary::Mul, value: Sc::new(3.5) };
            all.push(Case::new(format!("mul_ {dtype:?} {lay:?}"), op, vec![x]).exact());
        }
    }
    let ins = vec![Input::new(&[6, 5], DType::F32), Input::new(&[5], DType::I32)];
    all.push(Case::new("copy_ row", Op::CopyInto, ins).exact());
    all
}

/// Several vectors a thread, and more than one wave of blocks.
fn large() -> Vec<Case> {
    let n = 8_000_003;
    vec![
        add("add large".into(), Input::new(&[n], DType::F32), Input::new(&[n], DType::F32)),
        add("add large rows".into(), Input::new(&[9001, 1000], DType::BF16), Input::new(&[1000], DType::BF16)),
        Case::new("relu large", Op::Unary(Unary::Relu), vec![Input::new(&[n], DType::BF16)]).exact(),
        Case::new("contiguous large", Op::Contiguous, vec![Input::new(&[16, 64, 90, 90], DType::BF16).lay(Lay::ChannelsLast)]).exact(),
    ]
}
