//! Copies between layouts. A transpose moves square tiles, so that both sides touch whole cache lines.
use super::walk::{BLOCK, SCRATCH, Source, chunks};
use crate::cpu::simd::vectorised;
use crate::cpu::{Arg, parallel};
use crate::shape::MAX_RANK;
use std::mem::MaybeUninit;

/// Side of a tile.
const TILE: usize = 16;
/// Columns of a transposed panel, for one thread.
const PANEL: usize = 1024;

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
        let (tiles, panels) = (self.rows.0.div_ceil(TILE), self.cols.0.div_ceil(PANEL));
        parallel::for_each(outer * tiles * panels, work, |unit| {
            let (panel, tile) = (unit % panels, unit / panels % tiles);
            let (mut src, mut dst) = (tile * TILE, tile * TILE * self.rows.1);
            let mut i = unit / panels / tiles;
            for (dim, s, t) in self.outer.iter().rev().filter(|d| d.0 > 1) {
                src += i % dim * s;
                dst += i % dim * t;
                i /= dim;
            }
            let height = TILE.min(self.rows.0 - tile * TILE);
            let from = panel * PANEL;
            let width = PANEL.min(self.cols.0 - from);
            // SAFETY: the panel lies within both layouts.
            unsafe {
                let src = self.src.cast::<T>().add(src + from * self.cols.1);
                let dst = self.dst.cast::<T>().add(dst + from);
                vectorised(
                    #[inline(always)]
                    || panel_of(src, self.cols.1, dst, self.rows.1, height, width),
                )
            }
        });
    }
}

/// `dst[r][c] = src[c][r]`, r < height <= TILE, c < width.
#[inline(always)]
unsafe fn panel_of<T: Copy>(src: *const T, src_stride: usize, dst: *mut T, dst_stride: usize, height: usize, width: usize) {
    let mut c = 0;
    unsafe {
        if height == TILE {
            while c + TILE <= width {
                let mut tile = [[MaybeUninit::<T>::uninit(); TILE]; TILE];
                for (k, row) in tile.iter_mut().enumerate() {
                    *row = src.add((c + k) * src_stride).cast::<[MaybeUninit<T>; TILE]>().read();
                }
                for r in 0..TILE {
                    let line: [MaybeUninit<T>; TILE] = std::array::from_fn(#[inline(always)] |k| tile[k][r]);
                    dst.add(r * dst_stride + c).cast::<[MaybeUninit<T>; TILE]>().write(line);
                }
                c += TILE;
            }
        }
        for r in 0..height {
            for k in c..width {
                dst.add(r * dst_stride + k).write(src.add(k * src_stride + r).read());
            }
        }
    }
}
