//! Running sums along a dimension, one addition after another: a row of the dimensions behind it at a time, so that memory is
//! read in order.
use super::scratch::Shared;
use super::{Arg, parallel, simd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use half::{bf16, f16};

/// Sums side by side: those of a tile stay in registers or L1.
const TILE: usize = 64;

/// # Safety
/// As [`super::run`]; the input is contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Op::Cumsum { dim } = op else { return Err(Error::internal("isn't a running sum")) };
    let (x, out) = (&ins[0], &outs[0]);
    unsafe {
        match x.dtype {
            DType::U8 => sums::<u8, u8>(*dim, x, out, |v| v, |v| v, u8::wrapping_add),
            DType::I32 => sums::<i32, i32>(*dim, x, out, |v| v, |v| v, i32::wrapping_add),
            DType::I64 => sums::<i64, i64>(*dim, x, out, |v| v, |v| v, i64::wrapping_add),
            DType::F16 => sums(*dim, x, out, f16::to_f32, f16::from_f32, |a, b| a + b),
            DType::BF16 => sums(*dim, x, out, bf16::to_f32, bf16::from_f32, |a, b| a + b),
            DType::F32 => sums::<f32, f32>(*dim, x, out, |v| v, |v| v, |a, b| a + b),
            DType::F64 => sums::<f64, f64>(*dim, x, out, |v| v, |v| v, |a, b| a + b),
            DType::Bool => return Err(Error::dtype("needs numbers, not bool")),
        }
    }
    Ok(())
}

/// Sums in `A`, rounded one by one.
unsafe fn sums<T: Copy, A: Copy + Default>(
    dim: usize,
    x: &Arg,
    out: &Arg,
    widen: impl Fn(T) -> A + Copy + Sync,
    narrow: impl Fn(A) -> T + Copy + Sync,
    add: impl Fn(A, A) -> A + Copy + Sync,
) {
    let shape = &x.layout.shape;
    let (len, inner) = if shape.rank() == 0 { (1, 1) } else { (shape[dim], shape[dim + 1..].iter().product::<usize>()) };
    if x.numel() == 0 {
        return;
    }
    let (from, to) = (Shared::<T>::new(x.ptr), Shared::<T>::new(out.ptr));
    let tiles = inner.div_ceil(TILE);
    parallel::for_each(x.numel() / (len * inner) * tiles, x.numel(), |unit| {
        let first = unit / tiles * len * inner + unit % tiles * TILE;
        let width = TILE.min(inner - unit % tiles * TILE);
        simd::vectorised(
            #[inline(always)]
            || {
                if width == 1 {
                    let mut sum = A::default();
                    for i in 0..len {
                        let at = first + i * inner;
                        sum = add(sum, widen(unsafe { *from.at(at) }));
                        unsafe { *to.at(at) = narrow(sum) };
                    }
                    return;
                }
                let mut sums = [A::default(); TILE];
                for i in 0..len {
                    let at = first + i * inner;
                    let (xs, ys) = unsafe { (from.slice(at, width), to.slice_mut(at, width)) };
                    for ((sum, x), y) in sums.iter_mut().zip(xs).zip(ys) {
                        *sum = add(*sum, widen(*x));
                        *y = narrow(*sum);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Operand, assert_close};
    use super::*;

    #[test]
    fn cumsum_of_every_dtype_length_and_value() {
        for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bool) {
            for (shape, dim) in [
                (vec![7], 0),
                (vec![3, 5, 4], 1),
                (vec![3, 5, 4], 0),
                (vec![2, 300], 1),
                (vec![0, 3], 1),
                (vec![], 0),
                (vec![2, 3, 4, 5], 0),
                (vec![2, 3, 4, 5], 1),
                (vec![2, 3, 4, 5], 3),
                (vec![2, 1, 3, 2, 3, 4, 5], 2),
                (vec![4, 300], 0),
            ] {
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

    #[test]
    fn cumsum_is_candles() {
        for (shape, dim) in [(vec![300], 0), (vec![3, 5, 40], 1), (vec![6, 100], 0), (vec![6, 100], 1)] {
            let x = Operand::random(&shape, DType::F32, 5);
            let out = Operand::random(&shape, DType::F32, 6);
            unsafe { run(&Op::Cumsum { dim }, &[], &[x.arg()], &[out.arg()]).unwrap() };
            let values: Vec<f32> = x.values().iter().map(|v| *v as f32).collect();
            let theirs = candle_core::Tensor::from_vec(values, &shape[..], &candle_core::Device::Cpu).and_then(|t| t.cumsum(dim));
            let theirs = theirs.and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1::<f32>()).unwrap();
            assert_close(&out.values(), &theirs.iter().map(|v| *v as f64).collect::<Vec<_>>(), 1e-4, &format!("{shape:?} along {dim}"));
        }
    }
}
