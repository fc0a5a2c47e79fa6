//! The long tail: rare ops that run on candle's tensors, copied in and out. Candle's autograd is never used.
use super::Arg;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use candle_core::{Device, Tensor, WithDType};
use half::{bf16, f16};

/// # Safety
/// As [`super::run`]; the input is contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Op::Cumsum { dim } = op else { return Err(Error::internal("isn't an op that runs on candle")) };
    let (x, out) = (&ins[0], &outs[0]);
    unsafe {
        match x.dtype {
            DType::U8 => running_sum::<u8, u8>(*dim, x, out, |v| v, |v| v, u8::wrapping_add),
            DType::I32 => running_sum::<i32, i32>(*dim, x, out, |v| v, |v| v, i32::wrapping_add),
            DType::I64 => running_sum::<i64, i64>(*dim, x, out, |v| v, |v| v, i64::wrapping_add),
            DType::F16 if suits(*dim, x, f16::is_finite) => return cumsum::<f16>(*dim, x, out),
            DType::BF16 if suits(*dim, x, bf16::is_finite) => return cumsum::<bf16>(*dim, x, out),
            DType::F32 if suits(*dim, x, f32::is_finite) => return cumsum::<f32>(*dim, x, out),
            DType::F64 if suits(*dim, x, f64::is_finite) => return cumsum::<f64>(*dim, x, out),
            DType::F16 => running_sum(*dim, x, out, f16::to_f32, f16::from_f32, |a, b| a + b),
            DType::BF16 => running_sum(*dim, x, out, bf16::to_f32, bf16::from_f32, |a, b| a + b),
            DType::F32 => running_sum::<f32, f32>(*dim, x, out, |v| v, |v| v, |a, b| a + b),
            DType::F64 => running_sum::<f64, f64>(*dim, x, out, |v| v, |v| v, |a, b| a + b),
            DType::Bool => return Err(Error::dtype("needs numbers, not bool")),
        }
    }
    Ok(())
}

/// Whether candle's cumsum is right and affordable: it multiplies by a triangle of ones, which takes n^2 memory along the
/// dimension and turns an infinity or NaN into NaN in front of it (0 * inf).
unsafe fn suits<T: Copy>(dim: usize, x: &Arg, finite: impl Fn(T) -> bool) -> bool {
    const LONGEST: usize = 256;
    let shape = &x.layout.shape;
    shape.rank() > 0 && x.numel() > 0 && shape[dim] <= LONGEST && unsafe { x.slice::<T>() }.iter().all(|v| finite(*v))
}

unsafe fn cumsum<T: WithDType>(dim: usize, x: &Arg, out: &Arg) -> Result<()> {
    let failed = |e: candle_core::Error| Error::internal(format!("candle: {e}"));
    let t = Tensor::from_slice(unsafe { x.slice::<T>() }, &x.layout.shape[..], &Device::Cpu).map_err(failed)?;
    let sums = t.cumsum(dim).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1::<T>()).map_err(failed)?;
    unsafe { out.slice_mut::<T>() }.copy_from_slice(&sums);
    Ok(())
}

/// Plain running sums, in `A`.
unsafe fn running_sum<T: Copy, A: Copy + Default>(
    dim: usize,
    x: &Arg,
    out: &Arg,
    widen: impl Fn(T) -> A,
    narrow: impl Fn(A) -> T,
    add: impl Fn(A, A) -> A,
) {
    let shape = &x.layout.shape;
    let (len, inner) = if shape.rank() == 0 { (1, 1) } else { (shape[dim], shape[dim + 1..].iter().product::<usize>()) };
    let (xs, sums) = unsafe { (x.slice::<T>(), out.slice_mut::<T>()) };
    for start in (0..xs.len()).step_by((len * inner).max(1)) {
        for i in start..start + inner {
            let mut sum = A::default();
            for at in (i..i + len * inner).step_by(inner) {
                sum = add(sum, widen(xs[at]));
                sums[at] = narrow(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Operand, assert_close};
    use super::*;

    #[test]
    fn cumsum_of_every_dtype_length_and_value() {
        for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bool) {
            for (shape, dim) in [(vec![7], 0), (vec![3, 5, 4], 1), (vec![3, 5, 4], 0), (vec![2, 300], 1), (vec![0, 3], 1), (vec![], 0)] {
                for odd in [0.0, f64::INFINITY, f64::NAN] {
                    let n = shape.iter().product::<usize>();
                    let small = if dtype == DType::BF16 { 2.0 } else { 8.0 };
                    let mut xs: Vec<f64> = Operand::random(&[n], DType::F64, 3).values().iter().map(|v| (v.abs() / 16.0 * small).floor()).collect();
                    if dtype.is_float() {
                        xs.iter_mut().skip(5).step_by(17).for_each(|v| *v = odd);
                    } else {
                        xs.iter_mut().for_each(|v| *v = (*v > 2.0) as u8 as f64);
                    }
                    let (x, out) = (Operand::new(&shape, dtype, &xs), Operand::random(&shape, dtype, 4));
                    unsafe { run(&Op::Cumsum { dim }, &[], &[x.arg()], &[out.arg()]).unwrap() };
                    let inner: usize = shape.get(dim + 1..).map_or(1, |s| s.iter().product());
                    let len = shape.get(dim).copied().unwrap_or(1);
                    let mut want = xs.clone();
                    for i in 0..n {
                        if !(i / inner).is_multiple_of(len) {
                            want[i] += want[i - inner];
                        }
                    }
                    let want = Operand::new(&shape, dtype, &want.iter().map(|v| if dtype == DType::U8 { v % 256.0 } else { *v }).collect::<Vec<_>>())
                        .values();
                    assert_close(&out.values(), &want, 0.0, &format!("{dtype:?} {shape:?} along {dim}, {odd}"));
                }
            }
        }
    }
}
