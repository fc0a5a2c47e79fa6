//! The same elements under another layout.
use super::{BLOCK, blocks, kernel};
use crate::geometry::Space;
use crate::gpu::{Gpu, args};
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::shape::Layout;

/// Edge of the tiles that are transposed.
const SIDE: usize = 64;
/// Below this many rows or columns most of a tile would be empty.
const FEW: usize = 16;

/// Copies elements from one address and layout to another, which must be dense.
pub(crate) fn repack(gpu: &Gpu, dtype: DType, from: (u64, &Layout), to: (u64, &Layout)) -> Result<()> {
    let shape = &to.1.shape;
    let (x, y) = (from.0, to.0);
    let grid = blocks(shape.numel())?;
    if let Some([batch, m, n]) = transposed(from.1, to.1) {
        let tiles = batch * m.div_ceil(SIDE) * n.div_ceil(SIDE);
        let (m, n) = (m as u32, n as u32);
        return gpu.launch(kernel(gpu, dtype, "transpose")?, (tiles as u32, 1, 1), (BLOCK, 1, 1), 0, args![x, y, m, n]);
    }
    let space = Space::new(shape, [from.1, to.1]);
    gpu.launch(kernel(gpu, dtype, "repack")?, grid, (BLOCK, 1, 1), 0, args![x, y, space])
}

/// `[batch, m, n]` of a copy that is `[batch, n, m]`: images between row-major and channels-last.
fn transposed(from: &Layout, to: &Layout) -> Option<[usize; 3]> {
    if from.rank() != 4 {
        return None;
    }
    let [images, channels, plane] = [from.shape[0], from.shape[1], from.shape[2] * from.shape[3]];
    if channels < FEW || plane < FEW {
        return None;
    }
    if from.is_contiguous() && to.is_channels_last() {
        Some([images, channels, plane])
    } else if from.is_channels_last() && to.is_contiguous() {
        Some([images, plane, channels])
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wick_core::shape::Shape;

    #[test]
    fn which_copies_are_transpositions() {
        let shape = Shape::new(&[2, 32, 5, 6]);
        let (rows, last) = (Layout::contiguous(shape), Layout::channels_last(shape));
        assert_eq!(transposed(&rows, &last), Some([2, 32, 30]));
        assert_eq!(transposed(&last, &rows), Some([2, 30, 32]));
        assert_eq!(transposed(&rows, &rows), None);
        let few = Shape::new(&[2, 3, 5, 6]);
        assert_eq!(transposed(&Layout::contiguous(few), &Layout::channels_last(few)), None);
    }
}
