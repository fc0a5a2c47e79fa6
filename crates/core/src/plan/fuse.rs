//! The passes that turn entries into instructions: a relu into the linear or norm before it, a relu's derivative into the product
//! or norm's gradient beside it, a loss with its gradient, results straight into gradient buffers, elementwise chains, and small ops in one launch. Each keeps the order of
//! reads and writes, and the bits.
mod chains;
mod into;
mod loss;
mod norm;
mod products;
mod together;

use super::build::Root;
use super::draft::{Draft, Out};
use super::record::In;
use crate::cpu::chain;
use crate::device::Part;
use crate::op::Op;

/// What an instruction computes.
pub enum Kernel {
    Op(Op),
    /// Elementwise ops in one pass over memory.
    Chain(chain::Chain),
    /// Ops that don't touch one another's results, in one launch; operands of the first one come first.
    Together(Vec<Part>),
    /// A write that is an earlier or later instruction's: only its target's version moves.
    Bump,
}

pub struct Instruction {
    /// The last entry that it stands for: it runs when that entry is launched.
    pub at: usize,
    pub kernel: Kernel,
    pub ins: Vec<In>,
    /// Values that it computes, or the externals that they go straight into.
    pub outs: Vec<Out>,
    /// Externals whose version a launch raises.
    pub bumps: Vec<u32>,
    /// May run beside the instructions after it.
    pub side: bool,
}

impl Kernel {
    /// The ops that it runs.
    pub fn ops(&self) -> Box<dyn Iterator<Item = &Op> + '_> {
        match self {
            Kernel::Op(op) => Box::new(std::iter::once(op)),
            Kernel::Chain(c) => Box::new(c.steps().iter().map(|s| &s.op)),
            Kernel::Together(parts) => Box::new(parts.iter().map(|p| &p.op)),
            Kernel::Bump => Box::new(std::iter::empty()),
        }
    }
    /// The places among its operands of those that it writes.
    pub fn writes(&self) -> Vec<usize> {
        let of = |op: &Op, from: usize| (0..u32::BITS as usize).filter(|j| op.writes() >> j & 1 == 1).map(|j| from + j).collect::<Vec<_>>();
        match self {
            Kernel::Op(op) => of(op, 0),
            Kernel::Chain(_) | Kernel::Bump => vec![],
            Kernel::Together(parts) => {
                let starts = parts.iter().scan(0, |next, p| Some(std::mem::replace(next, *next + p.ins)));
                parts.iter().zip(starts).flat_map(|(p, start)| of(&p.op, start)).collect()
            }
        }
    }
}
impl Instruction {
    /// The operands that it writes, in place or as results outside of the arena.
    pub fn written(&self) -> impl Iterator<Item = In> {
        let outside = self.outs.iter().filter_map(|o| if let Out::External(e) = *o { Some(In::External(e)) } else { None });
        self.kernel.writes().into_iter().filter_map(|j| self.ins.get(j).copied()).chain(outside)
    }
}

pub fn instructions(d: &mut Draft, optimise: bool) -> Vec<Instruction> {
    let n = d.nodes.len();
    if optimise {
        for k in 0..n {
            products::relu_after(d, k);
            norm::forward(d, k);
        }
        for k in 0..n {
            norm::backward(d, k);
            products::relu_before(d, k);
            loss::with_gradient(d, k);
        }
        for k in 0..n {
            into::cast(d, k);
            into::copy(d, k);
        }
    }
    let mut out: Vec<Instruction> = vec![];
    let mut k = 0;
    while k < n {
        if optimise && let Some((end, instruction)) = chains::chain(d, k) {
            out.push(instruction);
            k = end;
            continue;
        }
        let e = &d.entries[k];
        let bumps: Vec<u32> = (0..e.ins.len())
            .filter(|j| e.op.writes() >> j & 1 == 1)
            .filter_map(|j| match d.root(e.ins[j]) {
                Root::External(i) => Some(i),
                _ => None,
            })
            .collect();
        let node = &d.nodes[k];
        if node.live && node.op.has_kernel() {
            out.push(Instruction { at: k, kernel: Kernel::Op(node.op.clone()), ins: node.ins.clone(), outs: node.outs.clone(), bumps, side: false });
        } else if !bumps.is_empty() {
            out.push(Instruction { at: k, kernel: Kernel::Bump, ins: vec![], outs: vec![], bumps, side: false });
        }
        k += 1;
    }
    if optimise {
        together::gather(d, &mut out);
        super::lanes::mark_side(d, &mut out);
    }
    out
}
