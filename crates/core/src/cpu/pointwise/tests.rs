//! Kernels against one-element-at-a-time references in double precision, over dtypes, layouts and odd sizes.
use super::super::{Arg, creation, run};
use crate::dtype::DType;
use crate::op::{Binary, Op, Random, Sc, Unary};
use crate::shape::{Layout, Shape};

/// A tensor with its own memory.
pub struct Buffer {
    bytes: Vec<u64>,
    pub layout: Layout,
    pub dtype: DType,
}

impl Buffer {
    pub fn zeros(dims: &[usize], dtype: DType) -> Buffer {
        let layout = Layout::contiguous(Shape::new(dims));
        Buffer { bytes: vec![0; layout.numel() + 1], layout, dtype }
    }
    pub fn new(dims: &[usize], dtype: DType, values: impl Fn(usize) -> f64) -> Buffer {
        let mut b = Buffer::zeros(dims, dtype);
        for i in 0..b.layout.numel() {
            b.set(i, values(i));
        }
        b
    }
    /// The same memory under another layout (offset 0).
    pub fn under(mut self, layout: Layout) -> Buffer {
        assert!(layout.span() <= self.bytes.len());
        self.layout = layout;
        self
    }
    pub fn arg(&self) -> Arg {
        Arg { ptr: self.bytes.as_ptr() as *mut u8, layout: self.layout, dtype: self.dtype }
    }
    fn set(&mut self, i: usize, v: f64) {
        let p = self.bytes.as_mut_ptr();
        unsafe {
            match self.dtype {
                DType::Bool => *p.cast::<u8>().add(i) = (v != 0.0) as u8,
                DType::U8 => *p.cast::<u8>().add(i) = v as u8,
                DType::I32 => *p.cast::<i32>().add(i) = v as i32,
                DType::I64 => *p.cast::<i64>().add(i) = v as i64,
                DType::F16 => *p.cast::<u16>().add(i) = half::f16::from_f32(v as f32).to_bits(),
                DType::BF16 => *p.cast::<u16>().add(i) = half::bf16::from_f32(v as f32).to_bits(),
                DType::F32 => *p.cast::<f32>().add(i) = v as f32,
                DType::F64 => *p.cast::<f64>().add(i) = v,
            }
        }
    }
    pub fn at(&self, i: usize) -> f64 {
        let p = self.bytes.as_ptr();
        unsafe {
            match self.dtype {
                DType::Bool | DType::U8 => *p.cast::<u8>().add(i) as f64,
                DType::I32 => *p.cast::<i32>().add(i) as f64,
                DType::I64 => *p.cast::<i64>().add(i) as f64,
                DType::F16 => half::f16::from_bits(*p.cast::<u16>().add(i)).to_f64(),
                DType::BF16 => half::bf16::from_bits(*p.cast::<u16>().add(i)).to_f64(),
                DType::F32 => *p.cast::<f32>().add(i) as f64,
                DType::F64 => *p.cast::<f64>().add(i),
            }
        }
    }
    /// Row-major element `i`.
    fn element(&self, mut i: usize) -> f64 {
        let mut offset = 0;
        for d in (0..self.layout.rank()).rev() {
            offset += i % self.layout.shape[d] * self.layout.strides()[d];
            i /= self.layout.shape[d];
        }
        self.at(offset)
    }
    /// Row-major elements.
    pub fn values(&self) -> Vec<f64> {
        (0..self.layout.numel()).map(|i| self.element(i)).collect()
    }
}

pub fn apply(op: &Op, ins: &[&Buffer], dtype: DType) -> Buffer {
    let out = Buffer::zeros(&ins[0].layout.shape, dtype);
    let args: Vec<Arg> = ins.iter().map(|b| b.arg()).collect();
    unsafe { run(op, &[], &args, &[out.arg()]).unwrap() };
    out
}

/// Equal bits, or both NaN.
#[track_caller]
pub fn same(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{what}: element {i} is {a}, should be {b}");
    }
}

#[track_caller]
fn close(a: &[f64], b: &[f64], dtype: DType, what: &str) {
    let tolerance = match dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        DType::F32 => 5e-7,
        _ => 1e-15,
    };
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let near = (a - b).abs() <= tolerance * b.abs() + if dtype == DType::F16 { 6e-8 } else { 1e-44 };
        assert!(a == b || a.is_nan() && b.is_nan() || near, "{what}: element {i} is {a}, should be {b}");
    }
}

/// Some numbers in (-3, 3), with special ones in between.
fn number(i: usize, special: bool) -> f64 {
    match i % 11 {
        3 if special => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0][i / 11 % 5],
        _ => ((i * 7919 + 13) % 1000) as f64 / 167.0 - 3.0,
    }
}
/// In (-4, 5), whole: fits all integers after wrapping.
fn whole(i: usize) -> f64 {
    ((i * 31 + 5) % 9) as f64 - 4.0
}
fn filled(dims: &[usize], dtype: DType, salt: usize) -> Buffer {
    Buffer::new(dims, dtype, |i| if dtype.is_float() { number(i + salt, true) } else { whole(i + salt).abs() * if dtype.size() > 1 { -1.0 } else { 1.0 } })
}

const SIZES: [usize; 7] = [0, 1, 7, 33, 513, 1025, 70001];
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
const INTEGERS: [DType; 3] = [DType::U8, DType::I32, DType::I64];

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
        Unary::Relu => if x < 0.0 { 0.0 } else { x },
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
        Binary::Minimum => if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) },
        Binary::Maximum => if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) },
        Binary::Remainder => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
        Binary::ReluGrad => if y > 0.0 { x } else { 0.0 },
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
            for u in Unary::ALL.into_iter().filter(|u| super::unary::supports(*u, dtype)) {
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
            for op in Binary::ALL.into_iter().filter(|op| super::binary::supports(*op, dtype)) {
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
fn scalars() {
    for dtype in DType::ALL {
        let x = filled(&[1030], dtype, 2);
        for op in Binary::ALL.into_iter().filter(|op| super::binary::supports(*op, dtype)) {
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
            Buffer::new(&[1500], from, |i| [f64::NAN, 300.5, -1.7, f64::INFINITY, 3e9, -0.0, 1e-7, 65504.0, 1.0000001][i % 9] * (1 + i / 9 % 7) as f64)
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
fn dropout() {
    let n = 70003;
    let op = |p: f64| Op::Dropout { p: Sc::new(p), seed: Sc::new(42.0), offset: Sc::new(17.0) };
    let mut uniform = vec![0f32; n];
    super::super::philox::uniform_f32(42, 17, 0, &mut uniform);
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
            let filled = make(Op::Fill { shape, dtype, value: Sc::new(2.5) }).unwrap();
            same(&filled.values(), &Buffer::new(&[n], dtype, |_| 2.5).values(), "fill");
            let range = make(Op::Arange { len: n, dtype, start: Sc::new(-3.0), step: Sc::new(2.0) }).unwrap();
            // The range wraps where the type is too narrow.
            let want = Buffer::new(&[n], dtype, |i| if dtype == DType::U8 { (i as i64 * 2 - 3) as u8 as f64 } else { i as f64 * 2.0 - 3.0 });
            same(&range.values(), &want.values(), "arange");
            for kind in [Random::Uniform, Random::Normal] {
                let random = make(Op::Random { shape, dtype, kind, seed: Sc::new(3.0), offset: Sc::new(5.0) });
                let Ok(random) = random else {
                    assert!(!dtype.is_float());
                    continue;
                };
                let mut want = vec![0f32; n];
                match kind {
                    Random::Uniform => super::super::philox::uniform_f32(3, 5, 0, &mut want),
                    Random::Normal => super::super::philox::normal_f32(3, 5, 0, &mut want),
                }
                for (a, b) in random.values().iter().zip(&want) {
                    assert!((a - *b as f64).abs() < 2e-2 && (kind == Random::Normal || (0.0..1.0).contains(a)), "{a} {b}");
                }
            }
        }
    }
}
