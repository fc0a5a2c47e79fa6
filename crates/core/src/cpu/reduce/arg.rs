//! Positions of largest and smallest elements.
use super::fold::{Number, beats};
use super::geometry::{Dim, DimList};
use crate::cpu::parallel::{Shared, for_each};
use crate::cpu::simd::vectorised;

/// Index of the first extreme element (a NaN is the most extreme) along `reduced`, in row-major order.
///
/// # Safety
/// `x` and `out` are valid for what `kept` and `reduced` reach, and nothing else uses `out`. `reduced` isn't empty of elements.
pub unsafe fn position<T: Number, const MAX: bool>(x: *const T, out: *mut i64, mut kept: DimList, reduced: DimList) {
    const CHUNK: usize = 1 << 14;
    let count = reduced.numel();
    let line = match reduced.as_slice() {
        [] => Some(0),
        [d] => Some(d.input),
        _ => None,
    };
    // Neighbouring results whose elements are neighbours too are searched side by side.
    let beside = kept.as_slice().last().is_some_and(|d| d.input == 1 && line != Some(1));
    let run = if beside { kept.pop() } else { None }.unwrap_or(Dim { size: 1, ..Dim::default() });
    let tiles = run.size.div_ceil(TILE);
    let units = kept.numel() * tiles;
    let group = CHUNK / (count * run.size.min(TILE)).max(1) + 1;
    let body = unsafe {
        Shared::new(|c: usize| {
            vectorised(
                #[inline(always)]
                || {
                    for unit in c * group..units.min((c + 1) * group) {
                        let (input, output) = kept.offsets(unit / tiles);
                        let column = unit % tiles * TILE;
                        let (x, out) = (x.add(input + column), out.add(output + column * run.output));
                        if beside {
                            columns::<T, MAX>(x, out, (run.size - column).min(TILE), run.output, count, &reduced);
                            continue;
                        }
                        *out = match line {
                            Some(1) => row::<T, MAX>(std::slice::from_raw_parts(x, count)),
                            Some(stride) => search::<T, MAX>(count, |i| *x.add(i * stride)),
                            None => {
                                let mut walk = reduced.walk(0);
                                search::<T, MAX>(count, |_| *x.add(walk.next()))
                            }
                        } as i64;
                    }
                },
            )
        })
    };
    for_each(units.div_ceil(group), 2 * count * units * run.size.min(TILE), |c| body.get()(c));
}

/// Columns that are searched side by side.
const TILE: usize = 128;

/// Whether `x`, which comes later, takes the place of `best`. Nothing beats a NaN that came first.
#[inline(always)]
fn later_beats<T: Number, const MAX: bool>(x: T, best: T) -> bool {
    beats::<T, MAX>(x, best) & !best.is_nan()
}

#[inline(always)]
unsafe fn columns<T: Number, const MAX: bool>(x: *const T, out: *mut i64, n: usize, step: usize, count: usize, reduced: &DimList) {
    let mut best = [T::ZERO; TILE];
    let mut at = [0i64; TILE];
    let mut walk = reduced.walk(0);
    for i in 0..count {
        let row = unsafe { x.add(walk.next()) };
        for (j, (best, at)) in best[..n].iter_mut().zip(&mut at).enumerate() {
            let v = unsafe { *row.add(j) };
            let wins = later_beats::<T, MAX>(v, *best) | (i == 0);
            *best = if wins { v } else { *best };
            *at = if wins { i as i64 } else { *at };
        }
    }
    for (j, at) in at[..n].iter().enumerate() {
        unsafe { *out.add(j * step) = *at };
    }
}

#[inline(always)]
fn search<T: Number, const MAX: bool>(n: usize, mut get: impl FnMut(usize) -> T) -> usize {
    let (mut best, mut at) = (get(0), 0);
    for i in 1..n {
        let x = get(i);
        let wins = later_beats::<T, MAX>(x, best);
        best = if wins { x } else { best };
        at = if wins { i } else { at };
    }
    at
}

/// Finds the extreme by vectors, then its first place.
#[inline(always)]
fn row<T: Number, const MAX: bool>(x: &[T]) -> usize {
    const BLOCK: usize = 1024;
    const LANES: usize = 64;
    if x.len() < LANES {
        return search::<T, MAX>(x.len(), |i| x[i]);
    }
    let (mut best, mut from) = (x[0], 0);
    for (b, block) in x.chunks(BLOCK).enumerate() {
        let mut lane = [block[0]; LANES];
        for c in block.chunks(LANES) {
            for (l, v) in lane.iter_mut().zip(c) {
                *l = if beats::<T, MAX>(*v, *l) { *v } else { *l };
            }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                lane[l] = if beats::<T, MAX>(lane[l + width], lane[l]) { lane[l + width] } else { lane[l] };
            }
            width /= 2;
        }
        if later_beats::<T, MAX>(lane[0], best) {
            (best, from) = (lane[0], b * BLOCK);
        }
    }
    let nan = best.is_nan();
    let is_best = |v: &T| (*v == best) | (nan & v.is_nan());
    for (c, chunk) in x[from..].chunks(LANES).enumerate() {
        // Without an early end the compiler uses vectors.
        if chunk.iter().fold(false, |found, v| found | is_best(v)) {
            return from + c * LANES + chunk.iter().position(is_best).unwrap_or(0);
        }
    }
    from
}
