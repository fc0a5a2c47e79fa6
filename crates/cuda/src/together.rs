//! Ops that a plan runs together: copies and casts, counters and column sums have kernels that take many at once.
use crate::gpu::Gpu;
use crate::{backend, copies, reduce};
use wick_core::cpu::Arg;
use wick_core::device::Part;
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::op::{Binary, Op, ReduceKind, Sc};

/// Runs the parts in any order; the bits are those of one launch each.
///
/// # Safety
/// As [`wick_core::cpu::run`], of device addresses; copies have operands of one dense layout.
pub unsafe fn run(gpu: &Gpu, parts: &[Part], params: &[f64], mut ins: &[Arg], mut outs: &[Arg]) -> Result<()> {
    let mut moved: Vec<(Arg, Arg)> = vec![];
    let mut counters: Vec<(Arg, Sc)> = vec![];
    let mut sums: Vec<(Op, Arg, Arg)> = vec![];
    for p in parts {
        let (x, y);
        (x, ins) = ins.split_at(p.ins);
        (y, outs) = outs.split_at(p.outs);
        match &p.op {
            Op::Cast(_) => moved.push((x[0], y[0])),
            Op::CopyInto => moved.push((x[1], x[0])),
            Op::ScalarInto { op: Binary::Add, value } if x[0].dtype == DType::I64 && x[0].numel() == 1 => counters.push((x[0], *value)),
            Op::Reduce { kind: ReduceKind::Sum, .. } => sums.push((p.op.clone(), x[0], y[0])),
            op => unsafe { backend::run(gpu, op, params, x, y).map_err(|e| e.in_op(op.name()))? },
        }
    }
    unsafe { copies::run(gpu, &moved)? };
    copies::count(gpu, params, &counters)?;
    reduce::sums(gpu, &sums)
}
