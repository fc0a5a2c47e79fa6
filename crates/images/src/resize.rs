//! Resizing with Pillow's values: antialiased convolutions, first along rows, then along columns, in its fixed-point arithmetic.
use crate::canvas::{Area, Canvas, RGB};
use std::f64::consts::PI;
use wick_core::cpu::simd::vectorised;
use wick_core::error::{Error, Result};

/// How pixels between pixels are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos,
}

impl Filter {
    /// `code` is the filter's place in TypeScript's list.
    pub fn from_code(code: f64) -> Result<Filter> {
        const ALL: [Filter; 4] = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];
        ALL.get(code as usize).copied().ok_or_else(|| Error::internal(format!("unknown filter code {code}")))
    }
    /// How far it reaches, in pixels of the coarser image.
    fn reach(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let far = x.abs();
        match self {
            Filter::Nearest => 0.0,
            Filter::Bilinear if far < 1.0 => 1.0 - far,
            Filter::Bicubic if far < 1.0 => ((A + 2.0) * far - (A + 3.0)) * far * far + 1.0,
            Filter::Bicubic if far < 2.0 => (((far - 5.0) * far + 8.0) * far - 4.0) * A,
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// Bits behind the point of a weight: a sum of bytes times weights fits into 32 bits with a sign.
const BITS: u32 = 32 - 8 - 2;

/// Which pixels make a pixel of the result, and with which weights.
struct Taps {
    /// The first of them, and how many they are.
    spans: Vec<(usize, usize)>,
    /// `most` weights for each pixel.
    weights: Vec<i32>,
    most: usize,
}

impl Taps {
    /// For `from` pixels that become `to`.
    fn new(from: usize, to: usize, filter: Filter) -> Taps {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let reach = filter.reach() * stretch;
        let most = reach.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(to);
        let mut weights = vec![0; to * most];
        let mut exact = vec![0.0; most];
        for (i, fixed) in weights.chunks_exact_mut(most).enumerate() {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let count = ((center + reach + 0.5) as usize).min(from) - first;
            let mut sum = 0.0;
            for (k, w) in exact[..count].iter_mut().enumerate() {
                *w = filter.weight(((k + first) as f64 - center + 0.5) * (1.0 / stretch));
                sum += *w;
            }
            for (f, w) in fixed.iter_mut().zip(&exact[..count]) {
                let w = (if sum == 0.0 { *w } else { *w / sum }) * (1u32 << BITS) as f64;
                *f = (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32;
            }
            spans.push((first, count));
        }
        Taps { spans, weights, most }
    }
    fn get(&self, i: usize) -> (usize, &[i32]) {
        let (first, count) = self.spans[i];
        (first, &self.weights[i * self.most..][..count])
    }
}

#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
const HALF: i32 = 1 << (BITS - 1);

/// The part `area` of the image in the size `height` x `width`; nothing outside of it has any influence.
pub fn resize(canvas: &mut Canvas, area: Area, height: usize, width: usize, filter: Filter) {
    canvas.redraw(width, height, |old, new| {
        if filter == Filter::Nearest {
            return nearest(old, area, height, width, new);
        }
        let rows = |y: usize| &old.row(area.top + y)[area.left * RGB..][..area.width * RGB];
        let mut narrow;
        let (source, stride, offset) = if area.width == width {
            (&old.pixels[..], old.stride(), area.top * old.stride() + area.left * RGB)
        } else {
            narrow = vec![0; area.height * width * RGB];
            let taps = Taps::new(area.width, width, filter);
            vectorised(
                #[inline(always)]
                || along_rows(&taps, &rows, &mut narrow, width),
            );
            (&narrow[..], width * RGB, 0)
        };
        let row = |y: usize| &source[offset + y * stride..][..width * RGB];
        if area.height == height {
            new.chunks_exact_mut(width * RGB).enumerate().for_each(|(y, to)| to.copy_from_slice(row(y)));
            return;
        }
        let taps = Taps::new(area.height, height, filter);
        vectorised(
            #[inline(always)]
            || along_columns(&taps, &row, new, width),
        );
    })
}

/// Makes rows of `width` pixels of the longer or shorter ones that `rows` gives.
#[inline(always)]
fn along_rows<'a>(taps: &Taps, rows: &impl Fn(usize) -> &'a [u8], to: &mut [u8], width: usize) {
    for (y, out) in to.chunks_exact_mut(width * RGB).enumerate() {
        let row = rows(y);
        for (x, pixel) in out.chunks_exact_mut(RGB).enumerate() {
            let (first, weights) = taps.get(x);
            let mut sum = [HALF; RGB];
            for (from, w) in row[first * RGB..][..weights.len() * RGB].chunks_exact(RGB).zip(weights) {
                for c in 0..RGB {
                    sum[c] += from[c] as i32 * w;
                }
            }
            for c in 0..RGB {
                pixel[c] = to_byte(sum[c]);
            }
        }
    }
}

/// Values of a row that are summed at a time.
const STRIP: usize = 64;

/// Makes rows of sums of those that `row` gives.
#[inline(always)]
fn along_columns<'a>(taps: &Taps, row: &impl Fn(usize) -> &'a [u8], to: &mut [u8], width: usize) {
    for (y, out) in to.chunks_exact_mut(width * RGB).enumerate() {
        let (first, weights) = taps.get(y);
        for (i, part) in out.chunks_mut(STRIP).enumerate() {
            let mut sum = [HALF; STRIP];
            for (k, w) in weights.iter().enumerate() {
                let from = &row(first + k)[i * STRIP..][..part.len()];
                if let Some(from) = from.first_chunk::<STRIP>() {
                    for (s, v) in sum.iter_mut().zip(from) {
                        *s += *v as i32 * w;
                    }
                } else {
                    for (s, v) in sum.iter_mut().zip(from) {
                        *s += *v as i32 * w;
                    }
                }
            }
            for (v, s) in part.iter_mut().zip(sum) {
                *v = to_byte(s);
            }
        }
    }
}

/// Pillow adds up the places, which decides about ties.
fn places(from: usize, to: usize) -> impl Iterator<Item = usize> {
    let step = from as f64 / to as f64;
    let mut at = step * 0.5;
    (0..to).map(move |_| {
        let place = (at as usize).min(from - 1);
        at += step;
        place
    })
}

fn nearest(old: &Canvas, area: Area, height: usize, width: usize, new: &mut [u8]) {
    let columns: Vec<usize> = places(area.width, width).map(|x| (area.left + x) * RGB).collect();
    for (to, y) in new.chunks_exact_mut(width * RGB).zip(places(area.height, height)) {
        let row = old.row(area.top + y);
        for (pixel, x) in to.chunks_exact_mut(RGB).zip(&columns) {
            pixel.copy_from_slice(&row[*x..][..RGB]);
        }
    }
}

/// Height and width of an image whose shorter side becomes `short`; `most` bounds the longer one.
pub fn by_short_side(height: usize, width: usize, short: usize, most: Option<usize>) -> (usize, usize) {
    let (low, high) = (height.min(width), height.max(width));
    let mut sides = (short, short * high / low);
    if let Some(most) = most.filter(|m| sides.1 > *m) {
        sides = (most * sides.0 / sides.1, most);
    }
    let (low, high) = (sides.0.max(1), sides.1.max(1));
    if width <= height { (high, low) } else { (low, high) }
}
