//! Images moved towards or away from a plainer version of themselves: Pillow's `ImageEnhance`, in its arithmetic.
use crate::canvas::{Canvas, RGB};

/// `factor` parts of `value` and 1 - factor of `plain`, cut to a byte.
#[inline(always)]
fn mixed(plain: u8, value: u8, factor: f32) -> u8 {
    let mix = plain as f32 + factor * (value as f32 - plain as f32);
    // Towards zero, and cut at the ends.
    mix as u8
}

/// Pillow's luminance.
pub fn luminance(pixel: &[u8]) -> u8 {
    ((pixel[0] as u32 * 19595 + pixel[1] as u32 * 38470 + pixel[2] as u32 * 7471 + 0x8000) >> 16) as u8
}

/// Mixes with an image of one value.
fn with_value(canvas: &mut Canvas, plain: u8, factor: f32) {
    let table = std::array::from_fn(|v| mixed(plain, v as u8, factor));
    canvas.look_up(&[table; RGB]);
}

/// Away from black, or towards it.
pub fn brightness(canvas: &mut Canvas, factor: f64) {
    with_value(canvas, 0, factor as f32);
}

/// Away from the mean luminance, or towards it.
pub fn contrast(canvas: &mut Canvas, factor: f64) {
    let sum: u64 = canvas.pixels.chunks_exact(RGB).map(|pixel| luminance(pixel) as u64).sum();
    let mean = sum as f64 / (canvas.width * canvas.height) as f64;
    with_value(canvas, (mean + 0.5) as u8, factor as f32);
}

/// Away from gray, or towards it.
pub fn saturation(canvas: &mut Canvas, factor: f64) {
    for pixel in canvas.pixels.chunks_exact_mut(RGB) {
        let gray = luminance(pixel);
        for value in pixel {
            *value = mixed(gray, *value, factor as f32);
        }
    }
}

/// Away from a smoothed version, or towards it. Pixels at the edge stay.
pub fn sharpness(canvas: &mut Canvas, factor: f64) {
    let (width, height, stride) = (canvas.width, canvas.height, canvas.stride());
    canvas.redraw(width, height, |old, new| {
        new.copy_from_slice(&old.pixels);
        if width < 3 || height < 3 {
            return;
        }
        for y in 1..height - 1 {
            let (above, here, under) = (old.row(y - 1), old.row(y), old.row(y + 1));
            for i in RGB..stride - RGB {
                let weigh = |row: &[u8], middle: f32| row[i - RGB] as f32 * SIDE + row[i] as f32 * middle + row[i + RGB] as f32 * SIDE;
                let smooth = 0.5 + weigh(under, SIDE) + weigh(here, MIDDLE) + weigh(above, SIDE);
                new[y * stride + i] = mixed(smooth as u8, here[i], factor as f32);
            }
        }
    });
}
/// Pillow's kernel `SMOOTH`.
const SIDE: f32 = 1.0 / 13.0;
const MIDDLE: f32 = 5.0 / 13.0;
