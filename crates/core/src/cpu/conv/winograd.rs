//! 3x3 convolutions with stride 1 by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): 16
//! multiplications for a tile of 2x2 results instead of 36. Sources, weights and gradients are transformed; for each of the 16
//! frequencies there is one product of matrices between tiles and channels, by the register kernel of the direct method.
mod tiles;
mod transform;
mod weight;

use super::super::parallel;
use super::super::real::Real;
use super::super::scratch::{self, Owner, Shared};
use super::gather::{Strides, Widths, pack};
use super::kernel::{Strip, Terms, strip};
use super::sweep::{Part, Sweep, offsets};
use super::transpose::Transpose;
use pulp::{Arch, Simd, WithSimd};
use tiles::Tiles;
use transform::{FREQUENCIES, results, weights};
pub(super) use weight::weight_grad;

/// Elements that keep the frequencies from lying a power of two apart: they would share a few sets of the cache.
const ASIDE: usize = 16;
/// Channels whose weights are transformed at a time.
const CHANNELS: usize = 32;
/// Terms that a block of results takes at a time, as in the direct method.
const TERMS: usize = 512;

/// Whether the transformations cost less than they save.
pub(super) fn suits(s: &Sweep) -> bool {
    let plain = s.step == [1, 1] && s.spread == [1, 1] && s.kernel == 9;
    let square = || s.phases[0].taps.iter().all(|t| t.at[0] < 3 && t.at[1] < 3);
    // Lines of one pixel would be half padding.
    plain && square() && s.from >= 16 && s.to >= 16 && s.result.iter().all(|side| *side >= 2)
}

struct Gather<'a, T> {
    sweep: &'a Sweep,
    tiles: Tiles,
    widths: Widths,
    /// Blocks of channels a unit of work, and units a chunk of tiles.
    blocks: usize,
    units: usize,
    channels: Vec<u32>,
    vectors: Vec<u32>,
    source: Shared<T>,
    /// By group, block, frequency and source channel: the transformed weights of a block's result channels.
    weights: Shared<T>,
    bias: Option<&'a [T]>,
    result: Shared<T>,
}

/// # Safety
/// The operands have the sizes of a sweep that [`suits`]; `result` is written in full.
pub(super) unsafe fn gather<T: Real>(sweep: &Sweep, source: *mut u8, weight: *mut u8, strides: Strides, bias: Option<&[T]>, result: *mut u8) {
    /// Units of work that threads should find.
    const UNITS: usize = 16;
    /// Result channels that are worth transforming the source for.
    const WORTH: usize = 128;
    let widths = Widths::new::<T>(sweep.to);
    let block = widths.block();
    let tiles = Tiles::new::<T>(sweep);
    let units = UNITS.div_ceil(tiles.chunks.max(1)).min((sweep.to / WORTH).max(1));
    let blocks = widths.blocks.div_ceil(units);
    let a_block = FREQUENCIES * (sweep.from * block + ASIDE);
    scratch::with(Owner::Call, sweep.groups * widths.blocks * a_block, |transformed: *mut T| {
        let (transformed, weight) = (Shared::new(transformed.cast()), Shared::new(weight));
        let parts = sweep.from.div_ceil(CHANNELS);
        parallel::for_each(sweep.groups * widths.blocks * parts, FREQUENCIES * sweep.groups * sweep.from * sweep.to, |i| {
            scratch::with(Owner::Chunk, CHANNELS * sweep.kernel * block, |room| {
                let (i, first) = (i / parts, i % parts * CHANNELS);
                let count = CHANNELS.min(sweep.from - first);
                unsafe {
                    pack(sweep, widths, strides, weight, room, i, first, count);
                    let to = transformed.at(i * a_block + first * block);
                    Arch::new().dispatch(Weights { taps: &taps(sweep), block, count, from: room, to, to_stride: sweep.from * block + ASIDE });
                }
            });
        });
        let channels = offsets(sweep.from, tiles.plane);
        let vectors = offsets(sweep.from, block);
        let units = widths.blocks.div_ceil(blocks);
        let (source, result) = (Shared::new(source), Shared::new(result));
        let g = Gather { sweep, tiles, widths, blocks, units, channels, vectors, source, weights: transformed, bias, result };
        let room = g.tiles.room(sweep.from) + g.products() + g.tiles.pixels(sweep) * block;
        parallel::for_each(g.tiles.chunks * units, sweep.flops(), |i| {
            scratch::with(Owner::Chunk, room, |room| Arch::new().dispatch(Chunk(&g, i, room)))
        });
    });
}

/// The index in the kernel of each place of a 3x3 window.
fn taps(s: &Sweep) -> [usize; 9] {
    let mut index = [0; 9];
    for t in &s.phases[0].taps {
        index[t.at[0] * 3 + t.at[1]] = t.index;
    }
    index
}

struct Weights<'a, T> {
    taps: &'a [usize; 9],
    block: usize,
    count: usize,
    from: *const T,
    to: *mut T,
    to_stride: usize,
}
impl<T: Real> WithSimd for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for c in 0..self.count {
            for v in (0..self.block).step_by(T::lanes::<S>()) {
                unsafe {
                    let from = self.from.add(c * 9 * self.block + v);
                    let mut kernel = [T::splat(simd, T::ZERO); 9];
                    for (w, tap) in kernel.iter_mut().zip(self.taps) {
                        *w = T::load::<S>(from.add(tap * self.block));
                    }
                    weights(simd, kernel, self.to.add(c * self.block + v), self.to_stride);
                }
            }
        }
    }
}

struct Chunk<'a, T>(&'a Gather<'a, T>, usize, *mut T);
impl<T: Real> WithSimd for Chunk<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk(g, i, room) = self;
        let part = g.tiles.part(g.sweep, i / g.units);
        let first = i % g.units * g.blocks;
        unsafe { g.chunk(simd, &part, first..g.widths.blocks.min(first + g.blocks), room) }
    }
}

impl<T: Real> Gather<'_, T> {
    /// Elements of a block's products of one frequency.
    fn product(&self) -> usize {
        self.tiles.indices.len() * self.widths.block()
    }
    /// Elements of the products, by frequency and block.
    fn products(&self) -> usize {
        FREQUENCIES * (self.blocks * self.product() + ASIDE)
    }

    #[inline(always)]
    unsafe fn chunk<S: Simd>(&self, simd: S, part: &Part, blocks: std::ops::Range<usize>, room: *mut T) {
        let (s, t, block) = (self.sweep, &self.tiles, self.widths.block());
        let stride = self.blocks * self.product() + ASIDE;
        unsafe {
            let source = t.transform(simd, s, part, self.source.at(0), room);
            let products = room.add(t.room(s.from));
            let pixels = products.add(self.products());
            let rows = t.rows(s, part);
            for f in 0..FREQUENCIES {
                for b in blocks.clone() {
                    let weights = self.weights.at(((part.group * self.widths.blocks + b) * FREQUENCIES + f) * (s.from * block + ASIDE));
                    for from in (0..s.from).step_by(TERMS) {
                        let to = (from + TERMS).min(s.from);
                        strip(
                            simd,
                            Strip {
                                terms: Terms { scalars: &self.channels[from..to], vectors: &self.vectors[from..to] },
                                scalar_base: source.add(f * t.frequency(s.from)),
                                rows,
                                vector_base: weights,
                                vectors: self.widths.vectors,
                                spread: None,
                                result: products.add(f * stride + (b - blocks.start) * self.product()),
                                result_stride: block,
                                accumulate: from > 0,
                                bias: None,
                            },
                        );
                    }
                }
            }
            let plane = s.result[0] * s.result[1];
            for b in blocks.clone() {
                let products = products.add((b - blocks.start) * self.product());
                t.each(
                    s,
                    part,
                    #[inline(always)]
                    |tile, place| {
                        for v in (0..block).step_by(T::lanes::<S>()) {
                            let values = results(simd, products.add(tile * block + v), stride);
                            for (value, pixel) in values.into_iter().zip(place) {
                                if let Some(pixel) = pixel {
                                    T::store::<S>(pixels.add(pixel * block + v), value);
                                }
                            }
                        }
                    },
                );
                let first = b * block;
                let count = s.to.saturating_sub(first).min(block);
                let bias = self.bias.map(|bias| &bias[part.group * s.to + first..][..count]);
                let rows = t.height(s, part) * s.result[1];
                for i in 0..part.images {
                    let channel = ((part.image + i) * s.groups + part.group) * s.to + first;
                    let to = self.result.at(channel * plane + 2 * part.line * s.result[1]);
                    let from = pixels.add(i * rows * block);
                    Transpose { from, from_stride: block, to, to_stride: plane, rows, columns: count, bias, accumulate: false }.run::<S>();
                }
            }
        }
    }
}
