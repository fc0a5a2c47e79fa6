//! Random Erasing (Zhong et al.), on the floats of an image.
use crate::crop::{below, between};
use crate::transform::Draws;

/// What stands in an erased rectangle.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    Values([f32; 3]),
    /// Normal noise.
    Noise,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Erasing {
    pub p: f64,
    /// Least and greatest share of the image that is erased.
    pub scale: [f64; 2],
    /// Least and greatest ratio of height to width.
    pub ratio: [f64; 2],
    pub fill: Fill,
}

/// Places that are tried before an image stays as it is.
const TRIES: usize = 10;

impl Erasing {
    /// Erases in the planes of an image, or not.
    pub fn apply(&self, image: &mut [f32], height: usize, width: usize, draws: &mut Draws) {
        let drawn = draws.uniform(1 + 4 * TRIES);
        if drawn[0] >= self.p {
            return;
        }
        let logs = self.ratio.map(f64::ln);
        for draw in drawn[1..].chunks_exact(4) {
            let area = (height * width) as f64 * between(draw[0], self.scale);
            let aspect = between(draw[1], logs).exp();
            let (h, w) = ((area * aspect).sqrt().round() as usize, (area / aspect).sqrt().round() as usize);
            if h >= height || w >= width {
                continue;
            }
            let (top, left) = (below(draw[2], height - h + 1), below(draw[3], width - w + 1));
            let noise = if self.fill == Fill::Noise { draws.normal(3 * h * w) } else { vec![] };
            for (c, plane) in image.chunks_exact_mut(height * width).enumerate() {
                for y in 0..h {
                    let row = &mut plane[(top + y) * width + left..][..w];
                    match &self.fill {
                        Fill::Values(values) => row.fill(values[c]),
                        Fill::Noise => row.copy_from_slice(&noise[(c * h + y) * w..][..w]),
                    }
                }
            }
            return;
        }
    }
}
