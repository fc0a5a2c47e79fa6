//! Indexing along a dimension, and joining.
use super::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let x = ins[0];
    Ok(vec![match op {
        Op::Gather { dim } => {
            dim_in(*dim, &x.shape)?;
            index_dtype(&ins[1])?;
            covered(&ins[1].shape, &x.shape, *dim)?;
            Meta::new(ins[1].shape, x.dtype)
        }
        Op::ScatterAdd { dim } => {
            dim_in(*dim, &x.shape)?;
            index_dtype(&ins[1])?;
            covered(&ins[1].shape, &x.shape, *dim)?;
            want(ins[1].shape == ins[2].shape, || Error::shape(format!("index {:?} and source {:?} differ", ins[1].shape, ins[2].shape)))?;
            same_dtype(&[x, ins[2]])?;
            x
        }
        Op::IndexSelect { dim } => {
            dim_in(*dim, &x.shape)?;
            index_dtype(&ins[1])?;
            want(ins[1].shape.rank() == 1, || Error::shape(format!("the index must have one dimension, not {:?}", ins[1].shape)))?;
            Meta::new(x.shape.with(*dim, ins[1].shape[0]), x.dtype)
        }
        Op::IndexAdd { dim } => {
            dim_in(*dim, &x.shape)?;
            index_dtype(&ins[1])?;
            same_dtype(&[x, ins[2]])?;
            want(ins[1].shape.rank() == 1 && ins[2].shape == x.shape.with(*dim, ins[1].shape[0]), || {
                Error::shape(format!("index {:?} and source {:?} don't fit {:?}", ins[1].shape, ins[2].shape, x.shape))
            })?;
            x
        }
        Op::Cat { dim } => {
            dim_in(*dim, &x.shape)?;
            same_dtype(ins)?;
            want(ins.iter().all(|m| m.shape.rank() == x.shape.rank() && m.shape.with(*dim, 0) == x.shape.with(*dim, 0)), || {
                Error::shape(format!("sizes differ outside of dimension {dim}"))
            })?;
            Meta::new(x.shape.with(*dim, ins.iter().fold(0, |n, m| m.shape[*dim].saturating_add(n))), x.dtype)
        }
        Op::NarrowGrad { shape, .. } => Meta::new(*shape, x.dtype),
        _ => return Err(Error::internal("not an indexing op")),
    }])
}

/// The index may be smaller than the tensor in every dimension but `dim`, where it may have any size.
fn covered(index: &Shape, x: &Shape, dim: usize) -> Result<()> {
    let fits = index.rank() == x.rank() && (0..x.rank()).all(|d| d == dim || index[d] <= x[d]);
    want(fits, || Error::shape(format!("index {index:?} doesn't fit {x:?} along dimension {dim}")))
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    Some(match op {
        Op::Gather { .. } | Op::IndexSelect { .. } | Op::ScatterAdd { .. } | Op::IndexAdd { .. } => (0b10, 0),
        _ => (0, 0),
    })
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let g = only(grads)?;
    Ok(match op {
        Op::Gather { dim } => {
            let zeros = cx.full(s.shape(0), g.dtype, 0.0)?;
            vec![Some(cx.one(Op::ScatterAdd { dim: *dim }, &[&zeros, s.x(1)?, g])?), None]
        }
        Op::IndexSelect { dim } => {
            let zeros = cx.full(s.shape(0), g.dtype, 0.0)?;
            vec![Some(cx.one(Op::IndexAdd { dim: *dim }, &[&zeros, s.x(1)?, g])?), None]
        }
        Op::ScatterAdd { dim } => vec![Some(g.clone()), None, Some(cx.one(Op::Gather { dim: *dim }, &[g, s.x(1)?])?)],
        Op::IndexAdd { dim } => vec![Some(g.clone()), None, Some(cx.one(Op::IndexSelect { dim: *dim }, &[g, s.x(1)?])?)],
        Op::Cat { dim } => {
            let (mut start, mut out) = (0, vec![]);
            for (m, need) in s.metas.iter().zip(s.needs) {
                let len = m.shape[*dim];
                out.push(if *need { Some(cx.view(View::Narrow { dim: *dim, start, len, step: 1 }, g)?) } else { None });
                start += len;
            }
            out
        }
        Op::NarrowGrad { dim, start, step, .. } => {
            vec![Some(cx.view(View::Narrow { dim: *dim, start: *start, len: s.shape(0)[*dim], step: *step }, g)?)]
        }
        _ => return Err(Error::internal("has no derivative")),
    })
}
