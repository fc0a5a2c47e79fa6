//! The same memory under another layout.
use super::*;

/// The result's layout. A reshape that strides can't express is an error: the caller copies first.
pub fn layout(v: &View, l: &Layout) -> Result<Layout> {
    Ok(match v {
        View::Reshape(s) => l.reshape(s).ok_or_else(|| Error::shape(format!("{:?} can't be viewed as {s:?}", l.shape)))?,
        View::Permute(p) => l.permute(p.as_slice()),
        View::Expand(s) => l.expand(s),
        View::Narrow { dim, start, len, step } => l.narrow(*dim, *start, *len, *step),
        View::Select { dim, index } => l.select(*dim, *index),
        View::Detach => *l,
    })
}

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let (Op::View(v), s) = (op, &ins[0].shape) else { return Err(Error::internal("not a view")) };
    let shape = match v {
        View::Reshape(n) => {
            want(n.numel() == s.numel(), || Error::shape(format!("{s:?} has {} elements, {n:?} has {}", s.numel(), n.numel())))?;
            *n
        }
        View::Permute(p) => {
            let mut seen = p.as_slice().to_vec();
            seen.sort_unstable();
            want(seen.len() == s.rank() && seen.iter().enumerate().all(|(i, d)| *d as usize == i), || {
                Error::index(format!("{:?} is no order of the dimensions of {s:?}", p.as_slice()))
            })?;
            Layout::contiguous(*s).permute(p.as_slice()).shape
        }
        View::Expand(n) => {
            want(s.rank() <= n.rank() && s.broadcast(n).is_ok_and(|b| b == *n), || Error::shape(format!("{s:?} can't be expanded to {n:?}")))?;
            *n
        }
        View::Narrow { dim, start, len, step } => {
            dim_in(*dim, s)?;
            let end = start.saturating_add(if *len == 0 { 0 } else { (len - 1).saturating_mul(*step).saturating_add(1) });
            want(*step > 0 && end <= s[*dim], || Error::index(format!("elements {start}..{end} of dimension {dim}, which has {}", s[*dim])))?;
            s.with(*dim, *len)
        }
        View::Select { dim, index } => {
            dim_in(*dim, s)?;
            want(*index < s[*dim], || Error::index(format!("index {index} of dimension {dim}, which has {}", s[*dim])))?;
            s.without(*dim)
        }
        View::Detach => *s,
    };
    Ok(vec![Meta::new(shape, ins[0].dtype)])
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    (*op != Op::View(View::Detach)).then_some((0, 0))
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let (Op::View(v), g) = (op, only(grads)?) else { return Err(Error::internal("not a view")) };
    Ok(vec![Some(match v {
        View::Reshape(_) => cx.reshape(g, s.shape(0))?,
        View::Permute(p) => cx.view(View::Permute(p.inverse()), g)?,
        View::Expand(_) => cx.sum_to(g, s.shape(0))?,
        View::Narrow { dim, start, step, .. } => cx.one(Op::NarrowGrad { shape: s.shape(0), dim: *dim, start: *start, step: *step }, &[g])?,
        View::Select { dim, index } => {
            let g = cx.reshape(g, s.shape(0).with(*dim, 1))?;
            cx.one(Op::NarrowGrad { shape: s.shape(0), dim: *dim, start: *index, step: 1 }, &[&g])?
        }
        View::Detach => return Err(Error::internal("detach has no derivative")),
    })])
}
