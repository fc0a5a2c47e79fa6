//! Elementwise chains: neighbours that read and write memory once.
use super::super::build::Root;
use super::super::draft::{Draft, Out};
use super::super::record::In;
use super::{Instruction, Kernel};
use crate::cpu::chain;
use crate::dtype::DType;
use crate::op::Op;
use crate::shape::Layout;
use std::collections::HashMap;

/// Neighbouring live elementwise entries from `k` on, of one size.
pub fn chain(d: &Draft, k: usize) -> Option<(usize, Instruction)> {
    let dtypes = |j: usize| d.entries[j].ins.iter().map(|i| d.meta(*i).dtype).collect::<Vec<DType>>();
    // an op without a kernel for its dtypes stays one; one that can fail has an instruction of its own, which names it
    let fits = |j: usize| {
        let n = &d.nodes[j];
        n.live && fusable(&n.op) && !d.can_fail(j) && matches!(n.outs[..], [Out::Value(_)]) && chain::has_step(&d.entries[j].op, &dtypes(j))
    };
    if !fits(k) {
        return None;
    }
    let first = &d.values[d.entries[k].first as usize];
    let (order, device) = (first.layout, first.device);
    let mut members = vec![];
    // which member makes a value
    let mut step_of: HashMap<u32, usize> = HashMap::new();
    let mut end = k;
    while end < d.nodes.len() {
        if fits(end) && d.values[d.entries[end].first as usize].layout.same_order(&order) && d.values[d.entries[end].first as usize].device == device
        {
            let e = &d.entries[end];
            // a member reads earlier members whole, or inputs from before that lie as chains can read them
            let readable = e.ins.iter().all(|i| match *i {
                In::Value(v) if step_of.contains_key(&v) => true,
                // a view of an earlier member would be read before it is written
                In::Value(v) if matches!(d.roots[v as usize], Root::Arena(r) if step_of.contains_key(&r)) => false,
                i => readable(&d.layout(i), &order),
            });
            if !readable {
                break;
            }
            step_of.insert(e.first, members.len());
            members.push(end);
            end += 1;
            // what can be asked for must be there as soon as its entry is launched, so it ends the chain
            if d.pinned.contains(&e.first) {
                break;
            }
        } else if d.entries[end].op.is_view() || (!d.nodes[end].live && d.entries[end].op.writes() == 0 && d.entries[end].end == end + 1) {
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
    let mut input_of: HashMap<In, usize> = HashMap::new();
    let steps: Vec<chain::Step> = members
        .iter()
        .map(|m| {
            let e = &d.entries[*m];
            let sources = e
                .ins
                .iter()
                .map(|i| {
                    if let In::Value(v) = i
                        && let Some(s) = step_of.get(v)
                    {
                        return chain::Source::Step(*s);
                    }
                    let at = *input_of.entry(*i).or_insert_with(|| {
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
    let mut inside = vec![0; members.len()];
    for source in steps.iter().flat_map(|st| &st.ins) {
        if let chain::Source::Step(s) = source {
            inside[*s] += 1;
        }
    }
    let outputs: Vec<usize> = (0..members.len())
        .filter(|s| {
            let v = d.entries[members[*s]].first;
            *s == members.len() - 1 || d.pinned.contains(&v) || d.uses[v as usize] > inside[*s]
        })
        .collect();
    let outs = outputs.iter().map(|s| Out::Value(d.entries[members[*s]].first)).collect();
    let inputs: Vec<DType> = ins.iter().map(|i| d.meta(*i).dtype).collect();
    let chain = chain::Chain::new(steps, outputs, &inputs).ok()?;
    Some((last + 1, Instruction { at: last, kernel: Kernel::Chain(chain), ins, outs, bumps: vec![], side: false }))
}

/// An op that may be a step of a chain.
pub fn fusable(op: &Op) -> bool {
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
