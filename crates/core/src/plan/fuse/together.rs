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
    let kinds: Vec<Option<Kind>> = list.iter().map(|x| kind(d, x)).collect();
    let mut found: Vec<(usize, Kind)> = vec![];
    for (i, k) in kinds.iter().enumerate() {
        if let Some(k) = k.filter(|k| found.iter().all(|f| f.1 != *k)) {
            found.push((i, k));
        }
    }
    // copies first: what they read can go further down then
    found.sort_by_key(|f| f.1.what != What::Copy);
    let mut gone = vec![false; list.len()];
    // further instructions behind one of the list
    let mut behind: Vec<(usize, Instruction)> = vec![];
    for (i, kind) in found {
        let all: Vec<usize> = (i..list.len()).filter(|j| kinds[*j] == Some(kind)).collect();
        for (at, members) in groups(d, list, kind.what, &all) {
            if members.len() < 2 {
                continue;
            }
            let (mut parts, mut ins, mut outs) = (vec![], vec![], vec![]);
            for j in members {
                let x = &mut list[j];
                let (xi, xo) = (std::mem::take(&mut x.ins), std::mem::take(&mut x.outs));
                let Kernel::Op(op) = std::mem::replace(&mut x.kernel, Kernel::Bump) else { continue };
                if op.writes() != 0 && d.macro_end[x.at] == 0 && j != at {
                    let half = x.at;
                    let whole = list[at].at;
                    d.halves.push((half, whole));
                }
                parts.push(Part { op, ins: xi.len(), outs: xo.len() });
                ins.extend(xi);
                outs.extend(xo);
                gone[j] = j != at && list[j].bumps.is_empty();
            }
            let kernel = Kernel::Together(parts);
            if matches!(list[at].kernel, Kernel::Together(_)) {
                behind.push((at, Instruction { at: list[at].at, kernel, ins, outs, bumps: vec![], side: false }));
            } else {
                list[at].kernel = kernel;
                (list[at].ins, list[at].outs) = (ins, outs);
            }
        }
    }
    for (i, x) in std::mem::take(list).into_iter().enumerate() {
        if !gone[i] {
            list.push(x);
        }
        while let Some(n) = behind.iter().position(|b| b.0 == i) {
            list.push(behind.remove(n).1);
        }
    }
}

/// Where members of a kind, `all` of it, come together.
fn groups(d: &Draft, list: &[Instruction], what: What, all: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let sunk = |all: &[usize]| {
        let last = *all.last()?;
        Some((last, all.iter().copied().filter(|j| can_sink(d, list, *j, last)).collect()))
    };
    match (what, all) {
        (What::Cast, [at, ..]) => {
            let hoisted: Vec<usize> = all.iter().copied().filter(|j| !writes(d, &list[*at..*j], &list[*j].ins)).collect();
            let (first, rest) = hoisted.split_at(FIRST_CASTS.min(hoisted.len()));
            vec![(*at, first.to_vec()), (*at, rest.to_vec())]
        }
        (What::Copy, _) => all.chunks(COPIES).filter_map(sunk).collect(),
        _ => sunk(all).into_iter().collect(),
    }
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
