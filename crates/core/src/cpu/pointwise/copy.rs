//! Copies between layouts. A transpose moves square tiles, so that both sides touch whole cache lines.
use super::walk::{BLOCK, SCRATCH, Source, chunks};
use crate::cpu::simd::vectorised;
use crate::cpu::{Arg, parallel};
use crate::shape::MAX_RANK;
use std::mem::MaybeUninit;

/// Side of a tile.
const TILE: usize = 16;
/// Side of a block of tiles: few enough pages on both sides for the TLB.
const BLOCK_SIDE: usize = 64;

/// The dimensions in the order in which `arg` lies in memory, largest stride first.
pub fn memory_order(arg: &Arg) -> ([u8; MAX_RANK], usize) {
    let (rank, strides) = (arg.layout.rank(), arg.layout.strides());
    let mut order: [u8; MAX_RANK] = std::array::from_fn(|d| d as u8);
    order[..rank].sort_by_key(|d| std::cmp::Reverse(strides[*d as usize]));
    (order, rank)
}

/// `arg` with its dimensions in another order.
pub fn reordered(arg: &Arg, (order, rank): ([u8; MAX_RANK], usize)) -> Arg {
    Arg { layout: arg.layout.permute(&order[..rank]), ..*arg }
}

/// Copies `src` to `dst`: one shape, one dtype.
///
/// # Safety
/// Pointers are valid for their layouts; they don't overlap, or are the same.
pub unsafe fn strided(src: &Arg, dst: &Arg) {
    let numel = dst.numel();
    if numel == 0 || src.ptr == dst.ptr && src.layout == dst.layout {
        return;
    }
    let order = memory_order(dst);
    let (src, dst) = (&reordered(src, order), &reordered(dst, order));
    let work = 2 * numel;
    if let Some(t) = Transpose::find(src, dst) {
        return unsafe {
            match dst.dtype.size() {
                1 => t.run::<u8>(work),
                2 => t.run::<u16>(work),
                4 => t.run::<u32>(work),
                _ => t.run::<u64>(work),
            }
        };
    }
    let (from, to) = (&Source::new(src), &Source::new(dst));
    let size = dst.dtype.size();
    // The closure can't fail, so neither can this.
    let _ = chunks(numel, work, |begin, end| unsafe {
        if let Some(target) = to.flat(begin) {
            if let Some(origin) = from.flat(begin) {
                std::ptr::copy_nonoverlapping(origin, target, (end - begin) * size);
            } else {
                from.copy_to(begin, end - begin, target);
            }
            return Ok(());
        }
        let mut scratch = SCRATCH;
        let mut start = begin;
        while start < end {
            let n = (end - start).min(BLOCK);
            let block = from.flat(start).unwrap_or_else(|| {
                let block = scratch.as_mut_ptr().cast();
                from.copy_to(start, n, block);
                block
            });
            to.write(start, n, block);
            start += n;
        }
        Ok(())
    });
}

/// Rows of `dst` are columns of `src`; the other dimensions are gone through outside.
struct Transpose {
    src: *const u8,
    dst: *mut u8,
    /// Length and `dst` stride of the dimension in which `src` is contiguous.
    rows: (usize, usize),
    /// Length and `src` stride of the dimension in which `dst` is contiguous.
    cols: (usize, usize),
    /// Length, `src` stride and `dst` stride.
    outer: [(usize, usize, usize); MAX_RANK],
}
// SAFETY: each thread writes its own panels.
unsafe impl Sync for Transpose {}

impl Transpose {
    fn find(src: &Arg, dst: &Arg) -> Option<Transpose> {
        let (mut dims, mut rank) = ([(1, 0, 0); MAX_RANK], 0usize);
        for (d, &dim) in dst.layout.shape.iter().enumerate().filter(|(_, dim)| **dim != 1) {
            let (s, t) = (src.layout.strides()[d], dst.layout.strides()[d]);
            match rank.checked_sub(1).map(|last: usize| &mut dims[last]) {
                Some(last) if last.1 == s * dim && last.2 == t * dim => *last = (last.0 * dim, s, t),
                _ => {
                    dims[rank] = (dim, s, t);
                    rank += 1;
                }
            }
        }
        let last = rank.checked_sub(1)?;
        let (cols, s, t) = dims[last];
        let row = dims[..last].iter().position(|d| d.1 == 1)?;
        // Thin matrices gain nothing from tiles.
        if t != 1 || s <= 1 || cols < 4 || dims[row].0 < 4 {
            return None;
        }
        let rows = (dims[row].0, dims[row].2);
        dims[row] = (1, 0, 0);
        dims[last] = (1, 0, 0);
        Some(Transpose { src: src.ptr, dst: dst.ptr, rows, cols: (cols, s), outer: dims })
    }

    unsafe fn run<T: Copy>(&self, work: usize) {
        let outer: usize = self.outer.iter().map(|d| d.0).product();
        let (down, across) = (self.rows.0.div_ceil(BLOCK_SIDE), self.cols.0.div_ceil(BLOCK_SIDE));
        // A unit is a block row.
        parallel::for_each(outer * down, work, |unit| {
            let r = unit % down * BLOCK_SIDE;
            let (mut src, mut dst) = (r, r * self.rows.1);
            let mut i = unit / down;
            for (dim, s, t) in self.outer.iter().rev().filter(|d| d.0 > 1) {
                src += i % dim * s;
                dst += i % dim * t;
                i /= dim;
            }
            let height = BLOCK_SIDE.min(self.rows.0 - r);
            let (src_stride, dst_stride, width) = (self.cols.1, self.rows.1, self.cols.0);
            // SAFETY: the block lies within both layouts.
            unsafe {
                let (src, dst) = (self.src.cast::<T>().add(src), self.dst.cast::<T>().add(dst));
                vectorised(
                    #[inline(always)]
                    move || {
                        for c in (0..across).map(|b| b * BLOCK_SIDE) {
                            let width = BLOCK_SIDE.min(width - c);
                            block_of(src.add(c * src_stride), src_stride, dst.add(c), dst_stride, height, width);
                        }
                    },
                )
            }
        });
    }
}

/// `dst[r][c] = src[c][r]`, r < height, c < width.
#[inline(always)]
unsafe fn block_of<T: Copy>(src: *const T, src_stride: usize, dst: *mut T, dst_stride: usize, height: usize, width: usize) {
    for r in (0..height).step_by(TILE) {
        for c in (0..width).step_by(TILE) {
            unsafe {
                let (src, dst) = (src.add(c * src_stride + r), dst.add(r * dst_stride + c));
                if r + TILE <= height && c + TILE <= width {
                    tile_of(src, src_stride, dst, dst_stride);
                } else {
                    for r in 0..TILE.min(height - r) {
                        for c in 0..TILE.min(width - c) {
                            dst.add(r * dst_stride + c).write(src.add(c * src_stride + r).read());
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile_of<T: Copy>(src: *const T, src_stride: usize, dst: *mut T, dst_stride: usize) {
    unsafe {
        let mut tile = [[MaybeUninit::<T>::uninit(); TILE]; TILE];
        for (k, row) in tile.iter_mut().enumerate() {
            *row = src.add(k * src_stride).cast::<[MaybeUninit<T>; TILE]>().read();
        }
        #[allow(clippy::needless_range_loop)]
        for r in 0..TILE {
            let line: [MaybeUninit<T>; TILE] = std::array::from_fn(
                #[inline(always)]
                |k| tile[k][r],
            );
            dst.add(r * dst_stride).cast::<[MaybeUninit<T>; TILE]>().write(line);
        }
    }
}
