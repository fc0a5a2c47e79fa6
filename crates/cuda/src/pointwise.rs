//! Pointwise ops: unary, binary, scalar, clamp, where, cast, dropout, copies, and their in-place forms. Each is a chain of one
//! step (`chain.rs`), but for copies that turn a tensor around (`transpose.rs`).
use crate::chain::Program;
use crate::gpu::{Gpu, Source};
use crate::transpose::{self, Transpose};
use wick_core::cpu::Arg;
use wick_core::cpu::chain::Source as Operand;
use wick_core::error::{Error, Result};
use wick_core::op::Op;

const OPERANDS: [Operand; 3] = [Operand::Input(0), Operand::Input(1), Operand::Input(2)];

/// Runs a pointwise op. Inputs may have any strides and are broadcast to the result; a result may have any too.
///
/// # Safety
/// Device addresses are valid for their layouts. An input that is written has no stride 0, and overlaps another input only if
/// both are the same.
pub unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    unsafe {
        match op {
            Op::Contiguous | Op::Cast(_) => copy(gpu, &ins[0], &outs[0]),
            Op::CopyInto => copy(gpu, &ins[1], &ins[0]),
            Op::BinaryInto(b) => step(gpu, &Op::Binary(*b), params, ins, &ins[0]),
            Op::ScalarInto { op, value } => step(gpu, &Op::Scalar { op: *op, value: *value, reversed: false }, params, ins, &ins[0]),
            _ => step(gpu, op, params, ins, &outs[0]),
        }
    }
}

unsafe fn step(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], out: &Arg) -> Result<()> {
    let mut program = Program::new(out.layout.shape, params);
    ins.iter().for_each(|a| program.input(a));
    let dtype = program.step(op, &OPERANDS[..ins.len().min(OPERANDS.len())])?;
    if dtype != out.dtype {
        return Err(Error::dtype(format!("gives {}, which can't be stored in {}", dtype.name(), out.dtype.name())));
    }
    program.output(0, out);
    unsafe { program.run(gpu) }
}

/// Copies `from`, broadcast and cast, to `to`.
unsafe fn copy(gpu: &Gpu, from: &Arg, to: &Arg) -> Result<()> {
    let same = from.dtype == to.dtype;
    if to.numel() == 0 || same && from.ptr == to.ptr && from.layout == to.layout {
        return Ok(());
    }
    if let Some(transpose) = Transpose::find(from, to) {
        return unsafe { transpose.run(gpu) };
    }
    let mut program = Program::new(to.layout.shape, &[]);
    if same {
        program.copy(from, to);
    } else {
        program.input(from);
        program.step(&Op::Cast(to.dtype), &OPERANDS[..1])?;
        program.output(0, to);
    }
    unsafe { program.run(gpu) }
}

/// The copies' own programs; for the rest see `chain`.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    transpose::variants()
}
