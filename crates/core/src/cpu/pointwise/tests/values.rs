//! Kernels against one-element-at-a-time references in double precision, over dtypes and odd sizes.
use super::{Buffer, FLOATS, INTEGERS, SIZES, apply, close, filled, same};
use crate::cpu::pointwise::{binary, unary};
use crate::cpu::{creation, philox, run};
use crate::device::Device;
use crate::dtype::DType;
use crate::op::{Binary, Op, Random, Sc, Unary};
use crate::shape::{Layout, Shape};

fn unary_reference(u: Unary, x: f64) -> f64 {
    let b = |v: bool| v as u8 as f64;
    match u {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => b(x > 0.0) - b(x < 0.0),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Erf => libm::erf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::LogicalNot => b(x == 0.0),
        Unary::IsNan => b(x.is_nan()),
        Unary::IsInf => b(x.is_infinite()),
        Unary::IsFinite => b(x.is_finite()),
    }
}

fn binary_reference(op: Binary, x: f64, y: f64) -> f64 {
    let b = |v: bool| v as u8 as f64;
    match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Pow => x.powf(y),
        Binary::Minimum => {
            if x.is_nan() || y.is_nan() {
                f64::NAN
            } else {
                x.min(y)
            }
        }
        Binary::Maximum => {
            if x.is_nan() || y.is_nan() {
                f64::NAN
            } else {
                x.max(y)
            }
        }
        Binary::Remainder => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
        Binary::ReluGrad => {
            if y > 0.0 {
                x
            } else {
                0.0
            }
        }
        Binary::Eq => b(x == y),
        Binary::Ne => b(x != y),
        Binary::Lt => b(x < y),
        Binary::Le => b(x <= y),
        Binary::Gt => b(x > y),
        Binary::Ge => b(x >= y),
        Binary::LogicalAnd => b(x != 0.0 && y != 0.0),
        Binary::LogicalOr => b(x != 0.0 || y != 0.0),
        Binary::LogicalXor => b((x != 0.0) != (y != 0.0)),
    }
}

/// A float64 result as `dtype` holds it; integers wrap.
fn held(v: f64, dtype: DType) -> f64 {
    match dtype {
        DType::U8 => v as i64 as u8 as f64,
        DType::I32 => v as i64 as i32 as f64,
        DType::F32 => v as f32 as f64,
        _ => v,
    }
}

#[test]
fn unary_all_dtypes() {
    for n in SIZES {
        for dtype in DType::ALL {
            let x = filled(&[n], dtype, n);
            for u in Unary::ALL.into_iter().filter(|u| unary::supports(*u, dtype)) {
                let out = apply(&Op::Unary(u), &[&x], if u.is_predicate() { DType::Bool } else { dtype });
                let want: Vec<f64> = x.values().iter().map(|x| held(unary_reference(u, *x), dtype)).collect();
                close(&out.values(), &want, out.dtype, &format!("{} {}", u.name(), dtype.name()));
            }
        }
    }
    let nan = Buffer::new(&[1], DType::F32, |_| f64::NAN);
    assert!(apply(&Op::Unary(Unary::Relu), &[&nan], DType::F32).at(0).is_nan());
    let args = [filled(&[3], DType::I64, 0).arg()];
    assert!(unsafe { run(&Op::Unary(Unary::Exp), &[], &args, &args) }.is_err());
}

#[test]
fn large_angles() {
    let x = Buffer::new(&[100], DType::F32, |i| if i % 3 == 0 { 1e7 + i as f64 * 12345.0 } else { i as f64 });
    for u in [Unary::Sin, Unary::Cos] {
        let want: Vec<f64> = x.values().iter().map(|x| unary_reference(u, *x)).collect();
        close(&apply(&Op::Unary(u), &[&x], DType::F32).values(), &want, DType::F32, u.name());
    }
}

#[test]
fn binary_all_dtypes() {
    for n in SIZES {
        for dtype in DType::ALL {
            let (x, y) = (filled(&[n], dtype, 1), filled(&[n], dtype, 5));
            for op in Binary::ALL.into_iter().filter(|op| binary::supports(*op, dtype)) {
                if dtype != DType::Bool && !dtype.is_float() && matches!(op, Binary::Remainder | Binary::Pow) {
                    continue;
                }
                let out = apply(&Op::Binary(op), &[&x, &y], if op.is_predicate() { DType::Bool } else { dtype });
                let reference = |x: f64, y: f64| match (dtype, op) {
                    (DType::Bool, Binary::Add) => binary_reference(Binary::LogicalOr, x, y),
                    _ => held(binary_reference(op, x, y), dtype),
                };
                let want: Vec<f64> = x.values().iter().zip(y.values()).map(|(x, y)| reference(*x, y)).collect();
                close(&out.values(), &want, out.dtype, &format!("{} {}", op.name(), dtype.name()));
            }
        }
    }
}

#[test]
fn integer_rules() {
    for dtype in [DType::I32, DType::I64] {
        let (x, y) = (Buffer::new(&[4], dtype, |i| [5.0, -5.0, 5.0, -5.0][i]), Buffer::new(&[4], dtype, |i| [3.0, 3.0, -3.0, -3.0][i]));
        same(&apply(&Op::Binary(Binary::Remainder), &[&x, &y], dtype).values(), &[2.0, 1.0, -1.0, -2.0], "remainder");
        let (x, y) = (Buffer::new(&[5], dtype, |i| [2.0, 1.0, -1.0, -1.0, -3.0][i]), Buffer::new(&[5], dtype, |i| [-1.0, -1.0, -1.0, -2.0, 3.0][i]));
        same(&apply(&Op::Binary(Binary::Pow), &[&x, &y], dtype).values(), &[0.0, 1.0, -1.0, 1.0, -27.0], "pow");
        let zeros = Buffer::zeros(&[4], dtype);
        let e = unsafe { run(&Op::Binary(Binary::Remainder), &[], &[x.arg(), zeros.arg()], &[y.arg()]) }.unwrap_err();
        assert_eq!(e.message, "integer remainder by zero");
        let op = Op::Scalar { op: Binary::Pow, value: Sc::new(-1.0), reversed: false };
        assert!(unsafe { run(&op, &[], &[x.arg()], &[y.arg()]) }.is_err());
    }
    let x = Buffer::new(&[2], DType::U8, |i| [200.0, 3.0][i]);
    same(&apply(&Op::Binary(Binary::Add), &[&x, &x], DType::U8).values(), &[144.0, 6.0], "wrapping");
    same(&apply(&Op::Unary(Unary::Neg), &[&x], DType::U8).values(), &[56.0, 253.0], "neg");
}

#[test]
fn scalars() {
    for dtype in DType::ALL {
        let x = filled(&[1030], dtype, 2);
        for op in Binary::ALL.into_iter().filter(|op| binary::supports(*op, dtype)) {
            for value in [2.0, 3.0, 0.5, 1.0, -1.0, -0.5, -2.0, 1.5, f64::INFINITY] {
                if !dtype.is_float() && (value < 1.0 || value != value.trunc() || value.is_infinite()) {
                    continue;
                }
                for reversed in [false, true] {
                    if reversed && op == Binary::Remainder && !dtype.is_float() {
                        continue;
                    }
                    let out = if op.is_predicate() { DType::Bool } else { dtype };
                    let v = Buffer::new(&[1030], dtype, |_| value);
                    let got = apply(&Op::Scalar { op, value: Sc::new(value), reversed }, &[&x], out);
                    let want = apply(&Op::Binary(op), &if reversed { [&v, &x] } else { [&x, &v] }, out);
                    same(&got.values(), &want.values(), &format!("{} {value} {}", op.name(), dtype.name()));
                }
            }
        }
    }
}

#[test]
fn scalars_of_a_plan() {
    let mut value = Sc::new(1.0);
    value.bind(1);
    let x = Buffer::new(&[3], DType::F32, |i| i as f64);
    let out = Buffer::zeros(&[3], DType::F32);
    let op = Op::Scalar { op: Binary::Mul, value, reversed: false };
    unsafe { run(&op, &[5.0, 10.0], &[x.arg()], &[out.arg()]).unwrap() };
    same(&out.values(), &[0.0, 10.0, 20.0], "parameter");
}

#[test]
fn clamps() {
    for dtype in FLOATS.into_iter().chain(INTEGERS) {
        let x = filled(&[777], dtype, 0);
        for (low, high) in [(-1.0, 2.0), (f64::NEG_INFINITY, 1.0), (0.0, f64::INFINITY), (2.0, 1.0)] {
            let got = apply(&Op::Clamp { low: Sc::new(low), high: Sc::new(high) }, &[&x], dtype);
            let low = if dtype == DType::U8 { low.max(0.0) } else { low };
            let want: Vec<f64> = x.values().iter().map(|x| if x.is_nan() { *x } else { x.max(low).min(high) }).collect();
            close(&got.values(), &want, dtype, "clamp");
        }
    }
}

#[test]
fn casts() {
    for from in DType::ALL {
        let x = if from.is_float() {
            Buffer::new(&[1500], from, |i| {
                [f64::NAN, 300.5, -1.7, f64::INFINITY, 3e9, -0.0, 1e-7, 65504.0, 1.0000001][i % 9] * (1 + i / 9 % 7) as f64
            })
        } else {
            Buffer::new(&[1500], from, |i| [0.0, 1.0, 255.0, -1.0, 70000.0, -3e9, 123456789.0][i % 7])
        };
        for to in DType::ALL {
            let got = apply(&Op::Cast(to), &[&x], to);
            // Integers wrap between each other, as Rust's `as` does.
            let want: Vec<f64> = x
                .values()
                .iter()
                .map(|v| match (from.is_float(), to) {
                    (false, DType::U8) => *v as i64 as u8 as f64,
                    (false, DType::I32) => *v as i64 as i32 as f64,
                    _ => Buffer::new(&[1], to, |_| *v).at(0),
                })
                .collect();
            same(&got.values(), &want, &format!("{} to {}", from.name(), to.name()));
        }
    }
}

#[test]
fn dropout() {
    let n = 70003;
    let op = |p: f64| Op::Dropout { p: Sc::new(p), seed: Sc::new(42.0), offset: Sc::new(17.0) };
    let mut uniform = vec![0f32; n];
    philox::uniform_f32(42, 17, 0, &mut uniform);
    for dtype in FLOATS {
        let x = Buffer::new(&[n], dtype, |i| (i % 5) as f64 + 1.0);
        for p in [0.0, 0.25, 0.5, 1.0] {
            let got = apply(&op(p), &[&x], dtype).values();
            let want: Vec<f64> = (0..n).map(|i| if uniform[i] as f64 >= p { x.at(i) / (1.0 - p) } else { 0.0 }).collect();
            close(&got, &want, dtype, "dropout");
        }
        // The mask goes by row-major numbers, whatever the layout.
        let square = Buffer::new(&[300, 200], dtype, |i| (i % 7) as f64 + 1.0);
        let layout = square.layout.permute(&[1, 0]);
        let square = square.under(layout);
        let values = square.values();
        let flat = Buffer::new(&[200, 300], dtype, |i| values[i]);
        same(&apply(&op(0.3), &[&square], dtype).values(), &apply(&op(0.3), &[&flat], dtype).values(), "layout");
        let one = Buffer::new(&[1], dtype, |_| 3.0).under(Layout::new(Shape::new(&[1030]), &[0], 0));
        let many = Buffer::new(&[1030], dtype, |_| 3.0);
        same(&apply(&op(0.3), &[&one], dtype).values(), &apply(&op(0.3), &[&many], dtype).values(), "expanded");
    }
}

#[test]
fn creation_ops() {
    for dtype in DType::ALL {
        for n in SIZES {
            let make = |op: Op| {
                let out = Buffer::zeros(&[n], dtype);
                unsafe { creation::run(&op, &[], &[], &[out.arg()]) }.map(|_| out)
            };
            let shape = Shape::new(&[n]);
            let filled = make(Op::Fill { shape, dtype, device: Device::Cpu, value: Sc::new(2.5) }).unwrap();
            same(&filled.values(), &Buffer::new(&[n], dtype, |_| 2.5).values(), "fill");
            let range = make(Op::Arange { len: n, dtype, device: Device::Cpu, start: Sc::new(-3.0), step: Sc::new(2.0) }).unwrap();
            // The range wraps where the type is too narrow.
            let want = Buffer::new(&[n], dtype, |i| if dtype == DType::U8 { (i as i64 * 2 - 3) as u8 as f64 } else { i as f64 * 2.0 - 3.0 });
            same(&range.values(), &want.values(), "arange");
            for kind in [Random::Uniform, Random::Normal] {
                let random = make(Op::Random { shape, dtype, device: Device::Cpu, kind, seed: Sc::new(3.0), offset: Sc::new(5.0) });
                let Ok(random) = random else {
                    assert!(!dtype.is_float());
                    continue;
                };
                let mut want = vec![0f32; n];
                match kind {
                    Random::Uniform => philox::uniform_f32(3, 5, 0, &mut want),
                    Random::Normal => philox::normal_f32(3, 5, 0, &mut want),
                }
                for (a, b) in random.values().iter().zip(&want) {
                    assert!((a - *b as f64).abs() < 2e-2 && (kind == Random::Normal || (0.0..1.0).contains(a)), "{a} {b}");
                }
            }
        }
    }
}
