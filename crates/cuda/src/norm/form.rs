//! How a normalised tensor lies, and how kernels share it out.
use crate::gpu::Gpu;
use wick_core::error::{Error, Result};
use wick_core::shape::Layout;

/// The constants of `norm.cu`: threads of its two kinds of kernels, and most threads along a row.
pub const STATS: u32 = 512;
pub const APPLY: u32 = 256;
const TILE: u32 = 16;
/// Rows that a thread should at least take where it sums: fewer, and joining the sums costs more than taking them.
const FEWEST: u32 = 4;
/// Above this many bytes more sums pay for themselves.
const LARGE: usize = 32 << 20;
/// Parts of a plane's channel that one thread joins.
const SPLITS: u32 = 128;
/// Largest grid in y.
const GRID: usize = 65535;

/// A tensor of `[n, c, ..]`, channels last or planes one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Rows { rows: u32, c: u32 },
    Planes { images: u32, c: u32, plane: u32 },
}

impl Form {
    /// The form of a dense layout that is row-major or channels-last.
    pub fn of(layout: &Layout) -> Result<Form> {
        let shape = &layout.shape;
        if !layout.is_contiguous() && !layout.is_channels_last() {
            return Err(Error::internal("a result is neither row-major nor channels-last"));
        }
        let (n, c, plane) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
        if n * plane > i32::MAX as usize {
            return Err(Error::not_supported(format!("{} values a channel are too many", n * plane)));
        }
        let (images, c32, plane32) = (n as u32, c as u32, plane as u32);
        if plane == 1 || !layout.is_contiguous() {
            if c.div_ceil(TILE as usize) > GRID {
                return Err(Error::not_supported(format!("{c} channels are too many")));
            }
            Ok(Form::Rows { rows: images * plane32, c: c32 })
        } else if c > GRID {
            Err(Error::not_supported(format!("{c} channels are too many for a row-major tensor")))
        } else {
            Ok(Form::Planes { images, c: c32, plane: plane32 })
        }
    }

    /// Values of one channel.
    pub fn count(&self) -> u32 {
        match *self {
            Form::Rows { rows, .. } => rows,
            Form::Planes { images, plane, .. } => images * plane,
        }
    }
    /// Values lie side by side in multiples of `width`.
    pub fn divides(&self, width: u32) -> bool {
        match *self {
            Form::Rows { c, .. } => c.is_multiple_of(width),
            Form::Planes { plane, .. } => plane.is_multiple_of(width),
        }
    }
}

/// `Rows` in `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rows {
    pub rows: u32,
    pub c: u32,
    /// Threads along a row and down the rows.
    pub across: u32,
    pub down: u32,
}
/// `Planes` in `norm.cu`: `plane` counts groups of values.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Planes {
    pub images: u32,
    pub c: u32,
    pub plane: u32,
}

/// A launch over rows: blocks along the rows, tiles of channels.
#[derive(Clone, Copy, Debug)]
pub struct RowGrid {
    pub rows: Rows,
    pub blocks: u32,
    pub tiles: u32,
}
impl RowGrid {
    fn new(rows: u32, c: u32, width: u32, threads: u32, least: u32, most: u32) -> RowGrid {
        let groups = c / width;
        let tiles = groups.div_ceil(TILE);
        let across = groups.div_ceil(tiles);
        let down = threads / across;
        let blocks = rows.div_ceil(down * least).clamp(1, (most / tiles).max(1));
        RowGrid { rows: Rows { rows, c, across, down }, blocks, tiles }
    }
    pub fn grid(&self) -> (u32, u32, u32) {
        (self.blocks, self.tiles, 1)
    }
    pub fn block(&self) -> (u32, u32, u32) {
        (self.rows.across * self.rows.down, 1, 1)
    }
}

/// How a call's two passes are launched.
#[derive(Clone, Copy, Debug)]
pub enum Grids {
    Rows {
        sums: RowGrid,
        apply: RowGrid,
    },
    /// Blocks per channel that take sums, and that write results.
    Planes {
        planes: Planes,
        splits: u32,
        blocks: u32,
    },
}

impl Grids {
    /// `width` values of `size` bytes at once; `back` for the kernels of the gradient, which are larger.
    pub fn new(gpu: &Gpu, form: Form, width: u32, size: usize, back: bool) -> Grids {
        let sms = gpu.sms();
        match form {
            Form::Rows { rows, c } => {
                let large = rows as usize * c as usize * size > LARGE;
                // A block that takes sums of the gradient has a multiprocessor to itself.
                let most = if large && !back { 2 * sms } else { sms };
                let sums = RowGrid::new(rows, c, width, STATS, FEWEST, most);
                // A thread writes two rows at a time.
                let apply = RowGrid::new(rows, c, width, APPLY, 2, if back { 3 } else { 4 } * sms);
                Grids::Rows { sums, apply }
            }
            Form::Planes { images, c, plane } => {
                let planes = Planes { images, c, plane: plane / width };
                let groups = planes.images * planes.plane;
                let share = |blocks: u32| (blocks * sms).div_ceil(c);
                let splits = groups.div_ceil(STATS * FEWEST).clamp(1, share(2).min(SPLITS));
                Grids::Planes { planes, splits, blocks: groups.div_ceil(APPLY * 2).clamp(1, share(16)) }
            }
        }
    }

    /// Sums that the first pass leaves, two a channel and block.
    pub fn sums(&self, width: u32, accumulator: usize) -> usize {
        match self {
            Grids::Rows { sums, .. } => {
                // Each tile's channels are rounded up to 16 bytes.
                let pitch = (sums.rows.across * width).next_multiple_of(16 / accumulator as u32);
                2 * pitch as usize * sums.blocks as usize * sums.tiles as usize
            }
            Grids::Planes { planes, splits, .. } => 2 * *splits as usize * planes.c as usize,
        }
    }
    /// Counters that it needs.
    pub fn counters(&self) -> u32 {
        match self {
            Grids::Rows { sums, .. } => sums.tiles,
            Grids::Planes { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wick_core::shape::Shape;

    #[test]
    fn forms() {
        let of = |l: &Layout| Form::of(l).unwrap();
        let images = Shape::new(&[2, 3, 4, 5]);
        assert_eq!(of(&Layout::contiguous(images)), Form::Planes { images: 2, c: 3, plane: 20 });
        assert_eq!(of(&Layout::channels_last(images)), Form::Rows { rows: 40, c: 3 });
        assert_eq!(of(&Layout::contiguous(Shape::new(&[7, 6]))), Form::Rows { rows: 7, c: 6 });
        assert_eq!(of(&Layout::contiguous(Shape::new(&[7, 6, 1, 1]))), Form::Rows { rows: 7, c: 6 });
        assert_eq!(of(&Layout::contiguous(Shape::new(&[7, 6, 2]))), Form::Planes { images: 7, c: 6, plane: 2 });
        assert!(Form::of(&Layout::contiguous(Shape::new(&[2, 70000, 3]))).is_err());
    }

    #[test]
    fn every_row_and_channel_has_a_thread() {
        for (rows, c, width) in
            [(401408, 64, 8), (6272, 2048, 8), (2048, 512, 8), (5, 6, 1), (2, 24, 8), (131072, 320, 8), (100, 4097, 1), (1000, 1000, 4)]
        {
            for threads in [STATS, APPLY] {
                let g = RowGrid::new(rows, c, width, threads, FEWEST, 264);
                assert!(g.rows.across <= TILE && g.rows.across * g.tiles * width >= c, "{g:?}");
                assert!(g.rows.across * (g.tiles - 1) * width < c, "no empty tile: {g:?}");
                // Sums of a tile's channels are joined by one thread each, and every block has a row.
                assert!(g.rows.down >= 8 && g.block().0 <= threads && (g.blocks - 1) * g.rows.down < rows, "{g:?}");
            }
        }
    }
}
