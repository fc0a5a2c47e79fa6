//! Positions of largest and smallest elements.
use super::fold::{Number, beats};
use super::geometry::DimList;
use crate::cpu::parallel::{Shared, for_each};
use crate::cpu::simd::vectorised;

/// Index of the first extreme element (a NaN is the most extreme) along `reduced`, in row-major order.
///
/// # Safety
/// `x` and `out` are valid for what `kept` and `reduced` reach, and nothing else uses `out`. `reduced` isn't empty of elements.
pub unsafe fn position<T: Number, const MAX: bool>(x: *const T, out: *mut i64, kept: DimList, reduced: DimList) {
    const CHUNK: usize = 1 << 14;
    let (results, count) = (kept.numel(), reduced.numel());
    let line = match reduced.as_slice() {
        [] => Some(0),
        [d] => Some(d.input),
        _ => None,
    };
    let group = CHUNK / count.max(1) + 1;
    let body = unsafe {
        Shared::new(|c: usize| {
            vectorised(
                #[inline(always)]
                || {
                    for i in c * group..results.min((c + 1) * group) {
                        let (input, output) = kept.offsets(i);
                        let x = x.add(input);
                        *out.add(output) = match line {
                            Some(1) => run::<T, MAX>(std::slice::from_raw_parts(x, count)),
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
    for_each(results.div_ceil(group), results * count, |c| body.get()(c));
}

#[inline(always)]
fn search<T: Number, const MAX: bool>(n: usize, mut get: impl FnMut(usize) -> T) -> usize {
    let (mut best, mut at) = (get(0), 0);
    for i in 1..n {
        let x = get(i);
        // Nothing beats a NaN that came first.
        if beats::<T, MAX>(x, best) && best.partial_cmp(&best).is_some() {
            (best, at) = (x, i);
        }
    }
    at
}

/// A block's extreme by vectors, then a search of the one block that holds it.
#[inline(always)]
fn run<T: Number, const MAX: bool>(x: &[T]) -> usize {
    const BLOCK: usize = 256;
    const LANES: usize = 32;
    if x.len() < 2 * LANES {
        return search::<T, MAX>(x.len(), |i| x[i]);
    }
    let (mut best, mut from) = (x[0], 0);
    for (b, block) in x.chunks(BLOCK).enumerate() {
        let mut lane = [block[0]; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for c in &mut chunks {
            for (l, v) in lane.iter_mut().zip(c) {
                *l = if beats::<T, MAX>(*v, *l) { *v } else { *l };
            }
        }
        for (l, v) in lane.iter_mut().zip(chunks.remainder()) {
            *l = if beats::<T, MAX>(*v, *l) { *v } else { *l };
        }
        let top = lane.iter().copied().reduce(|a, b| if beats::<T, MAX>(b, a) { b } else { a });
        if let Some(top) = top.filter(|t| beats::<T, MAX>(*t, best) && best.partial_cmp(&best).is_some()) {
            (best, from) = (top, b * BLOCK);
        }
    }
    let block = &x[from..x.len().min(from + BLOCK)];
    from + search::<T, MAX>(block.len(), |i| block[i])
}
