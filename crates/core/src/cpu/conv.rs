//! 2-d convolution, NCHW: its result and both gradients. A padded frame of the source, tables of offsets and one register
//! kernel serve all three (see `kernel`), so there is no im2col and no packing of patches. The commonest kernels have a shorter
//! way (see `winograd`).
mod gather;
mod kernel;
mod sweep;
mod transpose;
mod weight;
mod winograd;

use super::Arg;
use super::half::{is_half, through_float32};
use super::real::{Real, for_real};
use crate::error::{Error, Result};
use crate::op::{self, Op};
use gather::{Strides, gather};
use sweep::Sweep;

/// # Safety
/// As [`super::run`]; all inputs are contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    if is_half(outs[0].dtype) {
        return unsafe { through_float32(ins, outs, |ins, outs| typed::<f32>(op, ins, outs)) };
    }
    for_real!(outs[0].dtype, T => unsafe { typed::<T>(op, ins, outs) })
}

unsafe fn typed<T: Real>(op: &Op, ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let out = &outs[0];
    if out.numel() == 0 {
        return Ok(());
    }
    let plane = |a: &Arg| [a.layout.shape[2], a.layout.shape[3]];
    let pixels = |g: &op::Conv2d, x: &Arg, weight: &[usize], y: &Arg| Sweep::forward(g, &x.layout.shape, weight, plane(y));
    unsafe {
        match op {
            Op::Conv2d { geometry, bias } => {
                let weight = &ins[1].layout.shape;
                let strides = Strides { to: weight[1] * weight[2] * weight[3], from: weight[2] * weight[3] };
                let bias = bias.then(|| ins[2].slice::<T>());
                results(&pixels(geometry, &ins[0], weight, out), ins[0].ptr, ins[1].ptr, strides, bias, out.ptr);
            }
            Op::Conv2dGradInput { geometry, shape } => {
                let weight = &ins[1].layout.shape;
                let strides = Strides { to: weight[2] * weight[3], from: weight[1] * weight[2] * weight[3] };
                results::<T>(&Sweep::backward(geometry, shape, weight, plane(&ins[0])), ins[0].ptr, ins[1].ptr, strides, None, out.ptr);
            }
            Op::Conv2dGradWeight { geometry, shape } => {
                let sweep = pixels(geometry, &ins[1], shape, &ins[0]);
                let f = if winograd::suits(&sweep) { winograd::weight_grad::<T> } else { weight::weight_grad::<T> };
                f(&sweep, ins[1].ptr, ins[0].ptr, out.ptr);
            }
            _ => return Err(Error::internal("isn't a convolution")),
        }
    }
    Ok(())
}

/// A sweep's results by the method that suits it.
unsafe fn results<T: Real>(sweep: &Sweep, source: *mut u8, weight: *mut u8, strides: Strides, bias: Option<&[T]>, result: *mut u8) {
    unsafe {
        if sweep.sparse {
            result.write_bytes(0, sweep.images * sweep.groups * sweep.to * sweep.result[0] * sweep.result[1] * size_of::<T>());
        }
        if winograd::suits(sweep) {
            winograd::gather(sweep, source, weight, strides, bias, result)
        } else {
            gather(sweep, source, weight, strides, bias, result)
        }
    }
}

#[cfg(test)]
mod tests;
