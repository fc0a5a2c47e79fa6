//! 2-d convolution. Its two derivatives are convolutions too, and each other's derivatives.
use super::*;

/// Size of the result along one side.
pub fn out_size(n: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize> {
    let window = dilation * (kernel.max(1) - 1) + 1;
    want(kernel > 0 && stride > 0 && dilation > 0, || Error::bad_option("kernel, stride and dilation must be at least 1"))?;
    want(n + 2 * padding >= window, || Error::shape(format!("a window of {window} is larger than the padded input of {}", n + 2 * padding)))?;
    Ok((n + 2 * padding - window) / stride + 1)
}

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    same_dtype(ins)?;
    float(&ins[0])?;
    let dtype = ins[0].dtype;
    Ok(vec![match op {
        Op::Conv2d { geometry: c, bias } => {
            let (x, w) = (ins[0].shape, ins[1].shape);
            want(x.rank() == 4 && w.rank() == 4, || {
                Error::shape(format!("expected [n, c, h, w] and a weight [o, c / groups, kh, kw], got {x:?} and {w:?}"))
            })?;
            want(c.groups > 0 && w[0] % c.groups == 0 && x[1] == w[1] * c.groups, || {
                Error::shape(format!("expected {} input channels, got {x:?}", w[1] * c.groups))
            })?;
            if *bias {
                want(*ins[2].shape == [w[0]], || Error::shape(format!("the bias must be [{}], not {:?}", w[0], ins[2].shape)))?;
            }
            let side = |i: usize| out_size(x[2 + i], w[2 + i], c.stride[i], c.padding[i], c.dilation[i]);
            Meta::new(Shape::new(&[x[0], w[0], side(0)?, side(1)?]), dtype)
        }
        Op::Conv2dGradInput { shape, .. } | Op::Conv2dGradWeight { shape, .. } => Meta::new(*shape, dtype),
        _ => return Err(Error::internal("not a convolution")),
    }])
}

pub fn saves(_: &Op) -> Option<(u32, u32)> {
    Some((0b11, 0))
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let g = only(grads)?;
    let mut out = vec![None; s.metas.len()];
    // the convolution whose pieces these are: x and the upstream gradient take part as operands
    match op {
        Op::Conv2d { geometry, bias } => {
            if s.needs[0] {
                out[0] = Some(cx.one(Op::Conv2dGradInput { geometry: *geometry, shape: s.shape(0) }, &[g, s.x(1)?])?);
            }
            if s.needs[1] {
                out[1] = Some(cx.one(Op::Conv2dGradWeight { geometry: *geometry, shape: s.shape(1) }, &[g, s.x(0)?])?);
            }
            if *bias && s.needs[2] {
                out[2] = Some(cx.sum(g, Dims::of(&[0, 2, 3]), false)?);
            }
        }
        Op::Conv2dGradInput { geometry, .. } => {
            if s.needs[0] {
                out[0] = Some(cx.one(Op::Conv2d { geometry: *geometry, bias: false }, &[g, s.x(1)?])?);
            }
            if s.needs[1] {
                out[1] = Some(cx.one(Op::Conv2dGradWeight { geometry: *geometry, shape: s.shape(1) }, &[s.x(0)?, g])?);
            }
        }
        Op::Conv2dGradWeight { geometry, .. } => {
            if s.needs[0] {
                out[0] = Some(cx.one(Op::Conv2d { geometry: *geometry, bias: false }, &[s.x(1)?, g])?);
            }
            if s.needs[1] {
                out[1] = Some(cx.one(Op::Conv2dGradInput { geometry: *geometry, shape: s.shape(1) }, &[s.x(0)?, g])?);
            }
        }
        _ => return Err(Error::internal("has no derivative")),
    }
    Ok(out)
}
