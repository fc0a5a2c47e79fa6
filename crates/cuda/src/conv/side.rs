//! The inner form of a convolution's operands, and how each gets there.
//!
//! Operands lie channels-last inside (row-major if the result is). Tensor cores take channels by eights: images of fewer than
//! 8 channels in half precision are padded with zero channels, and those of up to 4 whose convolution has stride 2 (the first
//! one of a ResNet) are *folded*: 2 x 2 pixels become channels, the stride 1 and the kernel half as large. That fills the
//! eights with something better than zeros. The weight is padded or folded likewise, its gradient brought back.
use super::{BLOCK, blocks, kernel, repack};
use crate::dnn::{Kind, Problem};
use crate::gpu::{Gpu, args};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::op;
use wick_core::shape::{Layout, Shape};

/// Channels that tensor cores want multiples of.
const EIGHT: usize = 8;
/// Most channels of an image that is folded: 4 pixels make 16 of them.
const FOLDED: usize = 4;
const ALIGNMENT: u64 = crate::dnn::ALIGNMENT;

/// The inner form.
pub struct Inner {
    pub channels_last: bool,
    /// Pixels along a side that become channels, and the padded number of channels; `None`: as they are.
    few: Option<Few>,
}

#[derive(Clone, Copy)]
struct Few {
    fold: usize,
    padded: usize,
    /// Folded rows and columns of zeros before the image.
    before: [usize; 2],
    /// Rows and columns of the kernel that the first folded one has before the kernel begins.
    shift: [usize; 2],
    /// Height and width of the image and of the kernel.
    image: [usize; 2],
    kernel: [usize; 2],
}

impl Inner {
    pub fn of(kind: Kind, geometry: &op::Conv2d, x: &Arg, weight: &Arg, y: &Arg) -> Inner {
        let last = |a: &Arg| a.layout.is_channels_last();
        let channels_last = match kind {
            Kind::Forward => last(y),
            Kind::GradInput => last(x),
            Kind::GradWeight => last(x) || last(y) || last(weight),
        };
        let channels = x.layout.shape[1];
        let half = matches!(x.dtype, DType::F16 | DType::BF16);
        let few = channels_last && half && geometry.groups == 1 && channels < EIGHT;
        let sides = |a: &Arg| [a.layout.shape[2], a.layout.shape[3]];
        Inner { channels_last, few: few.then(|| Few::of(kind, geometry, channels, sides(x), sides(weight), sides(y))) }
    }

    /// The problem that is solved inside.
    pub fn adapt(&self, mut problem: Problem) -> Problem {
        if let Some(few) = &self.few {
            for (sizes, [height, width]) in [(&mut problem.x, few.image), (&mut problem.weight, few.kernel)] {
                *sizes = [sizes[0], few.padded, height, width];
            }
            if few.fold == 2 {
                (problem.stride, problem.padding) = ([1; 2], [0; 2]);
            }
        }
        problem
    }
}

impl Few {
    fn of(kind: Kind, g: &op::Conv2d, channels: usize, x: [usize; 2], weight: [usize; 2], y: [usize; 2]) -> Few {
        // The gradient of an image isn't asked for in training; it is padded only.
        let small = (0..2).all(|i| weight[i] > 1 && g.padding[i] < weight[i]);
        if kind == Kind::GradInput || channels > FOLDED || g.stride != [2; 2] || g.dilation != [1; 2] || !small {
            return Few { fold: 1, padded: EIGHT, before: [0; 2], shift: [0; 2], image: x, kernel: weight };
        }
        // Row r of the kernel at output row o meets row 2 o + r - padding = 2 (o + a - before) + dy of the image: row a of the
        // folded kernel, a = (r + shift) / 2 and dy = (r + shift) % 2.
        let before = g.padding.map(|p| p.div_ceil(2));
        let shift: [usize; 2] = std::array::from_fn(|i| 2 * before[i] - g.padding[i]);
        let kernel: [usize; 2] = std::array::from_fn(|i| (weight[i] + shift[i]).div_ceil(2));
        let image = std::array::from_fn(|i| y[i] + kernel[i] - 1);
        Few { fold: 2, padded: (4 * channels).next_multiple_of(EIGHT), before, shift, image, kernel }
    }
}

/// `Pixels` in `conv.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pixels {
    sizes: [u32; 4],
    strides: [u64; 4],
    image: [u32; 2],
    padded: u32,
    before: [u32; 2],
}
/// `Filter` in `conv.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Filter {
    sizes: [u32; 4],
    strides: [u64; 4],
    kernel: [u32; 2],
    padded: u32,
    fold: u32,
    shift: [u32; 2],
}

/// One operand: where it is, and its inner form.
pub struct Side<'a> {
    arg: &'a Arg,
    sizes: [usize; 4],
    way: Way,
}

enum Way {
    /// It lies as it should.
    Direct,
    /// Copied into this layout.
    Repacked(Layout),
    /// An image of few channels.
    Image(Few),
    /// The weight that belongs to one.
    Weight(Few),
}

impl<'a> Side<'a> {
    /// Operand `number` (0 x, 1 weight, 2 y) of a problem that has it in `sizes`.
    pub fn new(arg: &'a Arg, number: usize, sizes: [usize; 4], inner: &Inner) -> Side<'a> {
        let way = match (inner.few, number) {
            (Some(few), 0) => Way::Image(few),
            (Some(few), 1) => Way::Weight(few),
            _ => {
                let there = if inner.channels_last { arg.layout.is_channels_last() } else { arg.layout.is_contiguous() };
                if there && (arg.ptr as u64).is_multiple_of(ALIGNMENT) {
                    Way::Direct
                } else {
                    Way::Repacked(if inner.channels_last { Layout::channels_last(arg.layout.shape) } else { Layout::contiguous(arg.layout.shape) })
                }
            }
        };
        Side { arg, sizes, way }
    }

    /// Bytes of working memory that the inner form takes, if it isn't where the operand is.
    pub fn bytes(&self) -> usize {
        match self.way {
            Way::Direct => 0,
            _ => (self.sizes.iter().product::<usize>() * self.arg.dtype.size()).next_multiple_of(256),
        }
    }

    /// The address of the inner form, given that of its working memory.
    pub fn place(&self, scratch: u64) -> u64 {
        match self.way {
            Way::Direct => self.arg.ptr as u64,
            _ => scratch,
        }
    }

    /// Writes the inner form of an input.
    pub fn bring_in(&self, gpu: &Gpu, inner: u64) -> Result<()> {
        let (dtype, outer) = (self.arg.dtype, self.arg.ptr as u64);
        match &self.way {
            Way::Direct => Ok(()),
            Way::Repacked(layout) => repack(gpu, dtype, (outer, &self.arg.layout), (inner, layout)),
            Way::Image(few) => {
                let pixels = self.pixels(few);
                let threads = self.sizes[0] * self.sizes[2] * self.sizes[3];
                let name = if few.fold == 2 { "fold_pixels" } else { "pad_pixels" };
                gpu.launch(kernel(gpu, dtype, name)?, blocks(threads)?, (BLOCK, 1, 1), 0, args![outer, inner, pixels])
            }
            Way::Weight(few) => {
                let filter = self.filter(few);
                let grid = blocks(self.sizes.iter().product())?;
                gpu.launch(kernel(gpu, dtype, "filter_in")?, grid, (BLOCK, 1, 1), 0, args![outer, inner, filter])
            }
        }
    }

    /// Writes a result from its inner form.
    pub fn bring_out(&self, gpu: &Gpu, inner: u64) -> Result<()> {
        let (dtype, outer) = (self.arg.dtype, self.arg.ptr as u64);
        match &self.way {
            Way::Direct => Ok(()),
            Way::Repacked(layout) => repack(gpu, dtype, (inner, layout), (outer, &self.arg.layout)),
            Way::Image(few) => {
                // Never folded: the channels that there are, out of the padded ones.
                let [_, padded, height, width] = self.sizes;
                debug_assert!(few.fold == 1);
                let layout = Layout::new(self.arg.layout.shape, &[height * width * padded, 1, width * padded, padded], 0);
                repack(gpu, dtype, (inner, &layout), (outer, &self.arg.layout))
            }
            Way::Weight(few) => {
                let filter = self.filter(few);
                let grid = blocks(self.arg.numel())?;
                gpu.launch(kernel(gpu, dtype, "filter_out")?, grid, (BLOCK, 1, 1), 0, args![inner, outer, filter])
            }
        }
    }

    fn pixels(&self, few: &Few) -> Pixels {
        Pixels {
            sizes: sizes(&self.arg.layout.shape),
            strides: strides(&self.arg.layout),
            image: few.image.map(|v| v as u32),
            padded: few.padded as u32,
            before: few.before.map(|v| v as u32),
        }
    }

    fn filter(&self, few: &Few) -> Filter {
        Filter {
            sizes: sizes(&self.arg.layout.shape),
            strides: strides(&self.arg.layout),
            kernel: few.kernel.map(|v| v as u32),
            padded: few.padded as u32,
            fold: few.fold as u32,
            shift: few.shift.map(|v| v as u32),
        }
    }
}

fn sizes(shape: &Shape) -> [u32; 4] {
    [0, 1, 2, 3].map(|d| shape[d] as u32)
}
fn strides(layout: &Layout) -> [u64; 4] {
    [0, 1, 2, 3].map(|d| layout.strides()[d] as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folded convolution by the kernels' own index arithmetic, against the plain one, on one channel and one axis.
    #[test]
    fn folding_keeps_the_result() {
        for (n, kernel, padding) in [(224, 7, 3), (32, 3, 1), (33, 3, 1), (9, 2, 0), (10, 5, 2), (11, 4, 3), (7, 7, 0), (12, 6, 1)] {
            let y = (n + 2 * padding - kernel) / 2 + 1;
            let geometry = op::Conv2d { stride: [2; 2], padding: [padding; 2], dilation: [1; 2], groups: 1 };
            let few = Few::of(Kind::Forward, &geometry, 3, [n; 2], [kernel; 2], [y; 2]);
            assert!(few.fold == 2 && few.padded == 16 && few.image[0] == y + few.kernel[0] - 1);
            for o in 0..y {
                let plain: Vec<(usize, usize)> =
                    (0..kernel).filter_map(|r| (2 * o + r).checked_sub(padding).filter(|h| *h < n).map(|h| (h, r))).collect();
                let mut folded = vec![];
                for a in 0..few.kernel[0] {
                    for dy in 0..2 {
                        let (h, r) = ((o + a).wrapping_sub(few.before[0]).wrapping_mul(2).wrapping_add(dy), (2 * a + dy).wrapping_sub(few.shift[0]));
                        if h < n && r < kernel {
                            folded.push((h, r));
                        }
                    }
                }
                assert_eq!(plain, folded, "{n} {kernel} {padding} {o}");
            }
        }
    }

    #[test]
    fn inner_structs_have_the_kernels_sizes() {
        assert_eq!((size_of::<Pixels>(), size_of::<Filter>()), (72, 72));
    }
}
