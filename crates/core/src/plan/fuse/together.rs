//! Small ops that don't wait for one another, in few launches: casts of weights at the first of them; copies into gradient buffers,
//! sums for them, and counters at the last of some.
use super::super::accesses::Accesses;
use super::super::build::Root;
use super::super::draft::{Draft, Out};
use super::super::record::In;
use super::{Instruction, Kernel};
use crate::device::{Device, Part};
use crate::dtype::DType;
use crate::op::{Binary, Dims, Op, ReduceKind};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Ops that go together: of one kind, in one backward (or in none), on one device.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Kind {
    what: What,
    macro_end: usize,
    device: Device,
}
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum What {
    Cast,
    Copy,
    Sum,
    Count,
}

fn kind(d: &Draft, x: &Instruction) -> Option<Kind> {
    let Kernel::Op(op) = &x.kernel else { return None };
    let macro_end = d.macro_end[x.at];
    // they are walked as plain memory
    let alike = |a: In, b: In| {
        let (from, to) = (d.meta(a).dtype, d.meta(b).dtype);
        d.layout(a).same_order(&d.layout(b)) && d.layout(b).is_dense() && (from == to || narrow_float(from) && narrow_float(to))
    };
    let what = match (op, &x.ins[..], &x.outs[..]) {
        (Op::Cast(_), [In::External(e)], [Out::Value(v)])
            if macro_end == 0 && !d.externals[*e as usize].slot && alike(In::External(*e), In::Value(*v)) =>
        {
            What::Cast
        }
        (Op::CopyInto, [to @ In::External(_), from], []) if macro_end != 0 && alike(*from, *to) => What::Copy,
        (Op::Reduce { kind: ReduceKind::Sum, dims: Dims(1), .. }, [rows], [_])
            if macro_end != 0 && d.meta(*rows).shape.rank() == 2 && d.layout(*rows).is_contiguous() =>
        {
            What::Sum
        }
        (Op::ScalarInto { op: Binary::Add, .. }, [to @ In::External(_)], []) if d.meta(*to).dtype == DType::I64 && d.layout(*to).numel() == 1 => {
            What::Count
        }
        _ => return None,
    };
    Some(Kind { what, macro_end, device: d.device(x.ins[0]) })
}
/// Between these a cast is rounded once, on every device.
fn narrow_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32)
}

/// Casts that the first layers wait for; all others are made beside what those do.
const FIRST_CASTS: usize = 4;
/// Copies of one launch: most are made beside the rest of the backward pass, only the last few after it.
const COPIES: usize = 8;

/// Joins what goes together. Writes that come later than their entries are noted in the draft.
pub fn gather(d: &mut Draft, list: &mut Vec<Instruction>) {
    let mut groups: Vec<(Kind, Vec<usize>)> = vec![];
    let mut known: HashMap<Kind, usize> = HashMap::new();
    for (i, x) in list.iter().enumerate() {
        let Some(kind) = kind(d, x) else { continue };
        let group = *known.entry(kind).or_insert_with(|| {
            groups.push((kind, vec![]));
            groups.len() - 1
        });
        groups[group].1.push(i);
    }
    let mut gathering = Gathering { accesses: Accesses::new(d.accesses.cells.clone()), d, list };
    (0..gathering.list.len()).for_each(|i| gathering.set(i, true));
    // copies first: what they read can go further down then
    groups.sort_by_key(|g| g.0.what != What::Copy);
    for (kind, group) in groups {
        match kind.what {
            What::Cast => gathering.casts(group),
            What::Copy => gathering.copies(group.into()),
            What::Sum | What::Count => gathering.sums(group),
        }
    }
    list.retain(|x| !matches!(x.kernel, Kernel::Bump) || !x.bumps.is_empty());
}

/// A list of which some are joined, and who reads and writes what in it.
struct Gathering<'a, 'b> {
    d: &'a mut Draft<'b>,
    list: &'a mut [Instruction],
    accesses: Accesses,
}
impl Gathering<'_, '_> {
    /// Each goes up to the first that no write to its operand keeps it from. Those left may still meet others.
    fn casts(&mut self, group: Vec<usize>) {
        let mut left: BTreeSet<usize> = group.iter().copied().collect();
        // behind the last write to its operand
        let lowest = |j: usize| self.accesses.last_write(j, self.roots(&self.list[j].ins)).map_or(0, |at| at + 1);
        let mut by_lowest: BTreeSet<(usize, usize)> = group.iter().map(|j| (lowest(*j), *j)).collect();
        while let Some(first) = left.first().copied() {
            let above = by_lowest.split_off(&(first + 1, 0));
            let mut members: Vec<usize> = std::mem::replace(&mut by_lowest, above).into_iter().map(|x| x.1).collect();
            members.sort_unstable();
            members.iter().for_each(|j| {
                left.remove(j);
            });
            let (soon, later) = members.split_at(if members.len() > FIRST_CASTS + 1 { FIRST_CASTS } else { members.len() });
            self.join(first, soon);
            if later.len() > 1 {
                // in the place of one that has gone
                self.join(soon[1], later);
            }
        }
    }
    /// A few at a time go down to the last of them.
    fn copies(&mut self, mut left: VecDeque<usize>) {
        while !left.is_empty() {
            let some: Vec<usize> = left.drain(..left.len().min(COPIES)).collect();
            let last = some[some.len() - 1];
            let (members, stay): (Vec<usize>, Vec<usize>) = some.into_iter().partition(|j| self.floor(*j) > last);
            self.join(last, &members);
            stay.into_iter().rev().for_each(|j| left.push_front(j));
        }
    }
    /// Each goes down to the last that nothing between keeps it from. Those left may still meet others.
    fn sums(&mut self, group: Vec<usize>) {
        let mut left: BTreeSet<usize> = group.iter().copied().collect();
        let mut by_floor: BTreeSet<(usize, usize)> = group.iter().map(|j| (self.floor(*j), *j)).collect();
        while let Some(last) = left.last().copied() {
            let mut members: Vec<usize> = by_floor.split_off(&(last + 1, 0)).into_iter().map(|x| x.1).collect();
            members.sort_unstable();
            members.iter().for_each(|j| {
                left.remove(j);
            });
            self.join(last, &members);
            // what waited for one that has gone may go further
            for m in members.iter().filter(|m| **m != last) {
                let freed: Vec<(usize, usize)> = by_floor.range((*m, 0)..(*m + 1, 0)).copied().collect();
                for x in freed {
                    by_floor.remove(&x);
                    by_floor.insert((self.floor(x.1), x.1));
                }
            }
        }
    }

    /// One instruction in the place of `at` for all of `members`; the others only raise versions.
    fn join(&mut self, at: usize, members: &[usize]) {
        if members.len() < 2 {
            return;
        }
        let (mut parts, mut ins, mut outs) = (vec![], vec![], vec![]);
        let whole = self.list[at].at;
        for j in members {
            self.set(*j, false);
            let x = &mut self.list[*j];
            let Kernel::Op(op) = std::mem::replace(&mut x.kernel, Kernel::Bump) else { continue };
            if op.writes() != 0 && self.d.macro_end[x.at] == 0 && x.at != whole {
                self.d.halves.push((x.at, whole));
            }
            parts.push(Part { op, ins: x.ins.len(), outs: x.outs.len() });
            ins.append(&mut x.ins);
            outs.append(&mut x.outs);
        }
        let x = &mut self.list[at];
        x.kernel = Kernel::Together(parts);
        (x.ins, x.outs) = (ins, outs);
        self.set(at, true);
    }

    fn roots(&self, operands: &[In]) -> Vec<Root> {
        operands.iter().map(|i| self.d.root(*i)).collect()
    }
    /// What instruction `j` writes.
    fn written(&self, j: usize) -> Vec<Root> {
        self.list[j].written().map(|i| self.d.root(i)).collect()
    }
    fn set(&mut self, j: usize, on: bool) {
        for root in self.roots(&self.list[j].ins) {
            self.accesses.set_read(j, root, on);
        }
        for root in self.written(j) {
            self.accesses.set_written(j, root, on);
        }
    }
    /// The first instruction that `j` can't go down to: it, or one before it, touches what `j` does, or a launch may end there.
    fn floor(&self, j: usize) -> usize {
        let x = &self.list[j];
        let results = x.outs.iter().filter_map(|o| if let Out::Value(v) = *o { Some(self.d.root(In::Value(v))) } else { None });
        let own: Vec<Root> = self.written(j).into_iter().chain(results).collect();
        let written = self.accesses.next_write(j + 1, self.roots(&x.ins).into_iter().chain(own.iter().copied()));
        let read = self.accesses.next_read(j + 1, own);
        let stop = self.d.next_stop(x.at + 1, true).map(|s| self.list.partition_point(|x| x.at <= s));
        [written, read, stop].into_iter().flatten().min().unwrap_or(self.list.len())
    }
}
