//! Small ops that don't wait for one another, in few launches: casts of weights at the first of them; copies into gradient buffers,
//! sums for them, and counters at the last of some.
use super::super::draft::{Draft, Out};
use super::super::record::In;
use super::{Instruction, Kernel};
use crate::device::{Device, Part};
use crate::dtype::DType;
use crate::op::{Binary, Dims, Op, ReduceKind};

/// Ops that go together: of one kind, in one backward (or in none), on one device.
#[derive(PartialEq, Clone, Copy)]
struct Kind {
    what: What,
    macro_end: usize,
    device: Device,
}
#[derive(PartialEq, Clone, Copy)]
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
    for (i, x) in list.iter().enumerate() {
        let Some(kind) = kind(d, x) else { continue };
        match groups.iter_mut().find(|g| g.0 == kind) {
            Some(g) => g.1.push(i),
            None => groups.push((kind, vec![i])),
        }
    }
    // copies first: what they read can go further down then
    groups.sort_by_key(|g| g.0.what != What::Copy);
    for (kind, mut rest) in groups {
        // what can't go all the way may still meet others
        while let (Some(first), Some(last)) = (rest.first().copied(), rest.last().copied()) {
            let (at, members): (usize, Vec<usize>) = match kind.what {
                What::Cast => (first, rest.iter().copied().filter(|j| !writes(d, &list[first..*j], &list[*j].ins)).collect()),
                What::Copy => {
                    let some = &rest[..rest.len().min(COPIES)];
                    let last = some[some.len() - 1];
                    (last, some.iter().copied().filter(|j| can_sink(d, list, *j, last)).collect())
                }
                _ => (last, rest.iter().copied().filter(|j| can_sink(d, list, *j, last)).collect()),
            };
            rest.retain(|j| !members.contains(j));
            let first = if kind.what == What::Cast && members.len() > FIRST_CASTS + 1 { FIRST_CASTS } else { members.len() };
            let (soon, later) = members.split_at(first);
            if soon.len() > 1 {
                join(d, list, at, soon);
            }
            if later.len() > 1 {
                // in the place of one that has gone
                join(d, list, soon[1], later);
            }
        }
    }
    list.retain(|x| !matches!(x.kernel, Kernel::Bump) || !x.bumps.is_empty());
}

/// One instruction in the place of `at` for all of `members`; the others only raise versions.
fn join(d: &mut Draft, list: &mut [Instruction], at: usize, members: &[usize]) {
    let (mut parts, mut ins, mut outs) = (vec![], vec![], vec![]);
    let whole = list[at].at;
    for j in members {
        let x = &mut list[*j];
        let Kernel::Op(op) = std::mem::replace(&mut x.kernel, Kernel::Bump) else { continue };
        if op.writes() != 0 && d.macro_end[x.at] == 0 && x.at != whole {
            d.halves.push((x.at, whole));
        }
        parts.push(Part { op, ins: x.ins.len(), outs: x.outs.len() });
        ins.append(&mut x.ins);
        outs.append(&mut x.outs);
    }
    list[at].kernel = Kernel::Together(parts);
    (list[at].ins, list[at].outs) = (ins, outs);
}

/// One of the instructions writes to an operand.
fn writes(d: &Draft, between: &[Instruction], operands: &[In]) -> bool {
    between.iter().any(|x| x.written().any(|w| operands.iter().any(|i| d.overlap(w, *i))))
}
/// Instruction `j` may as well run in the place of `last`.
fn can_sink(d: &Draft, list: &[Instruction], j: usize, last: usize) -> bool {
    let Some(between) = list.get(j + 1..=last) else { return true };
    let results = list[j].outs.iter().filter_map(|o| if let Out::Value(v) = *o { Some(In::Value(v)) } else { None });
    let own: Vec<In> = list[j].written().chain(results).collect();
    let seen = |x: &Instruction| x.ins.iter().any(|r| own.iter().any(|w| d.overlap(*r, *w)));
    !writes(d, between, &list[j].ins) && !writes(d, between, &own) && !between.iter().any(seen) && !d.stops(list[j].at + 1, list[last].at, true)
}
