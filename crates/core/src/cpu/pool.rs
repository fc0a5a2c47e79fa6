//! 2-d pooling, NCHW: maxima with their places, means, and the gradients of both. Planes are independent.
use super::Arg;
use super::half::{is_half, through_float32};
use super::parallel;
use super::real::{Real, for_real};
use super::scratch::Shared;
use super::simd::vectorised;
use crate::error::{Error, Result};
use crate::op::{Op, Pool2d};

/// # Safety
/// As [`super::run`]; all inputs are contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    if is_half(outs[0].dtype) {
        return unsafe { through_float32(ins, outs, |ins, outs| typed::<f32>(op, ins, outs)) };
    }
    for_real!(outs[0].dtype, T => unsafe { typed::<T>(op, ins, outs) })
}

unsafe fn typed<T: Real>(op: &Op, ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let from = Planes::of(&ins[0]);
    let to = Planes::of(&outs[0]);
    let (x, y) = (Shared::<T>::new(ins[0].ptr), Shared::<T>::new(outs[0].ptr));
    let (source, result) = (|i: usize| unsafe { x.slice(i * from.len(), from.len()) }, |i: usize| unsafe { y.slice_mut(i * to.len(), to.len()) });
    let planes = |work: usize, f: &(dyn Fn(usize) + Sync)| parallel::for_each(to.count, work, f);
    let (small, large) = (from.count * from.len(), to.count * to.len());
    match op {
        Op::MaxPool2d(g) => {
            let places = Shared::<i64>::new(outs[1].ptr);
            let pairs = halves(g, &from, &to);
            planes(small, &|i| {
                let (x, y, places) = (source(i), result(i), unsafe { places.slice_mut(i * to.len(), to.len()) });
                if pairs {
                    vectorised(
                        #[inline(always)]
                        || max_of_pairs(&from, &to, x, y, places),
                    )
                } else {
                    vectorised(
                        #[inline(always)]
                        || max(g, &from, &to, x, y, places),
                    )
                }
            });
        }
        Op::MaxPool2dGrad { .. } => {
            let places = Shared::<i64>::new(ins[1].ptr);
            planes(large, &|i| {
                let (grad, out) = (source(i), result(i));
                out.fill(T::ZERO);
                for (g, at) in grad.iter().zip(unsafe { places.slice(i * from.len(), from.len()) }) {
                    // A window that lies wholly in the padding has no place.
                    if let Some(o) = out.get_mut(*at as usize) {
                        *o += *g;
                    }
                }
            });
        }
        Op::AvgPool2d(g) => {
            let pairs = halves(g, &from, &to);
            planes(small, &|i| {
                if pairs {
                    vectorised(
                        #[inline(always)]
                        || mean_of_pairs(&from, &to, source(i), result(i)),
                    )
                } else {
                    mean(g, &from, &to, source(i), result(i))
                }
            });
        }
        Op::AvgPool2dGrad { geometry, .. } => {
            let pairs = halves(geometry, &to, &from);
            planes(large, &|i| {
                if pairs {
                    vectorised(
                        #[inline(always)]
                        || mean_grad_of_pairs(&from, &to, source(i), result(i)),
                    )
                } else {
                    mean_grad(geometry, &from, &to, source(i), result(i))
                }
            });
        }
        _ => return Err(Error::internal("isn't a pooling op")),
    }
    Ok(())
}

/// Planes of a tensor `[.., height, width]`.
struct Planes {
    count: usize,
    height: usize,
    width: usize,
}
impl Planes {
    fn of(a: &Arg) -> Planes {
        let s = &a.layout.shape;
        let lead = s.rank() - 2;
        Planes { count: s[..lead].iter().product(), height: s[lead], width: s[lead + 1] }
    }
    fn len(&self) -> usize {
        self.height * self.width
    }
}

/// Whether all windows are 2x2, side by side and inside: the pool of most networks.
fn halves(g: &Pool2d, from: &Planes, to: &Planes) -> bool {
    let two = [2, 2];
    (g.kernel, g.stride, g.padding, g.dilation) == (two, two, [0, 0], [1, 1]) && 2 * to.height <= from.height && 2 * to.width <= from.width
}

/// A window along one direction: its elements inside the plane are `first`, `first + dilation`, .. below `end`.
struct Window {
    first: usize,
    end: usize,
    /// Elements of the window and its padding, for means; what hangs over the padding doesn't count.
    counted: usize,
}
fn window(g: &Pool2d, d: usize, i: usize, size: usize) -> Window {
    let (start, pad, dilation) = (i * g.stride[d], g.padding[d], g.dilation[d]);
    let stop = (start + (g.kernel[d] - 1) * dilation + 1).min(size + 2 * pad);
    let first = if start >= pad { start - pad } else { (pad - start).div_ceil(dilation) * dilation + start - pad };
    Window { first, end: stop.saturating_sub(pad).min(size), counted: stop.saturating_sub(start) }
}

/// PyTorch's rule: later elements win if they are greater or NaN. A line of results at a time, element by element of their
/// windows, so that the loop over the results becomes vector code.
#[inline(always)]
fn max<T: Real>(g: &Pool2d, from: &Planes, to: &Planes, x: &[T], y: &mut [T], places: &mut [i64]) {
    for oy in 0..to.height {
        let rows = window(g, 0, oy, from.height);
        let (y, places) = (&mut y[oy * to.width..][..to.width], &mut places[oy * to.width..][..to.width]);
        y.fill(T::NEG_INFINITY);
        for (ox, place) in places.iter_mut().enumerate() {
            *place = (rows.first * from.width + window(g, 1, ox, from.width).first) as i64;
        }
        for iy in (rows.first..rows.end).step_by(g.dilation[0]) {
            for kx in 0..g.kernel[1] {
                // Results whose window has this column inside the plane.
                let (at, pad, stride) = (kx * g.dilation[1], g.padding[1], g.stride[1]);
                let first = pad.saturating_sub(at).div_ceil(stride);
                let end = (from.width + pad).saturating_sub(at).div_ceil(stride).min(to.width);
                if first >= end {
                    continue;
                }
                let start = iy * from.width + first * stride + at - pad;
                let (y, places) = (&mut y[first..end], &mut places[first..end]);
                match stride {
                    1 => larger::<T, 1>(&x[start..], start, y, places),
                    2 => larger::<T, 2>(&x[start..], start, y, places),
                    _ => {
                        for (i, (best, place)) in y.iter_mut().zip(places).enumerate() {
                            let v = x[start + i * stride];
                            if v > *best || v.is_nan() {
                                (*best, *place) = (v, (start + i * stride) as i64);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Replaces bests by every `STRIDE`th element of `x` where that wins. `start` is the place of the first.
#[inline(always)]
fn larger<T: Real, const STRIDE: usize>(x: &[T], start: usize, bests: &mut [T], places: &mut [i64]) {
    assert!(places.len() == bests.len() && x.len() > (bests.len() - 1) * STRIDE);
    for (i, (best, place)) in bests.iter_mut().zip(places).enumerate() {
        // SAFETY: just checked, which the compiler doesn't see.
        let v = unsafe { *x.get_unchecked(i * STRIDE) };
        let wins = (v > *best) | v.is_nan();
        *best = if wins { v } else { *best };
        *place = if wins { (start + i * STRIDE) as i64 } else { *place };
    }
}

#[inline(always)]
fn max_of_pairs<T: Real>(from: &Planes, to: &Planes, x: &[T], y: &mut [T], places: &mut [i64]) {
    match to.width {
        8.. => max_of_blocks::<T, 8>(from, to, x, y, places),
        4.. => max_of_blocks::<T, 4>(from, to, x, y, places),
        _ => max_of_blocks::<T, 1>(from, to, x, y, places),
    }
}

/// `B` results at a time, at most a line; the last block of a line overlaps the one before, so there is no remainder.
#[inline(always)]
fn max_of_blocks<T: Real, const B: usize>(from: &Planes, to: &Planes, x: &[T], y: &mut [T], places: &mut [i64]) {
    for oy in 0..to.height {
        let corner = 2 * oy * from.width;
        let (upper, lower) = (x[corner..][..2 * to.width].as_chunks::<2>().0, x[corner + from.width..][..2 * to.width].as_chunks::<2>().0);
        let (y, places) = (&mut y[oy * to.width..][..to.width], &mut places[oy * to.width..][..to.width]);
        for first in (0..to.width).step_by(B) {
            let first = first.min(to.width - B);
            let (u, l) = (&upper[first..first + B], &lower[first..first + B]);
            let (y, places) = (&mut y[first..first + B], &mut places[first..first + B]);
            for i in 0..B {
                // Written as selections, so that the loop becomes vector code.
                let mut best = u[i][0];
                let mut offset = 0;
                for (v, at) in [(u[i][1], 1), (l[i][0], from.width as i64), (l[i][1], from.width as i64 + 1)] {
                    let wins = (v > best) | v.is_nan();
                    best = if wins { v } else { best };
                    offset = if wins { at } else { offset };
                }
                y[i] = best;
                places[i] = (corner + 2 * (first + i)) as i64 + offset;
            }
        }
    }
}

fn mean<T: Real>(g: &Pool2d, from: &Planes, to: &Planes, x: &[T], y: &mut [T]) {
    for oy in 0..to.height {
        let rows = window(g, 0, oy, from.height);
        for ox in 0..to.width {
            let columns = window(g, 1, ox, from.width);
            let mut sum = T::ZERO;
            for iy in rows.first..rows.end {
                for v in &x[iy * from.width + columns.first..iy * from.width + columns.end.max(columns.first)] {
                    sum += *v;
                }
            }
            y[oy * to.width + ox] = sum / T::from_f64((rows.counted * columns.counted) as f64);
        }
    }
}

#[inline(always)]
fn mean_of_pairs<T: Real>(from: &Planes, to: &Planes, x: &[T], y: &mut [T]) {
    let quarter = T::from_f64(0.25);
    for oy in 0..to.height {
        let (upper, lower) = (&x[2 * oy * from.width..][..2 * to.width], &x[(2 * oy + 1) * from.width..][..2 * to.width]);
        for ((u, l), y) in upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0).zip(&mut y[oy * to.width..][..to.width]) {
            *y = (u[0] + u[1] + l[0] + l[1]) * quarter;
        }
    }
}

fn mean_grad<T: Real>(g: &Pool2d, from: &Planes, to: &Planes, grad: &[T], out: &mut [T]) {
    out.fill(T::ZERO);
    for oy in 0..from.height {
        let rows = window(g, 0, oy, to.height);
        for ox in 0..from.width {
            let columns = window(g, 1, ox, to.width);
            let share = grad[oy * from.width + ox] / T::from_f64((rows.counted * columns.counted) as f64);
            for iy in rows.first..rows.end {
                for v in &mut out[iy * to.width + columns.first..iy * to.width + columns.end.max(columns.first)] {
                    *v += share;
                }
            }
        }
    }
}

#[inline(always)]
fn mean_grad_of_pairs<T: Real>(from: &Planes, to: &Planes, grad: &[T], out: &mut [T]) {
    let quarter = T::from_f64(0.25);
    if to.len() != 4 * from.len() {
        out.fill(T::ZERO);
    }
    for oy in 0..from.height {
        let (upper, lower) = out[2 * oy * to.width..].split_at_mut(to.width);
        for ((u, l), g) in upper.as_chunks_mut::<2>().0.iter_mut().zip(lower.as_chunks_mut::<2>().0).zip(&grad[oy * from.width..][..from.width]) {
            (*u, *l) = ([*g * quarter; 2], [*g * quarter; 2]);
        }
    }
}

#[cfg(test)]
mod tests;
