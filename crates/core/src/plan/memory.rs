//! The arena: every value that lives at the same time as another has a place of its own; first fit in program order.
use super::build::Draft;
use super::fuse::{Instruction, Out};

const ALIGN: usize = 64;

/// The byte offset of each computed value, and the arena's size.
pub fn lay_out(d: &Draft, instructions: &[Instruction]) -> (Vec<Option<usize>>, usize) {
    let n = d.values.len();
    let mut last = vec![0usize; n];
    for (k, i) in instructions.iter().enumerate() {
        for r in i.ins.iter().filter_map(|i| d.arena(*i)) {
            last[r as usize] = k;
        }
        for o in &i.outs {
            if let Out::Value(v) = o {
                last[*v as usize] = last[*v as usize].max(k);
            }
        }
    }
    for r in &d.pinned {
        last[*r as usize] = usize::MAX;
    }
    let mut place = vec![None; n];
    let (mut bytes, mut active): (usize, Vec<(usize, usize, usize)>) = (0, vec![]); // (offset, size, last)
    for (k, i) in instructions.iter().enumerate() {
        active.retain(|x| x.2 >= k);
        for o in &i.outs {
            let Out::Value(v) = *o else { continue };
            let size = d.values[v as usize].meta().bytes().max(1).next_multiple_of(ALIGN);
            active.sort_unstable();
            let mut at = 0;
            for x in &active {
                if at + size <= x.0 {
                    break;
                }
                at = at.max(x.0 + x.1);
            }
            place[v as usize] = Some(at);
            active.push((at, size, last[v as usize]));
            bytes = bytes.max(at + size);
        }
    }
    (place, bytes)
}
