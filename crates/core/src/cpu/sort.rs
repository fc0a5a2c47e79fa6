//! Sorting along the last dimension: stable, NaN above all numbers, as in PyTorch. Candle's sort compares with
//! `partial_cmp`, which is no order where a NaN is present, and promises no stability.
use super::Arg;
use super::parallel;
use super::scratch::Shared;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use crate::reserve;
use half::{bf16, f16};

/// An element's key: unsigned numbers in the order of the elements, equal where those are.
trait Key: Copy + Send + Sync {
    fn key(self) -> u64;
}
macro_rules! int_key {
    ($($t:ty),*) => { $(impl Key for $t {
        fn key(self) -> u64 {
            // Moves the lowest value to 0.
            (self as i64).wrapping_sub(<$t>::MIN as i64) as u64
        }
    })* };
}
int_key!(u8, i32, i64);
macro_rules! float_key {
    ($($t:ty, $bits:ty, $zero:expr);*) => { $(impl Key for $t {
        fn key(self) -> u64 {
            const SIGN: $bits = 1 << (<$bits>::BITS - 1);
            if self.is_nan() {
                return <$bits>::MAX as u64;
            }
            // -0 is 0. Negative numbers grow with falling bits.
            let bits = if self == $zero { 0 } else { self.to_bits() };
            (if bits & SIGN != 0 { !bits } else { bits | SIGN }) as u64
        }
    })* };
}
float_key!(f16, u16, f16::ZERO; bf16, u16, bf16::ZERO; f32, u32, 0.0; f64, u64, 0.0);

/// # Safety
/// As [`super::run`]; the input is contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Op::Sort { descending } = op else { return Err(Error::internal("isn't a sort")) };
    unsafe {
        match ins[0].dtype {
            DType::Bool | DType::U8 => sort::<u8>(*descending, &ins[0], outs),
            DType::I32 => sort::<i32>(*descending, &ins[0], outs),
            DType::I64 => sort::<i64>(*descending, &ins[0], outs),
            DType::F16 => sort::<f16>(*descending, &ins[0], outs),
            DType::BF16 => sort::<bf16>(*descending, &ins[0], outs),
            DType::F32 => sort::<f32>(*descending, &ins[0], outs),
            DType::F64 => sort::<f64>(*descending, &ins[0], outs),
        }
    }
    Ok(())
}

unsafe fn sort<T: Key>(descending: bool, x: &Arg, outs: &[Arg]) {
    let len = x.layout.shape.last().copied().unwrap_or(1);
    if x.numel() == 0 {
        return;
    }
    let (from, values, indices) = (Shared::<T>::new(x.ptr), Shared::<T>::new(outs[0].ptr), Shared::<i64>::new(outs[1].ptr));
    parallel::for_each(x.numel() / len, x.numel() * 16, |row| {
        let (from, values, indices) = unsafe { (from.slice(row * len, len), values.slice_mut(row * len, len), indices.slice_mut(row * len, len)) };
        let key = |v: T| if descending { !v.key() } else { v.key() };
        // Keys are paired with places: no two pairs are equal, so an unstable sort is stable. Narrow ones fit one word.
        let places: Vec<usize> = if size_of::<T>() <= 4 && len <= u32::MAX as usize {
            let mut pairs: Vec<u64> = reserve::collected(len, from.iter().enumerate().map(|(i, v)| key(*v) << 32 | i as u64));
            pairs.sort_unstable();
            pairs.into_iter().map(|p| (p & u32::MAX as u64) as usize).collect()
        } else {
            let mut pairs: Vec<(u64, usize)> = reserve::collected(len, from.iter().enumerate().map(|(i, v)| (key(*v), i)));
            pairs.sort_unstable();
            reserve::collected(len, pairs.into_iter().map(|p| p.1))
        };
        for ((value, index), place) in values.iter_mut().zip(indices).zip(places) {
            (*value, *index) = (from[place], place as i64);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Operand, assert_close};
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn every_dtype_sorts_stably_with_nan_on_top() {
        for dtype in DType::ALL {
            for shape in [vec![3, 40], vec![2, 1], vec![0, 4], vec![3, 0], vec![]] {
                let n = shape.iter().product::<usize>();
                // Few distinct values, so that ties show what is stable.
                let mut xs: Vec<f64> = Operand::random(&[n], DType::F64, 7).values().iter().map(|v| (v / 2.0).floor()).collect();
                match dtype {
                    DType::Bool => xs.iter_mut().for_each(|v| *v = (*v > 0.0) as u8 as f64),
                    DType::U8 => xs.iter_mut().for_each(|v| *v = v.abs()),
                    _ => {}
                }
                if dtype.is_float() {
                    xs.iter_mut().step_by(7).for_each(|v| *v = f64::NAN);
                    xs.iter_mut().skip(3).step_by(9).for_each(|v| *v = f64::NEG_INFINITY);
                    xs.iter_mut().skip(1).step_by(8).for_each(|v| *v = -0.0);
                    xs.iter_mut().skip(2).step_by(8).for_each(|v| *v = 0.0);
                }
                let x = Operand::new(&shape, dtype, &xs);
                for descending in [false, true] {
                    let (values, indices) = (Operand::zeros(&shape, dtype), Operand::zeros(&shape, DType::I64));
                    unsafe { run(&Op::Sort { descending }, &[], &[x.arg()], &[values.arg(), indices.arg()]).unwrap() };
                    let len = shape.last().copied().unwrap_or(1).max(1);
                    let (mut want, mut want_at) = (vec![], vec![]);
                    for row in xs.chunks(len) {
                        let mut at: Vec<usize> = (0..len).collect();
                        at.sort_by(|a, b| {
                            let (a, b) = (row[*a], row[*b]);
                            let order = a.partial_cmp(&b).unwrap_or(if a.is_nan() && b.is_nan() {
                                Ordering::Equal
                            } else if a.is_nan() {
                                Ordering::Greater
                            } else {
                                Ordering::Less
                            });
                            if descending { order.reverse() } else { order }
                        });
                        want.extend(at.iter().map(|i| row[*i]));
                        want_at.extend(at.iter().map(|i| *i as f64));
                    }
                    assert_close(&values.values(), &want, 0.0, "values");
                    assert_eq!(indices.values(), want_at, "{dtype:?} {shape:?}");
                }
            }
        }
    }

    #[test]
    fn the_extremes_of_int64_keep_their_order() {
        let xs = [3, i64::MIN, -1, i64::MAX, 0];
        let mut keyed = xs;
        keyed.sort_by_key(|v| v.key());
        let mut plain = xs;
        plain.sort();
        assert_eq!(keyed, plain);
    }
}
