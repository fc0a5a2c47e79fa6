//! Reductions, softmax, running sums and sorting.
use super::*;
use ReduceKind::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let x = ins[0];
    Ok(match op {
        Op::Reduce { kind, dims, keepdim } => {
            want(dims.0 >> x.shape.rank() == 0, || Error::index(format!("a dimension to reduce is outside of {:?}", x.shape)))?;
            let dtype = match kind {
                Sum | Prod if !x.dtype.is_float() => DType::I64,
                Mean => {
                    float(&x)?;
                    x.dtype
                }
                Argmax | Argmin => DType::I64,
                Any | All => DType::Bool,
                _ => x.dtype,
            };
            let empty = (0..x.shape.rank()).any(|d| dims.has(d) && x.shape[d] == 0);
            want(!empty || matches!(kind, Sum | Prod | Mean | Any | All), || Error::shape(format!("no elements to choose from in {:?}", x.shape)))?;
            let shape: Vec<usize> =
                (0..x.shape.rank()).filter(|d| *keepdim || !dims.has(*d)).map(|d| if dims.has(d) { 1 } else { x.shape[d] }).collect();
            vec![Meta::new(Shape::new(&shape), dtype)]
        }
        Op::Softmax { .. } => {
            float(&x)?;
            want(x.shape.rank() > 0, || Error::shape("needs a dimension"))?;
            vec![x]
        }
        Op::Cumsum { dim } => {
            dim_in(*dim, &x.shape)?;
            // Integers were promoted to int64; the kernel keeps the dtype.
            vec![x]
        }
        Op::Sort { .. } => {
            want(x.shape.rank() > 0, || Error::shape("needs a dimension"))?;
            vec![x, Meta::new(x.shape, DType::I64)]
        }
        _ => return Err(Error::internal("not a reduction")),
    })
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    match op {
        Op::Reduce { kind, .. } => match kind {
            Sum | Mean => Some((0, 0)),
            Prod => Some((1, 0)),
            Amax | Amin => Some((1, 1)),
            Argmax | Argmin | Any | All => None,
        },
        Op::Softmax { .. } => Some((0, 1)),
        Op::Cumsum { .. } => Some((0, 0)),
        Op::Sort { .. } => Some((0, 0b10)),
        _ => None,
    }
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let shape = s.shape(0);
    if let Op::Sort { .. } = op {
        let Some(g) = &grads[0] else { return Ok(vec![None]) };
        let zeros = cx.full(shape, g.dtype, 0.0)?;
        return Ok(vec![Some(cx.one(Op::ScatterAdd { dim: shape.rank() - 1 }, &[&zeros, s.y(1)?, g])?)]);
    }
    let g = only(grads)?;
    Ok(vec![Some(match op {
        Op::Reduce { kind, dims, .. } => {
            let g = cx.unreduced(g, *dims, &shape)?;
            match kind {
                Sum => cx.expand(&g, shape)?,
                Mean => {
                    let n: usize = (0..shape.rank()).filter(|d| dims.has(*d)).map(|d| shape[d]).product();
                    let g = cx.scale(&g, 1.0 / n as f64)?;
                    cx.expand(&g, shape)?
                }
                Prod => {
                    // the product of the others: of all / x, or where x is the only zero, of the rest
                    let x = s.x(0)?;
                    let zero = cx.scalar(Binary::Eq, x, Sc::new(0.0))?;
                    let one = cx.full(Shape::scalar(), x.dtype, 1.0)?;
                    let rest = cx.one(Op::Where, &[&zero, &one, x])?;
                    let p = cx.one(Op::Reduce { kind: Prod, dims: *dims, keepdim: true }, &[&rest])?;
                    let count = cx.cast(&zero, x.dtype)?;
                    let zeros = cx.sum(&count, *dims, true)?;
                    let others = cx.div(&p, &rest)?;
                    let left = cx.sub(&zeros, &count)?;
                    let none_left = cx.scalar(Binary::Eq, &left, Sc::new(0.0))?;
                    let d = cx.masked(&none_left, &others)?;
                    cx.mul(&g, &d)?
                }
                Amax | Amin => {
                    let y = cx.unreduced(s.y(0)?, *dims, &shape)?;
                    let hit = cx.binary(Binary::Eq, s.x(0)?, &y)?;
                    let hit = cx.cast(&hit, g.dtype)?;
                    let n = cx.sum(&hit, *dims, true)?;
                    let share = cx.div(&g, &n)?;
                    cx.mul(&hit, &share)?
                }
                Argmax | Argmin | Any | All => return Err(Error::internal("has no derivative")),
            }
        }
        Op::Softmax { log } => {
            let y = s.y(0)?;
            let last = Dims::of(&[shape.rank() - 1]);
            if *log {
                let p = cx.unary(Unary::Exp, y)?;
                let t = cx.sum(g, last, true)?;
                let d = cx.mul(&p, &t)?;
                cx.sub(g, &d)?
            } else {
                let gy = cx.mul(g, y)?;
                let t = cx.sum(&gy, last, true)?;
                let d = cx.sub(g, &t)?;
                cx.mul(y, &d)?
            }
        }
        Op::Cumsum { dim } => {
            // the running sum from the end
            let total = cx.sum(g, Dims::of(&[*dim]), true)?;
            let run = cx.one(op.clone(), &[g])?;
            let rest = cx.sub(&total, &run)?;
            cx.add(&rest, g)?
        }
        _ => return Err(Error::internal("has no derivative")),
    })])
}
