//! Tensors made from nothing: constants, ranges and random numbers.
use super::pointwise::cast;
use super::pointwise::walk::{BLOCK, Operand, SCRATCH, chunks};
use super::{Arg, philox};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Op, Random};

/// Runs Fill, Arange or Random.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, params: &[f64], _ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let out = &outs[0];
    let result = unsafe {
        match op {
            Op::Fill { value, .. } => fill(cast::element(value.get(params), out.dtype), out),
            Op::Arange { start, step, .. } => arange(start.get(params), step.get(params), out),
            Op::Random { kind, seed, offset, .. } => {
                let (seed, offset) = (philox::seed_bits(seed.get(params)), offset.get(params) as u64);
                random(*kind, seed, offset, out)
            }
            _ => Err(Error::not_supported("is not a creation op")),
        }
    };
    result.map_err(|e| e.in_op(op.name()))
}

/// The result's memory, for threads that each write their own part.
#[derive(Clone, Copy)]
struct Target {
    ptr: *mut u8,
    dtype: DType,
}
// SAFETY: see above.
unsafe impl Sync for Target {}
impl Target {
    fn new(out: &Arg) -> Target {
        Target { ptr: out.ptr, dtype: out.dtype }
    }
    /// # Safety
    /// `T` has the dtype's size, and no other part overlaps this one.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part<T>(&self, start: usize, end: usize) -> &mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.ptr.cast::<T>().add(start), end - start) }
    }
}

unsafe fn fill(element: u64, out: &Arg) -> Result<()> {
    let target = Target::new(out);
    chunks(out.numel(), out.numel(), |start, end| {
        let ptr: *const u64 = &element;
        unsafe {
            match target.dtype.size() {
                1 => target.part::<u8>(start, end).fill(ptr.cast::<u8>().read()),
                2 => target.part::<u16>(start, end).fill(ptr.cast::<u16>().read()),
                4 => target.part::<u32>(start, end).fill(ptr.cast::<u32>().read()),
                _ => target.part::<u64>(start, end).fill(element),
            }
        }
        Ok(())
    })
}

/// Floats are computed in double precision, integers in int64.
unsafe fn arange(first: f64, step: f64, out: &Arg) -> Result<()> {
    let target = Target::new(out);
    chunks(out.numel(), 4 * out.numel(), |start, end| {
        unsafe {
            if target.dtype.is_float() {
                blocks(target, start, end, DType::F64, |i, part: &mut [f64]| {
                    part.iter_mut().enumerate().for_each(|(k, v)| *v = first + (i + k) as f64 * step);
                });
            } else {
                let (first, step) = (first as i64, step as i64);
                blocks(target, start, end, DType::I64, |i, part: &mut [i64]| {
                    part.iter_mut().enumerate().for_each(|(k, v)| *v = first.wrapping_add(step.wrapping_mul((i + k) as i64)));
                });
            }
        }
        Ok(())
    })
}

/// Makes elements `start .. end` as `from`s, a block at a time, and casts them.
unsafe fn blocks<T: Copy + Default>(target: Target, start: usize, end: usize, from: DType, make: impl Fn(usize, &mut [T])) {
    let mut scratch = SCRATCH;
    let scratch: *mut u64 = scratch.as_mut_ptr().cast();
    for at in (start..end).step_by(BLOCK) {
        let n = BLOCK.min(end - at);
        unsafe {
            scratch.write_bytes(0, n);
            make(at, std::slice::from_raw_parts_mut(scratch.cast::<T>(), n));
            let made = Operand { ptr: scratch.cast(), repeated: false };
            cast::block(from, target.dtype, made, target.ptr.add(at * target.dtype.size()), n);
        }
    }
}

unsafe fn random(kind: Random, seed: u64, offset: u64, out: &Arg) -> Result<()> {
    if !out.dtype.is_float() {
        return Err(Error::dtype(format!("{} has no random numbers", out.dtype.name())));
    }
    let target = Target::new(out);
    // Measured, as tenths of a nanosecond an element.
    let work = match (kind, target.dtype) {
        (Random::Uniform, DType::F64) => 25,
        (Random::Uniform, _) => 7,
        (Random::Normal, DType::F64) => 130,
        (Random::Normal, _) => 15,
    };
    chunks(out.numel(), work * out.numel(), |start, end| {
        unsafe {
            match (kind, target.dtype) {
                (Random::Uniform, DType::F64) => philox::uniform_f64(seed, offset, start, target.part(start, end)),
                (Random::Uniform, DType::F32) => philox::uniform_f32(seed, offset, start, target.part(start, end)),
                (Random::Uniform, dtype) => {
                    // As many bits as the significand has.
                    let bits = if dtype == DType::F16 { 11 } else { 8 };
                    blocks(target, start, end, DType::F32, |i, part| philox::uniform_bits(seed, offset, i, part, bits));
                }
                (Random::Normal, DType::F64) => philox::normal_f64(seed, offset, start, target.part(start, end)),
                (Random::Normal, DType::F32) => philox::normal_f32(seed, offset, start, target.part(start, end)),
                (Random::Normal, _) => blocks(target, start, end, DType::F32, |i, part| philox::normal_f32(seed, offset, i, part)),
            }
        }
        Ok(())
    })
}
