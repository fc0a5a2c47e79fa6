//! Values of pixels replaced by others: Pillow's `ImageOps`.
use crate::canvas::{Canvas, RGB};

fn identity() -> [u8; 256] {
    std::array::from_fn(|v| v as u8)
}

/// How often each value occurs in each channel.
fn histograms(canvas: &Canvas) -> [[usize; 256]; RGB] {
    let mut counts = [[0; 256]; RGB];
    for pixel in canvas.pixels.chunks_exact(RGB) {
        for (value, count) in pixel.iter().zip(&mut counts) {
            count[*value as usize] += 1;
        }
    }
    counts
}

/// Keeps the highest `bits` bits.
pub fn posterize(canvas: &mut Canvas, bits: u32) {
    let mask = (0xff00u32 >> bits) as u8;
    canvas.look_up(&[identity().map(|v| v & mask); RGB]);
}

/// Inverts the values from `threshold` on.
pub fn solarize(canvas: &mut Canvas, threshold: f64) {
    canvas.look_up(&[identity().map(|v| if (v as f64) < threshold { v } else { 255 - v }); RGB]);
}

/// Spreads each channel over all values.
pub fn autocontrast(canvas: &mut Canvas) {
    let tables = histograms(canvas).map(|count| {
        let low = count.iter().position(|n| *n > 0).unwrap_or(255);
        let high = count.iter().rposition(|n| *n > 0).unwrap_or(0);
        if high <= low {
            return identity();
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        identity().map(|v| (v as f64 * scale + offset) as u8)
    });
    canvas.look_up(&tables);
}

/// Makes all values of each channel about equally frequent.
pub fn equalize(canvas: &mut Canvas) {
    let tables = histograms(canvas).map(|count| {
        let last = count.iter().rposition(|n| *n > 0).unwrap_or(0);
        let step = count[..last].iter().sum::<usize>() / 255;
        if step == 0 {
            return identity();
        }
        let mut sum = step / 2;
        count.map(|n| {
            let value = sum / step;
            sum += n;
            value.min(255) as u8
        })
    });
    canvas.look_up(&tables);
}
