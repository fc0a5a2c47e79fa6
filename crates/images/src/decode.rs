//! JPEG and PNG files to pixels, as Pillow's `convert('RGB')` gives them: gray is repeated, an alpha channel is left out, palettes are
//! looked up. What the file says about orientation, colour profiles and texts is ignored, and not inflated. The first bytes decide
//! about the format.
use crate::canvas::{Canvas, RGB};
use std::io::Cursor;
use wick_core::error::{Code, Error, Result};
use wick_core::reserve;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Pillow refuses larger images: they may be decompression bombs.
const MOST_PIXELS: usize = 178_956_970;
/// What the crate `png` may ask for besides pixels: a row, and chunks.
const PNG_LIMIT: usize = 64 << 20;
/// From this many pixels on there is a look whether the memory is there that the crate `zune-jpeg` takes without asking.
const LARGE: usize = 1 << 24;

fn bad(message: impl std::fmt::Display) -> Error {
    Error::new(Code::BadFile, message.to_string())
}

/// The image in the bytes of a file.
pub fn decode(file: &[u8], canvas: &mut Canvas) -> Result<()> {
    match file {
        [0xff, 0xd8, 0xff, ..] => jpeg(file, canvas),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png(file, canvas),
        [] => Err(bad("expected an image, found an empty file")),
        _ => Err(bad("expected a JPEG or PNG image, found something else")),
    }
}

fn check_size(width: usize, height: usize) -> Result<()> {
    match width.checked_mul(height) {
        Some(0) => Err(bad("the image has no pixels")),
        Some(n) if n <= MOST_PIXELS => Ok(()),
        _ => Err(bad(format!("an image of {width} x {height} is too large"))),
    }
}

fn jpeg(file: &[u8], canvas: &mut Canvas) -> Result<()> {
    let options = DecoderOptions::default().set_max_width(65535).set_max_height(65535).set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(file), options);
    decoder.decode_headers().map_err(bad)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| bad("a JPEG image without a size"))?;
    check_size(width, height)?;
    let pixels = canvas.reset(width, height);
    if width * height >= LARGE {
        // a progressive image's coefficients, of 16 bits
        drop(reserve::vec::<u8>(2 * RGB * width * height)?);
    }
    decoder.decode_into(pixels).map_err(bad)
}

fn png(file: &[u8], canvas: &mut Canvas) -> Result<()> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), png::Limits { bytes: PNG_LIMIT });
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(bad)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width, height)?;
    let (color, depth) = reader.output_color_type();
    let wide = depth == png::BitDepth::Sixteen;
    let pixels = canvas.reset(width, height);
    if reader.info().interlaced {
        let mut raw = reserve::repeated(0, reader.output_buffer_size().ok_or_else(|| bad("the image is too large"))?);
        let size = reader.next_frame(&mut raw).map_err(bad)?.buffer_size();
        to_rgb(&raw[..size], color.samples(), wide, pixels);
        return Ok(());
    }
    let mut rows = pixels.chunks_exact_mut(width * RGB);
    while let Some(row) = reader.next_row().map_err(bad)? {
        to_rgb(row.data(), color.samples(), wide, rows.next().ok_or_else(|| bad("the image has too many rows"))?);
    }
    if rows.next().is_some() {
        return Err(bad("the image has too few rows"));
    }
    Ok(())
}

/// EXPAND has turned palettes into colours and small depths into bytes. Of 16 bits, Pillow takes the high 8 in a coloured image and
/// cuts gray values to 255 where there is no alpha.
fn to_rgb(raw: &[u8], samples: usize, wide: bool, to: &mut [u8]) {
    let bytes = samples * if wide { 2 } else { 1 };
    for (pixel, from) in to.chunks_exact_mut(RGB).zip(raw.chunks_exact(bytes)) {
        let value = |i: usize| match (wide, samples) {
            (false, _) => from[i],
            (true, 1) if from[0] > 0 => 255,
            (true, 1) => from[1],
            (true, _) => from[2 * i],
        };
        pixel.copy_from_slice(&if samples < 3 { [value(0); 3] } else { [value(0), value(1), value(2)] });
    }
}
