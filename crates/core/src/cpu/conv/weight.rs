//! The gradient of the weight: for each tap and channel the sum, over all pixels, of the source pixel times the result's
//! gradient. Taps are the scalars, result channels the vectors; the gradient is transposed chunk by chunk for that.
use super::super::parallel;
use super::super::real::Real;
use super::super::scratch::{self, Owner, Shared};
use super::super::simd::vectorised;
use super::gather::Widths;
use super::kernel::{Strip, Terms, strip};
use super::sweep::{Cut, Frame, Sweep, offsets};
use super::transpose::Transpose;
use pulp::{Arch, Simd, WithSimd};

/// Sums that run side by side, unless groups and blocks are as many. A fixed number: results must not depend on threads.
pub(super) const PARTIALS: usize = 8;

struct Sums<'a, T> {
    sweep: &'a Sweep,
    cut: Cut,
    frame: Frame,
    widths: Widths,
    pixels: Vec<u32>,
    /// Where the gradients of the pixels lie in the transposed chunk.
    columns: Vec<u32>,
    taps: Vec<u32>,
    partials: usize,
    source: Shared<T>,
    grad: Shared<T>,
    /// By group, block and partial: taps by channels.
    sums: Shared<T>,
}

/// # Safety
/// The operands have the sizes of `sweep`, that of the forward pass; `result` is written in full.
pub(super) unsafe fn weight_grad<T: Real>(sweep: &Sweep, source: *mut u8, grad: *mut u8, result: *mut u8) {
    let widths = Widths::new::<T>(sweep.to);
    let result: Shared<T> = Shared::new(result);
    let terms = sweep.from * sweep.kernel;
    if sweep.to * 4 <= widths.lanes {
        let (source, grad) = (Shared::new(source), Shared::new(grad));
        parallel::for_each(sweep.groups * sweep.from, sweep.flops(), |i| {
            vectorised(
                #[inline(always)]
                || unsafe { few_channels(sweep, source, grad, result, i) },
            )
        });
        return;
    }
    let cut = Cut::new(sweep);
    let frame = Frame::new::<T>(sweep, &cut, 0);
    let phase = &sweep.phases[0];
    let (pixels, taps, block) = (frame.pixels(sweep, &cut, phase), frame.taps(sweep, phase), widths.block());
    let columns = offsets(pixels.len(), block);
    let units = sweep.groups * widths.blocks;
    let partials = PARTIALS.div_ceil(units).clamp(1, cut.of_group().max(1));
    scratch::with(Owner::Call, units * partials * terms * block, |sums: *mut T| {
        let s = Sums {
            sweep,
            cut,
            frame,
            widths,
            pixels,
            columns,
            taps,
            partials,
            source: Shared::new(source),
            grad: Shared::new(grad),
            sums: Shared::new(sums.cast()),
        };
        let room = s.frame.len(&s.cut, 0) + s.pixels.len() * block;
        parallel::for_each(units * partials, sweep.flops(), |i| scratch::with(Owner::Chunk, room, |room| Arch::new().dispatch(Partial(&s, i, room))));
        parallel::for_each(units, partials * units * terms * block, |i| unsafe {
            let count = sweep.to.saturating_sub(i % widths.blocks * block).min(block);
            let to = result.at((i / widths.blocks * sweep.to + i % widths.blocks * block) * terms);
            for p in 0..partials {
                let from = s.sums.at((i * partials + p) * terms * block);
                Arch::new().dispatch(Transpose {
                    from,
                    from_stride: block,
                    to,
                    to_stride: terms,
                    rows: terms,
                    columns: count,
                    bias: None,
                    accumulate: p > 0,
                });
            }
        });
    });
}

struct Partial<'a, T>(&'a Sums<'a, T>, usize, *mut T);
impl<T: Real> WithSimd for Partial<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Partial(p, i, room) = self;
        let (s, block) = (p.sweep, p.widths.block());
        let (unit, partial) = (i / p.partials, i % p.partials);
        let (group, first) = (unit / p.widths.blocks, unit % p.widths.blocks * block);
        let count = s.to.saturating_sub(first).min(block);
        let (chunks, plane) = (p.cut.of_group(), s.result[0] * s.result[1]);
        unsafe {
            let sums = p.sums.at(i * p.taps.len() * block);
            let columns = room.add(p.frame.len(&p.cut, 0));
            // Padding channels must hold numbers: they are multiplied too.
            columns.write_bytes(0, p.pixels.len() * block);
            sums.write_bytes(0, p.taps.len() * block);
            for chunk in chunks * partial / p.partials..chunks * (partial + 1) / p.partials {
                let part = p.cut.part(s, group * chunks + chunk);
                let source = p.frame.fill::<T, S>(s, &part, p.source.at(0), room);
                let pixels = (s.result[0] - part.line).min(p.cut.lines) * s.result[1];
                for image in 0..part.images {
                    let from = p.grad.at((((part.image + image) * s.groups + group) * s.to + first) * plane + part.line * s.result[1]);
                    let to = columns.add(image * pixels * block);
                    Transpose { from, from_stride: plane, to, to_stride: block, rows: count, columns: pixels, bias: None, accumulate: false }
                        .run::<S>();
                }
                let all = part.images * pixels;
                let terms = Terms { scalars: &p.pixels[..all], vectors: &p.columns[..all] };
                strip(
                    simd,
                    Strip {
                        terms,
                        scalar_base: source,
                        rows: &p.taps,
                        vector_base: columns,
                        vectors: p.widths.vectors,
                        spread: None,
                        result: sums,
                        result_stride: block,
                        accumulate: true,
                        bias: None,
                    },
                );
            }
        }
    }
}

/// With few result channels, above all one a group, vectors of channels would be mostly padding: products of lines instead,
/// for source channel `i` of all.
#[inline(always)]
unsafe fn few_channels<T: Real>(s: &Sweep, source: Shared<T>, grad: Shared<T>, result: Shared<T>, i: usize) {
    const LANES: usize = 16;
    let (group, channel) = (i / s.from, i % s.from);
    let ([height, width], [rows, columns]) = (s.source, s.result);
    for to in group * s.to..(group + 1) * s.to {
        for tap in &s.phases[0].taps {
            // Results x with 0 <= x * step + at - pad < width.
            let range = |d: usize, size: usize, results: usize| {
                let shift = tap.at[d] as isize - s.pad[d];
                let step = s.step[d] as isize;
                let first = (-shift).max(0) as usize;
                let end = (size as isize - shift + step - 1).div_euclid(step).clamp(0, results as isize) as usize;
                (first.div_ceil(s.step[d]), end, shift)
            };
            let ((y0, y1, dy), (x0, x1, dx)) = (range(0, height, rows), range(1, width, columns));
            let mut sums = [T::ZERO; LANES];
            let mut rest = T::ZERO;
            for image in 0..s.images {
                let x = unsafe { source.slice((image * s.groups * s.from + i) * height * width, height * width) };
                let g = unsafe { grad.slice((image * s.groups * s.to + to) * rows * columns, rows * columns) };
                for y in y0..y1 {
                    if x0 >= x1 {
                        break;
                    }
                    let line = &x[((y * s.step[0]) as isize + dy) as usize * width..][..width];
                    let line = &line[((x0 * s.step[1]) as isize + dx) as usize..];
                    let g = &g[y * columns + x0..y * columns + x1];
                    if s.step[1] == 1 {
                        let (gs, tail) = g.as_chunks::<LANES>();
                        let (xs, _) = line.as_chunks::<LANES>();
                        for (g, x) in gs.iter().zip(xs) {
                            for l in 0..LANES {
                                sums[l] += g[l] * x[l];
                            }
                        }
                        for (g, x) in tail.iter().zip(&line[gs.len() * LANES..]) {
                            rest += *g * *x;
                        }
                    } else {
                        for (g, x) in g.iter().zip(line.iter().step_by(s.step[1])) {
                            rest += *g * *x;
                        }
                    }
                }
            }
            let sum = sums.iter().fold(rest, |a, b| a + *b);
            unsafe { *result.at((to * s.from + channel) * s.kernel + tap.index) = sum };
        }
    }
}
