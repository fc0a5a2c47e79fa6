//! 2-d pooling, NCHW: maxima with their places, means, and the gradients of both. Planes are independent.
use super::Arg;
use super::parallel;
use super::real::{Real, for_real};
use super::scratch::Shared;
use super::simd::vectorised;
use crate::error::{Error, Result};
use crate::op::{Op, Pool2d};

/// # Safety
/// As [`super::run`]; all inputs are contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
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
                    max(g, &from, &to, x, y, places)
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

/// PyTorch's rule: later elements win if they are greater or NaN.
fn max<T: Real>(g: &Pool2d, from: &Planes, to: &Planes, x: &[T], y: &mut [T], places: &mut [i64]) {
    for oy in 0..to.height {
        let rows = window(g, 0, oy, from.height);
        for ox in 0..to.width {
            let columns = window(g, 1, ox, from.width);
            let (mut best, mut place) = (T::NEG_INFINITY, rows.first * from.width + columns.first);
            for iy in (rows.first..rows.end).step_by(g.dilation[0]) {
                for ix in (columns.first..columns.end).step_by(g.dilation[1]) {
                    let v = x[iy * from.width + ix];
                    if v > best || v.is_nan() {
                        (best, place) = (v, iy * from.width + ix);
                    }
                }
            }
            (y[oy * to.width + ox], places[oy * to.width + ox]) = (best, place as i64);
        }
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
mod tests {
    use super::super::parallel::set_num_threads;
    use super::super::testing::{Operand, assert_close};
    use super::*;
    use crate::dtype::DType;
    use crate::shape::Shape;

    fn pool(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], ceil: bool) -> Pool2d {
        Pool2d { kernel, stride, padding, dilation, ceil }
    }
    /// PyTorch's size: a window must start inside the plane or its left padding.
    fn side(g: &Pool2d, d: usize, size: usize) -> usize {
        let (room, stride) = (size + 2 * g.padding[d] - g.dilation[d] * (g.kernel[d] - 1) - 1, g.stride[d]);
        let n = (if g.ceil { room.div_ceil(stride) } else { room / stride }) + 1;
        if g.ceil && (n - 1) * stride >= size + g.padding[d] { n - 1 } else { n }
    }
    fn out_shape(g: &Pool2d, x: &[usize]) -> Vec<usize> {
        vec![x[0], x[1], side(g, 0, x[2]), side(g, 1, x[3])]
    }
    /// Calls `f` with the result, and the source element or none for padding; and the window's counted size.
    fn visits(g: &Pool2d, x: &[usize], mut f: impl FnMut(usize, Option<usize>, f64)) {
        let y = out_shape(g, x);
        for i in 0..y.iter().product::<usize>() {
            let (ox, oy, plane) = (i % y[3], i / y[3] % y[2], i / y[3] / y[2]);
            let inside = |d: usize, o: usize, k: usize| {
                let at = (o * g.stride[d] + k * g.dilation[d]) as isize - g.padding[d] as isize;
                (at < (x[2 + d] + g.padding[d]) as isize).then_some(at)
            };
            let count = |d: usize, o: usize| (0..g.kernel[d]).filter(|k| inside(d, o, *k).is_some()).count();
            let counted = (count(0, oy) * count(1, ox)) as f64;
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    if let (Some(iy), Some(ix)) = (inside(0, oy, ky), inside(1, ox, kx)) {
                        let real = iy >= 0 && ix >= 0 && (iy as usize) < x[2] && (ix as usize) < x[3];
                        f(i, real.then(|| (plane * x[2] + iy as usize) * x[3] + ix as usize), counted);
                    }
                }
            }
        }
    }
    fn geometries() -> Vec<Pool2d> {
        let two = [2, 2];
        vec![
            pool(two, two, [0, 0], [1, 1], false),
            pool(two, two, [0, 0], [1, 1], true),
            pool([3, 2], [1, 3], [1, 1], [1, 1], false),
            pool([3, 3], two, [1, 1], [1, 1], true),
            pool([5, 5], [3, 4], [2, 1], [1, 1], true),
        ]
    }

    #[test]
    fn maxima_and_their_places() {
        let dilated = [pool([3, 2], [2, 1], [1, 1], [2, 3], false), pool([2, 3], [2, 2], [1, 1], [3, 2], true)];
        for dtype in [DType::F32, DType::F64] {
            for (g, shape) in geometries().into_iter().chain(dilated).flat_map(|g| [[2, 3, 7, 9], [1, 1, 8, 34], [0, 2, 6, 6]].map(|s| (g, s))) {
                // Few distinct values: ties are the rule.
                let values: Vec<f64> = Operand::random(&shape, DType::F64, 3).values().iter().map(|v| (v / 3.0).floor()).collect();
                let mut with_nan = values.clone();
                with_nan.iter_mut().step_by(11).for_each(|v| *v = f64::NAN);
                let mut lowest = values.clone();
                lowest.iter_mut().for_each(|v| *v = f64::NEG_INFINITY);
                for values in [values, with_nan, lowest] {
                    let x = Operand::new(&shape, dtype, &values);
                    let to = out_shape(&g, &shape);
                    let (y, places) = (Operand::random(&to, dtype, 1), Operand::random(&to, DType::I64, 2));
                    unsafe { run(&Op::MaxPool2d(g), &[], &[x.arg()], &[y.arg(), places.arg()]).unwrap() };
                    let plane = (shape[2] * shape[3]).max(1);
                    let (mut want, mut want_places) = (vec![f64::NEG_INFINITY; y.values().len()], vec![-1.0; y.values().len()]);
                    visits(&g, &shape, |i, j, _| {
                        if let Some(j) = j.filter(|j| values[*j] > want[i] || values[*j].is_nan() || want_places[i] < 0.0) {
                            (want[i], want_places[i]) = (values[j], (j % plane) as f64);
                        }
                    });
                    assert_close(&y.values(), &want, 0.0, &format!("{g:?} of {shape:?}"));
                    assert_eq!(places.values(), want_places, "{g:?} of {shape:?}");
                    let grad = Operand::eighths(&to, dtype, 5);
                    let mut want = vec![0.0; values.len()];
                    let result = want_places.len() / (shape[0] * shape[1]).max(1);
                    grad.values().iter().enumerate().for_each(|(i, g)| want[i / result * plane + want_places[i] as usize] += g);
                    let dx = Operand::random(&shape, dtype, 6);
                    unsafe { run(&Op::MaxPool2dGrad { shape: Shape::new(&shape) }, &[], &[grad.arg(), places.arg()], &[dx.arg()]).unwrap() };
                    assert_close(&dx.values(), &want, 0.0, "gradient of the maxima");
                }
            }
        }
    }

    #[test]
    fn means_and_their_gradients() {
        for dtype in [DType::F32, DType::F64] {
            for (g, shape) in geometries().into_iter().flat_map(|g| [[2, 3, 7, 9], [1, 1, 8, 34], [0, 2, 6, 6]].map(|s| (g, s))) {
                let (x, to) = (Operand::eighths(&shape, dtype, 3), out_shape(&g, &shape));
                let (y, grad, dx) = (Operand::random(&to, dtype, 1), Operand::eighths(&to, dtype, 2), Operand::random(&shape, dtype, 4));
                unsafe {
                    run(&Op::AvgPool2d(g), &[], &[x.arg()], &[y.arg()]).unwrap();
                    run(&Op::AvgPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[grad.arg()], &[dx.arg()]).unwrap();
                }
                let (xs, gs) = (x.values(), grad.values());
                let (mut want, mut want_x) = (vec![0.0; gs.len()], vec![0.0; xs.len()]);
                visits(&g, &shape, |i, j, counted| {
                    if let Some(j) = j {
                        want[i] += xs[j] / counted;
                        want_x[j] += gs[i] / counted;
                    }
                });
                assert_close(&y.values(), &want, 1e-6, &format!("{g:?} of {shape:?}"));
                assert_close(&dx.values(), &want_x, 1e-6, &format!("gradient of {g:?} of {shape:?}"));
            }
        }
    }

    #[test]
    fn two_threads_give_the_bits_of_one() {
        let shape = [8, 16, 96, 96];
        let g = pool([3, 3], [2, 2], [1, 1], [1, 1], false);
        let (x, to) = (Operand::random(&shape, DType::F32, 1), out_shape(&g, &shape));
        let all = |threads: usize| {
            set_num_threads(threads);
            let (y, places, dx) = (Operand::zeros(&to, DType::F32), Operand::zeros(&to, DType::I64), Operand::zeros(&shape, DType::F32));
            unsafe {
                run(&Op::MaxPool2d(g), &[], &[x.arg()], &[y.arg(), places.arg()]).unwrap();
                run(&Op::MaxPool2dGrad { shape: Shape::new(&shape) }, &[], &[y.arg(), places.arg()], &[dx.arg()]).unwrap();
            }
            (y.values(), places.values(), dx.values())
        };
        assert_eq!(all(1), all(2));
    }
}
