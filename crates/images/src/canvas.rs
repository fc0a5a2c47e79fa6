//! An image of red, green and blue bytes, row by row, with memory that is used again for the next one.

use wick_core::reserve;

/// The bytes of a pixel.
pub const RGB: usize = 3;
/// Memory that is kept for the next image, whatever this one needed.
pub const MOST_KEPT: usize = 64 << 20;

#[derive(Default)]
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
    /// Where the next step writes.
    spare: Vec<u8>,
}

impl Canvas {
    /// The image whose red, green and blue planes these are.
    pub fn from_planes(height: usize, width: usize, planes: &[u8]) -> Canvas {
        let mut canvas = Canvas::default();
        let pixels = canvas.reset(width, height).chunks_exact_mut(RGB);
        let n = height * width;
        for (i, pixel) in pixels.enumerate() {
            pixel.copy_from_slice(&[planes[i], planes[n + i], planes[2 * n + i]]);
        }
        canvas
    }
    /// Writes the three planes; `make` gets a value's channel and the value.
    pub fn write_planes<T>(&self, to: &mut [T], make: impl Fn(usize, u8) -> T) {
        let (red, rest) = to.split_at_mut(self.width * self.height);
        let (green, blue) = rest.split_at_mut(self.width * self.height);
        for (((pixel, r), g), b) in self.pixels.chunks_exact(RGB).zip(red).zip(green).zip(blue) {
            *r = make(0, pixel[0]);
            *g = make(1, pixel[1]);
            *b = make(2, pixel[2]);
        }
    }
    /// Memory for an image of this size, with whatever is in it.
    pub fn reset(&mut self, width: usize, height: usize) -> &mut [u8] {
        (self.width, self.height) = (width, height);
        sized(&mut self.pixels, width, height);
        &mut self.pixels
    }
    /// Replaces the image by one of the given size that `draw(old, new)` makes; the new pixels hold whatever is in their memory.
    pub fn redraw(&mut self, width: usize, height: usize, draw: impl FnOnce(&Canvas, &mut [u8])) {
        let mut spare = std::mem::take(&mut self.spare);
        sized(&mut spare, width, height);
        draw(self, &mut spare);
        self.spare = std::mem::replace(&mut self.pixels, spare);
        (self.width, self.height) = (width, height);
    }
    /// Lets memory go that the images to come won't need, if it is much.
    pub fn trim(&mut self) {
        if self.pixels.capacity() + self.spare.capacity() > MOST_KEPT {
            *self = Canvas::default();
        }
    }
    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        self.width * RGB
    }
    pub fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.stride()..][..self.stride()]
    }
    /// Replaces each channel's values by those of its table.
    pub fn look_up(&mut self, tables: &[[u8; 256]; RGB]) {
        for pixel in self.pixels.chunks_exact_mut(RGB) {
            for (value, table) in pixel.iter_mut().zip(tables) {
                *value = table[*value as usize];
            }
        }
    }
}

/// Makes `pixels` those of an image of this size.
fn sized(pixels: &mut Vec<u8>, width: usize, height: usize) {
    let bytes = width.saturating_mul(height).saturating_mul(RGB);
    if pixels.capacity() < bytes {
        // two images at once may be more than there is memory for
        drop(std::mem::take(pixels));
        *pixels = reserve::raising(bytes);
    }
    pixels.resize(bytes, 0);
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}
