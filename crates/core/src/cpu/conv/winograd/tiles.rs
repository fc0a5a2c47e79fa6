//! The tiles of a convolution, and the transformed source of a chunk of them. A padded plane is kept as four, by the parity of
//! line and column: then each element of all tiles of a line lies side by side, and vectors run along the tiles.
use super::super::super::real::Real;
use super::super::sweep::{Part, Sweep};
use super::ASIDE;
use super::transform::{FREQUENCIES, sources};
use crate::reserve::collected;
use pulp::Simd;

pub(super) struct Tiles {
    images: usize,
    /// Lines of tiles a chunk.
    lines: usize,
    across: usize,
    image_chunks: usize,
    line_chunks: usize,
    pub chunks: usize,
    /// Where the tiles of a whole chunk lie in a transformed plane, by image, line and column. Those of a smaller chunk are the
    /// first ones.
    pub indices: Vec<u32>,
    /// Elements of a transformed plane, what is between the tiles included.
    pub plane: usize,
}

impl Tiles {
    pub fn new<T>(s: &Sweep) -> Tiles {
        // The transformed source and the products should stay in L2; weights should serve enough tiles.
        const MOST: usize = 64;
        let [down, across] = s.result.map(|side| side.div_ceil(2));
        let line_chunks = down.div_ceil((MOST / across).max(1));
        let lines = down.div_ceil(line_chunks);
        let line_chunks = down.div_ceil(lines);
        let images = if line_chunks > 1 { 1 } else { (MOST / (down * across)).clamp(1, s.images.max(1)) };
        let image_chunks = s.images.div_ceil(images);
        let line = |i: usize| (0..across).map(move |x| (i * (across + 1) + x) as u32);
        let tiles = (0..images).flat_map(|i| (0..lines).map(move |y| i * (lines + 1) + y)).flat_map(line);
        let indices = collected(images * lines * across, tiles);
        let cache_line = 64 / size_of::<T>();
        let end = (images * (lines + 1) - 2) * (across + 1) + across;
        // An odd number of cache lines: planes spread over its sets.
        let plane = (end.div_ceil(cache_line) | 1) * cache_line;
        Tiles { images, lines, across, image_chunks, line_chunks, chunks: image_chunks * line_chunks * s.groups, indices, plane }
    }
    pub fn part(&self, s: &Sweep, chunk: usize) -> Part {
        let (rest, line) = (chunk / self.line_chunks, chunk % self.line_chunks);
        let (image, group) = (rest % self.image_chunks * self.images, rest / self.image_chunks);
        Part { image, images: self.images.min(s.images - image), group, line: line * self.lines }
    }
    /// Chunks of one group: they follow one another.
    pub fn of_group(&self) -> usize {
        self.image_chunks * self.line_chunks
    }
    /// Lines of results of a part.
    pub fn height(&self, s: &Sweep, part: &Part) -> usize {
        (s.result[0] - 2 * part.line).min(2 * self.lines)
    }
    /// Most results of a part.
    pub fn pixels(&self, s: &Sweep) -> usize {
        self.images * 2 * self.lines * s.result[1]
    }
    /// The indices of a part's tiles.
    pub fn rows(&self, s: &Sweep, part: &Part) -> &[u32] {
        &self.indices[..part.images * self.height(s, part).div_ceil(2) * self.across]
    }
    /// Distance of a frequency's planes, one a channel, from the next's.
    pub fn frequency(&self, channels: usize) -> usize {
        channels * self.plane + ASIDE
    }
    fn a_quarter(&self) -> usize {
        self.plane + self.across + 2
    }
    /// Elements that [`Tiles::transform`] needs.
    pub fn room(&self, channels: usize) -> usize {
        (FREQUENCIES * self.frequency(channels) + 4 * self.a_quarter()).next_multiple_of(16)
    }

    /// Calls `f(tile, places of its four results)` for the tiles of a part; a place beyond the plane's edge is none. Results are
    /// counted by image, line and column.
    #[inline(always)]
    pub fn each(&self, s: &Sweep, part: &Part, mut f: impl FnMut(usize, [Option<usize>; 4])) {
        let (height, width) = (self.height(s, part), s.result[1]);
        let mut tile = 0;
        for image in 0..part.images {
            for y in (0..height).step_by(2) {
                for x in (0..width).step_by(2) {
                    let at = (image * height + y) * width + x;
                    let (right, below) = (x + 1 < width, y + 1 < height);
                    f(tile, [Some(at), right.then_some(at + 1), below.then_some(at + width), (right && below).then_some(at + width + 1)]);
                    tile += 1;
                }
            }
        }
    }

    /// The transformed source of a part, in `room`: by frequency and channel.
    ///
    /// # Safety
    /// `source` is the whole operand, `room` has [`Tiles::room`] elements.
    #[inline(always)]
    pub unsafe fn transform<T: Real, S: Simd>(&self, simd: S, s: &Sweep, part: &Part, source: *const T, room: *mut T) -> *const T {
        let (pitch, quarter) = (self.across + 1, self.a_quarter());
        let [height, width] = s.source;
        unsafe {
            let quarters = room.add(FREQUENCIES * self.frequency(s.from));
            // Padding stays 0 from channel to channel.
            quarters.write_bytes(0, 4 * quarter);
            for c in 0..s.from {
                for i in 0..part.images {
                    let from = source.add((((part.image + i) * s.groups + part.group) * s.from + c) * height * width);
                    for r in 0..2 * self.lines + 2 {
                        let y = (2 * part.line + r) as isize - s.pad[0];
                        if y < 0 || y as usize >= height {
                            continue;
                        }
                        let even = quarters.add(r % 2 * 2 * quarter + (i * (self.lines + 1) + r / 2) * pitch);
                        split(std::slice::from_raw_parts(from.add(y as usize * width), width), s.pad[1], pitch, even, even.add(quarter));
                    }
                }
                let to = room.add(c * self.plane);
                for v in (0..self.plane).step_by(T::lanes::<S>()) {
                    sources(
                        simd,
                        #[inline(always)]
                        |i, j| quarters.add((i % 2 * 2 + j % 2) * quarter + v + i / 2 * pitch + j / 2).cast_const(),
                        to.add(v),
                        self.frequency(s.from),
                    );
                }
            }
        }
        room
    }
}

/// Splits a line behind `pad` columns of padding, or cropped by as many, into its even and its odd columns, `pitch` of each.
///
/// # Safety
/// `even` and `odd` have room for `pitch` elements.
#[inline(always)]
unsafe fn split<T: Copy>(line: &[T], pad: isize, pitch: usize, even: *mut T, odd: *mut T) {
    let line = &line[((-pad).max(0) as usize).min(line.len())..];
    let start = pad.max(0) as usize;
    let line = &line[..line.len().min((2 * pitch).saturating_sub(start))];
    let mut at = start;
    let mut rest = line;
    unsafe {
        if at % 2 == 1
            && let [first, more @ ..] = rest
        {
            *odd.add(at / 2) = *first;
            (rest, at) = (more, at + 1);
        }
        let (pairs, last) = rest.as_chunks::<2>();
        let (even, odd) = (even.add(at / 2), odd.add(at / 2));
        for (i, [a, b]) in pairs.iter().enumerate() {
            *even.add(i) = *a;
            *odd.add(i) = *b;
        }
        if let [last] = last {
            *even.add(pairs.len()) = *last;
        }
    }
}
