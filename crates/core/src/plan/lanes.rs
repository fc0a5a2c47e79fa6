//! Two streams for a plan on a GPU: results that only the optimizer waits for (weight gradients) are computed beside the
//! chain of operations that everything else waits for.
use super::build::Root;
use super::device_run::Lane;
use super::draft::{Draft, Out};
use super::fuse::{Instruction, Kernel};
use super::record::In;
use super::replay::Step;
use crate::device::Device;
use crate::op::{Binary, Op};
use std::collections::HashSet;

/// Memory as instructions name it: an arena value, or a place in a storage from outside.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    Value(u32),
    External(u64, usize),
    Host(u32),
}
fn place(d: &Draft, root: Root) -> Place {
    match root {
        Root::Arena(v) => Place::Value(v),
        Root::External(e) => Place::External(d.externals[e as usize].id.storage, d.externals[e as usize].id.layout.offset),
        Root::Bound(v) => Place::Host(v),
    }
}

/// Marks the instructions that may run beside those after them.
pub fn mark_side(d: &Draft, list: &mut [Instruction]) {
    // behind `last` there is nothing but optimizers
    let mut last = true;
    // what is read further on, but by optimizers and by what only brings gradients to them
    let mut needed: HashSet<Place> = HashSet::new();
    // what the next instruction reads: a cast that it doesn't wait for may be made beside it
    let mut next: HashSet<Place> = HashSet::new();
    for i in (1..list.len()).rev() {
        let x = &mut list[i];
        let mut written: Vec<Place> = x
            .outs
            .iter()
            .map(|o| match *o {
                Out::Value(v) => place(d, d.roots[v as usize]),
                Out::External(e) => place(d, Root::External(e)),
            })
            .collect();
        let (mut optimizer, mut worth) = (false, false);
        // goes on with results as they are: who made them isn't waited for
        let mut passes_on = false;
        written.extend(x.kernel.writes().into_iter().map(|j| place(d, d.root(x.ins[j]))));
        match &x.kernel {
            Kernel::Op(op) => {
                optimizer = matches!(op, Op::Sgd { .. } | Op::AdamW { .. } | Op::ClipGradNorm { .. } | Op::ClipGradValue { .. } | Op::Unscale { .. });
                worth = matches!(
                    op,
                    Op::Matmul { .. }
                        | Op::Conv2dGradWeight { .. }
                        | Op::Reduce { .. }
                        | Op::Cast(_)
                        | Op::CopyInto
                        | Op::BinaryInto(Binary::Add)
                        | Op::TrackLoss { .. }
                );
                passes_on = worth && !matches!(op, Op::Matmul { .. } | Op::Conv2dGradWeight { .. } | Op::Reduce { .. });
            }
            Kernel::Together(parts) => {
                worth = true;
                passes_on = !parts.iter().any(|p| matches!(p.op, Op::Reduce { .. }));
            }
            Kernel::Chain(_) | Kernel::Bump => {}
        }
        let on_gpu = device_of(d, x) != Device::Cpu;
        // the main stream has time for one of those that it ends with
        let own = worth && on_gpu && written.iter().all(|p| !needed.contains(p));
        let casts = matches!(&x.kernel, Kernel::Together(parts) if parts.iter().all(|p| matches!(p.op, Op::Cast(_))));
        x.side = (own && !last) || (casts && on_gpu && next.is_disjoint(&written.into_iter().collect()));
        next = x.ins.iter().map(|i| place(d, d.root(*i))).collect();
        if !(optimizer || own && passes_on) {
            needed.extend(x.ins.iter().map(|i| place(d, d.root(*i))));
        }
        last &= optimizer || matches!(x.kernel, Kernel::Bump);
    }
}
/// Where the instruction runs.
fn device_of(d: &Draft, x: &Instruction) -> Device {
    match (x.outs.first(), x.ins.first()) {
        (Some(Out::Value(v)), _) | (None, Some(In::Value(v))) => d.values[*v as usize].device,
        (Some(Out::External(e)), _) | (None, Some(In::External(e))) => d.externals[*e as usize].id.device,
        (None, None) => Device::Cpu,
    }
}

/// Bytes of a memory that has a number.
type Span = (u64, usize, usize);
fn overlap(a: &[Span], b: &[Span]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.0 == y.0 && x.1 < y.2 && y.1 < x.2))
}

/// The stream of each step, with the marks that keep reads and writes of the same bytes in order, and the mark at which the
/// second stream is done.
pub(super) fn schedule(steps: &[Step]) -> (Vec<Lane>, Option<usize>) {
    let spans: Vec<(Vec<Span>, Vec<Span>)> = steps
        .iter()
        .map(|s| {
            let written = s.kernel.writes().into_iter().map(|j| s.ins[j].span());
            (s.ins.iter().map(|o| o.span()).collect(), s.outs.iter().map(|o| o.span()).chain(written).collect())
        })
        .collect();
    let mut lanes: Vec<Lane> = steps.iter().enumerate().map(|(k, s)| Lane { side: s.side && k > 0, ..Lane::default() }).collect();
    let mut events = 0;
    let mut mark = |lane: &mut Lane| {
        *lane.record.get_or_insert_with(|| {
            events += 1;
            events - 1
        })
    };
    // for each stream, the last step of the other that it comes after
    let mut seen: [Option<usize>; 2] = [None; 2];
    for k in 1..steps.len() {
        let side = lanes[k].side;
        let conflicts = |j: &usize| overlap(&spans[*j].1, &spans[k].0) || overlap(&spans[*j].1, &spans[k].1) || overlap(&spans[*j].0, &spans[k].1);
        let from = seen[side as usize].map_or(0, |s| s + 1);
        let mut last = (from..k).rev().filter(|j| lanes[*j].side != side).find(conflicts);
        if side && last.is_none() && seen[1].is_none() {
            // the second stream must begin somewhere
            last = (0..k).rev().find(|j| !lanes[*j].side);
        }
        if let Some(j) = last {
            let event = mark(&mut lanes[j]);
            lanes[k].waits.push(event);
            seen[side as usize] = Some(j);
        }
    }
    let join = lanes.iter().rposition(|l| l.side).map(|k| mark(&mut lanes[k]));
    (lanes, join)
}
