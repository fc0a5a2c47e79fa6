//! Tensors from nothing.
use super::*;

pub fn infer(op: &Op, _: &[Meta]) -> Result<Vec<Meta>> {
    Ok(vec![match op {
        Op::FromHost { shape, dtype, .. } | Op::Fill { shape, dtype, .. } => Meta::new(*shape, *dtype),
        Op::Random { shape, dtype, .. } => {
            float(&Meta::new(*shape, *dtype))?;
            Meta::new(*shape, *dtype)
        }
        Op::Arange { len, dtype, .. } => Meta::new(Shape::new(&[*len]), *dtype),
        _ => return Err(Error::internal("not a creation op")),
    }])
}
pub fn saves(_: &Op) -> Option<(u32, u32)> {
    None
}
pub fn vjp(_: &Op, _: &mut dyn Vjp, _: &Context, _: &[Option<Tensor>]) -> Grads {
    Err(Error::internal("has no derivative"))
}
