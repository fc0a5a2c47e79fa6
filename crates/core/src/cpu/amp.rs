//! A loss scaler's work: gradients divided by the scale, and the next scale.
use super::Arg;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Op, Ranges};

/// Runs `Op::Unscale` or `Op::UpdateScale`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match op {
        Op::Unscale { ranges } => {
            let scale = unsafe { *ins[ranges.len()].ptr.cast::<f32>() };
            let mut found = false;
            for (r, grad) in ranges.iter().zip(ins) {
                found |= match grad.dtype {
                    DType::F32 => unsafe { unscale(r, grad, |x: f32| x * (1.0 / scale), f32::is_finite) },
                    DType::F64 => unsafe { unscale(r, grad, |x: f64| x * (1.0 / scale as f64), f64::is_finite) },
                    d => return Err(Error::dtype(format!("needs float32 or float64 buffers, not {}", d.name())).in_op(op.name())),
                };
            }
            unsafe { *outs[0].ptr.cast::<f64>() = found as u8 as f64 }
        }
        Op::UpdateScale { growth, backoff, interval } => unsafe {
            let (scale, tracker) = (&mut *ins[0].ptr.cast::<f32>(), &mut *ins[1].ptr.cast::<i32>());
            if *ins[2].ptr.cast::<f64>() != 0.0 {
                *scale *= backoff.get(params) as f32;
                *tracker = 0;
                return Ok(());
            }
            *tracker += 1;
            if *tracker as f64 == interval.get(params) {
                let grown = *scale * growth.get(params) as f32;
                if grown.is_finite() {
                    *scale = grown;
                }
                *tracker = 0;
            }
        },
        _ => return Err(Error::internal("not a scaler's op").in_op(op.name())),
    }
    Ok(())
}

unsafe fn unscale<T: Copy>(ranges: &Ranges, grad: &Arg, divide: impl Fn(T) -> T, finite: impl Fn(T) -> bool) -> bool {
    let mut found = false;
    for r in ranges.iter() {
        let part = unsafe { std::slice::from_raw_parts_mut(grad.ptr.cast::<T>().add(r.start), r.len) };
        for x in part {
            found |= !finite(*x);
            *x = divide(*x);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Range, Sc};
    use crate::shape::{Layout, Shape};

    fn arg<T>(x: &mut [T], dtype: DType) -> Arg {
        Arg { ptr: x.as_mut_ptr().cast(), layout: Layout::contiguous(Shape::new(&[x.len()])), dtype }
    }

    #[test]
    fn only_the_ranges_are_divided_and_watched() {
        let (mut g, mut scale, mut found) = ([8.0f32, f32::NAN, 4.0, 2.0], [2.0f32], [9.0f64]);
        let ranges: Ranges = [Range { start: 0, len: 1 }, Range { start: 2, len: 2 }].into();
        let op = Op::Unscale { ranges: [ranges].into() };
        let ins = [arg(&mut g, DType::F32), arg(&mut scale, DType::F32)];
        unsafe { run(&op, &[], &ins, &[arg(&mut found, DType::F64)]).unwrap() }
        assert_eq!((g[0], g[2], g[3], found[0]), (4.0, 2.0, 1.0, 0.0));
        let all: Ranges = [Range { start: 0, len: 4 }].into();
        unsafe { run(&Op::Unscale { ranges: [all].into() }, &[], &ins, &[arg(&mut found, DType::F64)]).unwrap() }
        assert_eq!(found[0], 1.0);
    }

    #[test]
    fn the_scale_backs_off_and_grows() {
        let (mut scale, mut tracker, mut found) = ([8.0f32], [0i32], [0.0f64]);
        let op = Op::UpdateScale { growth: Sc::new(2.0), backoff: Sc::new(0.5), interval: Sc::new(2.0) };
        let mut step = |bad: f64| {
            found[0] = bad;
            let ins = [arg(&mut scale, DType::F32), arg(&mut tracker, DType::I32), arg(&mut found, DType::F64)];
            unsafe { run(&op, &[], &ins, &[]).unwrap() }
            (scale[0], tracker[0])
        };
        assert_eq!([step(0.0), step(0.0), step(0.0), step(1.0), step(0.0)], [(8.0, 1), (16.0, 0), (16.0, 1), (8.0, 0), (8.0, 1)]);
    }
}
