//! Results computed, or cast, straight into gradient buffers.
use super::super::draft::{Draft, Out};
use super::super::record::In;
use super::chains::fusable;
use crate::op::Op;

/// Node `k` copies a cast of something into a buffer of the cast's dtype: the copy casts.
pub fn cast(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (Op::CopyInto, true, [target, source]) = (&node.op, node.live, node.ins.as_slice()) else { return };
    let (target, source) = (*target, *source);
    let Some(c) = d.made_by(source, 0) else { return };
    if matches!(d.nodes[c].op, Op::Cast(_)) && d.meta(source) == d.meta(target) && d.read_once(source) && d.can_move(c, k) {
        d.rewrite(k, &[c], Op::CopyInto, vec![target, d.nodes[c].ins[0]], vec![]);
    }
}

/// Node `k` copies a fresh result into an external buffer of its size. Within one backward, where no host read and no
/// divergence can fall between, the result may be computed there if nothing touches the buffer in the meantime.
pub fn copy(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (Op::CopyInto, true, [In::External(target), source]) = (&node.op, node.live, node.ins.as_slice()) else { return };
    let (target, source) = (*target, *source);
    let Some(r) = d.arena(source) else { return };
    let s = d.maker[r as usize];
    let maker = &d.nodes[s];
    let Some(place) = maker.outs.iter().position(|o| *o == Out::Value(r)) else { return };
    let x = &d.externals[target as usize].id;
    let whole = d.meta(source) == d.meta(node.ins[0]) && d.layout(source).same_order(&x.layout) && x.layout.is_dense();
    // the kernel takes its sizes from the target: the value itself, not a view of it, has the target's shape and order
    let value = In::Value(r);
    let alike = d.meta(value) == d.meta(source) && d.layout(value).same_order(&x.layout) || d.mutant == 30;
    let fresh = maker.live && maker.op.writes() == 0 && alike && d.values[r as usize].layout.numel() == x.layout.numel();
    let inside = d.macro_end[s] != 0 && d.macro_end[s] == d.macro_end[k];
    let own = [In::External(target)];
    let untouched = !d.reads_between(s, k, &own) && !d.writes_between(s, k, &own);
    // chains write to the arena only
    if whole && fresh && inside && untouched && d.read_once(value) && !fusable(&maker.op) {
        d.send_to(s, place, target, k);
    }
}
