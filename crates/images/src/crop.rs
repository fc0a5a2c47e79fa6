//! Parts of an image, and room around it.
use crate::canvas::{Area, Canvas, RGB};
use wick_core::error::{Error, Result};
use wick_core::reserve;

/// What stands in the room around an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Border {
    Constant(u8),
    /// The nearest pixel.
    Edge,
    /// The mirrored image without its edge.
    Reflect,
}

/// Room around an image, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Room {
    pub left: usize,
    pub top: usize,
    pub right: usize,
    pub bottom: usize,
}

/// The whole number in 0..n for a `u` in [0, 1).
pub fn below(u: f64, n: usize) -> usize {
    ((u * n as f64) as usize).min(n - 1)
}

/// The number in `low`..`high` at the share `u` of the way.
pub fn between(u: f64, [low, high]: [f64; 2]) -> f64 {
    low + u * (high - low)
}

pub fn crop(canvas: &mut Canvas, area: Area) {
    if area == (Area { top: 0, left: 0, height: canvas.height, width: canvas.width }) {
        return;
    }
    canvas.redraw(area.width, area.height, |old, new| {
        for (y, to) in new.chunks_exact_mut(area.width * RGB).enumerate() {
            to.copy_from_slice(&old.row(area.top + y)[area.left * RGB..][..area.width * RGB]);
        }
    })
}

pub fn pad(canvas: &mut Canvas, room: Room, border: Border) -> Result<()> {
    if room == Room::default() {
        return Ok(());
    }
    let (height, width) = (canvas.height, canvas.width);
    if border == Border::Reflect && (room.left.max(room.right) >= width || room.top.max(room.bottom) >= height) {
        let message = format!("an image of {height} x {width} has too few pixels to be mirrored in the padding");
        return Err(Error::bad_option(message));
    }
    // The pixel of the image that stands at `i`, counted from the image's first.
    let source = |i: isize, n: usize| match border {
        Border::Constant(_) => usize::try_from(i).ok().filter(|i| *i < n),
        Border::Edge => Some(i.clamp(0, n as isize - 1) as usize),
        Border::Reflect if i < 0 => Some(-i as usize),
        Border::Reflect => Some(if i as usize >= n { 2 * n - 2 - i as usize } else { i as usize }),
    };
    let wide = width + room.left + room.right;
    let columns: Vec<Option<usize>> = reserve::collected(wide, (0..wide).map(|x| source(x as isize - room.left as isize, width)));
    let fill = if let Border::Constant(value) = border { value } else { 0 };
    canvas.redraw(wide, height + room.top + room.bottom, |old, new| {
        for (y, to) in new.chunks_exact_mut(wide * RGB).enumerate() {
            let Some(row) = source(y as isize - room.top as isize, height).map(|y| old.row(y)) else {
                to.fill(fill);
                continue;
            };
            for (pixel, x) in to.chunks_exact_mut(RGB).zip(&columns) {
                match x {
                    Some(x) => pixel.copy_from_slice(&row[x * RGB..][..RGB]),
                    None => pixel.fill(fill),
                }
            }
        }
    });
    Ok(())
}

/// The middle; an image that is smaller is padded with zeros first, as torchvision does.
pub fn center_crop(canvas: &mut Canvas, height: usize, width: usize) -> Result<()> {
    let (down, across) = (height.saturating_sub(canvas.height), width.saturating_sub(canvas.width));
    let room = Room { left: across / 2, top: down / 2, right: across.div_ceil(2), bottom: down.div_ceil(2) };
    pad(canvas, room, Border::Constant(0))?;
    let half = |n: usize| (n as f64 / 2.0).round_ties_even() as usize;
    crop(canvas, Area { top: half(canvas.height - height), left: half(canvas.width - width), height, width });
    Ok(())
}

/// A part at a random place; `draws` are two uniform numbers.
pub fn random_crop(canvas: &mut Canvas, height: usize, width: usize, draws: &[f64]) -> Result<()> {
    if height > canvas.height || width > canvas.width {
        let message = format!("a part of {height} x {width} is larger than the image of {} x {}", canvas.height, canvas.width);
        return Err(Error::bad_option(message));
    }
    let top = below(draws[0], canvas.height - height + 1);
    crop(canvas, Area { top, left: below(draws[1], canvas.width - width + 1), height, width });
    Ok(())
}

/// Parts that are tried before the middle is taken.
pub const TRIES: usize = 10;

/// A part of a random area and shape, as torchvision chooses it; `draws` are four uniform numbers for each try.
pub fn random_area(height: usize, width: usize, scale: [f64; 2], ratio: [f64; 2], draws: &[f64]) -> Area {
    let logs = ratio.map(f64::ln);
    for draw in draws.chunks_exact(4).take(TRIES) {
        let area = (height * width) as f64 * between(draw[0], scale);
        let aspect = between(draw[1], logs).exp();
        let (h, w) = ((area / aspect).sqrt().round() as usize, (area * aspect).sqrt().round() as usize);
        if (1..=height).contains(&h) && (1..=width).contains(&w) {
            return Area { top: below(draw[2], height - h + 1), left: below(draw[3], width - w + 1), height: h, width: w };
        }
    }
    let shape = width as f64 / height as f64;
    let (h, w) = if shape < ratio[0] {
        ((width as f64 / ratio[0]).round_ties_even() as usize, width)
    } else if shape > ratio[1] {
        (height, (height as f64 * ratio[1]).round_ties_even() as usize)
    } else {
        (height, width)
    };
    let (h, w) = (h.clamp(1, height), w.clamp(1, width));
    Area { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}
