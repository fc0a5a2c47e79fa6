//! The passes that turn entries into instructions: a relu into the linear or norm before it, a norm's gradient with what comes
//! before it, results straight into gradient buffers, and elementwise chains. Each keeps the order of reads and writes, and the
//! bits.
mod chains;
mod into;
mod norm;

use super::build::Root;
use super::draft::{Draft, Out};
use super::record::In;
use crate::cpu::chain;
use crate::op::{Op, Unary};

/// What an instruction computes.
pub enum Kernel {
    Op(Op),
    /// Elementwise ops in one pass over memory.
    Chain(chain::Chain),
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

pub fn instructions(d: &mut Draft, optimise: bool) -> Vec<Instruction> {
    let n = d.nodes.len();
    if optimise {
        for k in 0..n {
            relu_of_linear(d, k);
            norm::forward(d, k);
        }
        for k in 0..n {
            norm::backward(d, k);
        }
        for k in 0..n {
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
        super::lanes::mark_side(d, &mut out);
    }
    out
}

/// A relu of a linear that nothing else reads.
fn relu_of_linear(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (true, Op::Unary(Unary::Relu), [x]) = (node.live, &node.op, node.ins.as_slice()) else { return };
    let Some(l) = d.made_by(*x, 0).filter(|l| d.read_once(*x) && d.can_move(*l, k)) else { return };
    if let Op::Linear { bias, relu: false } = d.nodes[l].op {
        let (ins, outs) = (d.nodes[l].ins.clone(), node.outs.clone());
        d.rewrite(k, &[l], Op::Linear { bias, relu: true }, ins, outs);
    }
}
