//! An element's bits don't depend on where it lies, nor on what is computed with it.
use super::{Buffer, apply, filled, same};
use crate::cpu::run;
use crate::device::Device;
use crate::dtype::DType;
use crate::op::{Binary, Op, Random, Sc, Unary};
use crate::shape::{Layout, Shape};

/// Layouts of the shape [3, 5, 300] (or smaller), with a name.
fn layouts(dims: [usize; 3]) -> Vec<(&'static str, Vec<usize>)> {
    let [_, b, c] = dims;
    vec![
        ("contiguous", vec![b * c, c, 1]),
        ("permuted", vec![c, 3 * c, 1]),
        ("transposed", vec![b * c, 1, b]),
        ("reversed", vec![1, 3, 3 * b]),
        ("every second", vec![2 * b * c, 2 * c, 2]),
        ("padded rows", vec![b * (c + 3), c + 3, 1]),
        ("row", vec![0, 0, 1]),
        ("column", vec![b, 1, 0]),
        ("plane", vec![0, c, 1]),
        ("outer", vec![1, 0, 0]),
        ("scalar", vec![0, 0, 0]),
    ]
}

#[test]
fn any_layout_gives_the_same_bits() {
    for (c, dtype) in [(300, DType::F32), (7, DType::F64), (257, DType::BF16), (4000, DType::F32), (9, DType::U8)] {
        let dims = [3, 5, c];
        let straight = |b: &Buffer| {
            let values = b.values();
            Buffer::new(&dims, b.dtype, |i| values[i])
        };
        let memory = |salt| filled(&[6 * 5 * (c + 3)], dtype, salt);
        for (name, strides) in layouts(dims) {
            let x = memory(3).under(Layout::new(Shape::new(&dims), &strides, 0));
            same(&apply(&Op::Contiguous, &[&x], dtype).values(), &x.values(), name);
            let flat = straight(&x);
            let unary = if dtype.is_float() { Unary::Tanh } else { Unary::Sign };
            same(&apply(&Op::Unary(unary), &[&x], dtype).values(), &apply(&Op::Unary(unary), &[&flat], dtype).values(), name);
            for (other, strides) in layouts(dims) {
                let y = memory(8).under(Layout::new(Shape::new(&dims), &strides, 0));
                for op in [Binary::Sub, Binary::Pow, Binary::Lt] {
                    let out = if op.is_predicate() { DType::Bool } else { dtype };
                    let (a, b) = (apply(&Op::Binary(op), &[&x, &y], out), apply(&Op::Binary(op), &[&flat, &straight(&y)], out));
                    same(&a.values(), &b.values(), &format!("{} of {name} and {other}", op.name()));
                }
                let condition = Buffer::new(&[6 * 5 * (c + 3)], DType::Bool, |i| (i % 3) as f64 - 1.0).under(y.layout);
                let got = apply(&Op::Where, &[&condition, &x, &y], dtype);
                let want: Vec<f64> = (0..3 * 5 * c).map(|i| if condition.element(i) != 0.0 { x.element(i) } else { y.element(i) }).collect();
                same(&got.values(), &want, &format!("where {name} and {other}"));
            }
        }
    }
}

#[test]
fn transposes() {
    for dtype in [DType::U8, DType::BF16, DType::F32, DType::I64] {
        for (m, n) in [(1, 9), (4, 4), (16, 16), (17, 31), (300, 200), (64, 2050)] {
            let x = filled(&[2, m, n], dtype, 0);
            let expected = |i: usize| x.at(i / (m * n) * m * n + i % m * n + i / m % n);
            let want: Vec<f64> = (0..2 * m * n).map(expected).collect();
            let layout = x.layout.permute(&[0, 2, 1]);
            let x = x.under(layout);
            same(&apply(&Op::Contiguous, &[&x], dtype).values(), &want, "transpose");
            // The other way: into a transposed target.
            let target = Buffer::zeros(&[2, m, n], dtype);
            let under = target.layout.permute(&[0, 2, 1]);
            let target = target.under(under);
            let straight = Buffer::new(&[2, n, m], dtype, |i| want[i]);
            unsafe { run(&Op::CopyInto, &[], &[target.arg(), straight.arg()], &[]).unwrap() };
            same(&target.values(), &want, "transposed target");
        }
    }
    // Channels first to last and back, with an outer dimension on both sides.
    let x = filled(&[2, 3, 6, 40], DType::F32, 0);
    let layout = x.layout.permute(&[0, 2, 3, 1]);
    let x = x.under(layout);
    same(&apply(&Op::Contiguous, &[&x], DType::F32).values(), &x.values(), "channels last");
    let x = filled(&[5, 6, 7, 8], DType::F32, 0);
    let layout = x.layout.permute(&[3, 1, 0, 2]);
    let x = x.under(layout);
    same(&apply(&Op::Contiguous, &[&x], DType::F32).values(), &x.values(), "any permutation");
}

#[test]
fn in_place() {
    let y = filled(&[40, 50], DType::F32, 5);
    let transposed = y.layout.permute(&[1, 0]);
    for (name, layout) in [("contiguous", Layout::contiguous(Shape::new(&[50, 40]))), ("transposed", transposed)] {
        let x = filled(&[2000], DType::F32, 1).under(layout);
        let before = x.values();
        let row = filled(&[40], DType::F32, 9).under(Layout::new(Shape::new(&[50, 40]), &[0, 1], 0));
        unsafe { run(&Op::BinaryInto(Binary::Mul), &[], &[x.arg(), row.arg()], &[]).unwrap() };
        let want: Vec<f64> = before.iter().zip(row.values()).map(|(a, b)| (*a as f32 * b as f32) as f64).collect();
        same(&x.values(), &want, name);
        let op = Op::ScalarInto { op: Binary::Add, value: Sc::new(0.5) };
        unsafe { run(&op, &[], &[x.arg()], &[]).unwrap() };
        let want: Vec<f64> = want.iter().map(|a| (*a as f32 + 0.5) as f64).collect();
        same(&x.values(), &want, name);
        unsafe { run(&Op::BinaryInto(Binary::Add), &[], &[x.arg(), x.arg()], &[]).unwrap() };
        let want: Vec<f64> = want.iter().map(|a| (*a as f32 * 2.0) as f64).collect();
        same(&x.values(), &want, "x += x");
        for from in DType::ALL {
            let src = filled(&[50, 40], from, 7);
            unsafe { run(&Op::CopyInto, &[], &[x.arg(), src.arg()], &[]).unwrap() };
            let want: Vec<f64> = src.values().iter().map(|v| *v as f32 as f64).collect();
            same(&x.values(), &want, &format!("copy from {}", from.name()));
        }
        let row = filled(&[40], DType::F32, 9).under(Layout::new(Shape::new(&[50, 40]), &[0, 1], 0));
        unsafe { run(&Op::CopyInto, &[], &[x.arg(), row.arg()], &[]).unwrap() };
        same(&x.values(), &row.values(), "copy of a row");
    }
    let x = filled(&[100], DType::I32, 0);
    assert!(unsafe { run(&Op::BinaryInto(Binary::Lt), &[], &[x.arg(), x.arg()], &[]) }.is_err());
}

#[test]
fn a_part_alone_gives_the_same_bits() {
    // Large enough for several threads; the parts are not.
    let n = 300_007;
    let x = filled(&[n], DType::F32, 0);
    let normal = |n: usize, offset: usize| {
        let out = Buffer::zeros(&[n], DType::F32);
        let (seed, offset) = (Sc::new(1.0), Sc::new(offset as f64));
        let op = Op::Random { shape: out.layout.shape, dtype: DType::F32, device: Device::Cpu, kind: Random::Normal, seed, offset };
        unsafe { run(&op, &[], &[], &[out.arg()]).unwrap() };
        out.values()
    };
    let noise = normal(n, 0);
    for op in [Unary::Exp, Unary::Tanh, Unary::Erf, Unary::Log, Unary::Sin] {
        let whole = apply(&Op::Unary(op), &[&x], DType::F32).values();
        for start in [0, 1, 32767, 200_003, n - 5] {
            let m = (n - start).min(1003);
            let part = Buffer::new(&[m], DType::F32, |i| x.at(start + i));
            same(&apply(&Op::Unary(op), &[&part], DType::F32).values(), &whole[start..start + m], op.name());
            let from = start / 4 * 4;
            same(&normal(m, start / 4), &noise[from..from + m], "randn");
        }
    }
}
