//! What the tests of pointwise kernels share: tensors with their own memory, and comparisons.
mod layouts;
mod values;

use crate::cpu::{Arg, run};
use crate::dtype::DType;
use crate::op::Op;
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
    Buffer::new(dims, dtype, |i| {
        if dtype.is_float() { number(i + salt, true) } else { whole(i + salt).abs() * if dtype.size() > 1 { -1.0 } else { 1.0 } }
    })
}

const SIZES: [usize; 7] = [0, 1, 7, 33, 513, 1025, 70001];
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
const INTEGERS: [DType; 3] = [DType::U8, DType::I32, DType::I64];
