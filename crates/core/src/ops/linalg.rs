//! Matrix products.
use super::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    same_dtype(ins)?;
    let (a, b) = (ins[0].shape, ins[1].shape);
    let shape = match op {
        Op::Matmul { .. } => {
            want(a.rank() >= 2 && a.rank() == b.rank(), || {
                Error::shape(format!("needs two tensors of one rank of at least 2, not {a:?} and {b:?}"))
            })?;
            let r = a.rank();
            want(a[r - 1] == b[r - 2], || Error::shape(format!("inner dimensions differ: {a:?} and {b:?}")))?;
            let lead = Shape::new(&a[..r - 2]).broadcast(&Shape::new(&b[..r - 2]))?;
            let mut d = lead.to_vec();
            d.extend([a[r - 2], b[r - 1]]);
            Shape::new(&d)
        }
        Op::Linear { bias, .. } => {
            want(a.rank() >= 1 && b.rank() == 2 && a[a.rank() - 1] == b[1], || {
                Error::shape(format!("expected [.., {}], got {a:?}", b.get(1).copied().unwrap_or(0)))
            })?;
            if *bias {
                want(*ins[2].shape == [b[0]], || Error::shape(format!("the bias must be [{}], not {:?}", b[0], ins[2].shape)))?;
            }
            float(&ins[0])?;
            a.with(a.rank() - 1, b[0])
        }
        _ => return Err(Error::internal("not a matrix product")),
    };
    Ok(vec![Meta::new(shape, ins[0].dtype)])
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    matches!(op, Op::Matmul { .. } | Op::Linear { .. }).then_some((0b11, 0))
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let g = only(grads)?;
    let mut out = vec![None; s.metas.len()];
    match op {
        Op::Matmul { .. } => {
            if s.needs[0] {
                let bt = cx.transpose(s.x(1)?)?;
                let d = cx.one(Op::Matmul { mask: false }, &[g, &bt])?;
                out[0] = Some(cx.sum_to(&d, s.shape(0))?);
            }
            if s.needs[1] {
                let at = cx.transpose(s.x(0)?)?;
                let d = cx.one(Op::Matmul { mask: false }, &[&at, g])?;
                out[1] = Some(cx.sum_to(&d, s.shape(1))?);
            }
        }
        Op::Linear { bias, .. } => {
            let (xs, ws) = (s.shape(0), s.shape(1));
            let rows = xs.numel().checked_div(ws[1]).unwrap_or(g.shape().numel() / ws[0].max(1));
            let g2 = cx.reshape(g, Shape::new(&[rows, ws[0]]))?;
            if s.needs[0] {
                let d = cx.one(Op::Matmul { mask: false }, &[&g2, s.x(1)?])?;
                out[0] = Some(cx.reshape(&d, xs)?);
            }
            if s.needs[1] {
                let x2 = cx.reshape(s.x(0)?, Shape::new(&[rows, ws[1]]))?;
                let gt = cx.transpose(&g2)?;
                out[1] = Some(cx.one(Op::Matmul { mask: false }, &[&gt, &x2])?);
            }
            if *bias && s.needs[2] {
                out[2] = Some(cx.sum(&g2, Dims::of(&[0]), false)?);
            }
        }
        _ => return Err(Error::internal("has no derivative")),
    }
    Ok(out)
}
