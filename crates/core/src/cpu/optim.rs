//! Gradient clipping, loss scaling and the optimisers, over ranges of flat buffers: one pass over memory each.
use super::parallel::{Shared, for_each};
use super::{Arg, simd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Op, Range, Ranges};
use std::ops::{Add, Div, Mul, Sub};

/// Runs `Op::ClipGradNorm`, `Op::ClipGradValue`, `Op::Unscale`, `Op::UpdateScale`, `Op::Sgd` or `Op::AdamW`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    unsafe { dispatch(op, params, ins, outs) }.map_err(|e| e.in_op(op.name()))
}

unsafe fn dispatch(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match op {
        Op::ClipGradNorm { ranges, max } => return unsafe { clip_norm(ranges, max.get(params), ins, &outs[0]) },
        Op::ClipGradValue { ranges, max } => return unsafe { clip_value(ranges, max.get(params), ins) },
        Op::Unscale { ranges } => return unsafe { unscale(ranges, ins, &outs[0]) },
        Op::UpdateScale { growth, backoff, interval } => {
            unsafe { update_scale(growth.get(params), backoff.get(params), interval.get(params), ins) };
            return Ok(());
        }
        _ => (),
    }
    if let Op::Sgd { skip: true, .. } | Op::AdamW { skip: true, .. } = op {
        let skip = ins[ins.len() - 1];
        if unsafe { *skip.ptr.cast::<f64>() } != 0.0 {
            return Ok(());
        }
    }
    match ins[0].dtype {
        DType::F32 => unsafe { step::<f32>(op, params, ins) },
        DType::F64 => unsafe { step::<f64>(op, params, ins) },
        d => Err(no_kernel(d)),
    }
}

fn no_kernel(d: DType) -> Error {
    Error::dtype(format!("needs float32 or float64 buffers, not {}", d.name()))
}

/// Element types of flat buffers.
trait Real: Copy + PartialOrd + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    const ZERO: Self;
    fn of(v: f64) -> Self;
    fn wide(self) -> f64;
    fn sqrt(self) -> Self;
}
macro_rules! real {
    ($($t:ty)*) => {$(impl Real for $t {
        const ZERO: $t = 0.0;
        #[inline(always)]
        fn of(v: f64) -> $t {
            v as $t
        }
        #[inline(always)]
        fn wide(self) -> f64 {
            self as f64
        }
        #[inline(always)]
        fn sqrt(self) -> $t {
            <$t>::sqrt(self)
        }
    })*};
}
real!(f32 f64);

/// Elements of a piece, the unit that threads take.
const PIECE: usize = 1 << 15;

/// `ranges` cut into pieces.
fn pieces(ranges: &Ranges) -> Vec<Range> {
    let cut =
        |r: &Range| (0..r.len.div_ceil(PIECE)).map(|i| Range { start: r.start + i * PIECE, len: (r.len - i * PIECE).min(PIECE) }).collect::<Vec<_>>();
    ranges.iter().flat_map(cut).collect()
}

/// Calls `f(i, piece i)` on the pool.
fn each(pieces: &[Range], cost: usize, f: impl Fn(usize, Range)) {
    let total: usize = pieces.iter().map(|r| r.len).sum();
    let body = unsafe { Shared::new(|c: usize| f(c, pieces[c])) };
    for_each(pieces.len(), total * cost, |c| body.get()(c));
}

unsafe fn part<'a, T>(buffer: *mut T, r: Range) -> &'a mut [T] {
    unsafe { std::slice::from_raw_parts_mut(buffer.add(r.start), r.len) }
}

unsafe fn clip_norm(ranges: &[Ranges], max: f64, grads: &[Arg], norm: &Arg) -> Result<()> {
    let mut squares = 0.0;
    for (r, g) in ranges.iter().zip(grads) {
        squares += match g.dtype {
            DType::F32 => unsafe { sum_of_squares::<f32>(r, g) },
            DType::F64 => unsafe { sum_of_squares::<f64>(r, g) },
            d => return Err(no_kernel(d)),
        };
    }
    // In the dtype of the norm, as PyTorch: an infinite norm makes every gradient 0 or NaN, a NaN norm makes all of them NaN.
    let scale = match norm.dtype {
        DType::F32 => {
            let total = squares.sqrt() as f32;
            unsafe { *norm.ptr.cast::<f32>() = total };
            (max as f32 / (total + 1e-6)) as f64
        }
        DType::F64 => {
            let total = squares.sqrt();
            unsafe { *norm.ptr.cast::<f64>() = total };
            max / (total + 1e-6)
        }
        d => return Err(no_kernel(d)),
    };
    if scale >= 1.0 {
        return Ok(());
    }
    for (r, g) in ranges.iter().zip(grads) {
        unsafe { if g.dtype == DType::F32 { map::<f32>(r, g, |x| x * scale as f32) } else { map::<f64>(r, g, |x| x * scale) } }
    }
    Ok(())
}

unsafe fn clip_value(ranges: &[Ranges], max: f64, grads: &[Arg]) -> Result<()> {
    #[inline(always)]
    fn clamp<T: PartialOrd>(x: T, low: T, high: T) -> T {
        // A NaN stays.
        let x = if x < low { low } else { x };
        if x > high { high } else { x }
    }
    for (r, g) in ranges.iter().zip(grads) {
        match g.dtype {
            DType::F32 => unsafe { map::<f32>(r, g, |x| clamp(x, -max as f32, max as f32)) },
            DType::F64 => unsafe { map::<f64>(r, g, |x| clamp(x, -max, max)) },
            d => return Err(no_kernel(d)),
        }
    }
    Ok(())
}

/// Divides gradients by the scale, which comes after them; `found` gets 1 if any isn't finite, else 0.
unsafe fn unscale(ranges: &[Ranges], ins: &[Arg], found: &Arg) -> Result<()> {
    let scale = unsafe { *ins[ranges.len()].ptr.cast::<f32>() };
    let mut finite = true;
    for (r, g) in ranges.iter().zip(ins) {
        finite &= match g.dtype {
            DType::F32 => unsafe { divided::<f32>(r, g, 1.0 / scale) },
            DType::F64 => unsafe { divided::<f64>(r, g, 1.0 / scale as f64) },
            d => return Err(no_kernel(d)),
        };
    }
    unsafe { *found.ptr.cast::<f64>() = if finite { 0.0 } else { 1.0 } }
    Ok(())
}

/// Multiplies by `inverse`; whether all were finite before.
unsafe fn divided<T: Real>(ranges: &Ranges, buffer: &Arg, inverse: T) -> bool {
    let pieces = pieces(ranges);
    let mut finite = vec![true; pieces.len()];
    let (from, to) = (buffer.ptr.cast::<T>(), finite.as_mut_ptr());
    each(&pieces, 1, |i, r| unsafe {
        let x = part(from, r);
        *to.add(i) = x.iter().all(|v| v.wide().is_finite());
        simd::vectorised(
            #[inline(always)]
            || x.iter_mut().for_each(|v| *v = *v * inverse),
        );
    });
    finite.into_iter().all(|f| f)
}

/// PyTorch's rule for the next scale: `ins` are the scale, the count of good updates, and whether a gradient wasn't finite.
unsafe fn update_scale(growth: f64, backoff: f64, interval: f64, ins: &[Arg]) {
    let (scale, tracker) = unsafe { (&mut *ins[0].ptr.cast::<f32>(), &mut *ins[1].ptr.cast::<i32>()) };
    if unsafe { *ins[2].ptr.cast::<f64>() } != 0.0 {
        *scale *= backoff as f32;
        *tracker = 0;
        return;
    }
    *tracker += 1;
    if *tracker as f64 == interval {
        let grown = *scale * growth as f32;
        if grown.is_finite() {
            *scale = grown;
        }
        *tracker = 0;
    }
}

unsafe fn map<T: Real>(ranges: &Ranges, buffer: &Arg, f: impl Fn(T) -> T) {
    let to = buffer.ptr.cast::<T>();
    each(&pieces(ranges), 1, |_, r| {
        let x = unsafe { part(to, r) };
        simd::vectorised(
            #[inline(always)]
            || x.iter_mut().for_each(|v| *v = f(*v)),
        )
    });
}

unsafe fn sum_of_squares<T: Real>(ranges: &Ranges, buffer: &Arg) -> f64 {
    let pieces = pieces(ranges);
    let mut sums = vec![0.0; pieces.len()];
    let (from, to) = (buffer.ptr.cast::<T>(), sums.as_mut_ptr());
    each(&pieces, 1, |i, r| unsafe {
        let x = part(from, r);
        *to.add(i) = simd::vectorised(
            #[inline(always)]
            || squares(x),
        );
    });
    sums.iter().sum()
}

#[inline(always)]
fn squares<T: Real>(x: &[T]) -> f64 {
    const LANES: usize = 128;
    const DEEP: usize = 8;
    let mut total = 0.0;
    // A lane takes 64 elements before it is added in double precision.
    for block in x.chunks(64 * LANES) {
        let mut lane = [T::ZERO; LANES];
        let (rows, rest) = block.as_chunks::<LANES>();
        let (groups, single) = rows.as_chunks::<DEEP>();
        for g in groups {
            for (j, l) in lane.iter_mut().enumerate() {
                *l = g.iter().fold(*l, |l, row| l + row[j] * row[j]);
            }
        }
        for row in single {
            for (l, v) in lane.iter_mut().zip(row) {
                *l = *l + *v * *v;
            }
        }
        for (l, v) in lane.iter_mut().zip(rest) {
            *l = *l + *v * *v;
        }
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                lane[l] = lane[l] + lane[l + width];
            }
            width /= 2;
        }
        total += lane[0].wide();
    }
    total
}

unsafe fn step<T: Real>(op: &Op, params: &[f64], ins: &[Arg]) -> Result<()> {
    match op {
        Op::Sgd { ranges, lr, momentum, dampening, weight_decay, nesterov, maximize, fresh, .. } => {
            let s = Sgd {
                lr: T::of(lr.get(params)),
                momentum: T::of(momentum.get(params)),
                share: T::of(1.0 - dampening.get(params)),
                decay: T::of(weight_decay.get(params)),
                sign: T::of(if *maximize { -1.0 } else { 1.0 }),
            };
            let buffers = [0, 1, 2].map(|i| ins[i].ptr.cast::<T>());
            unsafe {
                match (momentum.get(params) != 0.0, *fresh, *nesterov) {
                    (false, _, _) => sgd::<T, false, false, false>(&s, ranges, buffers),
                    (true, false, false) => sgd::<T, true, false, false>(&s, ranges, buffers),
                    (true, false, true) => sgd::<T, true, false, true>(&s, ranges, buffers),
                    (true, true, false) => sgd::<T, true, true, false>(&s, ranges, buffers),
                    (true, true, true) => sgd::<T, true, true, true>(&s, ranges, buffers),
                }
            }
        }
        Op::AdamW { ranges, lr, beta1, beta2, eps, weight_decay, step, maximize, .. } => {
            let [lr, beta1, beta2, step] = [lr, beta1, beta2, step].map(|s| s.get(params));
            let s = AdamW {
                shrink: T::of(1.0 - lr * weight_decay.get(params)),
                share1: T::of(1.0 - beta1),
                beta2: T::of(beta2),
                share2: T::of(1.0 - beta2),
                size: T::of(lr / (1.0 - beta1.powf(step))),
                unbias: T::of(1.0 / (1.0 - beta2.powf(step)).sqrt()),
                eps: T::of(eps.get(params)),
                sign: T::of(if *maximize { -1.0 } else { 1.0 }),
            };
            unsafe { adamw(&s, ranges, [0, 1, 2, 3].map(|i| ins[i].ptr.cast::<T>())) }
        }
        _ => return Err(Error::internal("is not an optimiser")),
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Sgd<T> {
    lr: T,
    momentum: T,
    /// 1 - dampening.
    share: T,
    decay: T,
    sign: T,
}

/// Without `MOMENTUM` the momentum buffer isn't touched; a `FRESH` one isn't read.
unsafe fn sgd<T: Real, const MOMENTUM: bool, const FRESH: bool, const NESTEROV: bool>(
    s: &Sgd<T>,
    ranges: &Ranges,
    [param, grad, momentum]: [*mut T; 3],
) {
    each(&pieces(ranges), 4, |_, r| {
        let s = *s;
        let (p, g) = unsafe { (part(param, r), &*part(grad, r)) };
        let m: &mut [T] = if MOMENTUM { unsafe { part(momentum, r) } } else { &mut [] };
        simd::vectorised(
            #[inline(always)]
            || {
                if !MOMENTUM {
                    for (p, g) in p.iter_mut().zip(g) {
                        *p = *p - s.lr * (*g * s.sign + s.decay * *p);
                    }
                    return;
                }
                for ((p, g), m) in p.iter_mut().zip(g).zip(m.iter_mut()) {
                    let g = *g * s.sign + s.decay * *p;
                    *m = if FRESH { g } else { *m * s.momentum + g * s.share };
                    let d = if NESTEROV { g + *m * s.momentum } else { *m };
                    *p = *p - s.lr * d;
                }
            },
        );
    });
}

#[derive(Clone, Copy)]
struct AdamW<T> {
    /// Decoupled weight decay: 1 - lr * decay.
    shrink: T,
    share1: T,
    beta2: T,
    share2: T,
    /// lr over the first moment's bias correction.
    size: T,
    /// 1 over the root of the second moment's.
    unbias: T,
    eps: T,
    sign: T,
}

unsafe fn adamw<T: Real>(s: &AdamW<T>, ranges: &Ranges, [param, grad, first, second]: [*mut T; 4]) {
    each(&pieces(ranges), 8, |_, r| {
        let s = *s;
        let (p, g, m, v) = unsafe { (part(param, r), &*part(grad, r), part(first, r), part(second, r)) };
        simd::vectorised(
            #[inline(always)]
            || {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(m.iter_mut()).zip(v.iter_mut()) {
                    let g = *g * s.sign;
                    *m = *m + (g - *m) * s.share1;
                    *v = *v * s.beta2 + g * g * s.share2;
                    *p = *p * s.shrink - s.size * (*m / (v.sqrt() * s.unbias + s.eps));
                }
            },
        )
    });
}

#[cfg(test)]
mod tests;
