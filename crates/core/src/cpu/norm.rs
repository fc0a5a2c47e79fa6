//! Batch normalisation in training mode, over all dimensions but the channels'. A channel at a time: what its statistics
//! read is still in the cache when its values are written.
use super::Arg;
use super::parallel;
use super::real::{Real, for_real};
use super::scratch::Shared;
use super::simd::vectorised;
use crate::error::{Error, Result};
use crate::op::Op;

/// Sums that run side by side in a plane: enough for the widest vectors to hide an addition's latency.
const LANES: usize = 64;
/// Elements whose sum stays in the lanes before it goes to f64.
const RUN: usize = 4096;
/// Channels that are done together where planes are single elements.
const BAND: usize = 32;

/// # Safety
/// As [`super::run`]; all inputs are contiguous.
pub unsafe fn run(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    for_real!(outs[0].dtype, T => unsafe { typed::<T>(op, params, ins, outs) })
}

/// `[images, channels, plane]`.
#[derive(Clone, Copy)]
struct Size {
    images: usize,
    channels: usize,
    plane: usize,
}
impl Size {
    /// Elements of a channel.
    fn count(&self) -> f64 {
        (self.images * self.plane) as f64
    }
    fn at(&self, image: usize, channel: usize) -> usize {
        (image * self.channels + channel) * self.plane
    }
}

unsafe fn typed<T: Real>(op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let shape = &outs[0].layout.shape;
    let size = Size { images: shape[0], channels: shape[1], plane: shape[2..].iter().product() };
    let (x, out) = (Shared::<T>::new(ins[0].ptr), Shared::<T>::new(outs[0].ptr));
    let of_channels = |a: &Arg| Shared::<T>::new(a.ptr);
    let work = 4 * shape.numel();
    // With planes of one element channels lie side by side, and a band of them is the unit.
    let band = if size.plane == 1 { BAND } else { 1 };
    let bands = |f: &(dyn Fn(usize, usize) + Sync)| {
        parallel::for_each(size.channels.div_ceil(band), work, |i| f(i * band, band.min(size.channels - i * band)));
    };
    match op {
        Op::BatchNorm { eps, momentum, affine, stats } => {
            let scale = affine.then(|| [of_channels(&ins[1]), of_channels(&ins[2])]);
            let first = if *affine { 3 } else { 1 };
            // Running statistics are written in place, however they lie.
            let running = stats.then(|| [&ins[first], &ins[first + 1]].map(|a| (of_channels(a), a.layout.strides()[0])));
            let (mean, invstd) = (of_channels(&outs[1]), of_channels(&outs[2]));
            let (eps, momentum) = (eps.get(params), momentum.get(params));
            let unbiased = size.count() / (size.count() - 1.0).max(1.0);
            bands(&|first, count| {
                let mut moments = [[0.0; 2]; BAND];
                vectorised(
                    #[inline(always)]
                    || unsafe { statistics(size, x, first, &mut moments[..count]) },
                );
                let mut lines = [[T::ZERO; 3]; BAND];
                for (c, ([m, variance], line)) in moments.iter().zip(&mut lines).enumerate().take(count) {
                    let inverse = 1.0 / (variance + eps).sqrt();
                    let new = |old: T, v: f64| T::from_f64((1.0 - momentum) * old.to_f64() + momentum * v);
                    unsafe {
                        *mean.at(first + c) = T::from_f64(*m);
                        *invstd.at(first + c) = T::from_f64(inverse);
                        if let Some(running) = running {
                            for ((buffer, stride), v) in running.into_iter().zip([*m, variance * unbiased]) {
                                let at = buffer.at((first + c) * stride);
                                *at = new(*at, v);
                            }
                        }
                        let [w, b] = scale.map_or([1.0, 0.0], |s| s.map(|s| (*s.at(first + c)).to_f64()));
                        *line = [T::from_f64(*m), T::from_f64(inverse * w), T::from_f64(b)];
                    }
                }
                // y = (x - mean) * (invstd * weight) + bias
                vectorised(
                    #[inline(always)]
                    || unsafe {
                        affine_map(
                            size,
                            x,
                            x,
                            out,
                            first,
                            &lines[..count],
                            #[inline(always)]
                            |x, _, [m, s, b]| (x - m) * s + b,
                        )
                    },
                );
            });
        }
        Op::BatchNormGrad { affine } => {
            let grad = x;
            let x = Shared::<T>::new(ins[1].ptr);
            let weight = affine.then(|| of_channels(&ins[2]));
            let [mean, invstd] = [2, 3].map(|i| of_channels(&ins[i + *affine as usize]));
            let (grad_weight, grad_bias) = (of_channels(&outs[1]), of_channels(&outs[2]));
            bands(&|first, count| {
                let mut sums = [[0.0; 2]; BAND];
                vectorised(
                    #[inline(always)]
                    || unsafe { products(size, grad, x, mean, first, &mut sums[..count]) },
                );
                let mut lines = [[T::ZERO; 4]; BAND];
                for (c, ([of_grad, of_product], line)) in sums.iter().zip(&mut lines).enumerate().take(count) {
                    unsafe {
                        let (m, inverse) = (*mean.at(first + c), (*invstd.at(first + c)).to_f64());
                        *grad_weight.at(first + c) = T::from_f64(of_product * inverse);
                        *grad_bias.at(first + c) = T::from_f64(*of_grad);
                        let w = weight.map_or(1.0, |w| (*w.at(first + c)).to_f64());
                        let n = size.count();
                        *line = [m, T::from_f64(of_grad / n), T::from_f64(of_product * inverse * inverse / n), T::from_f64(inverse * w)];
                    }
                }
                // dx = (grad - mean(grad) - (x - mean) * invstd^2 * mean(grad * (x - mean))) * invstd * weight
                vectorised(
                    #[inline(always)]
                    || unsafe {
                        affine_map(
                            size,
                            grad,
                            x,
                            out,
                            first,
                            &lines[..count],
                            #[inline(always)]
                            |g, x, [m, of_grad, of_product, s]: [T; 4]| (g - of_grad - (x - m) * of_product) * s,
                        )
                    },
                );
            });
        }
        _ => return Err(Error::internal("isn't a normalisation")),
    }
    Ok(())
}

/// `out = f(a, b, numbers of the channel)` for a band of channels.
#[inline(always)]
unsafe fn affine_map<T: Real, const N: usize>(
    size: Size,
    a: Shared<T>,
    b: Shared<T>,
    out: Shared<T>,
    first: usize,
    numbers: &[[T; N]],
    f: impl Fn(T, T, [T; N]) -> T,
) {
    for image in 0..size.images {
        let (start, len) = (size.at(image, first), size.plane * numbers.len());
        let (a, b, out) = unsafe { (a.slice(start, len), b.slice(start, len), out.slice_mut(start, len)) };
        if size.plane == 1 {
            for (((a, b), out), n) in a.iter().zip(b).zip(out).zip(numbers) {
                *out = f(*a, *b, *n);
            }
        } else {
            let n = numbers[0];
            for ((a, b), out) in a.iter().zip(b).zip(out) {
                *out = f(*a, *b, n);
            }
        }
    }
}

/// Mean and biased variance of a band of channels, in two passes: squares of values far from 0 would cancel in one.
#[inline(always)]
unsafe fn statistics<T: Real>(size: Size, x: Shared<T>, first: usize, moments: &mut [[f64; 2]]) {
    let n = size.count();
    unsafe {
        fold(
            size,
            x,
            x,
            first,
            moments,
            |_| T::ZERO,
            #[inline(always)]
            |x, _, _| (x, T::ZERO),
        );
        let mut centred = [[0.0; 2]; BAND];
        let centred = &mut centred[..moments.len()];
        fold(
            size,
            x,
            x,
            first,
            centred,
            |c| T::from_f64(moments[c][0] / n),
            #[inline(always)]
            |x, _, m| ((x - m) * (x - m), x - m),
        );
        for (m, [squares, rest]) in moments.iter_mut().zip(centred) {
            // The mean that was subtracted is rounded to T: what remains of it counts.
            *m = [m[0] / n, (*squares - *rest * *rest / n).max(0.0) / n];
        }
    }
}

/// Sums of `grad` and of `grad * (x - mean)` of a band of channels.
#[inline(always)]
unsafe fn products<T: Real>(size: Size, grad: Shared<T>, x: Shared<T>, mean: Shared<T>, first: usize, sums: &mut [[f64; 2]]) {
    unsafe {
        fold(
            size,
            grad,
            x,
            first,
            sums,
            |c| *mean.at(first + c),
            #[inline(always)]
            |g, x, m| (g, g * (x - m)),
        )
    }
}

/// Adds both parts of `f(a, b, number of the channel)` over each channel of a band: in lanes within a plane, in f64 beyond.
#[inline(always)]
unsafe fn fold<T: Real>(
    size: Size,
    a: Shared<T>,
    b: Shared<T>,
    first: usize,
    sums: &mut [[f64; 2]],
    number: impl Fn(usize) -> T,
    f: impl Fn(T, T, T) -> (T, T),
) {
    if size.plane == 1 {
        let numbers: [T; BAND] = std::array::from_fn(|c| if c < sums.len() { number(c) } else { T::ZERO });
        for image in 0..size.images {
            let start = size.at(image, first);
            let (a, b) = unsafe { (a.slice(start, sums.len()), b.slice(start, sums.len())) };
            for (((a, b), n), sum) in a.iter().zip(b).zip(&numbers).zip(sums.iter_mut()) {
                let (p, q) = f(*a, *b, *n);
                sum[0] += p.to_f64();
                sum[1] += q.to_f64();
            }
        }
        return;
    }
    for (c, sum) in sums.iter_mut().enumerate() {
        let number = number(c);
        let (mut ps, mut qs, mut held) = ([T::ZERO; LANES], [T::ZERO; LANES], 0);
        for image in 0..size.images {
            let start = size.at(image, first + c);
            let (a, b) = unsafe { (a.slice(start, size.plane), b.slice(start, size.plane)) };
            for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
                let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
                if !whole_a.is_empty() {
                    // Local to the plane, so that they live in registers.
                    let (mut p, mut q) = ([T::ZERO; LANES], [T::ZERO; LANES]);
                    for (a, b) in whole_a.iter().zip(whole_b) {
                        for l in 0..LANES {
                            let (x, y) = f(a[l], b[l], number);
                            p[l] += x;
                            q[l] += y;
                        }
                    }
                    for l in 0..LANES {
                        ps[l] += p[l];
                        qs[l] += q[l];
                    }
                }
                for (((a, b), ps), qs) in rest_a.iter().zip(rest_b).zip(&mut ps).zip(&mut qs) {
                    let (p, q) = f(*a, *b, number);
                    *ps += p;
                    *qs += q;
                }
                held += a.len();
                if held >= RUN {
                    sum[0] += total(ps);
                    sum[1] += total(qs);
                    (ps, qs, held) = ([T::ZERO; LANES], [T::ZERO; LANES], 0);
                }
            }
        }
        sum[0] += total(ps);
        sum[1] += total(qs);
    }
}

/// The lanes' sum, pairwise.
#[inline(always)]
fn total<T: Real>(mut lanes: [T; LANES]) -> f64 {
    let mut n = LANES / 2;
    while n > 0 {
        for l in 0..n {
            lanes[l] += lanes[l + n];
        }
        n /= 2;
    }
    lanes[0].to_f64()
}

#[cfg(test)]
mod tests {
    use super::super::parallel::set_num_threads;
    use super::super::testing::{Operand, assert_close};
    use super::*;
    use crate::dtype::DType;
    use crate::op::Sc;

    fn op(affine: bool, stats: bool) -> Op {
        Op::BatchNorm { eps: Sc::new(1e-3), momentum: Sc::new(0.25), affine, stats }
    }

    #[test]
    fn results_statistics_and_gradients() {
        for (shape, dtype) in [vec![5, 7, 3, 11], vec![9, 70], vec![4, 3, 130], vec![2, 2, 1, 1, 1], vec![1, 3, 65, 70], vec![33, 4, 4, 4]]
            .into_iter()
            .flat_map(|s| [(s.clone(), DType::F32), (s, DType::F64)])
        {
            for affine in [true, false] {
                let (c, plane) = (shape[1], shape[2..].iter().product::<usize>());
                let channel = |i: usize| i / plane % c;
                // Far from 0: a one-pass variance in float32 would be lost.
                let x = Operand::new(&shape, dtype, &Operand::random(&shape, dtype, 1).values().iter().map(|v| v + 1000.0).collect::<Vec<_>>());
                let (w, b, g) = (Operand::random(&[c], dtype, 2), Operand::random(&[c], dtype, 3), Operand::random(&shape, dtype, 4));
                let (running_mean, running_var) = (Operand::random(&[c], dtype, 5), Operand::random(&[c], dtype, 6));
                let (old_mean, old_var) = (running_mean.values(), running_var.values());
                let (y, mean, invstd) = (Operand::zeros(&shape, dtype), Operand::zeros(&[c], dtype), Operand::zeros(&[c], dtype));
                let (dx, dw, db) = (Operand::zeros(&shape, dtype), Operand::zeros(&[c], dtype), Operand::zeros(&[c], dtype));
                let mut ins = vec![x.arg()];
                let mut grad_ins = vec![g.arg(), x.arg()];
                if affine {
                    ins.extend([w.arg(), b.arg()]);
                    grad_ins.push(w.arg());
                }
                ins.extend([running_mean.arg(), running_var.arg()]);
                grad_ins.extend([mean.arg(), invstd.arg()]);
                unsafe {
                    run(&op(affine, true), &[], &ins, &[y.arg(), mean.arg(), invstd.arg()]).unwrap();
                    run(&Op::BatchNormGrad { affine }, &[], &grad_ins, &[dx.arg(), dw.arg(), db.arg()]).unwrap();
                }
                let (xs, gs) = (x.values(), g.values());
                let n = (xs.len() / c) as f64;
                let sum = |f: &dyn Fn(usize) -> f64| {
                    (0..xs.len()).fold(vec![0.0; c], |mut s, i| {
                        s[channel(i)] += f(i);
                        s
                    })
                };
                let means: Vec<f64> = sum(&|i| xs[i]).iter().map(|s| s / n).collect();
                let vars: Vec<f64> = sum(&|i| (xs[i] - means[channel(i)]).powi(2)).iter().map(|s| s / n).collect();
                let inv: Vec<f64> = vars.iter().map(|v| 1.0 / (v + 1e-3).sqrt()).collect();
                let hat = |i: usize| (xs[i] - means[channel(i)]) * inv[channel(i)];
                let (ws, bs) = if affine { (w.values(), b.values()) } else { (vec![1.0; c], vec![0.0; c]) };
                let (want_w, want_b) = (sum(&|i| gs[i] * hat(i)), sum(&|i| gs[i]));
                let tolerance = if dtype == DType::F32 { 2e-3 } else { 1e-9 };
                let what = format!("{shape:?} {dtype:?} affine {affine}");
                assert_close(&mean.values(), &means, 1e-6, &what);
                assert_close(&invstd.values(), &inv, 1e-4, &what);
                assert_close(&y.values(), &(0..xs.len()).map(|i| hat(i) * ws[channel(i)] + bs[channel(i)]).collect::<Vec<_>>(), tolerance, &what);
                assert_close(&running_mean.values(), &(0..c).map(|i| 0.75 * old_mean[i] + 0.25 * means[i]).collect::<Vec<_>>(), 1e-6, &what);
                assert_close(
                    &running_var.values(),
                    &(0..c).map(|i| 0.75 * old_var[i] + 0.25 * vars[i] * n / (n - 1.0)).collect::<Vec<_>>(),
                    1e-4,
                    &what,
                );
                assert_close(&dw.values(), &want_w, tolerance, &what);
                assert_close(&db.values(), &want_b, 1e-5, &what);
                let want_x = |i: usize| (gs[i] - want_b[channel(i)] / n - hat(i) * want_w[channel(i)] / n) * inv[channel(i)] * ws[channel(i)];
                assert_close(&dx.values(), &(0..xs.len()).map(want_x).collect::<Vec<_>>(), tolerance, &what);
            }
        }
    }

    #[test]
    fn two_threads_give_the_bits_of_one() {
        let shape = [16, 24, 40, 40];
        let x = Operand::random(&shape, DType::F32, 1);
        let all = |threads: usize| {
            set_num_threads(threads);
            let (y, mean, invstd) = (Operand::zeros(&shape, DType::F32), Operand::zeros(&[24], DType::F32), Operand::zeros(&[24], DType::F32));
            let (dx, dw, db) = (Operand::zeros(&shape, DType::F32), Operand::zeros(&[24], DType::F32), Operand::zeros(&[24], DType::F32));
            unsafe {
                run(&op(false, false), &[], &[x.arg()], &[y.arg(), mean.arg(), invstd.arg()]).unwrap();
                run(&Op::BatchNormGrad { affine: false }, &[], &[y.arg(), x.arg(), mean.arg(), invstd.arg()], &[dx.arg(), dw.arg(), db.arg()])
                    .unwrap();
            }
            [y.values(), mean.values(), invstd.values(), dx.values(), dw.values(), db.values()]
        };
        assert_eq!(all(1), all(2));
    }
}
