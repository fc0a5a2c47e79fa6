//! Runs a [`Fold`] over any strided input. Cuts depend on the shape alone, and pieces are joined in order.
use super::fold::Fold;
use super::geometry::{Dim, DimList};
use crate::cpu::parallel::{Shared, for_each};
use crate::cpu::simd::vectorised;
use crate::reserve::repeated;

/// Elements that are worth a chunk of their own.
const CHUNK: usize = 1 << 15;
/// Most pieces that one result is cut into.
const PIECES: usize = 64;
/// Columns that are reduced at a time, in the first-level cache.
const TILE: usize = 512;
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

/// How results and their elements are dealt out. Results of few elements go in groups; those of many are cut in pieces,
/// which are joined in order when all are there.
struct Cut {
    /// Parts (elements or runs of them) in a piece, and pieces in a result.
    step: usize,
    pieces: usize,
    /// Pieces in a chunk for a thread.
    group: usize,
}
impl Cut {
    /// For results of `elements` elements each, in `parts` parts.
    fn new(elements: usize, parts: usize) -> Cut {
        if elements <= 2 * CHUNK {
            return Cut { step: parts.max(1), pieces: 1, group: CHUNK / elements.max(1) + 1 };
        }
        let step = (CHUNK * parts / elements).max(parts.div_ceil(PIECES)).max(1);
        Cut { step, pieces: parts.div_ceil(step), group: 1 }
    }
}

/// The innermost dimension is reduced: a result at a time.
unsafe fn rows<F: Fold, O: Copy>(x: *const F::In, out: *mut O, kept: DimList, mut reduced: DimList, finish: impl Fn(F::Total) -> O) {
    let run = reduced.pop().unwrap_or(Dim { size: 1, ..Dim::default() });
    let elements = reduced.numel() * run.size;
    let rows = Rows::<F> { x, run, outer: reduced, cuts: run.size.div_ceil(CHUNK) };
    let parts = rows.outer.numel() * rows.cuts;
    let cut = Cut::new(elements, parts);
    let results = kept.numel();
    let units = results * cut.pieces;
    let mut totals = if cut.pieces > 1 { repeated(F::TOTAL, units) } else { vec![] };
    let to = totals.as_mut_ptr();
    let body = unsafe {
        Shared::new(|c: usize| {
            vectorised(
                #[inline(always)]
                || {
                    for unit in c * cut.group..units.min((c + 1) * cut.group) {
                        let (input, output) = kept.offsets(unit / cut.pieces);
                        let from = unit % cut.pieces * cut.step;
                        let total = rows.total(input, from, parts.min(from + cut.step));
                        if cut.pieces == 1 { *out.add(output) = finish(total) } else { *to.add(unit) = total }
                    }
                },
            )
        })
    };
    for_each(units.div_ceil(cut.group), results * elements, |c| body.get()(c));
    for (i, t) in totals.chunks_exact(cut.pieces).enumerate() {
        let sum = t.iter().fold(F::TOTAL, |a, b| F::combine(a, *b));
        unsafe { *out.add(kept.offsets(i).1) = finish(sum) };
    }
}

/// The elements of a result: runs along the innermost reduced dimension, each in `cuts` parts of at most CHUNK elements.
struct Rows<F: Fold> {
    x: *const F::In,
    run: Dim,
    outer: DimList,
    cuts: usize,
}
impl<F: Fold> Rows<F> {
    /// Parts `from..to` of the result whose first element is at `base`.
    #[inline(always)]
    unsafe fn total(&self, base: usize, from: usize, to: usize) -> F::Total {
        let mut walk = self.outer.walk(from / self.cuts);
        let (mut total, mut at) = (F::TOTAL, 0);
        for part in from..to {
            if part == from || part % self.cuts == 0 {
                at = base + walk.next();
            }
            let start = part % self.cuts * CHUNK;
            let x = unsafe { self.x.add(at + start * self.run.input) };
            total = F::combine(total, unsafe { line::<F>(x, (self.run.size - start).min(CHUNK), self.run.input) });
        }
        total
    }
}

/// `n` elements `stride` apart.
#[inline(always)]
unsafe fn line<F: Fold>(x: *const F::In, n: usize, stride: usize) -> F::Total {
    unsafe {
        match (stride, n) {
            (_, 0..16) => F::merge(F::TOTAL, (0..n).fold(F::LANE, |lane, i| F::step(lane, *x.add(i * stride)))),
            (1, 16..128) => lanes::<F, 16>(x, n, 1),
            (1, 128..1024) => lanes::<F, 64>(x, n, 1),
            (1, _) => lanes::<F, 128>(x, n, 1),
            _ => lanes::<F, 16>(x, n, stride),
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
        let row = |r: usize| unsafe { x.add((from + r * L) * stride) };
        unsafe { stack::<F>(&mut lane, stride, (to - from) / L, row) };
        let rest = (to - from) / L * L + from;
        for (l, acc) in lane.iter_mut().enumerate().take(to - rest) {
            *acc = F::step(*acc, unsafe { *x.add((rest + l) * stride) });
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

/// Reduces `rows` rows into the lanes, eight at a time, so that lanes may live in memory. `row` is called in order.
#[inline(always)]
unsafe fn stack<F: Fold>(lane: &mut [F::Lane], stride: usize, rows: usize, mut row: impl FnMut(usize) -> *const F::In) {
    const DEEP: usize = 8;
    let mut r = 0;
    while r + DEEP <= rows {
        let mut p = [std::ptr::null(); DEEP];
        for (u, p) in p.iter_mut().enumerate() {
            *p = row(r + u);
        }
        for (j, acc) in lane.iter_mut().enumerate() {
            let mut a = *acc;
            for p in p {
                a = F::step(a, unsafe { *p.add(j * stride) });
            }
            *acc = a;
        }
        r += DEEP;
    }
    while r < rows {
        let p = row(r);
        for (j, acc) in lane.iter_mut().enumerate() {
            *acc = F::step(*acc, unsafe { *p.add(j * stride) });
        }
        r += 1;
    }
}

/// The innermost dimension is kept: a tile of results at a time, row by row.
unsafe fn columns<F: Fold, O: Copy>(x: *const F::In, out: *mut O, mut kept: DimList, reduced: DimList, finish: impl Fn(F::Total) -> O) {
    let run = kept.pop().unwrap_or(Dim { size: 1, ..Dim::default() });
    let (count, tiles) = (reduced.numel(), run.size.div_ceil(TILE));
    let cut = Cut::new(count * run.size.min(TILE), count);
    let columns = Columns::<F> { x, run, rows: reduced };
    let results = kept.numel() * run.size;
    let units = kept.numel() * tiles * cut.pieces;
    // By piece, then as the results lie.
    let mut totals = if cut.pieces > 1 { repeated(F::TOTAL, results * cut.pieces) } else { vec![] };
    let to = totals.as_mut_ptr();
    let body = unsafe {
        Shared::new(|c: usize| {
            vectorised(
                #[inline(always)]
                || {
                    for unit in c * cut.group..units.min((c + 1) * cut.group) {
                        let (tile, piece) = (unit / cut.pieces, unit % cut.pieces);
                        let (input, output) = kept.offsets(tile / tiles);
                        let column = tile % tiles * TILE;
                        let from = piece * cut.step;
                        let mut total = [F::TOTAL; TILE];
                        let n = columns.total(input, column, from, count.min(from + cut.step), &mut total);
                        for (j, t) in total[..n].iter().enumerate() {
                            let at = output + (column + j) * run.output;
                            if cut.pieces == 1 { *out.add(at) = finish(*t) } else { *to.add(piece * results + at) = *t }
                        }
                    }
                },
            )
        })
    };
    for_each(units.div_ceil(cut.group), results * count, |c| body.get()(c));
    if cut.pieces > 1 {
        for i in 0..results {
            let sum = (0..cut.pieces).fold(F::TOTAL, |a, p| F::combine(a, totals[p * results + i]));
            unsafe { *out.add(i) = finish(sum) };
        }
    }
}

/// Rows of results side by side.
struct Columns<F: Fold> {
    x: *const F::In,
    run: Dim,
    rows: DimList,
}
impl<F: Fold> Columns<F> {
    /// Rows `from..to` of the tile that starts at `column`, the first row's first element at `base`; gives its width.
    #[inline(always)]
    unsafe fn total(&self, base: usize, column: usize, from: usize, to: usize, totals: &mut [F::Total; TILE]) -> usize {
        let n = (self.run.size - column).min(TILE);
        let x = unsafe { self.x.add(base + column * self.run.input) };
        let mut walk = self.rows.walk(from);
        let mut r = from;
        while r < to {
            let count = (to - r).min(RUN);
            let mut lane = [F::LANE; TILE];
            let row = |_| unsafe { x.add(walk.next()) };
            // A constant stride lets the compiler use vectors.
            let stride = self.run.input;
            unsafe { if stride == 1 { stack::<F>(&mut lane[..n], 1, count, row) } else { stack::<F>(&mut lane[..n], stride, count, row) } };
            for (t, l) in totals[..n].iter_mut().zip(&lane) {
                *t = F::merge(*t, *l);
            }
            r += count;
        }
        n
    }
}
