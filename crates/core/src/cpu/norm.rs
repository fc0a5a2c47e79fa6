//! Batch normalisation in training mode, over all dimensions but the channels', with what a plan fuses to it. A channel at a
//! time: what its statistics read is still in the cache when its values are written.
mod gradient;
mod sums;

use super::Arg;
use super::parallel;
use super::real::{Real, Stored, for_stored};
use super::scratch::Shared;
use super::simd::vectorised;
use crate::error::{Error, Result};
use crate::op::{NormMask, Op};
use gradient::{Gradient, Mask};
use sums::{RUN, products, statistics};

/// Channels that are done together where planes are single elements.
const BAND: usize = 32;

/// # Safety
/// As [`super::run`]; all inputs are contiguous.
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::BatchNorm { eps, momentum, affine, stats, add, relu } => {
            let o = Training { eps: eps.get(params), momentum: momentum.get(params), affine, stats };
            for_stored!(outs[0].dtype, E => unsafe {
                match (add, relu) {
                    (false, false) => forward::<E, false, false>(o, ins, outs),
                    (false, true) => forward::<E, false, true>(o, ins, outs),
                    (true, false) => forward::<E, true, false>(o, ins, outs),
                    (true, true) => forward::<E, true, true>(o, ins, outs),
                }
                Ok(())
            })
        }
        Op::BatchNormGrad { affine, mask, sum, keep } => {
            for_stored!(outs[0].dtype, E => unsafe { backward::<E>(affine, mask, sum, keep, ins, outs); Ok(()) })
        }
        _ => Err(Error::internal("isn't a normalisation")),
    }
}

/// `[images, channels, plane]`.
#[derive(Clone, Copy)]
struct Size {
    images: usize,
    channels: usize,
    plane: usize,
}
impl Size {
    fn of(x: &Arg) -> Size {
        let shape = &x.layout.shape;
        Size { images: shape[0], channels: shape[1], plane: shape[2..].iter().product() }
    }
    /// Elements of a channel.
    fn count(&self) -> f64 {
        (self.images * self.plane) as f64
    }
    /// Calls `f(first channel, channels)` for bands of channels. With planes of one element channels lie side by side, and the
    /// unit is several of them; else it is one.
    fn bands(&self, f: impl Fn(usize, usize) + Sync) {
        let band = if self.plane == 1 { BAND } else { 1 };
        let work = 4 * self.images * self.channels * self.plane;
        parallel::for_each(self.channels.div_ceil(band), work, |i| f(i * band, band.min(self.channels - i * band)));
    }
    /// Calls `f(start, length)` for the stretches of a band's elements: at most [`RUN`] of a plane, or one of each channel.
    #[inline(always)]
    fn stretches(&self, first: usize, channels: usize, mut f: impl FnMut(usize, usize)) {
        let len = self.plane * channels;
        for image in 0..self.images {
            let start = (image * self.channels + first) * self.plane;
            for at in (0..len).step_by(RUN) {
                f(start + at, RUN.min(len - at));
            }
        }
    }
}

/// What a channel's values are multiplied with and shifted by: `(x - mean) * scale + bias`, rounded to the stored type.
type Line<E> = [<E as Stored>::Real; 3];

#[inline(always)]
fn normalised<E: Stored>(x: E, [mean, scale, bias]: Line<E>) -> E {
    E::round((x.get() - mean) * scale + bias)
}

/// `out[i] = f(a[i], b[i], numbers)` for a stretch of one channel, or of as many channels as there are `numbers`.
///
/// # Safety
/// The pointers are valid for `len` elements, and `out` overlaps neither input.
#[inline(always)]
unsafe fn map<E: Stored, N: Copy>(a: *const E, b: *const E, out: *mut E, len: usize, numbers: &[N], f: impl Fn(E, E, N) -> E) {
    unsafe {
        let (a, b, out) = (std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len), std::slice::from_raw_parts_mut(out, len));
        if let [n] = *numbers {
            for ((a, b), out) in a.iter().zip(b).zip(out) {
                *out = f(*a, *b, n);
            }
        } else {
            for (((a, b), out), n) in a.iter().zip(b).zip(out).zip(numbers) {
                *out = f(*a, *b, *n);
            }
        }
    }
}

/// Options of a forward pass.
#[derive(Clone, Copy)]
struct Training {
    eps: f64,
    momentum: f64,
    affine: bool,
    stats: bool,
}

/// Inputs in the order that an op's description gives them.
struct Inputs<'a>(std::slice::Iter<'a, Arg>);
impl<'a> Inputs<'a> {
    /// The next one, if the op has it.
    fn next(&mut self, given: bool) -> Option<&'a Arg> {
        if given { self.0.next() } else { None }
    }
    fn numbers<T>(&mut self, given: bool) -> Option<Shared<T>> {
        self.next(given).map(|a| Shared::new(a.ptr))
    }
}

unsafe fn forward<E: Stored, const ADD: bool, const RELU: bool>(o: Training, ins: &[Arg], outs: &[Arg]) {
    let size = Size::of(&outs[0]);
    let mut rest = Inputs(ins[1..].iter());
    let (x, out) = (Shared::<E>::new(ins[0].ptr), Shared::<E>::new(outs[0].ptr));
    let (weight, bias) = (rest.numbers::<E::Real>(o.affine), rest.numbers::<E::Real>(o.affine));
    // Running statistics are written in place, however they lie.
    let running = [0; 2].map(|_| rest.next(o.stats).map(|a| (Shared::<E::Real>::new(a.ptr), a.layout.strides()[0])));
    let addend = rest.numbers::<E>(ADD).unwrap_or(x);
    let (mean, invstd) = (Shared::<E::Real>::new(outs[1].ptr), Shared::<E::Real>::new(outs[2].ptr));
    let unbiased = size.count() / (size.count() - 1.0).max(1.0);
    size.bands(|first, count| {
        let mut moments = [[0.0; 2]; BAND];
        let mut lines = [[E::Real::ZERO; 3]; BAND];
        vectorised(
            #[inline(always)]
            || unsafe { statistics(size, x, first, &mut moments[..count]) },
        );
        for (c, ([m, variance], line)) in moments.iter().zip(&mut lines).enumerate().take(count) {
            let new = |old: E::Real, v: f64| E::Real::from_f64((1.0 - o.momentum) * old.to_f64() + o.momentum * v);
            unsafe {
                let at = |p: Option<Shared<E::Real>>, missing: f64| p.map_or(missing, |p| (*p.at(first + c)).to_f64());
                *mean.at(first + c) = E::Real::from_f64(*m);
                *invstd.at(first + c) = E::Real::from_f64(1.0 / (variance + o.eps).sqrt());
                for (buffer, v) in running.into_iter().zip([*m, variance * unbiased]) {
                    if let Some((buffer, stride)) = buffer {
                        let at = buffer.at((first + c) * stride);
                        *at = new(*at, v);
                    }
                }
                // From the rounded numbers: the derivative computes the result again, to the bit.
                *line = [*mean.at(first + c), E::Real::from_f64(at(Some(invstd), 1.0) * at(weight, 1.0)), E::Real::from_f64(at(bias, 0.0))];
            }
        }
        vectorised(
            #[inline(always)]
            || {
                size.stretches(
                    first,
                    count,
                    #[inline(always)]
                    |start, len| unsafe {
                        map(
                            x.at(start),
                            addend.at(start),
                            out.at(start),
                            len,
                            &lines[..count],
                            #[inline(always)]
                            |x, addend, line| {
                                let mut y = normalised(x, line);
                                if ADD {
                                    y = E::round(y.get() + addend.get());
                                }
                                // A NaN stays.
                                if RELU && y.get() <= E::Real::ZERO { E::round(E::Real::ZERO) } else { y }
                            },
                        )
                    },
                )
            },
        );
    });
}

unsafe fn backward<E: Stored>(affine: bool, mask: NormMask, sum: bool, keep: bool, ins: &[Arg], outs: &[Arg]) {
    let size = Size::of(&outs[0]);
    let mut rest = Inputs(ins[2..].iter());
    let (grad, x) = (Shared::<E>::new(ins[0].ptr), Shared::<E>::new(ins[1].ptr));
    let weight = rest.numbers::<E::Real>(affine);
    let statistic = |a: Option<Shared<E::Real>>, c: usize, missing: f64| a.map_or(missing, |a| unsafe { *a.at(c) }.to_f64());
    let (mean, invstd) = (rest.numbers::<E::Real>(true), rest.numbers::<E::Real>(true));
    let bias = rest.numbers::<E::Real>(affine && mask == NormMask::Input);
    let mask = match (mask, rest.numbers::<E>(mask == NormMask::Result)) {
        (NormMask::Input, _) => Mask::Input(x),
        (_, Some(y)) => Mask::Result(y),
        _ => Mask::None,
    };
    let second = rest.numbers::<E>(sum);
    let out = Shared::<E>::new(outs[0].ptr);
    let (grad_weight, grad_bias) = (Shared::<E::Real>::new(outs[1].ptr), Shared::<E::Real>::new(outs[2].ptr));
    let gradient = Gradient { grad, second, mask, keep: keep.then(|| Shared::new(outs[3].ptr)) };
    size.bands(|first, count| {
        let mut room = gradient::room();
        let mut lines = [[E::Real::ZERO; 3]; BAND];
        for (c, line) in lines.iter_mut().enumerate().take(count) {
            let at = |a, missing| statistic(a, first + c, missing);
            *line = [at(mean, 0.0), at(invstd, 1.0) * at(weight, 1.0), at(bias, 0.0)].map(E::Real::from_f64);
        }
        let lines = &lines[..count];
        let mut sums = [[0.0; 2]; BAND];
        vectorised(
            #[inline(always)]
            || unsafe { products(size, &gradient, x, first, lines, &mut room, &mut sums[..count]) },
        );
        let mut numbers = [[E::Real::ZERO; 4]; BAND];
        for (c, ([of_grad, of_product], (numbers, [mean, scale, _]))) in sums.iter().zip(numbers.iter_mut().zip(lines)).enumerate() {
            let (inverse, n) = (statistic(invstd, first + c, 1.0), size.count());
            unsafe {
                *grad_weight.at(first + c) = E::Real::from_f64(of_product * inverse);
                *grad_bias.at(first + c) = E::Real::from_f64(*of_grad);
            }
            *numbers = [*mean, E::Real::from_f64(of_grad / n), E::Real::from_f64(of_product * inverse * inverse / n), *scale];
        }
        // dx = (grad - mean(grad) - (x - mean) * invstd^2 * mean(grad * (x - mean))) * invstd * weight
        vectorised(
            #[inline(always)]
            || {
                size.stretches(
                    first,
                    count,
                    #[inline(always)]
                    |start, len| unsafe {
                        map(
                            gradient.again(start, len, lines, &mut room),
                            x.at(start),
                            out.at(start),
                            len,
                            &numbers[..count],
                            #[inline(always)]
                            |g, x, [m, of_grad, of_product, s]| E::round((g.get() - of_grad - (x.get() - m) * of_product) * s),
                        )
                    },
                )
            },
        );
    });
}

#[cfg(test)]
mod tests;
