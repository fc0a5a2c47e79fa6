//! Tensors made from nothing: constants, ranges and random numbers. Each is a chain without inputs.
use crate::chain::Program;
use crate::gpu::{Gpu, Source};
use wick_core::cpu::Arg;
use wick_core::error::{Error, Result};
use wick_core::op::Op;

/// Runs Fill, Arange or Random, for results in any order of memory.
///
/// # Safety
/// The address is valid for its layout.
pub unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], _ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let out = &outs[0];
    let mut program = Program::new(out.layout.shape, params);
    match op {
        Op::Fill { value, .. } => {
            let number = gpu.scalar(value, params);
            if number.param == 0 && number.value.to_bits() == 0 {
                return gpu.memset(out.ptr as u64, 0, out.numel() * out.dtype.size());
            }
            program.fill(*value, out.dtype);
        }
        Op::Arange { start, step, .. } => program.arange(*start, *step, out.dtype),
        Op::Random { kind, seed, offset, .. } => program.random(*kind, *seed, *offset, out.dtype)?,
        _ => return Err(Error::not_supported("is not a creation op")),
    }
    program.output(0, out);
    unsafe { program.run(gpu) }
}

/// Nothing of its own: see `chain`.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    vec![]
}
