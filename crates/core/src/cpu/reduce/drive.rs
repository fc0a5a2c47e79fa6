//! Runs a [`Fold`] over any strided input. Cuts depend on the shape alone, and pieces are joined in order.
use super::fold::Fold;
use super::geometry::{Dim, DimList};
use crate::cpu::parallel::{Shared, for_each};
use crate::cpu::simd::vectorised;

/// Elements that are worth a chunk of their own.
const CHUNK: usize = 1 << 15;
/// Most pieces that one result is cut into.
const PIECES: usize = 64;
/// Columns that are summed at a time, in registers.
const TILE: usize = 64;
/// Elements that a lane takes before it is merged into a total.
const RUN: usize = 64;

/// Reduces. `finish` makes a result of a total.
///
/// # Safety
/// `x` and `out` are valid for what `kept` and `reduced` reach, and nothing else uses `out`.
pub unsafe fn fold<F: Fold, O: Copy>(x: *const F::In, out: *mut O, kept: DimList, reduced: DimList, finish: impl Fn(F::Total) -> O) {
    let (inner_kept, inner_reduced) = (kept.as_slice().last(), reduced.as_slice().last());
    let by_rows = match (inner_kept, inner_reduced) {
        (None, _) => true,
        (_, None) => false,
        (Some(k), Some(r)) => k.input == 0 || (r.input != 0 && r.input < k.input),
    };
    unsafe { if by_rows { rows::<F, O>(x, out, kept, reduced, finish) } else { columns::<F, O>(x, out, kept, reduced, finish) } }
}

/// The innermost dimension is reduced: a result at a time.
unsafe fn rows<F: Fold, O: Copy>(x: *const F::In, out: *mut O, kept: DimList, mut reduced: DimList, finish: impl Fn(F::Total) -> O) {
    let run = reduced.pop().unwrap_or(Dim { size: 1, ..Dim::default() });
    // Long runs are cut, so that each result is made of `count` parts of at most CHUNK elements.
    let cuts = run.size.div_ceil(CHUNK);
    let count = reduced.numel() * cuts;
    let part = |q: usize, at: usize| {
        let from = q % cuts * CHUNK;
        let len = (run.size - from).min(CHUNK);
        unsafe { line::<F>(x.add(at + from * run.input), len, run.input) }
    };
    let total = |base: usize, from: usize, to: usize| {
        let mut walk = reduced.walk(from / cuts);
        let (mut sum, mut at) = (F::TOTAL, 0);
        for q in from..to {
            if q == from || q % cuts == 0 {
                at = base + walk.next();
            }
            sum = F::combine(sum, part(q, at));
        }
        sum
    };
    let results = kept.numel();
    let elements = reduced.numel() * run.size;
    if elements <= 2 * CHUNK {
        let group = CHUNK / elements.max(1) + 1;
        let body = unsafe {
            Shared::new(|c: usize| {
                vectorised(
                    #[inline(always)]
                    || {
                        for i in c * group..results.min((c + 1) * group) {
                            let (input, output) = kept.offsets(i);
                            *out.add(output) = finish(total(input, 0, count));
                        }
                    },
                )
            })
        };
        return for_each(results.div_ceil(group), results * elements, |c| body.get()(c));
    }
    // Results of many elements are cut in pieces.
    let step = (CHUNK * count / elements).max(count.div_ceil(PIECES)).max(1);
    let pieces = count.div_ceil(step);
    let mut totals = vec![F::TOTAL; results * pieces];
    let to = totals.as_mut_ptr();
    let body = unsafe {
        Shared::new(|c: usize| {
            let (i, piece) = (c / pieces, c % pieces);
            let base = kept.offsets(i).0;
            *to.add(c) = vectorised(
                #[inline(always)]
                || total(base, piece * step, count.min((piece + 1) * step)),
            );
        })
    };
    for_each(results * pieces, results * elements, |c| body.get()(c));
    for (i, t) in totals.chunks_exact(pieces).enumerate() {
        let sum = t.iter().fold(F::TOTAL, |a, b| F::combine(a, *b));
        unsafe { *out.add(kept.offsets(i).1) = finish(sum) };
    }
}

/// `n` elements `stride` apart.
#[inline(always)]
unsafe fn line<F: Fold>(x: *const F::In, n: usize, stride: usize) -> F::Total {
    unsafe {
        match (stride, n) {
            (1, 0..16) => lanes::<F, 1>(x, n, 1),
            (1, 0..512) => lanes::<F, 16>(x, n, 1),
            (1, _) => lanes::<F, 64>(x, n, 1),
            _ => lanes::<F, 4>(x, n, stride),
        }
    }
}

/// Element i goes to lane i % L; lanes are joined in a tree.
#[inline(always)]
unsafe fn lanes<F: Fold, const L: usize>(x: *const F::In, n: usize, stride: usize) -> F::Total {
    let mut total = F::TOTAL;
    let mut from = 0;
    while from < n {
        let to = n.min(from + L * RUN);
        let mut lane = [F::LANE; L];
        let mut i = from;
        while i + L <= to {
            for (l, acc) in lane.iter_mut().enumerate() {
                *acc = F::step(*acc, unsafe { *x.add((i + l) * stride) });
            }
            i += L;
        }
        for (l, acc) in lane.iter_mut().enumerate().take(to - i) {
            *acc = F::step(*acc, unsafe { *x.add((i + l) * stride) });
        }
        let mut width = L / 2;
        while width > 0 {
            for l in 0..width {
                lane[l] = F::join(lane[l], lane[l + width]);
            }
            width /= 2;
        }
        total = F::merge(total, lane[0]);
        from = to;
    }
    total
}

/// The innermost dimension is kept: a tile of results at a time, row by row.
unsafe fn columns<F: Fold, O: Copy>(x: *const F::In, out: *mut O, mut kept: DimList, reduced: DimList, finish: impl Fn(F::Total) -> O) {
    let run = kept.pop().unwrap_or(Dim { size: 1, ..Dim::default() });
    let (count, outer, tiles) = (reduced.numel(), kept.numel(), run.size.div_ceil(TILE));
    let width = run.size.min(TILE);
    // The totals of tile `unit`, rows `from..to`, go to `to_totals`, one by one.
    let tile = |unit: usize, from: usize, to: usize, store: &mut dyn FnMut(usize, F::Total)| {
        let (input, output) = kept.offsets(unit / tiles);
        let (mut column, end) = (unit % tiles * TILE, run.size.min((unit % tiles + 1) * TILE));
        while column < end {
            let x = unsafe { x.add(input + column * run.input) };
            let mut totals = [F::TOTAL; TILE];
            let done = unsafe {
                match (end - column, run.input) {
                    (64.., 1) => stack::<F, 64>(x, 64, 1, &reduced, from, to, &mut totals),
                    (32.., 1) => stack::<F, 32>(x, 32, 1, &reduced, from, to, &mut totals),
                    (16.., 1) => stack::<F, 16>(x, 16, 1, &reduced, from, to, &mut totals),
                    (n, stride) => stack::<F, 16>(x, n.min(16), stride, &reduced, from, to, &mut totals),
                }
            };
            for (j, t) in totals[..done].iter().enumerate() {
                store(output + (column + j) * run.output, *t);
            }
            column += done;
        }
    };
    let units = outer * tiles;
    let elements = count * width;
    let work = outer * run.size * count;
    if elements <= 2 * CHUNK {
        let group = CHUNK / elements.max(1) + 1;
        let body = unsafe {
            Shared::new(|c: usize| {
                vectorised(
                    #[inline(always)]
                    || {
                        for unit in c * group..units.min((c + 1) * group) {
                            tile(unit, 0, count, &mut |at, t| *out.add(at) = finish(t));
                        }
                    },
                )
            })
        };
        return for_each(units.div_ceil(group), work, |c| body.get()(c));
    }
    // Tall tiles are cut in pieces. Totals lie by piece, then as the results do.
    let step = (CHUNK / width).max(count.div_ceil(PIECES));
    let pieces = count.div_ceil(step);
    let results = outer * run.size;
    let mut totals = vec![F::TOTAL; results * pieces];
    let to = totals.as_mut_ptr();
    let body = unsafe {
        Shared::new(|c: usize| {
            let (unit, piece) = (c / pieces, c % pieces);
            vectorised(
                #[inline(always)]
                || tile(unit, piece * step, count.min((piece + 1) * step), &mut |at, t| *to.add(piece * results + at) = t),
            );
        })
    };
    for_each(units * pieces, work, |c| body.get()(c));
    for i in 0..results {
        let sum = (0..pieces).fold(F::TOTAL, |a, p| F::combine(a, totals[p * results + i]));
        unsafe { *out.add(i) = finish(sum) };
    }
}

/// Reduces rows `from..to` of `n <= W` columns into `totals`; gives `n`.
#[inline(always)]
unsafe fn stack<F: Fold, const W: usize>(
    x: *const F::In,
    n: usize,
    stride: usize,
    rows: &DimList,
    from: usize,
    to: usize,
    totals: &mut [F::Total; TILE],
) -> usize {
    let mut walk = rows.walk(from);
    let mut r = from;
    while r < to {
        let end = to.min(r + RUN);
        let mut lane = [F::LANE; W];
        for _ in r..end {
            let row = unsafe { x.add(walk.next()) };
            if n == W {
                for (j, acc) in lane.iter_mut().enumerate() {
                    *acc = F::step(*acc, unsafe { *row.add(j * stride) });
                }
            } else {
                for (j, acc) in lane.iter_mut().enumerate().take(n) {
                    *acc = F::step(*acc, unsafe { *row.add(j * stride) });
                }
            }
        }
        for (t, l) in totals.iter_mut().zip(&lane) {
            *t = F::merge(*t, *l);
        }
        r = end;
    }
    n
}
