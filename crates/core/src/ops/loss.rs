//! Cross-entropy from logits, and the running loss of a training loop.
use super::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    Ok(match op {
        Op::CrossEntropy { reduction, grad, .. } => {
            let (x, t) = (ins[0], ins[1]);
            float(&x)?;
            index_dtype(&t)?;
            want(x.shape.rank() == 2 && *t.shape == x.shape[..1], || {
                Error::shape(format!("expected logits [n, classes] and targets [n], got {:?} and {:?}", x.shape, t.shape))
            })?;
            let n = Meta::new(t.shape, x.dtype);
            let mut outs = vec![if *reduction == Reduction::None { n } else { Meta::new(Shape::scalar(), x.dtype) }, n];
            outs.extend(grad.then_some(x));
            outs
        }
        Op::CrossEntropyGrad { .. } => vec![ins[1]],
        Op::TrackLoss { .. } => {
            want(ins[0].dtype == DType::F64 && *ins[0].shape == [4], || Error::shape("the tracker must be float64 [4]"))?;
            float(&ins[1])?;
            want(ins[1].shape.numel() == 1, || Error::shape(format!("the loss must be a scalar, not {:?}", ins[1].shape)))?;
            vec![]
        }
        _ => return Err(Error::internal("not a loss")),
    })
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    matches!(op, Op::CrossEntropy { .. }).then_some((0b11, 0b10))
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let (Op::CrossEntropy { ignore_index, smoothing, reduction, .. }, Some(g)) = (op, &grads[0]) else { return Ok(vec![None, None]) };
    let (x, t) = (s.x(0)?, s.x(1)?);
    if !cx.create_graph() {
        let op = Op::CrossEntropyGrad { ignore_index: *ignore_index, smoothing: *smoothing, reduction: *reduction };
        return Ok(vec![Some(cx.one(op, &[g, x, t, s.y(1)?])?), None]);
    }
    // g / n * (softmax(x) - ((1 - eps) * onehot + eps / c)), rows of ignored targets 0
    let (n, c) = (x.shape()[0], x.shape()[1]);
    let used = cx.scalar(Binary::Ne, t, Sc::new(*ignore_index as f64))?;
    let zero = cx.full(Shape::scalar(), DType::I64, 0.0)?;
    let at = cx.one(Op::Where, &[&used, t, &zero])?;
    let at = cx.reshape(&at, Shape::new(&[n, 1]))?;
    let zeros = cx.full(x.shape(), x.dtype, 0.0)?;
    let ones = cx.full(Shape::new(&[n, 1]), x.dtype, 1.0)?;
    let onehot = cx.one(Op::ScatterAdd { dim: 1 }, &[&zeros, &at, &ones])?;
    let eps = cx.fill(Shape::scalar(), x.dtype, *smoothing)?;
    let sure = cx.rsub(1.0, &eps)?;
    let q = cx.mul(&onehot, &sure)?;
    let even = cx.scale(&eps, 1.0 / c as f64)?;
    let q = cx.add(&q, &even)?;
    let p = cx.one(Op::Softmax { log: false }, &[x])?;
    let d = cx.sub(&p, &q)?;
    let weight = cx.cast(&used, x.dtype)?;
    let mut coefficient = match reduction {
        Reduction::None => g.clone(),
        Reduction::Sum => cx.expand(g, Shape::new(&[n]))?,
        Reduction::Mean => {
            let count = cx.sum(&weight, Dims::of(&[0]), false)?;
            let g = cx.div(g, &count)?;
            cx.expand(&g, Shape::new(&[n]))?
        }
    };
    coefficient = cx.mul(&coefficient, &weight)?;
    let coefficient = cx.reshape(&coefficient, Shape::new(&[n, 1]))?;
    Ok(vec![Some(cx.mul(&d, &coefficient)?), None])
}
