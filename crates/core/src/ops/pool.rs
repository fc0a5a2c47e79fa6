//! 2-d pooling.
use super::*;

fn out_size(n: usize, p: &Pool2d, i: usize) -> Result<usize> {
    want(p.padding[i] <= p.kernel[i] / 2, || Error::bad_option("padding must be at most half the kernel"))?;
    let base = conv::out_size(n, p.kernel[i], p.stride[i], p.padding[i], p.dilation[i])?;
    if !p.ceil {
        return Ok(base);
    }
    let window = p.dilation[i] * (p.kernel[i] - 1) + 1;
    let out = (n + 2 * p.padding[i] - window).div_ceil(p.stride[i]) + 1;
    // the last window must start inside the input or its left padding
    Ok(if (out - 1) * p.stride[i] >= n + p.padding[i] { out - 1 } else { out })
}

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let x = ins[0];
    float(&x)?;
    Ok(match op {
        Op::MaxPool2d(p) | Op::AvgPool2d(p) => {
            want(x.shape.rank() == 4, || Error::shape(format!("expected [n, c, h, w], got {:?}", x.shape)))?;
            let y = Meta::new(Shape::new(&[x.shape[0], x.shape[1], out_size(x.shape[2], p, 0)?, out_size(x.shape[3], p, 1)?]), x.dtype);
            if matches!(op, Op::MaxPool2d(_)) { vec![y, Meta::new(y.shape, DType::I64)] } else { vec![y] }
        }
        Op::MaxPool2dGrad { shape, .. } | Op::AvgPool2dGrad { shape, .. } => vec![Meta::new(*shape, x.dtype)],
        _ => return Err(Error::internal("not a pooling op")),
    })
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    Some(match op {
        Op::MaxPool2d(_) => (0, 0b10),
        Op::MaxPool2dGrad { .. } => (0b10, 0),
        _ => (0, 0),
    })
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let Some(g) = &grads[0] else { return Ok(vec![None; s.metas.len()]) };
    Ok(match op {
        Op::MaxPool2d(p) => vec![Some(cx.one(Op::MaxPool2dGrad { geometry: *p, shape: s.shape(0) }, &[g, s.y(1)?])?)],
        Op::MaxPool2dGrad { shape, .. } => {
            // picks the elements that the forward pass picked
            let (small, n) = (s.shape(0), shape[0] * shape[1]);
            let g = cx.reshape(g, Shape::new(&[n, shape[2] * shape[3]]))?;
            let at = cx.reshape(s.x(1)?, Shape::new(&[n, small[2] * small[3]]))?;
            let d = cx.one(Op::Gather { dim: 1 }, &[&g, &at])?;
            vec![Some(cx.reshape(&d, small)?), None]
        }
        Op::AvgPool2d(p) => vec![Some(cx.one(Op::AvgPool2dGrad { geometry: *p, shape: s.shape(0) }, &[g])?)],
        Op::AvgPool2dGrad { geometry, .. } => vec![Some(cx.one(Op::AvgPool2d(*geometry), &[g])?)],
        _ => return Err(Error::internal("has no derivative")),
    })
}
