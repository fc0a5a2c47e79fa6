//! Elementwise ops with broadcasting, casts and copies, and their in-place forms.
use super::*;
use Binary::*;

fn bool_of(m: &Meta) -> Meta {
    Meta::new(m.shape, DType::Bool)
}

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    let x = ins[0];
    Ok(vec![match op {
        Op::Unary(u) => {
            let exact = matches!(u, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Floor | Unary::Ceil | Unary::Round);
            if !exact && !u.is_predicate() {
                float(&x)?;
            }
            want(x.dtype != DType::Bool || u.is_predicate(), || Error::dtype("is not defined for bool"))?;
            if u.is_predicate() { bool_of(&x) } else { x }
        }
        Op::Binary(b) => {
            same_dtype(ins)?;
            let shape = x.shape.broadcast(&ins[1].shape)?;
            if *b == Div {
                float(&x)?;
            }
            want(x.dtype != DType::Bool || b.is_predicate() || matches!(b, Add | Mul | Minimum | Maximum), || {
                Error::dtype("is not defined for bool")
            })?;
            Meta::new(shape, if b.is_predicate() { DType::Bool } else { x.dtype })
        }
        Op::Scalar { op: b, .. } => {
            if *b == Div {
                float(&x)?;
            }
            if b.is_predicate() { bool_of(&x) } else { x }
        }
        Op::Clamp { .. } | Op::Contiguous | Op::ToDevice(_) => x,
        Op::Dropout { .. } => {
            float(&x)?;
            x
        }
        Op::Where => {
            want(x.dtype == DType::Bool, || Error::dtype(format!("the condition must be bool, not {}", x.dtype.name())))?;
            same_dtype(&ins[1..])?;
            Meta::new(x.shape.broadcast(&ins[1].shape)?.broadcast(&ins[2].shape)?, ins[1].dtype)
        }
        Op::Cast(d) => Meta::new(x.shape, *d),
        Op::CopyInto | Op::BinaryInto(_) => {
            want(x.shape.broadcast(&ins[1].shape).is_ok_and(|s| s == x.shape), || {
                Error::shape(format!("{:?} can't be broadcast into {:?}", ins[1].shape, x.shape))
            })?;
            if let Op::BinaryInto(b) = op {
                same_dtype(ins)?;
                if *b == Div {
                    float(&x)?;
                }
            }
            return Ok(vec![]);
        }
        Op::ScalarInto { .. } => return Ok(vec![]),
        _ => return Err(Error::internal("not a pointwise op")),
    }])
}

pub fn saves(op: &Op) -> Option<(u32, u32)> {
    use Unary::*;
    Some(match op {
        Op::Unary(u) => match u {
            Sqrt | Rsqrt | Exp | Tanh | Sigmoid | Reciprocal | Relu | Expm1 => (0, 1),
            Neg | Floor | Ceil | Round | Sign => (0, 0),
            LogicalNot | IsNan | IsInf | IsFinite => return None,
            _ => (1, 0),
        },
        Op::Binary(b) => match b {
            Add | Sub => (0, 0),
            Pow => (0b11, 1),
            ReluGrad => (0b10, 0),
            b if b.is_predicate() => return None,
            _ => (0b11, 0),
        },
        Op::Scalar { op, reversed, .. } => match (op, reversed) {
            (Add | Sub | Mul | Remainder, false) | (Add | Sub | Mul, true) | (Div, false) => (0, 0),
            (Remainder, true) => (1, 0),
            (Div, true) => (1, 1),
            (Pow, false) => (1, 0),
            (Pow, true) => (0, 1),
            (Minimum | Maximum, _) => (1, 0),
            _ => return None,
        },
        Op::Clamp { .. } => (1, 0),
        Op::Where => (1, 0),
        Op::Cast(_) | Op::Contiguous | Op::ToDevice(_) | Op::Dropout { .. } => (0, 0),
        _ => return None,
    })
}

/// d op(x) / dx * g. `x`, `y`: input and result, whichever was saved.
fn unary_vjp(u: Unary, cx: &mut dyn Vjp, s: &Context, g: &Tensor) -> Result<Tensor> {
    use Unary::*;
    let (x, y) = (s.x(0), s.y(0));
    Ok(match u {
        Neg => cx.neg(g)?,
        Abs => {
            let sign = cx.unary(Sign, x?)?;
            cx.mul(g, &sign)?
        }
        Sqrt => {
            let d = cx.div(g, y?)?;
            cx.scale(&d, 0.5)?
        }
        Rsqrt => {
            let y = y?;
            let y2 = cx.mul(y, y)?;
            let y3 = cx.mul(&y2, y)?;
            let d = cx.mul(g, &y3)?;
            cx.scale(&d, -0.5)?
        }
        Exp => cx.mul(g, y?)?,
        Log => cx.div(g, x?)?,
        Log1p => {
            let d = cx.scalar(Add, x?, Sc::new(1.0))?;
            cx.div(g, &d)?
        }
        Expm1 => {
            let d = cx.scalar(Add, y?, Sc::new(1.0))?;
            cx.mul(g, &d)?
        }
        Sin => {
            let d = cx.unary(Cos, x?)?;
            cx.mul(g, &d)?
        }
        Cos => {
            let d = cx.unary(Sin, x?)?;
            let d = cx.mul(g, &d)?;
            cx.neg(&d)?
        }
        Tanh => {
            let y = y?;
            let y2 = cx.mul(y, y)?;
            let d = cx.rsub(1.0, &y2)?;
            cx.mul(g, &d)?
        }
        Sigmoid => {
            let y = y?;
            let q = cx.rsub(1.0, y)?;
            let d = cx.mul(y, &q)?;
            cx.mul(g, &d)?
        }
        Erf => {
            // 2 / sqrt(pi) * exp(-x^2)
            let x = x?;
            let x2 = cx.mul(x, x)?;
            let e = cx.neg(&x2)?;
            let e = cx.unary(Exp, &e)?;
            let d = cx.mul(g, &e)?;
            cx.scale(&d, std::f64::consts::FRAC_2_SQRT_PI)?
        }
        Reciprocal => {
            let y = y?;
            let y2 = cx.mul(y, y)?;
            let d = cx.mul(g, &y2)?;
            cx.neg(&d)?
        }
        Relu => cx.binary(ReluGrad, g, y?)?,
        Floor | Ceil | Round | Sign => cx.full(g.shape(), g.dtype, 0.0)?,
        LogicalNot | IsNan | IsInf | IsFinite => return Err(Error::internal("has no derivative")),
    })
}

fn binary_vjp(b: Binary, cx: &mut dyn Vjp, s: &Context, g: &Tensor) -> Grads {
    let mut out = vec![None, None];
    for (i, slot) in out.iter_mut().enumerate().filter(|(i, _)| s.needs[*i]) {
        let d = match (b, i) {
            (Add, _) | (Sub, 0) | (Remainder, 0) => g.clone(),
            (Sub, _) => cx.neg(g)?,
            (Mul, _) => cx.mul(g, s.x(1 - i)?)?,
            (Div, 0) => cx.div(g, s.x(1)?)?,
            (Div, _) => {
                // -g * a / b^2
                let q = cx.div(g, s.x(1)?)?;
                let q = cx.div(&q, s.x(1)?)?;
                let q = cx.mul(&q, s.x(0)?)?;
                cx.neg(&q)?
            }
            (Pow, 0) => {
                // g * b * a^(b - 1), and 0 where b is 0
                let (a, b) = (s.x(0)?, s.x(1)?);
                let e = cx.scalar(Sub, b, Sc::new(1.0))?;
                let p = cx.binary(Pow, a, &e)?;
                let d = cx.mul(&p, b)?;
                let d = cx.mul(g, &d)?;
                let used = cx.scalar(Ne, b, Sc::new(0.0))?;
                cx.masked(&used, &d)?
            }
            (Pow, _) => {
                // g * y * ln a, and 0 where a is 0 and b at least 0
                let (a, b, y) = (s.x(0)?, s.x(1)?, s.y(0)?);
                let l = cx.unary(Unary::Log, a)?;
                let d = cx.mul(y, &l)?;
                let d = cx.mul(g, &d)?;
                let nonzero = cx.scalar(Ne, a, Sc::new(0.0))?;
                let negative = cx.scalar(Lt, b, Sc::new(0.0))?;
                let used = cx.binary(LogicalOr, &nonzero, &negative)?;
                cx.masked(&used, &d)?
            }
            (Minimum | Maximum, _) => {
                // equal elements share the gradient
                let (x, other) = (s.x(i)?, s.x(1 - i)?);
                let won = cx.binary(if b == Maximum { Gt } else { Lt }, x, other)?;
                let tied = cx.binary(Eq, x, other)?;
                let won = cx.cast(&won, g.dtype)?;
                let tied = cx.cast(&tied, g.dtype)?;
                let tied = cx.scale(&tied, 0.5)?;
                let share = cx.add(&won, &tied)?;
                cx.mul(g, &share)?
            }
            (Remainder, _) => {
                let q = cx.div(s.x(0)?, s.x(1)?)?;
                let q = cx.unary(Unary::Floor, &q)?;
                let d = cx.mul(g, &q)?;
                cx.neg(&d)?
            }
            (ReluGrad, 0) => cx.binary(ReluGrad, g, s.x(1)?)?,
            (ReluGrad, _) => continue,
            _ => return Err(Error::internal("has no derivative")),
        };
        *slot = Some(cx.sum_to(&d, s.shape(i))?);
    }
    Ok(out)
}

fn scalar_vjp(b: Binary, value: Sc, reversed: bool, cx: &mut dyn Vjp, s: &Context, g: &Tensor) -> Result<Tensor> {
    Ok(match (b, reversed) {
        (Add, _) | (Sub, false) | (Remainder, false) => g.clone(),
        (Sub, true) => cx.neg(g)?,
        (Mul, _) => cx.scalar(Mul, g, value)?,
        (Div, false) => cx.scalar(Div, g, value)?,
        (Div, true) => {
            let d = cx.div(s.y(0)?, s.x(0)?)?;
            let d = cx.mul(g, &d)?;
            cx.neg(&d)?
        }
        (Remainder, true) => {
            let q = cx.one(Op::Scalar { op: Div, value, reversed: true }, &[s.x(0)?])?;
            let q = cx.unary(Unary::Floor, &q)?;
            let d = cx.mul(g, &q)?;
            cx.neg(&d)?
        }
        (Pow, false) => {
            // g * p * x^(p - 1): p stays a parameter of the plan, so p - 1 is computed on the device
            let p = cx.fill(Shape::scalar(), g.dtype, value)?;
            let e = cx.scalar(Sub, &p, Sc::new(1.0))?;
            let d = cx.binary(Pow, s.x(0)?, &e)?;
            let d = cx.mul(g, &d)?;
            let d = cx.scalar(Mul, &d, value)?;
            let used = cx.scalar(Ne, &p, Sc::new(0.0))?;
            cx.masked(&used, &d)?
        }
        (Pow, true) => {
            let p = cx.fill(Shape::scalar(), g.dtype, value)?;
            let l = cx.unary(Unary::Log, &p)?;
            let d = cx.mul(s.y(0)?, &l)?;
            cx.mul(g, &d)?
        }
        (Minimum | Maximum, _) => {
            let x = s.x(0)?;
            let won = cx.scalar(if b == Maximum { Gt } else { Lt }, x, value)?;
            let tied = cx.scalar(Eq, x, value)?;
            let won = cx.cast(&won, g.dtype)?;
            let tied = cx.cast(&tied, g.dtype)?;
            let tied = cx.scale(&tied, 0.5)?;
            let share = cx.add(&won, &tied)?;
            cx.mul(g, &share)?
        }
        _ => return Err(Error::internal("has no derivative")),
    })
}

pub fn vjp(op: &Op, cx: &mut dyn Vjp, s: &Context, grads: &[Option<Tensor>]) -> Grads {
    let g = only(grads)?;
    Ok(vec![Some(match op {
        Op::Unary(u) => unary_vjp(*u, cx, s, g)?,
        Op::Binary(b) => return binary_vjp(*b, cx, s, g),
        Op::Scalar { op, value, reversed } => scalar_vjp(*op, *value, *reversed, cx, s, g)?,
        Op::Clamp { low, high } => {
            let a = cx.scalar(Ge, s.x(0)?, *low)?;
            let b = cx.scalar(Le, s.x(0)?, *high)?;
            let inside = cx.binary(LogicalAnd, &a, &b)?;
            cx.masked(&inside, g)?
        }
        Op::Where => {
            let mut out = vec![None, None, None];
            let zero = cx.full(Shape::scalar(), g.dtype, 0.0)?;
            for i in [1, 2] {
                if s.needs[i] {
                    let d = cx.one(Op::Where, &if i == 1 { [s.x(0)?, g, &zero] } else { [s.x(0)?, &zero, g] })?;
                    out[i] = Some(cx.sum_to(&d, s.shape(i))?);
                }
            }
            return Ok(out);
        }
        Op::Cast(_) => cx.cast(g, s.metas[0].dtype)?,
        Op::Contiguous => g.clone(),
        Op::ToDevice(_) => cx.one(Op::ToDevice(s.device), &[g])?,
        Op::Dropout { .. } => cx.one(op.clone(), &[g])?,
        _ => return Err(Error::internal("has no derivative")),
    })])
}
