//! A host tensor: what fixtures hold and what the engine reads back.
use half::{bf16, f16};
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::shape::Shape;

#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Row-major, little-endian.
    pub bytes: Vec<u8>,
}

impl Array {
    pub fn from_f64s(dtype: DType, shape: &[usize], values: &[f64]) -> Array {
        let bytes = values
            .iter()
            .flat_map(|v| match dtype {
                DType::Bool => vec![(*v != 0.0) as u8],
                DType::U8 => vec![*v as u8],
                DType::I32 => (*v as i32).to_le_bytes().to_vec(),
                DType::I64 => (*v as i64).to_le_bytes().to_vec(),
                DType::F16 => f16::from_f64(*v).to_le_bytes().to_vec(),
                DType::BF16 => bf16::from_f64(*v).to_le_bytes().to_vec(),
                DType::F32 => (*v as f32).to_le_bytes().to_vec(),
                DType::F64 => v.to_le_bytes().to_vec(),
            })
            .collect();
        Array { dtype, shape: shape.to_vec(), bytes }
    }

    pub fn f64s(&self) -> Vec<f64> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.chunks_exact(N).map(|c| f(c.try_into().unwrap())).collect()
        }
        match self.dtype {
            DType::Bool | DType::U8 => self.bytes.iter().map(|b| *b as f64).collect(),
            DType::I32 => each(&self.bytes, |b| i32::from_le_bytes(b) as f64),
            DType::I64 => each(&self.bytes, |b| i64::from_le_bytes(b) as f64),
            DType::F16 => each(&self.bytes, |b| f16::from_le_bytes(b).to_f64()),
            DType::BF16 => each(&self.bytes, |b| bf16::from_le_bytes(b).to_f64()),
            DType::F32 => each(&self.bytes, |b| f32::from_le_bytes(b) as f64),
            DType::F64 => each(&self.bytes, f64::from_le_bytes),
        }
    }

    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Floats as float64, everything else as it is.
    pub fn widened(&self) -> Array {
        if self.dtype.is_float() { Array::from_f64s(DType::F64, &self.shape, &self.f64s()) } else { self.clone() }
    }

    pub fn upload(&self, engine: &mut Engine) -> Result<Handle> {
        engine.from_host(&self.bytes, Shape::new(&self.shape), self.dtype, Device::Cpu)
    }

    pub fn read(engine: &mut Engine, handle: Handle) -> Result<Array> {
        let (meta, bytes) = engine.read(handle)?;
        Ok(Array { dtype: meta.dtype, shape: meta.shape.to_vec(), bytes })
    }
}

/// Fixed noise in (-1, 1): values without a pattern that need no generator.
pub fn noise(n: usize, salt: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|i| {
            let mut z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}
