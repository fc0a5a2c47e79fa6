//! Resizing with Pillow's values: antialiased convolutions, first along rows, then along columns, in its fixed-point arithmetic.
use crate::canvas::{Area, Canvas, RGB};
use std::f64::consts::PI;
use wick_core::cpu::simd::vectorised;
use wick_core::error::{Error, Result};
use wick_core::reserve;

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
        let mut spans = reserve::raising(to);
        let mut weights = reserve::repeated(0, to.saturating_mul(most));
        let mut exact = reserve::repeated(0.0, most);
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
            narrow = reserve::repeated(0, (area.height * RGB).saturating_mul(width));
            let taps = Taps::new(area.width, width, filter);
            along_rows(&taps, &rows, &mut narrow, width);
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
fn along_rows<'a>(taps: &Taps, rows: &impl Fn(usize) -> &'a [u8], to: &mut [u8], width: usize) {
    // Two at a time. A line has a byte more than its pixels, so that a pixel can be read as four.
    let length = rows(0).len();
    let mut lines = [reserve::repeated(0, length + 1), reserve::repeated(0, length + 1)];
    for (i, pair) in to.chunks_mut(2 * width * RGB).enumerate() {
        let (upper, lower) = pair.split_at_mut(width * RGB);
        lines[0][..length].copy_from_slice(rows(2 * i));
        if !lower.is_empty() {
            lines[1][..length].copy_from_slice(rows(2 * i + 1));
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has the instructions.
            unsafe { two_lines_avx2(taps, &lines, upper, lower) };
            continue;
        }
        two_lines(taps, &lines, weighed, upper, lower);
    }
}

/// Makes the pixels of two rows; `sum` makes one of each of two lines, from its first tap on.
#[inline(always)]
fn two_lines(taps: &Taps, lines: &[Vec<u8>; 2], sum: impl Fn([&[u8]; 2], &[i32]) -> [u8; 8], upper: &mut [u8], lower: &mut [u8]) {
    for (x, pixel) in upper.chunks_exact_mut(RGB).enumerate() {
        let (first, weights) = taps.get(x);
        let from = |line: usize| &lines[line][first * RGB..][..weights.len() * RGB + 1];
        let bytes = sum([from(0), from(1)], weights);
        pixel.copy_from_slice(&bytes[..RGB]);
        if let Some(pixel) = lower.get_mut(x * RGB..(x + 1) * RGB) {
            pixel.copy_from_slice(&bytes[4..4 + RGB]);
        }
    }
}

/// Four bytes of each of two sums.
#[inline(always)]
fn weighed([a, b]: [&[u8]; 2], weights: &[i32]) -> [u8; 8] {
    let mut sums = [HALF; 8];
    for ((a, b), w) in a.windows(4).step_by(RGB).zip(b.windows(4).step_by(RGB)).zip(weights) {
        for c in 0..4 {
            sums[c] += a[c] as i32 * w;
            sums[c + 4] += b[c] as i32 * w;
        }
    }
    sums.map(to_byte)
}

/// As [`weighed`]: the compiler makes no vectors of sums of three values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn two_lines_avx2(taps: &Taps, lines: &[Vec<u8>; 2], upper: &mut [u8], lower: &mut [u8]) {
    use std::arch::x86_64::*;
    let pixel = |line: &[u8], k: usize| i32::from_le_bytes([line[k], line[k + 1], line[k + 2], line[k + 3]]);
    let sum = |[a, b]: [&[u8]; 2], weights: &[i32]| {
        let b = &b[..a.len()];
        let mut sums = _mm256_set1_epi32(HALF);
        let mut k = 0;
        for w in weights {
            let bytes = _mm_insert_epi32::<1>(_mm_cvtsi32_si128(pixel(a, k)), pixel(b, k));
            sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(*w)));
            k += RGB;
        }
        let words = _mm256_srai_epi32::<{ BITS as i32 }>(sums);
        let words = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        (_mm_cvtsi128_si64(_mm_packus_epi16(words, words)) as u64).to_le_bytes()
    };
    two_lines(taps, lines, sum, upper, lower);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_give_what_plain_sums_give() {
        let line = |seed: u32| -> Vec<u8> { (0..3 * 40 + 1).map(|i: u32| (i.wrapping_mul(2654435761).wrapping_add(seed) >> 13) as u8).collect() };
        let lines = [line(1), line(77)];
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for width in [1, 17, 40, 93] {
                let taps = Taps::new(40, width, filter);
                let mut plain = vec![0; 2 * width * RGB];
                let (upper, lower) = plain.split_at_mut(width * RGB);
                two_lines(&taps, &lines, weighed, upper, lower);
                let rows = |y: usize| &lines[y][..3 * 40];
                let mut fast = vec![0; 2 * width * RGB];
                along_rows(&taps, &rows, &mut fast, width);
                assert_eq!(plain, fast, "{filter:?} {width}");
            }
        }
    }
}
