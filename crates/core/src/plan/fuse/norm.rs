//! Batch norm with what follows it, and its gradient with what comes before: the ops between read and write whole images.
use super::super::draft::{Draft, Out};
use super::super::record::In;
use crate::op::{Binary, NormMask, Op, Unary};
use crate::shape::Layout;

/// The operand lies in the order of `like` and as aligned as a result: kernels take it by the same vectors.
fn beside(d: &Draft, i: In, like: &Layout) -> bool {
    const ALIGN: usize = 16;
    let layout = d.layout(i);
    d.arena(i).is_some() && layout.same_order(like) && (layout.offset * d.meta(i).dtype.size()).is_multiple_of(ALIGN)
}

/// Node `k` is a relu, or adds a tensor of the same size: the batch norm before it does that too, if nothing else reads its result.
pub fn forward(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (true, [result]) = (node.live, node.outs.as_slice()) else { return };
    let (operands, result) = (node.ins.clone(), *result);
    match node.op {
        Op::Unary(Unary::Relu) => follow(d, k, operands[0], None, result),
        // the later of two norms moves less far
        Op::Binary(Binary::Add) => {
            let [a, b] = [operands[0], operands[1]];
            let swapped = d.made_by(b, 0) > d.made_by(a, 0) && follow(d, k, b, Some(a), result);
            swapped || follow(d, k, a, Some(b), result) || follow(d, k, b, Some(a), result)
        }
        _ => false,
    };
}
fn follow(d: &mut Draft, k: usize, x: In, addend: Option<In>, result: Out) -> bool {
    let (Some(j), Out::Value(v)) = (d.made_by(x, 0), result) else { return false };
    let norm = &d.nodes[j];
    let Op::BatchNorm { eps, momentum, affine, stats, add, relu: false } = norm.op else { return false };
    let layout = d.layout(x);
    let fits = d.values[v as usize].layout.same_order(&layout) && addend.is_none_or(|a| !add && beside(d, a, &layout));
    if !(fits && d.read_once(x) && d.can_move(j, k)) {
        return false;
    }
    let (mut ins, mut outs) = (norm.ins.clone(), norm.outs.clone());
    ins.extend(addend);
    outs[0] = result;
    let op = Op::BatchNorm { eps, momentum, affine, stats, add: add || addend.is_some(), relu: addend.is_none() };
    d.rewrite(k, &[j], op, ins, outs);
    true
}

/// Node `k` is a batch norm's gradient: it takes the relu's derivative itself, and adds two gradients that meet there.
pub fn backward(d: &mut Draft, k: usize) {
    if let Op::BatchNormGrad { affine, mask: NormMask::None, sum: false, keep: false } = d.nodes[k].op
        && d.nodes[k].live
        && let Out::Value(dx) = d.nodes[k].outs[0]
    {
        let layout = d.values[dx as usize].layout;
        if beside(d, d.nodes[k].ins[0], &layout) && beside(d, d.nodes[k].ins[1], &layout) {
            let mask = relu_above(d, k, affine, &layout);
            sum_above(d, k, affine, mask, &layout);
        }
    }
}
fn relu_above(d: &mut Draft, k: usize, affine: bool, layout: &Layout) -> NormMask {
    let mut ins = d.nodes[k].ins.clone();
    let Some((r, [g, y], keep)) = before(d, k, Binary::ReluGrad, layout) else { return NormMask::None };
    let (mask, more) = match norm_under(d, k, y) {
        Some(bias) => (NormMask::Input, bias),
        None => (NormMask::Result, Some(y)),
    };
    ins[0] = g;
    ins.extend(more);
    let outs = with_kept(d, k, keep);
    d.rewrite(k, &[r], Op::BatchNormGrad { affine, mask, sum: false, keep }, ins, outs);
    mask
}
fn sum_above(d: &mut Draft, k: usize, affine: bool, mask: NormMask, layout: &Layout) {
    let (mut ins, masked) = (d.nodes[k].ins.clone(), mask != NormMask::None);
    let Some((a, [g, h], wanted)) = before(d, k, Binary::Add, layout) else { return };
    // what is kept is masked
    if masked && wanted {
        return;
    }
    ins[0] = g;
    ins.push(h);
    let outs = with_kept(d, k, wanted);
    let keep = outs.len() > 3;
    d.rewrite(k, &[a], Op::BatchNormGrad { affine, mask, sum: true, keep }, ins, outs);
}
/// The results of `k`, and the gradient that it reads now if somebody else wants that.
fn with_kept(d: &Draft, k: usize, keep: bool) -> Vec<Out> {
    let kept = if let (true, In::Value(v)) = (keep, d.nodes[k].ins[0]) { Some(Out::Value(v)) } else { None };
    d.nodes[k].outs.iter().copied().chain(kept).collect()
}
/// The node that makes the gradient of `k` by `op`, in the same backward, if it may run in the place of `k`; its operands; whether
/// others read its result.
fn before(d: &Draft, k: usize, op: Binary, layout: &Layout) -> Option<(usize, [In; 2], bool)> {
    let grad = d.nodes[k].ins[0];
    let r = d.made_by(grad, 0)?;
    let operands = <[In; 2]>::try_from(d.nodes[r].ins.as_slice()).ok()?;
    let found = d.nodes[r].op == Op::Binary(op) && d.macro_end[k] != 0 && operands.iter().all(|i| beside(d, *i, layout)) && d.can_move(r, k);
    found.then(|| (r, operands, !d.read_once(grad)))
}
/// The relu's result `y` is that of the norm whose gradient `k` is, computed from what is still the same: then it need not be
/// read. The norm's bias, if it has one.
fn norm_under(d: &Draft, k: usize, y: In) -> Option<Option<In>> {
    let f = d.made_by(y, 0)?;
    let (norm, grad) = (&d.nodes[f], &d.nodes[k]);
    let Op::BatchNorm { affine, add: false, relu: true, .. } = norm.op else { return None };
    let (statistics, operands) = (grad.ins.len() - 2, if affine { 3 } else { 1 });
    let same_norm = grad.ins[1] == norm.ins[0]
        && (!affine || grad.ins[2] == norm.ins[1])
        && (0..2).all(|s| matches!(grad.ins[statistics + s], In::Value(v) if norm.outs[1 + s] == Out::Value(v)));
    let mut read = norm.ins[..operands].to_vec();
    read.extend(&grad.ins[statistics..]);
    (same_norm && !d.writes_between(f + 1, k, &read)).then(|| affine.then(|| norm.ins[2]))
}
