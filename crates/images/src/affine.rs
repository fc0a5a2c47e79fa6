//! Images sheared, moved and turned, as Pillow's `transform` does it.
use crate::canvas::{Canvas, RGB};

/// Where a pixel of the result comes from: x = m0 x' + m1 y' + m2, y = m3 x' + m4 y' + m5.
pub type Matrix = [f64; 6];

/// torchvision's inverse matrix of a shear or a move around a centre. Angles are in radians.
pub fn inverse(center: [f64; 2], shift: [f64; 2], shear: [f64; 2]) -> Matrix {
    let [sx, sy] = shear;
    let (a, b) = ((-sy).cos() / sy.cos(), -(-sy).cos() * sx.tan() / sy.cos() - 0f64.sin());
    let (c, d) = ((-sy).sin() / sy.cos(), -(-sy).sin() * sx.tan() / sy.cos() + 0f64.cos());
    let mut m = [d, -b, 0.0, -c, a, 0.0];
    m[2] += m[0] * (-center[0] - shift[0]) + m[1] * (-center[1] - shift[1]);
    m[5] += m[3] * (-center[0] - shift[0]) + m[4] * (-center[1] - shift[1]);
    m[2] += center[0];
    m[5] += center[1];
    m
}

/// Pillow's matrix of a turn around a centre, counterclockwise, in degrees.
pub fn rotation([x, y]: [f64; 2], degrees: f64) -> Matrix {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // As Python's `round(x, 15)`.
    let round = |x: f64| format!("{x:.15}").parse().unwrap_or(x);
    let (cos, sin): (f64, f64) = (round(angle.cos()), round(angle.sin()));
    [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y]
}

/// Draws the image anew; what comes from outside is `fill`.
pub fn transform(canvas: &mut Canvas, m: Matrix, bilinear: bool, fill: [u8; RGB]) {
    let (width, height) = (canvas.width, canvas.height);
    canvas.redraw(width, height, |old, new| {
        if bilinear {
            return between_pixels(old, m, fill, new);
        }
        if m[1] == 0.0 && m[3] == 0.0 {
            return along_axes(old, m, fill, new);
        }
        // Pillow's fixed point: 16 bits behind it.
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let (mut line_x, mut line_y) = (fixed(m[2] + m[0] * 0.5 + m[1] * 0.5), fixed(m[5] + m[3] * 0.5 + m[4] * 0.5));
        for row in new.chunks_exact_mut(width * RGB) {
            let (mut x, mut y) = (line_x, line_y);
            for pixel in row.chunks_exact_mut(RGB) {
                pixel.copy_from_slice(at(old, x >> 16, y >> 16).unwrap_or(&fill));
                x += fixed(m[0]);
                y += fixed(m[3]);
            }
            line_x += fixed(m[1]);
            line_y += fixed(m[4]);
        }
    })
}

fn at(canvas: &Canvas, x: i64, y: i64) -> Option<&[u8]> {
    let inside = (0..canvas.width as i64).contains(&x) && (0..canvas.height as i64).contains(&y);
    inside.then(|| &canvas.row(y as usize)[x as usize * RGB..][..RGB])
}

/// Only moved or stretched.
fn along_axes(old: &Canvas, m: Matrix, fill: [u8; RGB], new: &mut [u8]) {
    let places = |n: usize, start: f64, step: f64| -> Vec<i64> {
        let mut at = start + step * 0.5;
        (0..n)
            .map(|_| {
                let place = if at < 0.0 { -1 } else { at as i64 };
                at += step;
                place
            })
            .collect()
    };
    let columns = places(old.width, m[2], m[0]);
    for (row, y) in new.chunks_exact_mut(old.stride()).zip(places(old.height, m[5], m[4])) {
        for (pixel, x) in row.chunks_exact_mut(RGB).zip(&columns) {
            pixel.copy_from_slice(at(old, *x, y).unwrap_or(&fill));
        }
    }
}

fn between_pixels(old: &Canvas, m: Matrix, fill: [u8; RGB], new: &mut [u8]) {
    let (width, height) = (old.width as f64, old.height as f64);
    for (i, pixel) in new.chunks_exact_mut(RGB).enumerate() {
        let (to_x, to_y) = ((i % old.width) as f64 + 0.5, (i / old.width) as f64 + 0.5);
        let (x, y) = (m[0] * to_x + m[1] * to_y + m[2], m[3] * to_x + m[4] * to_y + m[5]);
        if !(0.0..width).contains(&x) || !(0.0..height).contains(&y) {
            pixel.copy_from_slice(&fill);
            continue;
        }
        let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
        let (dx, dy) = (x - 0.5 - left, y - 0.5 - top);
        let column = |x: f64| x.clamp(0.0, width - 1.0) as usize * RGB;
        let (a, b) = (column(left), column(left + 1.0));
        let upper = old.row(top.max(0.0) as usize);
        let lower = (top + 1.0 < height).then(|| old.row((top + 1.0) as usize));
        for (c, value) in pixel.iter_mut().enumerate() {
            let along = |row: &[u8]| row[a + c] as f64 + (row[b + c] as f64 - row[a + c] as f64) * dx;
            let first = along(upper);
            let second = lower.map_or(first, along);
            *value = (first + (second - first) * dy) as u8;
        }
    }
}
