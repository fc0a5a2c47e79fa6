//! Images mirrored.
use crate::canvas::{Canvas, RGB};

/// Left and right exchanged.
pub fn horizontal(canvas: &mut Canvas) {
    let stride = canvas.stride();
    for row in canvas.pixels.chunks_exact_mut(stride) {
        let half = stride / RGB / 2 * RGB;
        let (left, right) = row.split_at_mut(half);
        let right_start = right.len() - half;
        for (a, b) in left.chunks_exact_mut(RGB).zip(right[right_start..].rchunks_exact_mut(RGB)) {
            a.swap_with_slice(b);
        }
    }
}

/// Top and bottom exchanged.
pub fn vertical(canvas: &mut Canvas) {
    let stride = canvas.stride();
    let half = canvas.height / 2 * stride;
    let (top, bottom) = canvas.pixels.split_at_mut(half);
    for (a, b) in top.chunks_exact_mut(stride).zip(bottom.rchunks_exact_mut(stride)) {
        a.swap_with_slice(b);
    }
}
