//! RandAugment (Cubuk et al.) with torchvision's operations and magnitudes.
use crate::affine;
use crate::blend;
use crate::canvas::{Canvas, RGB};
use crate::crop::below;
use crate::levels;

#[derive(Clone, Debug, PartialEq)]
pub struct RandAugment {
    pub ops: usize,
    pub magnitude: usize,
    pub bins: usize,
    pub bilinear: bool,
    pub fill: [u8; RGB],
}

/// The operations, in torchvision's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Operation {
    pub const ALL: [Operation; 14] = [
        Operation::Identity,
        Operation::ShearX,
        Operation::ShearY,
        Operation::TranslateX,
        Operation::TranslateY,
        Operation::Rotate,
        Operation::Brightness,
        Operation::Color,
        Operation::Contrast,
        Operation::Sharpness,
        Operation::Posterize,
        Operation::Solarize,
        Operation::AutoContrast,
        Operation::Equalize,
    ];
    /// Whether half of the magnitudes are negative.
    fn is_signed(self) -> bool {
        use Operation::*;
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }
}

/// Element `i` of torch.linspace(start, end, n), in single precision.
fn linspace(start: f64, end: f64, n: usize, i: usize) -> f64 {
    if n == 1 {
        return start as f32 as f64;
    }
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (n - 1) as f32;
    (if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - 1 - i) as f32, end) }) as f64
}

impl RandAugment {
    /// Two uniform numbers for each operation: which, and its sign.
    pub fn apply(&self, canvas: &mut Canvas, draws: &[f64]) {
        for draw in draws.chunks_exact(2) {
            let operation = Operation::ALL[below(draw[0], Operation::ALL.len())];
            self.run(operation, operation.is_signed() && draw[1] >= 0.5, canvas);
        }
    }

    /// Runs one operation, with the negative magnitude if `negative`.
    pub fn run(&self, operation: Operation, negative: bool, canvas: &mut Canvas) {
        let (width, height) = (canvas.width as f64, canvas.height as f64);
        let sign = if negative { -1.0 } else { 1.0 };
        let level = |start: f64, end: f64| sign * linspace(start, end, self.bins, self.magnitude);
        let middle = [width * 0.5, height * 0.5];
        let mut draw = |m: affine::Matrix| affine::transform(canvas, m, self.bilinear, self.fill);
        // By way of degrees, as torchvision goes.
        let shear = || level(0.0, 0.3).atan().to_degrees().to_radians();
        match operation {
            Operation::Identity => {}
            Operation::ShearX => draw(affine::inverse([0.0; 2], [0.0; 2], [shear(), 0.0])),
            Operation::ShearY => draw(affine::inverse([0.0; 2], [0.0; 2], [0.0, shear()])),
            Operation::TranslateX => draw(affine::inverse(middle, [level(0.0, 150.0 / 331.0 * width).trunc(), 0.0], [0.0; 2])),
            Operation::TranslateY => draw(affine::inverse(middle, [0.0, level(0.0, 150.0 / 331.0 * height).trunc()], [0.0; 2])),
            Operation::Rotate => match level(0.0, 30.0) {
                0.0 => {}
                degrees => draw(affine::rotation(middle, degrees)),
            },
            Operation::Brightness => blend::brightness(canvas, 1.0 + level(0.0, 0.9)),
            Operation::Color => blend::saturation(canvas, 1.0 + level(0.0, 0.9)),
            Operation::Contrast => blend::contrast(canvas, 1.0 + level(0.0, 0.9)),
            Operation::Sharpness => blend::sharpness(canvas, 1.0 + level(0.0, 0.9)),
            Operation::Posterize => {
                let less = match self.bins {
                    1 => 0.0,
                    n => (self.magnitude as f32 / ((n - 1) as f32 / 4.0)).round_ties_even(),
                };
                levels::posterize(canvas, 8 - less as u32)
            }
            Operation::Solarize => levels::solarize(canvas, linspace(255.0, 0.0, self.bins, self.magnitude)),
            Operation::AutoContrast => levels::autocontrast(canvas),
            Operation::Equalize => levels::equalize(canvas),
        }
    }
}
