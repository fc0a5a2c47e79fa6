//! The steps of a transform, as TypeScript describes them: a name and numbers.
use crate::canvas::{Area, Canvas, RGB};
use crate::color::Jitter;
use crate::crop::{self, Border, Room};
use crate::erasing::{Erasing, Fill};
use crate::flip;
use crate::rand_augment::RandAugment;
use crate::resize::{self, Filter};
use wick_core::error::{Error, Result};

/// One step. The names of its numbers stand beside the TypeScript function of its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// To a height and a width.
    Resize {
        height: usize,
        width: usize,
        filter: Filter,
    },
    /// The shorter side to a length, the longer one to at most `most`.
    ResizeShort {
        short: usize,
        most: Option<usize>,
        filter: Filter,
    },
    CenterCrop {
        height: usize,
        width: usize,
    },
    RandomCrop {
        height: usize,
        width: usize,
        room: Room,
        border: Border,
    },
    RandomResizedCrop {
        height: usize,
        width: usize,
        scale: [f64; 2],
        ratio: [f64; 2],
        filter: Filter,
    },
    HorizontalFlip {
        p: f64,
    },
    VerticalFlip {
        p: f64,
    },
    ColorJitter(Jitter),
    RandAugment(RandAugment),
    ToTensor,
    Normalize {
        mean: [f32; RGB],
        std: [f32; RGB],
    },
    RandomErasing(Erasing),
}

/// The numbers of a step, one after the other.
struct Numbers<'a>(&'a str, std::slice::Iter<'a, f64>);
impl Numbers<'_> {
    fn next(&mut self) -> Result<f64> {
        self.1.next().copied().ok_or_else(|| Error::internal(format!("the step {} has too few numbers", self.0)))
    }
    fn size(&mut self) -> Result<usize> {
        Ok(self.next()? as usize)
    }
    fn pair(&mut self) -> Result<[f64; 2]> {
        Ok([self.next()?, self.next()?])
    }
    fn channels(&mut self) -> Result<[f64; RGB]> {
        Ok([self.next()?, self.next()?, self.next()?])
    }
    fn filter(&mut self) -> Result<Filter> {
        Filter::from_code(self.next()?)
    }
}

impl Step {
    pub fn parse(name: &str, numbers: &[f64]) -> Result<Step> {
        let mut n = Numbers(name, numbers.iter());
        Ok(match name {
            "resize" => Step::Resize { height: n.size()?, width: n.size()?, filter: n.filter()? },
            "resizeShort" => Step::ResizeShort { short: n.size()?, most: Some(n.size()?).filter(|m| *m > 0), filter: n.filter()? },
            "centerCrop" => Step::CenterCrop { height: n.size()?, width: n.size()? },
            "randomCrop" => {
                let (height, width) = (n.size()?, n.size()?);
                let room = Room { left: n.size()?, top: n.size()?, right: n.size()?, bottom: n.size()? };
                let (mode, fill) = (n.size()?, n.next()? as u8);
                let border = [Border::Constant(fill), Border::Edge, Border::Reflect].get(mode).copied();
                Step::RandomCrop { height, width, room, border: border.ok_or_else(|| Error::internal("unknown border"))? }
            }
            "randomResizedCrop" => {
                Step::RandomResizedCrop { height: n.size()?, width: n.size()?, scale: n.pair()?, ratio: n.pair()?, filter: n.filter()? }
            }
            "randomHorizontalFlip" => Step::HorizontalFlip { p: n.next()? },
            "randomVerticalFlip" => Step::VerticalFlip { p: n.next()? },
            "colorJitter" => {
                let mut ranges = [None; 4];
                for range in &mut ranges {
                    *range = Some(n.pair()?).filter(|r| !r[0].is_nan());
                }
                Step::ColorJitter(Jitter(ranges))
            }
            "randAugment" => Step::RandAugment(RandAugment {
                ops: n.size()?,
                magnitude: n.size()?,
                bins: n.size()?,
                bilinear: n.filter()? == Filter::Bilinear,
                fill: n.channels()?.map(|v| v as u8),
            }),
            "toTensor" => Step::ToTensor,
            "normalize" => Step::Normalize { mean: n.channels()?.map(|v| v as f32), std: n.channels()?.map(|v| v as f32) },
            "randomErasing" => Step::RandomErasing(Erasing {
                p: n.next()?,
                scale: n.pair()?,
                ratio: n.pair()?,
                fill: match n.next()? {
                    0.0 => Fill::Values(n.channels()?.map(|v| v as f32)),
                    _ => Fill::Noise,
                },
            }),
            _ => return Err(Error::internal(format!("unknown step {name}"))),
        })
    }

    /// How many uniform numbers it takes.
    pub fn draws(&self) -> usize {
        match self {
            Step::RandomCrop { .. } => 2,
            Step::RandomResizedCrop { .. } => 4 * crop::TRIES,
            Step::HorizontalFlip { .. } | Step::VerticalFlip { .. } => 1,
            Step::ColorJitter(_) => Jitter::DRAWS,
            Step::RandAugment(a) => 2 * a.ops,
            _ => 0,
        }
    }

    /// Height and width of its results, if they are always the same; `before` are those of its images.
    pub fn size(&self, before: Option<(usize, usize)>) -> Option<(usize, usize)> {
        match self {
            Step::Resize { height, width, .. } | Step::CenterCrop { height, width } => Some((*height, *width)),
            Step::RandomCrop { height, width, .. } | Step::RandomResizedCrop { height, width, .. } => Some((*height, *width)),
            Step::ResizeShort { short, .. } => before.filter(|(h, w)| h == short && w == short),
            _ => before,
        }
    }

    /// Runs a step of bytes on an image.
    pub fn apply(&self, canvas: &mut Canvas, draws: &[f64]) -> Result<()> {
        let whole = Area { top: 0, left: 0, height: canvas.height, width: canvas.width };
        match self {
            Step::Resize { height, width, filter } => resize::resize(canvas, whole, *height, *width, *filter),
            Step::ResizeShort { short, most, filter } => {
                let (height, width) = resize::by_short_side(canvas.height, canvas.width, *short, *most);
                if (height, width) != (canvas.height, canvas.width) {
                    resize::resize(canvas, whole, height, width, *filter);
                }
            }
            Step::CenterCrop { height, width } => crop::center_crop(canvas, *height, *width)?,
            Step::RandomCrop { height, width, room, border } => {
                crop::pad(canvas, *room, *border)?;
                crop::random_crop(canvas, *height, *width, draws)?
            }
            Step::RandomResizedCrop { height, width, scale, ratio, filter } => {
                let area = crop::random_area(canvas.height, canvas.width, *scale, *ratio, draws);
                resize::resize(canvas, area, *height, *width, *filter)
            }
            Step::HorizontalFlip { p } if draws[0] < *p => flip::horizontal(canvas),
            Step::VerticalFlip { p } if draws[0] < *p => flip::vertical(canvas),
            Step::HorizontalFlip { .. } | Step::VerticalFlip { .. } => {}
            Step::ColorJitter(jitter) => jitter.apply(canvas, draws),
            Step::RandAugment(augment) => augment.apply(canvas, draws),
            Step::ToTensor | Step::Normalize { .. } | Step::RandomErasing(_) => return Err(Error::internal("a step of floats on bytes")),
        }
        Ok(())
    }
}
