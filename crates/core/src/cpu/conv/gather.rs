//! A sweep's results: each output pixel gathers its source pixels, times packed weights.
use super::super::parallel;
use super::super::real::Real;
use super::super::scratch::{self, Owner, Shared};
use super::kernel::{MAX_VECTORS, Strip, Terms, copy, max_vectors, strip};
use super::sweep::{Cut, Frame, Part, Phase, Sweep, countable};
use super::transpose::Transpose;
use crate::reserve;
use pulp::{Arch, Simd, WithSimd};

/// Terms that a block of results takes at a time: their weights should stay in L1 or L2 while the pixels pass.
const TERMS: usize = 512;

/// Where the weight of (result channel, source channel, tap) lies in a group.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub to: usize,
    pub from: usize,
}

/// The widths that packed matrices are made for: result channels are padded to whole vectors and cut into equal blocks.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub lanes: usize,
    /// Vectors a block.
    pub vectors: usize,
    pub blocks: usize,
}
impl Widths {
    pub fn new<T: Real>(channels: usize) -> Widths {
        struct Probe<T>(std::marker::PhantomData<T>);
        impl<T: Real> WithSimd for Probe<T> {
            type Output = (usize, usize);
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
                (T::lanes::<S>(), max_vectors::<S>())
            }
        }
        let (lanes, most) = Arch::new().dispatch(Probe::<T>(std::marker::PhantomData));
        let vectors = channels.div_ceil(lanes).max(1);
        let blocks = vectors.div_ceil(most);
        Widths { lanes, vectors: vectors.div_ceil(blocks), blocks }
    }
    /// Channels a block.
    pub fn block(&self) -> usize {
        self.lanes * self.vectors
    }
}

/// A phase's tables.
struct Tables {
    pixels: Vec<u32>,
    taps: Vec<u32>,
    weights: Vec<u32>,
}

struct Gather<'a, T> {
    sweep: &'a Sweep,
    cut: Cut,
    frame: Frame,
    margin: usize,
    widths: Widths,
    tables: Vec<Tables>,
    /// Whether vectors run along a line of pixels, not along the channels.
    along_lines: bool,
    source: Shared<T>,
    /// By group, block, source channel and tap: the weights of a block's result channels.
    packed: Shared<T>,
    bias: Option<&'a [T]>,
    result: Shared<T>,
}

/// # Safety
/// The operands have the sweep's sizes; `result` is written in full.
pub(super) unsafe fn gather<T: Real>(sweep: &Sweep, source: *mut u8, weight: *mut u8, strides: Strides, bias: Option<&[T]>, result: *mut u8) {
    let widths = Widths::new::<T>(sweep.to);
    let terms = sweep.from * sweep.kernel;
    // With few terms a block of pixels by channels would spend its time in the transposition; with few channels, in padding.
    let along_lines = sweep.spread == [1, 1] && sweep.step[1] == 1 && (terms <= 32 || sweep.to * 2 <= widths.lanes);
    let width = sweep.phases.first().map_or(0, |p| p.size[1]);
    let margin = if along_lines && width < widths.lanes { widths.lanes } else { 0 };
    let cut = Cut::new(sweep);
    let frame = Frame::new::<T>(sweep, &cut, margin);
    let block = widths.block();
    let table = |p: &Phase| Tables {
        pixels: frame.pixels(sweep, &cut, p),
        taps: frame.taps(sweep, p),
        weights: reserve::collected(
            sweep.from.saturating_mul(p.taps.len()),
            (0..sweep.from).flat_map(|c| p.taps.iter().map(move |t| ((c * sweep.kernel + t.index) * block) as u32)),
        ),
    };
    countable(terms.saturating_mul(block));
    let tables = sweep.phases.iter().map(table).collect();
    scratch::with(Owner::Call, sweep.groups * widths.blocks * terms * block, |packed: *mut T| {
        let (packed, weight) = (Shared::new(packed.cast()), Shared::new(weight));
        parallel::for_each(sweep.groups * widths.blocks, sweep.groups * terms * sweep.to, |i| unsafe {
            pack(sweep, widths, strides, weight, packed.at(i * terms * block), i, 0, sweep.from)
        });
        let g =
            Gather { sweep, cut, frame, margin, widths, tables, along_lines, source: Shared::new(source), packed, bias, result: Shared::new(result) };
        let room = g.frame.len(&g.cut, g.margin) + g.tile();
        // The dispatch is innermost: a closure inside would be compiled without the vector instructions.
        parallel::for_each(g.cut.chunks, sweep.flops(), |chunk| {
            scratch::with(Owner::Chunk, room, |room| Arch::new().dispatch(Chunk(&g, chunk, room)))
        });
    });
}

/// Packs `channels` source channels, from `channel` on, of block `i` of all groups' blocks.
///
/// # Safety
/// `to` has room for `channels` times the kernel times the block.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn pack<T: Real>(s: &Sweep, w: Widths, strides: Strides, weight: Shared<T>, to: *mut T, i: usize, channel: usize, channels: usize) {
    let (block, terms) = (w.block(), channels * s.kernel);
    let first = i % w.blocks * block;
    let count = s.to.saturating_sub(first).min(block);
    unsafe {
        let from = weight.at(i / w.blocks * s.from * s.kernel * s.to + first * strides.to + channel * strides.from);
        if count < block {
            to.write_bytes(0, terms * block);
        }
        let turn = Transpose { from, from_stride: strides.to, to, to_stride: block, rows: count, columns: terms, bias: None, accumulate: false };
        if strides.from == s.kernel {
            return Arch::new().dispatch(turn);
        }
        for c in 0..channels {
            Arch::new().dispatch(Transpose { from: from.add(c * strides.from), to: to.add(c * s.kernel * block), columns: s.kernel, ..turn });
        }
    }
}

struct Chunk<'a, T>(&'a Gather<'a, T>, usize, *mut T);
impl<T: Real> WithSimd for Chunk<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk(g, chunk, room) = self;
        let part = g.cut.part(g.sweep, chunk);
        unsafe {
            let source = g.frame.fill::<T, S>(g.sweep, &part, g.source.at(0), room);
            let tile = room.add(g.frame.len(&g.cut, g.margin));
            if g.along_lines {
                return g.lines(simd, &part, source, tile);
            }
            for (phase, tables) in g.sweep.phases.iter().zip(&g.tables) {
                for block in 0..g.widths.blocks {
                    g.channels(simd, &part, phase, tables, block, source, tile);
                }
            }
        }
    }
}

impl<T: Real> Gather<'_, T> {
    /// Elements of a tile of results.
    fn tile(&self) -> usize {
        let pixels = self.tables.iter().map(|t| t.pixels.len()).max().unwrap_or(0);
        self.widths.block() * if self.along_lines { self.widths.lanes } else { pixels }
    }
    /// First channel of a block within the group, and how many it has.
    #[inline(always)]
    fn span(&self, block: usize) -> (usize, usize) {
        let first = block * self.widths.block();
        (first, self.sweep.to.saturating_sub(first).min(self.widths.block()))
    }
    #[inline(always)]
    fn bias_of(&self, part: &Part, block: usize) -> Option<&[T]> {
        let (first, count) = self.span(block);
        self.bias.map(|b| &b[part.group * self.sweep.to + first..][..count])
    }
    #[inline(always)]
    unsafe fn weights(&self, part: &Part, block: usize) -> *const T {
        let terms = self.sweep.from * self.sweep.kernel;
        unsafe { self.packed.at((part.group * self.widths.blocks + block) * terms * self.widths.block()) }
    }
    /// Where the plane of a channel starts.
    #[inline(always)]
    unsafe fn plane(&self, part: &Part, image: usize, channel: usize) -> *mut T {
        let s = self.sweep;
        unsafe { self.result.at((((part.image + image) * s.groups + part.group) * s.to + channel) * s.result[0] * s.result[1]) }
    }

    /// Pixels are the scalars, channels the vectors: a tile of pixels by channels, transposed into the planes.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn channels<S: Simd>(&self, simd: S, part: &Part, phase: &Phase, tables: &Tables, block: usize, source: *const T, tile: *mut T) {
        let s = self.sweep;
        let height = phase.size[0].saturating_sub(part.line).min(self.cut.lines);
        let pixels = height * phase.size[1];
        let (first, count) = self.span(block);
        let width = self.widths.block();
        unsafe {
            let weights = self.weights(part, block);
            let mut from = 0;
            loop {
                let to = (from + TERMS).min(tables.taps.len());
                let terms = Terms { scalars: &tables.taps[from..to], vectors: &tables.weights[from..to] };
                let rows = &tables.pixels[..part.images * pixels];
                strip(
                    simd,
                    Strip {
                        terms,
                        scalar_base: source,
                        rows,
                        vector_base: weights,
                        vectors: self.widths.vectors,
                        spread: None,
                        result: tile,
                        result_stride: width,
                        accumulate: from > 0,
                        bias: None,
                    },
                );
                from = to;
                if from >= tables.taps.len() {
                    break;
                }
            }
            let bias = self.bias_of(part, block);
            for i in 0..part.images {
                let tile = tile.add(i * pixels * width);
                if s.spread == [1, 1] {
                    let to = self.plane(part, i, first).add(part.line * s.result[1]);
                    let to_stride = s.result[0] * s.result[1];
                    Transpose { from: tile, from_stride: width, to, to_stride, rows: pixels, columns: count, bias, accumulate: false }.run::<S>();
                    continue;
                }
                for c in 0..count {
                    let plane = self.plane(part, i, first + c);
                    for y in 0..height {
                        let line = plane.add(((part.line + y) * s.spread[0] + phase.origin[0]) * s.result[1] + phase.origin[1]);
                        for x in 0..phase.size[1] {
                            *line.add(x * s.spread[1]) = *tile.add((y * phase.size[1] + x) * width + c);
                        }
                    }
                }
            }
        }
    }

    /// Channels are the scalars, pixels of a line the vectors: results go straight to their lines. The last vector of a line
    /// overlaps the one before; a line shorter than a vector goes through `tile`.
    #[inline(always)]
    unsafe fn lines<S: Simd>(&self, simd: S, part: &Part, source: *const T, tile: *mut T) {
        let (s, lanes, tables) = (self.sweep, self.widths.lanes, &self.tables[0]);
        let [height, width] = [s.result[0].saturating_sub(part.line).min(self.cut.lines), s.result[1]];
        let plane = s.result[0] * s.result[1];
        let total = width.div_ceil(lanes);
        let a_time = total.div_ceil(total.div_ceil(max_vectors::<S>()));
        let terms = Terms { scalars: &tables.weights, vectors: &tables.taps };
        unsafe {
            for i in 0..part.images {
                for y in 0..height {
                    let line = source.add(i * self.frame.image + y * s.step[0] * self.frame.pitch);
                    for block in 0..self.widths.blocks {
                        let (first, count) = self.span(block);
                        let to = self.plane(part, i, first).add((part.line + y) * width);
                        let rows = &ROWS[..count];
                        let (weights, bias) = (self.weights(part, block), self.bias_of(part, block));
                        let base = Strip {
                            terms,
                            scalar_base: weights,
                            rows,
                            vector_base: line,
                            vectors: 1,
                            spread: Some([0; MAX_VECTORS]),
                            result: tile,
                            result_stride: lanes,
                            accumulate: false,
                            bias,
                        };
                        if width < lanes {
                            strip(simd, base);
                            for c in 0..count {
                                copy::<T, S>(tile.add(c * lanes), to.add(c * plane), width);
                            }
                            continue;
                        }
                        let mut v = 0;
                        while v < total {
                            let vectors = a_time.min(total - v);
                            let spread = std::array::from_fn(|j| ((v + j) * lanes).min(width - lanes));
                            strip(simd, Strip { vectors, spread: Some(spread), result: to, result_stride: plane, ..base });
                            v += vectors;
                        }
                    }
                }
            }
        }
    }
}

/// Weights of a block's channels lie side by side.
static ROWS: [u32; 64] = {
    let mut rows = [0; 64];
    let mut i = 0;
    while i < 64 {
        rows[i] = i as u32;
        i += 1;
    }
    rows
};
