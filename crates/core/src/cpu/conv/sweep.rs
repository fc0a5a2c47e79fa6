//! The geometry of a convolution, the same for a result and for the gradient of the input: each pixel of the result is a
//! sum over taps of source pixels, which are read from a frame, the padded copy of a part of the source.
use super::super::real::Real;
use super::kernel::copy;
use crate::error::Error;
use crate::op::Conv2d;
use crate::reserve::{collected, raise};
use pulp::Simd;
use std::collections::BTreeMap;

/// Tables hold offsets of 32 bits.
const MOST_OFFSET: usize = u32::MAX as usize;

/// Offsets `stride` apart.
pub(super) fn offsets(count: usize, stride: usize) -> Vec<u32> {
    countable(count.saturating_mul(stride));
    collected(count, (0..count).map(|i| (i * stride) as u32))
}
/// Refuses what is too large for the tables.
pub(super) fn countable(elements: usize) {
    if elements > MOST_OFFSET {
        raise(Error::not_supported("convolutions of images, or with weights, of more than 2^32 elements at a time"));
    }
}

/// A kernel element: where it reads in the frame, and its index in the kernel.
pub(super) struct Tap {
    pub at: [usize; 2],
    pub index: usize,
}

/// Result pixels that have the same taps: `origin + spread * i` for `i` below `size`, in both directions.
pub(super) struct Phase {
    pub origin: [usize; 2],
    pub size: [usize; 2],
    pub taps: Vec<Tap>,
}

pub(super) struct Sweep {
    pub images: usize,
    pub groups: usize,
    /// Channels a group.
    pub from: usize,
    pub to: usize,
    /// Height and width of the source's and the result's planes.
    pub source: [usize; 2],
    pub result: [usize; 2],
    /// Rows and columns of the frame before the source; below 0 the source is cropped.
    pub pad: [isize; 2],
    /// Distance in the frame from one pixel of a phase to the next, and in the result.
    pub step: [usize; 2],
    pub spread: [usize; 2],
    /// Elements of the kernel, height times width.
    pub kernel: usize,
    pub phases: Vec<Phase>,
    /// Some pixels of the result are in no phase: no tap reaches them and they are 0.
    pub sparse: bool,
}

impl Sweep {
    /// From `x [n, c, h, w]` to a result of height and width `result`.
    pub fn forward(g: &Conv2d, x: &[usize], weight: &[usize], result: [usize; 2]) -> Sweep {
        let [kh, kw] = [weight[2], weight[3]];
        let taps = collected(kh * kw, (0..kh * kw).map(|i| Tap { at: [i / kw * g.dilation[0], i % kw * g.dilation[1]], index: i }));
        Sweep {
            images: x[0],
            groups: g.groups,
            from: weight[1],
            to: weight[0] / g.groups,
            source: [x[2], x[3]],
            result,
            pad: g.padding.map(|p| p as isize),
            step: g.stride,
            spread: [1, 1],
            kernel: kh * kw,
            phases: vec![Phase { origin: [0, 0], size: result, taps }],
            sparse: false,
        }
    }

    /// From the gradient of the result back to that of the input `x`. With a stride, input pixels differ in the taps that
    /// reached them: those of one remainder form a phase, and no multiplication by an inserted zero is needed.
    pub fn backward(g: &Conv2d, x: &[usize], weight: &[usize], grad: [usize; 2]) -> Sweep {
        let kernel = [weight[2], weight[3]];
        // Along one direction: (tap, grad offset) for each remainder that has taps. Strides may be far longer than the kernel.
        let along = |d: usize| -> BTreeMap<usize, Vec<(usize, isize)>> {
            let (stride, pad, dilation) = (g.stride[d] as isize, g.padding[d] as isize, g.dilation[d] as isize);
            let mut taps: BTreeMap<usize, Vec<(usize, isize)>> = BTreeMap::new();
            for k in 0..kernel[d] {
                let from = k as isize * dilation - pad;
                taps.entry(from.rem_euclid(stride) as usize).or_default().push((k, -from.div_euclid(stride)));
            }
            taps.retain(|r, _| *r < x[2 + d]);
            taps
        };
        let (rows, columns) = (along(0), along(1));
        let first = |taps: &BTreeMap<usize, Vec<(usize, isize)>>| taps.values().flatten().map(|t| t.1).min().unwrap_or(0);
        let lead = [first(&rows), first(&columns)];
        let mut phases = vec![];
        for (ry, ys) in &rows {
            for (rx, xs) in &columns {
                let tap = |y: &(usize, isize), x: &(usize, isize)| Tap {
                    at: [(y.1 - lead[0]) as usize, (x.1 - lead[1]) as usize],
                    index: y.0 * kernel[1] + x.0,
                };
                let size = [(x[2] + g.stride[0] - 1 - ry) / g.stride[0], (x[3] + g.stride[1] - 1 - rx) / g.stride[1]];
                phases.push(Phase { origin: [*ry, *rx], size, taps: ys.iter().flat_map(|y| xs.iter().map(move |x| tap(y, x))).collect() });
            }
        }
        Sweep {
            images: x[0],
            groups: g.groups,
            from: weight[0] / g.groups,
            to: weight[1],
            source: grad,
            result: [x[2], x[3]],
            pad: lead.map(|l| -l),
            step: [1, 1],
            spread: g.stride,
            kernel: kernel[0] * kernel[1],
            phases,
            sparse: rows.len() < g.stride[0].min(x[2]) || columns.len() < g.stride[1].min(x[3]),
        }
    }

    /// Multiplications and additions.
    pub fn flops(&self) -> usize {
        let a_plane: usize = self.phases.iter().map(|p| p.taps.len() * p.size[0] * p.size[1]).sum();
        [self.images, self.groups, self.from, self.to].iter().fold(2 * a_plane, |n, m| n.saturating_mul(*m))
    }
}

/// How a sweep is cut: a chunk is some images, or some lines of one image, of one group. The cut depends on shapes alone.
pub(super) struct Cut {
    pub images: usize,
    pub lines: usize,
    image_chunks: usize,
    line_chunks: usize,
    pub chunks: usize,
}

/// A chunk: the first image, their number, the group, the first line of each phase.
pub(super) struct Part {
    pub image: usize,
    pub images: usize,
    pub group: usize,
    pub line: usize,
}

impl Cut {
    pub fn new(s: &Sweep) -> Cut {
        // A tile of results and the frame should stay in L2; weights should serve enough pixels.
        const MOST: usize = 256;
        const ENOUGH: usize = 128;
        let height = s.phases.iter().map(|p| p.size[0]).max().unwrap_or(0).max(1);
        let width = s.phases.iter().map(|p| p.size[1]).max().unwrap_or(0).max(1);
        let line_chunks = height.div_ceil((MOST / width).max(1));
        let lines = height.div_ceil(line_chunks);
        let line_chunks = height.div_ceil(lines);
        let images = if line_chunks > 1 { 1 } else { (ENOUGH / (height * width)).clamp(1, s.images.max(1)) };
        let image_chunks = s.images.div_ceil(images);
        Cut { images, lines, image_chunks, line_chunks, chunks: image_chunks * line_chunks * s.groups }
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
}

/// How source pixels are found: in a frame, or in place if the source needs no padding.
pub(super) struct Frame {
    rows: usize,
    pub pitch: usize,
    pub plane: usize,
    pub image: usize,
    in_place: bool,
}

impl Frame {
    /// `margin`: elements past a line's end that may be read.
    pub fn new<T>(s: &Sweep, cut: &Cut, margin: usize) -> Frame {
        let tap = |p: &Phase, d: usize| p.taps.iter().map(|t| t.at[d]).max().unwrap_or(0);
        let extent = |d: usize, most: usize| s.phases.iter().map(|p| (p.size[d].clamp(1, most) - 1) * s.step[d] + tap(p, d) + 1).max().unwrap_or(1);
        let (rows, whole, pitch) = (extent(0, cut.lines), extent(0, usize::MAX), extent(1, usize::MAX));
        let line = 64 / size_of::<T>();
        let in_place = s.pad == [0, 0]
            && margin == 0
            && whole <= s.source[0]
            && pitch <= s.source[1]
            && cut.images.saturating_mul(s.groups * s.from * s.source[0] * s.source[1]) <= MOST_OFFSET
            // Planes a power of two apart fall on the same few sets of the cache.
            && (s.from < 8 || !(s.source[0] * s.source[1]).is_multiple_of(16 * line));
        if in_place {
            let plane = s.source[0] * s.source[1];
            return Frame { rows, pitch: s.source[1], plane, image: s.groups * s.from * plane, in_place };
        }
        let plane = ((rows * pitch).div_ceil(line) | 1).saturating_mul(line);
        countable(plane.saturating_mul(s.from).saturating_mul(cut.images));
        Frame { rows, pitch, plane, image: s.from * plane, in_place }
    }
    /// Elements of memory that the frame of a chunk takes.
    pub fn len(&self, cut: &Cut, margin: usize) -> usize {
        if self.in_place { 0 } else { cut.images * self.image + margin }
    }
    /// Offsets of the pixels of a phase of a whole chunk, by image, line and column. Those of a smaller chunk are the first ones.
    pub fn pixels(&self, s: &Sweep, cut: &Cut, phase: &Phase) -> Vec<u32> {
        let [height, width] = [phase.size[0].min(cut.lines), phase.size[1]];
        let line = move |at: usize| (0..width).map(move |x| (at + x * s.step[1]) as u32);
        let lines = (0..cut.images).flat_map(|i| (0..height).map(move |y| i * self.image + y * s.step[0] * self.pitch));
        collected(cut.images * height * width, lines.flat_map(line))
    }
    /// Offsets of a phase's taps in all channels, channel by channel.
    pub fn taps(&self, s: &Sweep, phase: &Phase) -> Vec<u32> {
        let channel = |c: usize| phase.taps.iter().map(move |t| (c * self.plane + t.at[0] * self.pitch + t.at[1]) as u32);
        collected(s.from.saturating_mul(phase.taps.len()), (0..s.from).flat_map(channel))
    }
    /// The base that offsets count from, after filling `room` if there is a frame.
    ///
    /// # Safety
    /// `source` is the whole operand, `room` has [`Frame::len`] elements.
    #[inline(always)]
    pub unsafe fn fill<T: Real, S: Simd>(&self, s: &Sweep, part: &Part, source: *const T, room: *mut T) -> *const T {
        let [height, width] = s.source;
        let channel = |i: usize, c: usize| ((part.image + i) * s.groups + part.group) * s.from + c;
        unsafe {
            if self.in_place {
                return source.add(channel(0, 0) * height * width + part.line * s.step[0] * width);
            }
            let before = |pad: isize| (pad.max(0) as usize, (-pad).max(0) as usize);
            let (left, skip) = before(s.pad[1]);
            let len = width.saturating_sub(skip).min(self.pitch.saturating_sub(left));
            room.write_bytes(0, part.images * self.image);
            for i in 0..part.images {
                for c in 0..s.from {
                    let from = source.add(channel(i, c) * height * width);
                    let to = room.add(i * self.image + c * self.plane);
                    for r in 0..self.rows {
                        let y = (part.line * s.step[0] + r) as isize - s.pad[0];
                        if y >= 0 && (y as usize) < height && len > 0 {
                            copy::<T, S>(from.add(y as usize * width + skip), to.add(r * self.pitch + left), len);
                        }
                    }
                }
            }
            room
        }
    }
}
