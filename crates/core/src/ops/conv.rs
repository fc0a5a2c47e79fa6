//! 2-d convolution. Its two derivatives are convolutions too, and each other's derivatives.
use super::*;

/// Longest side of an image with its padding: that of cuDNN, and a plane's pixels can be counted.
const MAX_SIDE: usize = i32::MAX as usize;

/// Size of the result along one side.
pub fn out_size(n: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize> {
    want(kernel > 0 && stride > 0 && dilation > 0, || Error::bad_option("kernel, stride and dilation must be at least 1"))?;
    let limit = |what: &str| Error::not_supported(format!("{what} is above the limit of {MAX_SIDE}"));
    want(stride <= MAX_SIDE, || limit("the stride"))?;
    let within = |side: Option<usize>| side.filter(|s| *s <= MAX_SIDE);
    let window = within(dilation.checked_mul(kernel - 1).and_then(|w| w.checked_add(1))).ok_or_else(|| limit("a window"))?;
    let padded = within(padding.checked_mul(2).and_then(|p| p.checked_add(n))).ok_or_else(|| limit("a padded side"))?;
    want(padded >= window, || Error::shape(format!("a window of {window} is larger than the padded input of {padded}")))?;
    Ok((padded - window) / stride + 1)
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
            want(c.groups > 0 && w[0] % c.groups == 0 && w[1].checked_mul(c.groups) == Some(x[1]), || {
                Error::shape(format!("expected {} times {} input channels, got {x:?}", c.groups, w[1]))
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
