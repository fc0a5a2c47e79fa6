//! The passes that turn entries into instructions: linear + relu, results straight into gradient buffers, and elementwise
//! chains. Each keeps the order of reads and writes, and the bits.
use super::build::{Draft, Root};
use super::record::In;
use crate::cpu::chain;
use crate::dtype::DType;
use crate::op::{Op, Unary};
use crate::shape::Layout;

/// What an instruction computes.
pub enum Kernel {
    Op(Op),
    /// Elementwise ops in one pass over memory.
    Chain(chain::Chain),
    /// An elided copy: only its target's version moves.
    Bump,
}

pub struct Instruction {
    /// The last entry that it stands for: it runs when that entry is launched.
    pub at: usize,
    pub kernel: Kernel,
    pub ins: Vec<In>,
    /// Values that it computes, or the external that one goes straight into.
    pub outs: Vec<Out>,
    /// Externals whose version a launch raises.
    pub bumps: Vec<u32>,
    /// May run beside the instructions after it.
    pub side: bool,
}

#[derive(Clone, Copy)]
pub enum Out {
    Value(u32),
    External(u32),
}

pub fn instructions(d: &mut Draft, optimise: bool) -> Vec<Instruction> {
    let n = d.entries.len();
    // entry -> the linear whose relu it is; entry -> the external that its result goes straight into
    let mut relu_of: Vec<Option<usize>> = vec![None; n];
    let mut into: Vec<Option<u32>> = vec![None; n];
    if optimise {
        for (k, linear) in relu_of.iter_mut().enumerate() {
            if d.live[k]
                && let Some(l) = linear_under_relu(d, k)
            {
                d.live[l] = false;
                *linear = Some(l);
            }
        }
        let in_backward = inside_macros(d);
        for k in 0..n {
            if let Some((source, target)) = copied_into(d, k, &in_backward)
                && relu_of[source].is_none()
            {
                into[source] = Some(target);
                d.live[k] = false;
            }
        }
    }
    let mut out: Vec<Instruction> = vec![];
    let mut k = 0;
    while k < n {
        if optimise && let Some((end, instruction)) = elementwise_chain(d, k, &|j| into[j].is_none() && relu_of[j].is_none()) {
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
        if d.live[k] && e.op.has_kernel() {
            let (op, ins) = match relu_of[k] {
                Some(l) => match d.entries[l].op {
                    Op::Linear { bias, .. } => (Op::Linear { bias, relu: true }, d.entries[l].ins.clone()),
                    _ => (d.entries[l].op.clone(), d.entries[l].ins.clone()),
                },
                None => (e.op.clone(), e.ins.clone()),
            };
            let outs = match into[k] {
                Some(x) => vec![Out::External(x)],
                None => e.values().map(Out::Value).collect(),
            };
            out.push(Instruction { at: k, kernel: Kernel::Op(op), ins, outs, bumps, side: false });
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

/// Entry `k` is the relu of a linear that nothing else reads, with no write between the two.
fn linear_under_relu(d: &Draft, k: usize) -> Option<usize> {
    let (Op::Unary(Unary::Relu), Some(In::Value(v))) = (&d.entries[k].op, d.entries[k].ins.first()) else { return None };
    let l = d.values[*v as usize].entry as usize;
    let alone = d.uses[*v as usize] == 1 && !d.pinned.contains(v) && d.live[l];
    (matches!(d.entries[l].op, Op::Linear { .. }) && alone && !d.write_between(l + 1, k)).then_some(l)
}

/// For each entry, the end of the macro (backward) that it is a part of.
fn inside_macros(d: &Draft) -> Vec<usize> {
    let mut end = vec![0; d.entries.len()];
    for (j, e) in d.entries.iter().enumerate() {
        for x in end.iter_mut().take(e.end).skip(j + 1) {
            *x = e.end;
        }
    }
    end
}

/// Entry `k` copies a fresh result into an external buffer of its size. Within one backward, where no host read and no
/// divergence can fall between, the result may be computed there if nothing touches the buffer in the meantime.
fn copied_into(d: &Draft, k: usize, macro_end: &[usize]) -> Option<(usize, u32)> {
    let e = &d.entries[k];
    let (Op::CopyInto, true, [In::External(target), src]) = (&e.op, d.live[k], e.ins.as_slice()) else { return None };
    let In::Value(v) = *src else { return None };
    let r = d.arena(*src)?;
    let s = d.values[r as usize].entry as usize;
    let (source, x) = (&d.entries[s], &d.externals[*target as usize].id);
    let whole = d.meta(*src) == d.meta(e.ins[0]) && d.values[v as usize].layout.same_order(&x.layout) && x.layout.is_dense();
    let fresh = d.live[s] && source.outs == 1 && source.op.writes() == 0 && d.values[r as usize].layout.numel() == x.layout.numel();
    if !(whole && fresh && macro_end[s] != 0 && macro_end[s] == macro_end[k] && d.uses[r as usize] == 1 && !d.pinned.contains(&r)) {
        return None;
    }
    // chains write to the arena only
    if fusable(&source.op) {
        return None;
    }
    let region = |i: u32| {
        let x = &d.externals[i as usize].id;
        (x.storage, x.layout.offset, x.layout.offset + x.layout.span())
    };
    let own = region(*target);
    let touches = |j: usize| {
        d.live[j]
            && d.entries[j].ins.iter().any(|i| match d.root(*i) {
                Root::External(o) => {
                    let o = region(o);
                    o.0 == own.0 && o.1 < own.2 && own.1 < o.2
                }
                _ => false,
            })
    };
    (!(s..k).any(touches)).then_some((s, *target))
}

/// Neighbouring live elementwise entries from `k` on, of one size, that no other pass has taken (`free`).
fn elementwise_chain(d: &Draft, k: usize, free: &dyn Fn(usize) -> bool) -> Option<(usize, Instruction)> {
    let fits = |j: usize| d.live[j] && free(j) && fusable(&d.entries[j].op) && d.entries[j].outs == 1;
    if !fits(k) {
        return None;
    }
    let first = &d.values[d.entries[k].first as usize];
    let (order, device) = (first.layout, first.device);
    let mut members = vec![];
    let mut end = k;
    while end < d.entries.len() {
        if fits(end) && d.values[d.entries[end].first as usize].layout.same_order(&order) && d.values[d.entries[end].first as usize].device == device
        {
            let e = &d.entries[end];
            // a member reads earlier members whole, or inputs from before that lie as chains can read them
            let readable = e.ins.iter().all(|i| match *i {
                In::Value(v) if members.iter().any(|m: &usize| d.entries[*m].first == v) => true,
                // a view of an earlier member would be read before it is written
                In::Value(v) if matches!(d.roots[v as usize], Root::Arena(r) if members.iter().any(|m: &usize| d.entries[*m].first == r)) => false,
                i => {
                    let layout = match i {
                        In::Value(v) => d.values[v as usize].layout,
                        In::External(x) => d.externals[x as usize].id.layout,
                    };
                    readable(&layout, &order)
                }
            });
            if !readable {
                break;
            }
            members.push(end);
            end += 1;
            // what can be asked for must be there as soon as its entry is launched, so it ends the chain
            if d.pinned.contains(&e.first) {
                break;
            }
        } else if d.entries[end].op.is_view() || (!d.live[end] && d.entries[end].op.writes() == 0 && d.entries[end].end == end + 1) {
            end += 1;
        } else {
            break;
        }
    }
    let last = *members.last()?;
    if members.len() < 2 {
        return None;
    }
    let mut ins: Vec<In> = vec![];
    let steps: Vec<chain::Step> = members
        .iter()
        .map(|m| {
            let e = &d.entries[*m];
            let sources = e
                .ins
                .iter()
                .map(|i| {
                    if let In::Value(v) = i
                        && let Some(s) = members.iter().position(|m| d.entries[*m].first == *v)
                    {
                        return chain::Source::Step(s);
                    }
                    let at = ins.iter().position(|x| x == i).unwrap_or_else(|| {
                        ins.push(*i);
                        ins.len() - 1
                    });
                    chain::Source::Input(at)
                })
                .collect();
            chain::Step { op: e.op.clone(), ins: sources }
        })
        .collect();
    // a result is stored if something after the chain reads it
    let outputs: Vec<usize> = (0..members.len())
        .filter(|s| {
            let v = d.entries[members[*s]].first;
            let inside: u32 = steps.iter().flat_map(|st| &st.ins).filter(|i| **i == chain::Source::Step(*s)).count() as u32;
            *s == members.len() - 1 || d.pinned.contains(&v) || d.uses[v as usize] > inside
        })
        .collect();
    let outs = outputs.iter().map(|s| Out::Value(d.entries[members[*s]].first)).collect();
    let inputs: Vec<DType> = ins.iter().map(|i| d.meta(*i).dtype).collect();
    // a chain without kernels for its dtypes stays ops
    let chain = chain::Chain::new(steps, outputs, &inputs).ok()?;
    Some((last + 1, Instruction { at: last, kernel: Kernel::Chain(chain), ins, outs, bumps: vec![], side: false }))
}

fn fusable(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Where | Op::Cast(_) | Op::Dropout { .. })
}
/// A chain reads operands of its own size, scalars, and rows that repeat over the leading dimensions.
fn readable(l: &Layout, order: &Layout) -> bool {
    let shape = &order.shape;
    if l.same_order(order) {
        return true;
    }
    let row = order.is_contiguous() && l.rank() <= shape.rank() && l.shape.iter().rev().zip(shape.iter().rev()).all(|(a, b)| a == b);
    l.is_contiguous() && (l.numel() == 1 || row)
}
