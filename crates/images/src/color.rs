//! The hue turned, and random changes of colour.
use crate::blend;
use crate::canvas::{Canvas, RGB};
use crate::crop::between;

/// Turns the hue by a share of the circle from -0.5 to 0.5, in Pillow's HSV, whose hue is a byte too.
pub fn hue(canvas: &mut Canvas, turn: f64) {
    let by = (turn * 255.0) as i32 as u8;
    for pixel in canvas.pixels.chunks_exact_mut(RGB) {
        let [h, s, v] = to_hsv(pixel[0], pixel[1], pixel[2]);
        pixel.copy_from_slice(&to_rgb(h.wrapping_add(by), s, v));
    }
}

fn to_hsv(r: u8, g: u8, b: u8) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = (high - low) as f32;
    let from = |c: u8| (high - c) as f32 / range;
    let sixths: f32 = if r == high {
        from(b) - from(g)
    } else if g == high {
        (2.0 + from(r) as f64 - from(b) as f64) as f32
    } else {
        (4.0 + from(g) as f64 - from(r) as f64) as f32
    };
    let h = (sixths as f64 / 6.0 + 1.0).rem_euclid(1.0) as f32;
    let s = range / high as f32;
    [(h as f64 * 255.0) as u8, (s as f64 * 255.0) as u8, high]
}

fn to_rgb(h: u8, s: u8, v: u8) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let share = (s as f64 / 255.0) as f32 as f64;
    let sixths = (h as f64 * 6.0 / 255.0) as f32;
    let sector = sixths.floor();
    let f = (sixths - sector) as f64;
    let value = v as f64;
    let p = (value * (1.0 - share)).round() as u8;
    let q = (value * (1.0 - share * f)).round() as u8;
    let t = (value * (1.0 - share * (1.0 - f))).round() as u8;
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Ranges of brightness, contrast, saturation and hue; what has none stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Jitter(pub [Option<[f64; 2]>; 4]);

impl Jitter {
    /// Uniform numbers of one use.
    pub const DRAWS: usize = 8;

    /// Applies the four in a random order.
    pub fn apply(&self, canvas: &mut Canvas, draws: &[f64]) {
        let mut order = [0, 1, 2, 3];
        order.sort_by(|a, b| draws[2 * a + 1].total_cmp(&draws[2 * b + 1]));
        for i in order {
            let Some(range) = self.0[i] else { continue };
            let by = between(draws[2 * i], range);
            [blend::brightness, blend::contrast, blend::saturation, hue][i](canvas, by);
        }
    }
}
