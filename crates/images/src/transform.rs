//! Steps in order: on bytes as long as possible, then one pass to planes of floats with the normalization in it, then the steps
//! on floats.
use crate::canvas::{Canvas, RGB};
use crate::erasing::Erasing;
use crate::step::Step;
use wick_core::cpu::philox;
use wick_core::error::{Error, Result};
use wick_core::reserve;

/// A stream of random numbers: the one that a TypeScript `Generator` of this seed and offset has.
pub struct Draws {
    seed: u64,
    /// In blocks of four.
    offset: u64,
}

impl Draws {
    pub fn new(seed: f64, offset: f64) -> Draws {
        Draws { seed: philox::seed_bits(seed), offset: offset as u64 }
    }
    fn take(&mut self, n: usize) -> u64 {
        let at = self.offset;
        self.offset += n.div_ceil(4) as u64;
        at
    }
    pub fn uniform(&mut self, n: usize) -> Vec<f64> {
        let mut drawn = reserve::repeated(0.0, n);
        philox::uniform_f64(self.seed, self.take(n), 0, &mut drawn);
        drawn
    }
    pub fn normal(&mut self, n: usize) -> Vec<f32> {
        let mut drawn = reserve::repeated(0.0, n);
        philox::normal_f32(self.seed, self.take(n), 0, &mut drawn);
        drawn
    }
}

/// A step on planes of floats.
enum FloatStep {
    Normalize { mean: [f32; RGB], std: [f32; RGB] },
    Erase(Erasing),
}

pub struct Transform {
    bytes: Vec<Step>,
    /// For each channel, the float that a byte becomes; none if the results are bytes.
    tables: Option<Box<[[f32; 256]; RGB]>>,
    floats: Vec<FloatStep>,
}

impl Transform {
    /// Steps of bytes, then `ToTensor`, then steps of floats; or steps of bytes alone.
    pub fn new(steps: Vec<Step>) -> Result<Transform> {
        let mut transform = Transform { bytes: vec![], tables: None, floats: vec![] };
        for step in steps {
            match (step, &mut transform.tables) {
                (Step::ToTensor, tables @ None) => *tables = Some(Box::new([std::array::from_fn(|v| v as f32 / 255.0); RGB])),
                (Step::Normalize { mean, std }, Some(tables)) if transform.floats.is_empty() => {
                    for c in 0..RGB {
                        tables[c].iter_mut().for_each(|v| *v = (*v - mean[c]) / std[c]);
                    }
                }
                (Step::Normalize { mean, std }, Some(_)) => transform.floats.push(FloatStep::Normalize { mean, std }),
                (Step::RandomErasing(erasing), Some(_)) => transform.floats.push(FloatStep::Erase(erasing)),
                (step @ (Step::ToTensor | Step::Normalize { .. } | Step::RandomErasing(_)), _) => {
                    return Err(Error::internal(format!("{step:?} in a place where it can't be")));
                }
                (step, None) => transform.bytes.push(step),
                (step, Some(_)) => return Err(Error::internal(format!("{step:?} on floats"))),
            }
        }
        Ok(transform)
    }

    /// Whether the results are float32 and not bytes.
    pub fn is_float(&self) -> bool {
        self.tables.is_some()
    }

    /// Bytes of a result of this height and width.
    pub fn result_bytes(&self, height: usize, width: usize) -> usize {
        let each = RGB * if self.is_float() { size_of::<f32>() } else { 1 };
        height.saturating_mul(width).saturating_mul(each)
    }

    /// Height and width of the results, if they are always the same.
    pub fn size(&self) -> Option<(usize, usize)> {
        self.bytes.iter().fold(None, |size, step| step.size(size))
    }

    /// Runs the steps of bytes.
    pub fn draw(&self, canvas: &mut Canvas, draws: &mut Draws) -> Result<()> {
        self.bytes.iter().try_for_each(|step| step.apply(canvas, &draws.uniform(step.draws())))
    }

    /// Writes the planes of the image that [`Transform::draw`] left, after the steps of floats. `to` has the bytes of a result, and
    /// the alignment of floats.
    pub fn write(&self, canvas: &Canvas, draws: &mut Draws, to: &mut [u8]) -> Result<()> {
        let Some(tables) = &self.tables else {
            canvas.write_planes(to, |_, value| value);
            return Ok(());
        };
        // SAFETY: any bits are a float.
        let (before, to, behind) = unsafe { to.align_to_mut::<f32>() };
        if !before.is_empty() || !behind.is_empty() {
            return Err(Error::internal("memory of floats that isn't aligned"));
        }
        canvas.write_planes(to, |c, value| tables[c][value as usize]);
        for step in &self.floats {
            match step {
                FloatStep::Normalize { mean, std } => {
                    for (c, plane) in to.chunks_exact_mut(canvas.width * canvas.height).enumerate() {
                        plane.iter_mut().for_each(|v| *v = (*v - mean[c]) / std[c]);
                    }
                }
                FloatStep::Erase(erasing) => erasing.apply(to, canvas.height, canvas.width, draws),
            }
        }
        Ok(())
    }
}
