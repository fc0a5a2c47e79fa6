//! Products with a relu: of a linear, and the relu's derivative on the gradient that a product gives.
use super::super::draft::Draft;
use crate::op::{Binary, Op, Unary};

/// Node `k` is the relu of a linear that nothing else reads.
pub fn relu_after(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (true, Op::Unary(Unary::Relu), [x]) = (node.live, &node.op, node.ins.as_slice()) else { return };
    let Some(l) = d.made_by(*x, 0).filter(|l| d.read_once(*x) && d.can_move(*l, k)) else { return };
    if let Op::Linear { bias, relu: false } = d.nodes[l].op {
        let (ins, outs) = (d.nodes[l].ins.clone(), node.outs.clone());
        d.rewrite(k, &[l], Op::Linear { bias, relu: true }, ins, outs);
    }
}

/// Node `k` takes a relu's derivative of a product that nothing else reads.
pub fn relu_before(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (true, Op::Binary(Binary::ReluGrad), &[grad, y]) = (node.live, &node.op, node.ins.as_slice()) else { return };
    let plain = |x| d.layout(x).is_contiguous() && d.meta(x) == d.meta(grad) && d.meta(x).shape.rank() == 2 && d.meta(x).dtype.is_float();
    let Some(m) = d.made_by(grad, 0).filter(|m| plain(grad) && plain(y) && d.read_once(grad) && d.can_move(*m, k)) else { return };
    if let Op::Matmul { mask: false } = d.nodes[m].op {
        let (mut ins, outs) = (d.nodes[m].ins.clone(), node.outs.clone());
        ins.push(y);
        d.rewrite(k, &[m], Op::Matmul { mask: true }, ins, outs);
    }
}
