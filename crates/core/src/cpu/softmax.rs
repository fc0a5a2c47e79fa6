//! Softmax and its logarithm over the last dimension.
use super::half::{Widened, is_half};
use super::parallel::{Shared, for_each};
use super::pointwise::math;
use super::{Arg, simd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Runs `Op::Softmax`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, _: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::Softmax { log } => unsafe { softmax(log, &ins[0], &outs[0]) },
        _ => Err(Error::internal("is not a softmax")),
    }
    .map_err(|e| e.in_op(op.name()))
}

unsafe fn softmax(log: bool, x: &Arg, out: &Arg) -> Result<()> {
    let last = x.layout.shape.last().copied().unwrap_or(1);
    if x.numel() == 0 {
        return Ok(());
    }
    unsafe {
        match x.dtype {
            DType::F32 => rows::<f32>(log, x, out, last),
            DType::F64 => rows::<f64>(log, x, out, last),
            d if is_half(d) => {
                let mut result = Widened::empty(&out.layout);
                rows::<f32>(log, &Widened::new(x).arg(), &result.arg(), last);
                result.store(out);
            }
            d => return Err(Error::dtype(format!("needs floats, not {}", d.name()))),
        }
    }
    Ok(())
}

unsafe fn rows<T: Float>(log: bool, x: &Arg, out: &Arg, last: usize) {
    const CHUNK: usize = 1 << 13;
    let (count, group) = (x.numel() / last, CHUNK / last + 1);
    let (from, to) = (x.ptr.cast::<T>(), out.ptr.cast::<T>());
    let body = unsafe {
        Shared::new(|c: usize| {
            let (at, len) = (c * group * last, (count - c * group).min(group) * last);
            let (x, out) = (std::slice::from_raw_parts(from.add(at), len), std::slice::from_raw_parts_mut(to.add(at), len));
            simd::vectorised(
                #[inline(always)]
                || {
                    for (i, out) in out.chunks_exact_mut(last).enumerate() {
                        let row = Row::new(x, i, last);
                        if log { log_softmax_row(&row, &x[i * last..], out) } else { softmax_row(&row, out) }
                    }
                },
            )
        })
    };
    // An exponential counts as a dozen moved elements.
    for_each(count.div_ceil(group), 12 * count * last, |c| body.get()(c));
}

#[inline(always)]
fn softmax_row<T: Float>(row: &Row<T>, out: &mut [T]) {
    let sum = row.store_exponentials(row.maximum(), out);
    let scale = T::from_f64(1.0 / sum);
    out.iter_mut().for_each(|y| *y = *y * scale);
}

#[inline(always)]
fn log_softmax_row<T: Float>(row: &Row<T>, x: &[T], out: &mut [T]) {
    let max = row.maximum();
    let log = T::from_f64(row.exponentials(max).ln());
    for (y, x) in out.iter_mut().zip(x) {
        *y = (*x - max) - log;
    }
}

/// What the kernels over rows of logits need of a float type.
pub(super) trait Float:
    Copy + PartialOrd + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    const ZERO: Self;
    const LOW: Self;
    fn exp(self) -> Self;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}
impl Float for f32 {
    const ZERO: f32 = 0.0;
    const LOW: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn exp(self) -> f32 {
        math::exp(self)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
}
impl Float for f64 {
    const ZERO: f64 = 0.0;
    const LOW: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

/// Elements that are computed at a time.
const LANES: usize = 16;

/// A row of logits in vectors. A shorter end is padded with -infinity, whose exponential is 0, so it goes by vectors too.
pub(super) struct Row<'a, T> {
    chunks: &'a [[T; LANES]],
    end: [T; LANES],
    len: usize,
}
impl<'a, T: Float> Row<'a, T> {
    /// Row `i` of `x`, rows of `len` elements.
    #[inline(always)]
    pub fn new(x: &'a [T], i: usize, len: usize) -> Self {
        let (chunks, rest) = x[i * len..(i + 1) * len].as_chunks::<LANES>();
        let mut end = [T::LOW; LANES];
        // Element by element into a vector would stall on the way through memory: what follows the row is loaded too, if
        // there is enough, and masked.
        match x[i * len + chunks.len() * LANES..].first_chunk::<LANES>() {
            Some(wide) => {
                for (l, (e, v)) in end.iter_mut().zip(wide).enumerate() {
                    *e = if l < rest.len() { *v } else { T::LOW };
                }
            }
            None => end[..rest.len()].copy_from_slice(rest),
        }
        Row { chunks, end, len: rest.len() }
    }
    /// The largest element, NaNs left out.
    #[inline(always)]
    pub fn maximum(&self) -> T {
        let mut lane = self.end;
        for c in self.chunks {
            for (l, v) in lane.iter_mut().zip(c) {
                *l = if *v > *l { *v } else { *l };
            }
        }
        tree(lane, |a, b| if b > a { b } else { a })
    }
    /// The sum of `e^(x - max)`. A NaN makes it NaN.
    #[inline(always)]
    pub fn exponentials(&self, max: T) -> f64 {
        self.total(
            #[inline(always)]
            |_, c| exponentials(c, max),
        )
    }
    /// The same, and each exponential goes to `out`.
    #[inline(always)]
    pub fn store_exponentials(&self, max: T, out: &mut [T]) -> f64 {
        let (chunks, rest) = out.as_chunks_mut::<LANES>();
        self.total(
            #[inline(always)]
            |i, c| {
                let e = exponentials(c, max);
                match chunks.get_mut(i) {
                    Some(out) => *out = e,
                    None => rest.iter_mut().zip(&e).for_each(|(o, e)| *o = *e),
                }
                e
            },
        )
    }
    /// The sum of the elements.
    #[inline(always)]
    pub fn sum(&self) -> f64 {
        let end: f64 = self.end[..self.len].iter().map(|v| v.to_f64()).sum();
        let inside = self.chunks.len();
        let whole = self.total(
            #[inline(always)]
            |i, c| if i < inside { *c } else { [T::ZERO; LANES] },
        );
        whole + end
    }
    /// Sums what `f` makes of each vector, the padded end included.
    #[inline(always)]
    fn total(&self, mut f: impl FnMut(usize, &[T; LANES]) -> [T; LANES]) -> f64 {
        /// A lane takes that many elements before it is added in double precision.
        const BLOCK: usize = 64;
        let (count, all) = (self.chunks.len(), self.chunks.len() + (self.len > 0) as usize);
        let (mut sum, mut from) = (0.0, 0);
        while from < all {
            let to = all.min(from + BLOCK);
            let mut lane = [T::ZERO; LANES];
            for i in from..to {
                let v = f(i, if i < count { &self.chunks[i] } else { &self.end });
                for (l, v) in lane.iter_mut().zip(v) {
                    *l = *l + v;
                }
            }
            sum += tree(
                lane,
                #[inline(always)]
                |a, b| a + b,
            )
            .to_f64();
            from = to;
        }
        sum
    }
}

#[inline(always)]
fn exponentials<T: Float>(c: &[T; LANES], max: T) -> [T; LANES] {
    let mut e = [T::ZERO; LANES];
    for (e, x) in e.iter_mut().zip(c) {
        *e = (*x - max).exp();
    }
    e
}

#[inline(always)]
fn tree<T: Float>(lane: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    // Without this the compiler keeps the lanes in pieces that suit the tree, in the loops before it too.
    let mut lane = std::hint::black_box(lane);
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lane[l] = join(lane[l], lane[l + width]);
        }
        width /= 2;
    }
    lane[0]
}

#[cfg(test)]
mod tests {
    use super::super::test_args::{Element, Owned, assert_close, same_on_threads};
    use super::*;
    use ::half::bf16;

    fn apply<T: Element>(x: &mut Owned<T>, log: bool) -> Vec<f64> {
        let mut out = Owned::<T>::random(&x.layout.shape, 3);
        unsafe { run(&Op::Softmax { log }, &[], &[x.arg()], &[out.arg()]) }.unwrap();
        out.values()
    }

    fn reference(x: &[f64], last: usize, log: bool) -> Vec<f64> {
        x.chunks(last)
            .flat_map(|r| {
                let max = r.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = r.iter().map(|v| (v - max).exp()).sum();
                r.iter().map(move |v| if log { v - max - sum.ln() } else { (v - max).exp() / sum }).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn rows_of_any_length() {
        for last in [1, 2, 10, 16, 17, 100, 1024, 1030, 5000] {
            for log in [false, true] {
                let mut x = Owned::<f32>::random(&[3, last], 1);
                x.data.iter_mut().for_each(|v| *v *= 30.0);
                assert_close(&apply(&mut x, log), &reference(&x.values(), last, log), 2e-6, "float32");
                let mut y = Owned::<f64>::random(&[2, 2, last], 1);
                assert_close(&apply(&mut y, log), &reference(&y.values(), last, log), 1e-13, "float64");
                let mut z = Owned::<bf16>::random(&[2, last], 1);
                assert_close(&apply(&mut z, log), &reference(&z.values(), last, log), 5e-3, "bfloat16");
            }
        }
        assert!(apply(&mut Owned::<f32>::zeros(&[3, 0]), false).is_empty());
        assert_eq!(apply(&mut Owned::<f32>::zeros(&[]), false), [1.0]);
    }

    #[test]
    fn infinities() {
        let mut x = Owned::<f32>::new(vec![f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY], &[4]);
        assert_eq!(apply(&mut x, false), [0.0, 0.5, 0.5, 0.0]);
        assert_eq!(apply(&mut x, true)[0], f64::NEG_INFINITY);
        let mut low = Owned::<f32>::new(vec![f32::NEG_INFINITY; 3], &[3]);
        assert!(apply(&mut low, false).iter().all(|v| v.is_nan()));
        let mut nan = Owned::<f32>::new(vec![0.0, f32::NAN, 1.0], &[3]);
        assert!(apply(&mut nan, true).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn threads_change_nothing() {
        same_on_threads(|| apply(&mut Owned::<f32>::random(&[400, 1001], 1), false));
    }
}
