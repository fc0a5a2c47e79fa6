//! Operands for the kernels' unit tests.
use super::Arg;
use crate::dtype::DType;
use crate::shape::{Layout, Shape};
use half::{bf16, f16};

/// A contiguous operand that owns its memory.
pub(crate) struct Operand {
    memory: Vec<u64>,
    pub shape: Vec<usize>,
    pub dtype: DType,
}

impl Operand {
    pub fn zeros(shape: &[usize], dtype: DType) -> Operand {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        // One word more, so that an empty operand has an address too.
        Operand { memory: vec![0; bytes.div_ceil(8) + 1], shape: shape.to_vec(), dtype }
    }
    pub fn new(shape: &[usize], dtype: DType, values: &[f64]) -> Operand {
        let x = Operand::zeros(shape, dtype);
        assert_eq!(values.len(), shape.iter().product::<usize>());
        let a = x.arg();
        unsafe {
            for (i, v) in values.iter().enumerate() {
                match dtype {
                    DType::Bool | DType::U8 => *a.ptr.add(i) = *v as u8,
                    DType::I32 => *a.ptr.cast::<i32>().add(i) = *v as i32,
                    DType::I64 => *a.ptr.cast::<i64>().add(i) = *v as i64,
                    DType::F16 => *a.ptr.cast::<f16>().add(i) = f16::from_f64(*v),
                    DType::BF16 => *a.ptr.cast::<bf16>().add(i) = bf16::from_f64(*v),
                    DType::F32 => *a.ptr.cast::<f32>().add(i) = *v as f32,
                    DType::F64 => *a.ptr.cast::<f64>().add(i) = *v,
                }
            }
        }
        x
    }
    /// Small multiples of 1/8, the same for the same seed: sums of their products are exact in float32.
    pub fn eighths(shape: &[usize], dtype: DType, seed: u64) -> Operand {
        Operand::new(shape, dtype, &numbers(shape.iter().product(), seed).map(|v| ((v * 4.0) as i64) as f64 / 8.0).collect::<Vec<_>>())
    }
    /// Numbers in -8..8.
    pub fn random(shape: &[usize], dtype: DType, seed: u64) -> Operand {
        Operand::new(shape, dtype, &numbers(shape.iter().product(), seed).collect::<Vec<_>>())
    }
    pub fn arg(&self) -> Arg {
        Arg { ptr: self.memory.as_ptr().cast_mut().cast(), layout: Layout::contiguous(Shape::new(&self.shape)), dtype: self.dtype }
    }
    pub fn values(&self) -> Vec<f64> {
        let a = self.arg();
        unsafe {
            match self.dtype {
                DType::Bool | DType::U8 => a.slice::<u8>().iter().map(|v| *v as f64).collect(),
                DType::I32 => a.slice::<i32>().iter().map(|v| *v as f64).collect(),
                DType::I64 => a.slice::<i64>().iter().map(|v| *v as f64).collect(),
                DType::F16 => a.slice::<f16>().iter().map(|v| v.to_f64()).collect(),
                DType::BF16 => a.slice::<bf16>().iter().map(|v| v.to_f64()).collect(),
                DType::F32 => a.slice::<f32>().iter().map(|v| *v as f64).collect(),
                DType::F64 => a.slice::<f64>().to_vec(),
            }
        }
    }
}

fn numbers(n: usize, seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 * 16.0 - 8.0
    })
}

/// Fails where two lists differ by more than `tolerance`, relative to the larger magnitude or 1.
#[track_caller]
pub(crate) fn assert_close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let near = (g - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(near || g == w || (g.is_nan() && w.is_nan()), "{what}: element {i} is {g}, should be {w}");
    }
}
