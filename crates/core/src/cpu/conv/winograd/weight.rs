//! The gradient of the weight: for each frequency a product of the transformed source with the transformed gradient, summed over
//! all tiles, and the transformation back at the end.
use super::super::super::parallel;
use super::super::super::real::Real;
use super::super::super::scratch::{self, Owner, Shared};
use super::super::gather::Widths;
use super::super::kernel::{Strip, Terms, strip};
use super::super::sweep::{Sweep, offsets};
use super::super::transpose::Transpose;
use super::super::weight::PARTIALS;
use super::tiles::Tiles;
use super::transform::{FREQUENCIES, gradients, weight_gradients};
use super::{ASIDE, CHANNELS};
use pulp::{Arch, Simd, WithSimd};

struct Sums<'a, T> {
    sweep: &'a Sweep,
    tiles: Tiles,
    widths: Widths,
    channels: Vec<u32>,
    /// Where the gradients of the tiles lie.
    vectors: Vec<u32>,
    partials: usize,
    source: Shared<T>,
    grad: Shared<T>,
    /// By group, block and partial: frequencies by source channels by result channels.
    sums: Shared<T>,
}

/// # Safety
/// The operands have the sizes of `sweep`, that of the forward pass, which [`super::suits`]; `result` is written in full.
pub(in super::super) unsafe fn weight_grad<T: Real>(sweep: &Sweep, source: *mut u8, grad: *mut u8, result: *mut u8) {
    let widths = Widths::new::<T>(sweep.to);
    let (tiles, block) = (Tiles::new::<T>(sweep), widths.block());
    let units = sweep.groups * widths.blocks;
    let partials = PARTIALS.div_ceil(units).clamp(1, tiles.of_group().max(1));
    let (channels, vectors) = (offsets(sweep.from, tiles.plane), offsets(tiles.indices.len(), block));
    let (source, grad, result) = (Shared::new(source), Shared::new(grad), Shared::<T>::new(result));
    let a_sum = FREQUENCIES * (sweep.from * block + ASIDE);
    scratch::with(Owner::Call, units * partials * a_sum, |sums: *mut T| {
        let s = Sums { sweep, tiles, widths, channels, vectors, partials, source, grad, sums: Shared::new(sums.cast()) };
        let room = s.tiles.room(sweep.from) + FREQUENCIES * s.gradients() + s.tiles.pixels(sweep) * block;
        parallel::for_each(units * partials, sweep.flops(), |i| scratch::with(Owner::Chunk, room, |room| Arch::new().dispatch(Partial(&s, i, room))));
        let parts = sweep.from.div_ceil(CHANNELS);
        parallel::for_each(units * parts, partials * units * a_sum, |i| {
            scratch::with(Owner::Chunk, CHANNELS * sweep.kernel * block, |room| unsafe {
                let (unit, first) = (i / parts, i % parts * CHANNELS);
                let count = CHANNELS.min(sweep.from - first);
                let sums = s.sums.at(unit * partials * a_sum + first * block);
                Arch::new().dispatch(Back { sums, partials, a_sum, stride: sweep.from * block + ASIDE, block, count, to: room });
                let channel = unit % widths.blocks * block;
                let columns = sweep.to.saturating_sub(channel).min(block);
                let to = result.at(((unit / widths.blocks * sweep.to + channel) * sweep.from + first) * sweep.kernel);
                Arch::new().dispatch(Transpose {
                    from: room,
                    from_stride: block,
                    to,
                    to_stride: sweep.from * sweep.kernel,
                    rows: count * sweep.kernel,
                    columns,
                    bias: None,
                    accumulate: false,
                });
            })
        });
    });
}

impl<T: Real> Sums<'_, T> {
    /// Distance of a frequency's gradients, tiles by channels, from the next's.
    fn gradients(&self) -> usize {
        self.tiles.indices.len() * self.widths.block() + ASIDE
    }
}

/// Adds the partials' sums and takes them back to taps by channels.
struct Back<T> {
    sums: *mut T,
    partials: usize,
    a_sum: usize,
    stride: usize,
    block: usize,
    count: usize,
    to: *mut T,
}
impl<T: Real> WithSimd for Back<T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for c in 0..self.count {
            for v in (0..self.block).step_by(T::lanes::<S>()) {
                unsafe {
                    let first = self.sums.add(c * self.block + v);
                    for p in 1..self.partials {
                        for f in 0..FREQUENCIES {
                            let (a, b) = (first.add(f * self.stride), first.add(p * self.a_sum + f * self.stride));
                            T::store::<S>(a, T::plus(simd, T::load::<S>(a), T::load::<S>(b)));
                        }
                    }
                    for (tap, value) in weight_gradients(simd, first, self.stride).into_iter().enumerate() {
                        T::store::<S>(self.to.add((c * 9 + tap) * self.block + v), value);
                    }
                }
            }
        }
    }
}

struct Partial<'a, T>(&'a Sums<'a, T>, usize, *mut T);
impl<T: Real> WithSimd for Partial<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Partial(p, i, room) = self;
        let (s, t, block) = (p.sweep, &p.tiles, p.widths.block());
        let (unit, partial) = (i / p.partials, i % p.partials);
        let (group, first) = (unit / p.widths.blocks, unit % p.widths.blocks * block);
        let count = s.to.saturating_sub(first).min(block);
        let (chunks, plane, stride) = (t.of_group(), s.result[0] * s.result[1], s.from * block + ASIDE);
        unsafe {
            let sums = p.sums.at(i * FREQUENCIES * stride);
            sums.write_bytes(0, FREQUENCIES * stride);
            let transformed = room.add(t.room(s.from));
            let pixels = transformed.add(FREQUENCIES * p.gradients());
            // Padding channels must hold numbers: they are multiplied too.
            pixels.write_bytes(0, t.pixels(s) * block);
            let zero = T::splat(simd, T::ZERO);
            for chunk in chunks * partial / p.partials..chunks * (partial + 1) / p.partials {
                let part = t.part(s, group * chunks + chunk);
                let source = t.transform(simd, s, &part, p.source.at(0), room);
                let columns = t.height(s, &part) * s.result[1];
                for image in 0..part.images {
                    let channel = ((part.image + image) * s.groups + group) * s.to + first;
                    let from = p.grad.at(channel * plane + 2 * part.line * s.result[1]);
                    let to = pixels.add(image * columns * block);
                    Transpose { from, from_stride: plane, to, to_stride: block, rows: count, columns, bias: None, accumulate: false }.run::<S>();
                }
                t.each(
                    s,
                    &part,
                    #[inline(always)]
                    |tile, place| {
                        for v in (0..block).step_by(T::lanes::<S>()) {
                            let mut values = [zero; 4];
                            for (value, pixel) in values.iter_mut().zip(place) {
                                if let Some(pixel) = pixel {
                                    *value = T::load::<S>(pixels.add(pixel * block + v));
                                }
                            }
                            gradients(simd, values, transformed.add(tile * block + v), p.gradients());
                        }
                    },
                );
                let tiles = t.rows(s, &part);
                for f in 0..FREQUENCIES {
                    strip(
                        simd,
                        Strip {
                            terms: Terms { scalars: tiles, vectors: &p.vectors[..tiles.len()] },
                            scalar_base: source.add(f * t.frequency(s.from)),
                            rows: &p.channels,
                            vector_base: transformed.add(f * p.gradients()),
                            vectors: p.widths.vectors,
                            spread: None,
                            result: sums.add(f * stride),
                            result_stride: block,
                            accumulate: true,
                            bias: None,
                        },
                    );
                }
            }
        }
    }
}
