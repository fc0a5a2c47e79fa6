//! A loss with the gradient of its logits, where that of the loss itself is 1.
use super::super::draft::Draft;
use crate::op::{Op, Reduction};

/// Node `k` is the gradient of a cross-entropy that starts a backward: the forward op computes it too. That is earlier than it is
/// asked for, which nobody sees.
pub fn with_gradient(d: &mut Draft, k: usize) {
    let node = &d.nodes[k];
    let (true, Op::CrossEntropyGrad { ignore_index, smoothing, reduction }) = (node.live, &node.op) else { return };
    let (ignore_index, smoothing, reduction) = (*ignore_index, *smoothing, *reduction);
    let [grad, logits, target, log_sum] = node.ins[..] else { return };
    let (Some(f), Some(one)) = (d.made_by(log_sum, 1), d.made_by(grad, 0)) else { return };
    let same = d.nodes[f].op == Op::CrossEntropy { ignore_index, smoothing, reduction, grad: false } && d.nodes[f].ins[..] == [logits, target];
    let of_one = matches!(d.nodes[one].op, Op::Fill { value, .. } if value.source().is_none() && value.recorded() == 1.0);
    let plain = reduction != Reduction::None && d.layout(logits).is_contiguous();
    if same && of_one && plain && !d.writes_between(f + 1, k, &[logits, target, grad]) {
        let (ins, mut outs) = (d.nodes[f].ins.clone(), d.nodes[f].outs.clone());
        outs.extend(&d.nodes[k].outs);
        d.rewrite(f, &[k], Op::CrossEntropy { ignore_index, smoothing, reduction, grad: true }, ins, outs);
    }
}
