//! The arenas, one a device: every value that lives at the same time as another has a place of its own; first fit in program
//! order.
use super::draft::{Draft, Out};
use super::fuse::Instruction;
use crate::device::Device;

const ALIGN: usize = 256;
/// What a step of the second stream touches keeps its place for this many more instructions, so that the first stream, which
/// runs ahead, needn't wait for it.
const SIDE_LIFE: usize = 8;

/// The byte offset of each computed value in its device's arena, and the arenas' sizes.
pub fn lay_out(d: &Draft, instructions: &[Instruction]) -> (Vec<Option<usize>>, Vec<(Device, usize)>) {
    let n = d.values.len();
    let mut last = vec![0usize; n];
    for (k, i) in instructions.iter().enumerate() {
        let k = if i.side { k + SIDE_LIFE } else { k };
        for r in i.ins.iter().filter_map(|i| d.arena(*i)) {
            last[r as usize] = last[r as usize].max(k);
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
    let mut arenas: Vec<(Device, usize)> = vec![];
    // (offset, size, last use), by arena
    let mut active: Vec<Vec<(usize, usize, usize)>> = vec![];
    for (k, i) in instructions.iter().enumerate() {
        for list in &mut active {
            list.retain(|x| x.2 >= k);
        }
        for o in &i.outs {
            let Out::Value(v) = *o else { continue };
            let value = &d.values[v as usize];
            let arena = arenas.iter().position(|a| a.0 == value.device).unwrap_or_else(|| {
                arenas.push((value.device, 0));
                active.push(vec![]);
                arenas.len() - 1
            });
            let (list, size) = (&mut active[arena], value.meta().bytes().max(1).next_multiple_of(ALIGN));
            list.sort_unstable();
            let mut at = 0;
            for x in list.iter() {
                if at + size <= x.0 {
                    break;
                }
                at = at.max(x.0 + x.1);
            }
            place[v as usize] = Some(at);
            list.push((at, size, last[v as usize]));
            arenas[arena].1 = arenas[arena].1.max(at + size);
        }
    }
    (place, arenas)
}
