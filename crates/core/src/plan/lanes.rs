//! Two streams for a plan on a GPU: results that only the optimizer waits for (weight gradients) are computed beside the
//! chain of operations that everything else waits for.
use super::accesses::covering;
use super::build::Root;
use super::device_run::Lane;
use super::draft::{Draft, Out};
use super::fuse::{Instruction, Kernel};
use super::record::In;
use super::replay::Step;
use crate::device::Device;
use crate::op::{Binary, Op};
use std::collections::{BTreeSet, HashSet};

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
/// The last step that touched some bytes, for any bytes: a segment tree over the intervals that the steps' spans begin and end.
struct Latest {
    /// By node, one more than the last step whose span has all of it, and a part of it.
    covers: Vec<usize>,
    below: Vec<usize>,
}
impl Latest {
    fn new(intervals: usize) -> Latest {
        Latest { covers: vec![0; 2 * intervals], below: vec![0; 2 * intervals] }
    }
    fn mark(&mut self, nodes: &Nodes, step: usize) {
        nodes.whole.iter().for_each(|n| self.covers[*n] = step + 1);
        nodes.above.iter().for_each(|n| self.below[*n] = step + 1);
    }
    /// One more than the last step that touched any of it, or 0.
    fn of(&self, nodes: &Nodes) -> usize {
        let whole = nodes.whole.iter().map(|n| self.covers[*n].max(self.below[*n]));
        whole.chain(nodes.above.iter().map(|n| self.covers[*n])).max().unwrap_or(0)
    }
}
/// The tree's nodes that some spans are made of, and those above them.
struct Nodes {
    whole: Vec<usize>,
    above: BTreeSet<usize>,
}
impl Nodes {
    fn new(bounds: &[(u64, usize)], spans: &[Span]) -> Nodes {
        let at = |number, byte| bounds.partition_point(|b| *b < (number, byte)) + bounds.len();
        let whole: Vec<usize> = spans.iter().flat_map(|s| covering(at(s.0, s.1), at(s.0, s.2))).collect();
        let above = whole.iter().flat_map(|n| std::iter::successors(Some(n / 2), |n| Some(n / 2)).take_while(|n| *n > 0)).collect();
        Nodes { whole, above }
    }
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
    let sides: Vec<bool> = steps.iter().map(|s| s.side).collect();
    order(&sides, &spans)
}
/// The same of steps that may run beside others, and of the bytes that each reads and writes.
fn order(sides: &[bool], spans: &[(Vec<Span>, Vec<Span>)]) -> (Vec<Lane>, Option<usize>) {
    let mut bounds: Vec<(u64, usize)> = spans.iter().flat_map(|s| s.0.iter().chain(&s.1)).flat_map(|s| [(s.0, s.1), (s.0, s.2)]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut lanes: Vec<Lane> = sides.iter().enumerate().map(|(k, side)| Lane { side: *side && k > 0, ..Lane::default() }).collect();
    // what each stream has read, and written
    let latest = || [Latest::new(bounds.len()), Latest::new(bounds.len())];
    let mut touched = [latest(), latest()];
    let mut events = 0;
    let mut mark = |lane: &mut Lane| {
        *lane.record.get_or_insert_with(|| {
            events += 1;
            events - 1
        })
    };
    // for each stream, the last step of the other that it comes after
    let mut seen: [Option<usize>; 2] = [None; 2];
    for k in 0..lanes.len() {
        let side = lanes[k].side;
        let [reads, writes] = [Nodes::new(&bounds, &spans[k].0), Nodes::new(&bounds, &spans[k].1)];
        let other = &touched[!side as usize];
        let conflict = other[1].of(&reads).max(other[1].of(&writes)).max(other[0].of(&writes));
        let mut last = conflict.checked_sub(1).filter(|j| seen[side as usize].is_none_or(|s| *j > s));
        touched[side as usize][0].mark(&reads, k);
        touched[side as usize][1].mark(&writes, k);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// For each step, the last of the other stream that it waits for, looked for one by one.
    fn waits(sides: &[bool], spans: &[(Vec<Span>, Vec<Span>)]) -> Vec<Option<usize>> {
        let overlap = |a: &[Span], b: &[Span]| a.iter().any(|x| b.iter().any(|y| x.0 == y.0 && x.1 < y.2 && y.1 < x.2));
        let side = |k: usize| sides[k] && k > 0;
        let mut seen = [None; 2];
        (0..sides.len())
            .map(|k| {
                let conflicts = |j: &usize| {
                    let (a, b) = (&spans[*j], &spans[k]);
                    side(*j) != side(k) && (overlap(&a.1, &b.0) || overlap(&a.1, &b.1) || overlap(&a.0, &b.1))
                };
                let from = seen[side(k) as usize].map_or(0, |s| s + 1);
                let first = side(k) && seen[1].is_none();
                let last = (from..k).rev().find(conflicts).or((0..k).rev().find(|j| first && !side(*j)));
                seen[side(k) as usize] = last.or(seen[side(k) as usize]);
                last
            })
            .collect()
    }
    #[test]
    fn each_step_waits_for_the_last_that_it_conflicts_with() {
        let mut state = 1u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for _ in 0..200 {
            let sides: Vec<bool> = (0..40).map(|_| random(3) == 0).collect();
            let mut some = |n: usize| -> Vec<Span> {
                let one = |_| {
                    let at = random(40);
                    (random(3) as u64, at, at + 1 + random(8))
                };
                (0..n).map(one).collect()
            };
            let spans: Vec<(Vec<Span>, Vec<Span>)> = (0..40).map(|_| (some(3), some(2))).collect();
            let (lanes, _) = order(&sides, &spans);
            let marked = |event: &usize| lanes.iter().position(|l| l.record == Some(*event));
            let found: Vec<Option<usize>> = lanes.iter().map(|l| l.waits.first().and_then(marked)).collect();
            assert_eq!(found, waits(&sides, &spans));
        }
    }
}
