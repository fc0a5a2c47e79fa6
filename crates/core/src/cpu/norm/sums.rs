//! Sums over the channels: in lanes within a plane, in f64 beyond.
use super::super::real::{Real, Stored};
use super::super::scratch::Shared;
use super::gradient::{Gradient, Room};
use super::{BAND, Line, Size};

/// Sums that run side by side in a plane: enough for the widest vectors to hide an addition's latency.
const LANES: usize = 64;
/// Elements whose sum stays in the lanes before it goes to f64.
pub(super) const RUN: usize = 4096;

/// Mean and biased variance of a band of channels, in two passes: squares of values far from 0 would cancel in one.
#[inline(always)]
pub(super) unsafe fn statistics<E: Stored>(size: Size, x: Shared<E>, first: usize, moments: &mut [[f64; 2]]) {
    let n = size.count();
    unsafe {
        fold(
            size,
            #[inline(always)]
            |start, _| x.at(start),
            x,
            first,
            moments,
            |_| E::Real::ZERO,
            #[inline(always)]
            |x, _, _| (x, E::Real::ZERO),
        );
        let mut centred = [[0.0; 2]; BAND];
        let centred = &mut centred[..moments.len()];
        fold(
            size,
            #[inline(always)]
            |start, _| x.at(start),
            x,
            first,
            centred,
            |c| E::Real::from_f64(moments[c][0] / n),
            #[inline(always)]
            |x, _, m| ((x - m) * (x - m), x - m),
        );
        for (m, [squares, rest]) in moments.iter_mut().zip(centred) {
            // The mean that was subtracted is rounded: what remains of it counts.
            *m = [m[0] / n, (*squares - *rest * *rest / n).max(0.0) / n];
        }
    }
}

/// Sums of the gradient and of the gradient times `x - mean` of a band of channels.
#[inline(always)]
pub(super) unsafe fn products<E: Stored>(
    size: Size,
    gradient: &Gradient<E>,
    x: Shared<E>,
    first: usize,
    lines: &[Line<E>],
    room: &mut Room<E>,
    sums: &mut [[f64; 2]],
) {
    unsafe {
        fold(
            size,
            #[inline(always)]
            |start, len| gradient.first(start, len, lines, room),
            x,
            first,
            sums,
            |c| lines[c][0],
            #[inline(always)]
            |g, x, m| (g, g * (x - m)),
        )
    }
}

/// Adds both parts of `f(a, b, number of the channel)` over each channel of a band. `a(start, length)` gives a stretch.
#[inline(always)]
unsafe fn fold<E: Stored>(
    size: Size,
    mut a: impl FnMut(usize, usize) -> *const E,
    b: Shared<E>,
    first: usize,
    sums: &mut [[f64; 2]],
    number: impl Fn(usize) -> E::Real,
    f: impl Fn(E::Real, E::Real, E::Real) -> (E::Real, E::Real),
) {
    if size.plane == 1 {
        let numbers: [E::Real; BAND] = std::array::from_fn(|c| if c < sums.len() { number(c) } else { E::Real::ZERO });
        size.stretches(
            first,
            sums.len(),
            #[inline(always)]
            |start, len| {
                let (a, b) = unsafe { (std::slice::from_raw_parts(a(start, len), len), b.slice(start, len)) };
                for (((a, b), n), sum) in a.iter().zip(b).zip(&numbers).zip(sums.iter_mut()) {
                    let (p, q) = f(a.get(), b.get(), *n);
                    sum[0] += p.to_f64();
                    sum[1] += q.to_f64();
                }
            },
        );
        return;
    }
    // One channel: only planes of one element come in bands.
    let (number, sum) = (number(0), &mut sums[0]);
    let (mut ps, mut qs, mut held) = ([E::Real::ZERO; LANES], [E::Real::ZERO; LANES], 0);
    size.stretches(
        first,
        1,
        #[inline(always)]
        |start, len| {
            let (a, b) = unsafe { (std::slice::from_raw_parts(a(start, len), len), b.slice(start, len)) };
            let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            if !whole_a.is_empty() {
                // Local to the stretch, so that they live in registers.
                let (mut p, mut q) = ([E::Real::ZERO; LANES], [E::Real::ZERO; LANES]);
                for (a, b) in whole_a.iter().zip(whole_b) {
                    for l in 0..LANES {
                        let (x, y) = f(a[l].get(), b[l].get(), number);
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
                let (p, q) = f(a.get(), b.get(), number);
                *ps += p;
                *qs += q;
            }
            held += len;
            if held >= RUN {
                sum[0] += total(ps);
                sum[1] += total(qs);
                (ps, qs, held) = ([E::Real::ZERO; LANES], [E::Real::ZERO; LANES], 0);
            }
        },
    );
    sum[0] += total(ps);
    sum[1] += total(qs);
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
