//! The arenas, one a device: every value that lives at the same time as another has a place of its own; first fit in program
//! order.
use super::draft::{Draft, Out};
use super::fuse::Instruction;
use crate::device::Device;
use std::collections::{BTreeMap, BTreeSet};

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
    // the places to give back before an instruction: arena, offset and size
    let mut ends: Vec<Vec<(usize, usize, usize)>> = vec![vec![]; instructions.len()];
    let mut place = vec![None; n];
    let mut arenas: Vec<(Device, usize)> = vec![];
    let mut gaps: Vec<Gaps> = vec![];
    for (k, i) in instructions.iter().enumerate() {
        for (arena, at, size) in std::mem::take(&mut ends[k]) {
            gaps[arena].give(at, size);
        }
        for o in &i.outs {
            let Out::Value(v) = *o else { continue };
            let value = &d.values[v as usize];
            let arena = arenas.iter().position(|a| a.0 == value.device).unwrap_or_else(|| {
                arenas.push((value.device, 0));
                gaps.push(Gaps::default());
                arenas.len() - 1
            });
            let size = value.meta().bytes().max(1).next_multiple_of(ALIGN);
            let at = gaps[arena].take(size);
            place[v as usize] = Some(at);
            if let Some(list) = last[v as usize].checked_add(1).and_then(|end| ends.get_mut(end)) {
                list.push((arena, at, size));
            }
            arenas[arena].1 = arenas[arena].1.max(at + size);
        }
    }
    (place, arenas)
}

/// Gaps of the taken's own class that are looked at before a larger class is.
const LOOKS: usize = 64;

/// The free memory of an arena, which has no end: gaps by offset, and in classes by the power of two that their size has.
struct Gaps {
    sizes: BTreeMap<usize, usize>,
    classes: Vec<BTreeSet<usize>>,
}
impl Default for Gaps {
    fn default() -> Gaps {
        let mut gaps = Gaps { sizes: BTreeMap::new(), classes: vec![BTreeSet::new(); usize::BITS as usize] };
        gaps.set(0, usize::MAX / 2);
        gaps
    }
}
impl Gaps {
    fn set(&mut self, at: usize, size: usize) {
        self.sizes.insert(at, size);
        self.classes[size.ilog2() as usize].insert(at);
    }
    fn unset(&mut self, at: usize) -> usize {
        let size = self.sizes.remove(&at).unwrap_or(1);
        self.classes[size.ilog2() as usize].remove(&at);
        size
    }
    /// The first place of that size (among very many of about this size, one of the first).
    fn take(&mut self, size: usize) -> usize {
        let class = size.ilog2() as usize;
        let own = self.classes[class].iter().take(LOOKS).copied().find(|at| self.sizes[at] >= size);
        let larger = self.classes[class + 1..].iter().filter_map(|c| c.first().copied());
        // the last gap takes everything
        let at = larger.chain(own).min().unwrap_or(0);
        let whole = self.unset(at);
        if whole > size {
            self.set(at + size, whole - size);
        }
        at
    }
    fn give(&mut self, at: usize, size: usize) {
        let (mut from, mut to) = (at, at + size);
        if let Some((before, size)) = self.sizes.range(..at).next_back().map(|(a, s)| (*a, *s))
            && before + size == at
        {
            self.unset(before);
            from = before;
        }
        if self.sizes.contains_key(&to) {
            to += self.unset(to);
        }
        self.set(from, to - from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the arenas were laid out with when a place was looked for from the start.
    fn first_fit(taken: &[(usize, usize)], size: usize) -> usize {
        taken.iter().fold((0, false), |(at, found), x| if found || at + size <= x.0 { (at, true) } else { (at.max(x.0 + x.1), false) }).0
    }
    #[test]
    fn a_place_is_the_first_that_fits() {
        let (mut gaps, mut taken, mut state) = (Gaps::default(), vec![], 1u64);
        for _ in 0..4000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let random = (state >> 33) as usize;
            if random % 9 < 5 || taken.is_empty() {
                let size = (1 + random / 9 % 40) * ALIGN;
                let at = gaps.take(size);
                assert_eq!(at, first_fit(&taken, size));
                taken.push((at, size));
                taken.sort_unstable();
            } else {
                let (at, size) = taken.remove(random / 9 % taken.len());
                gaps.give(at, size);
            }
        }
    }
}
