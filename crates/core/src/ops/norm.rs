//! Batch normalisation in training mode (arXiv 1502.03167); evaluation mode is pointwise arithmetic.
use super::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let x = ins[0];
    float(&x)?;
    want(x.shape.rank() >= 2, || Error::shape(format!("expected [n, c, ..], got {:?}", x.shape)))?;
    // statistics and parameters of a half-precision input are float32
    let c = Meta::new(Shape::new(&[x.shape[1]]), x.dtype.accumulator());
    Ok(match op {
        Op::BatchNorm { add, .. } => {
            let channels = &ins[1..ins.len() - *add as usize];
            want(channels.iter().all(|m| m.dtype == c.dtype), || {
                Error::dtype(format!("the parameters and statistics of a {} input must be {}", x.dtype.name(), c.dtype.name()))
            })?;
            want(channels.iter().all(|m| m.shape == c.shape), || {
                Error::shape(format!("expected {} channels, got {:?}", ins.get(1).map_or(0, |m| m.shape.numel()), x.shape))
            })?;
            want(x.shape.numel() > x.shape[1], || Error::shape(format!("needs more than one value per channel in training, got {:?}", x.shape)))?;
            vec![x, c, c]
        }
        Op::BatchNormGrad { keep, .. } => {
            let mut outs = vec![x, c, c];
            outs.extend(keep.then_some(x));
            outs
        }
        _ => return Err(Error::internal("not a normalisation")),
    })
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    match op {
        Op::BatchNorm { affine, .. } => Some((if *affine { 0b11 } else { 1 }, 0b110)),
        _ => None,
    }
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let mut out = vec![None; s.metas.len()];
    let (Op::BatchNorm { affine, eps, .. }, Some(g)) = (op, &grads[0]) else { return Ok(out) };
    let x = s.x(0)?;
    if cx.create_graph() {
        let (dx, dw, db) = spelled_out(cx, g, x, if *affine { Some(s.x(1)?) } else { None }, *eps)?;
        out[0] = Some(dx);
        if *affine {
            (out[1], out[2]) = (Some(dw), Some(db));
        }
        return Ok(out);
    }
    let (mean, invstd) = (s.y(1)?, s.y(2)?);
    let mut r = if *affine { cx.run(plain(true), &[g, x, s.x(1)?, mean, invstd])? } else { cx.run(plain(false), &[g, x, mean, invstd])? };
    if *affine {
        out[2] = r.pop();
        out[1] = r.pop();
    } else {
        r.truncate(1);
    }
    out[0] = r.into_iter().next();
    Ok(out)
}

/// The derivative as it stands on a tape.
fn plain(affine: bool) -> Op {
    Op::BatchNormGrad { affine, mask: NormMask::None, sum: false, keep: false }
}

/// The derivative from the input itself, in ops that have derivatives: dx = invstd * w * (g - mean(g) - xhat * mean(g * xhat)).
fn spelled_out(cx: &mut dyn Vjp, g: &Tensor, x: &Tensor, weight: Option<&Tensor>, eps: Sc) -> Result<(Tensor, Tensor, Tensor)> {
    let shape = x.shape();
    let dims = Dims::of(&(0..shape.rank()).filter(|d| *d != 1).collect::<Vec<_>>());
    let mut per_channel = vec![1; shape.rank()];
    per_channel[1] = shape[1];
    let (per_channel, c) = (Shape::new(&per_channel), Shape::new(&[shape[1]]));
    let mean = |cx: &mut dyn Vjp, t: &Tensor| cx.one(Op::Reduce { kind: ReduceKind::Mean, dims, keepdim: true }, &[t]);
    let m = mean(cx, x)?;
    let d = cx.sub(x, &m)?;
    let d2 = cx.mul(&d, &d)?;
    let var = mean(cx, &d2)?;
    let var = cx.scalar(Binary::Add, &var, eps)?;
    let invstd = cx.unary(Unary::Rsqrt, &var)?;
    let xhat = cx.mul(&d, &invstd)?;
    let gx = cx.mul(g, &xhat)?;
    let (dw, db) = (cx.sum(&gx, dims, true)?, cx.sum(g, dims, true)?);
    let (mg, mgx) = (mean(cx, g)?, mean(cx, &gx)?);
    let a = cx.sub(g, &mg)?;
    let b = cx.mul(&xhat, &mgx)?;
    let mut dx = cx.sub(&a, &b)?;
    dx = cx.mul(&dx, &invstd)?;
    if let Some(w) = weight {
        let w = cx.cast(w, x.dtype)?;
        let w = cx.reshape(&w, per_channel)?;
        dx = cx.mul(&dx, &w)?;
    }
    let parameter = |cx: &mut dyn Vjp, t: &Tensor| {
        let t = cx.reshape(t, c)?;
        cx.cast(&t, x.dtype.accumulator())
    };
    Ok((dx, parameter(cx, &dw)?, parameter(cx, &db)?))
}
