//! Optimizer steps and clipping over flat buffers, and the entries of a recording that have no kernel.
use super::*;

pub fn infer(op: &Op, ins: &[Meta]) -> Result<Vec<Meta>> {
    Ok(match op {
        Op::ClipGradNorm { .. } => vec![Meta::new(Shape::scalar(), ins.first().map_or(DType::F32, |m| m.dtype))],
        Op::Unscale { .. } => vec![Meta::new(Shape::scalar(), DType::F64)],
        _ => vec![],
    })
}
pub fn saves(_: &Op) -> Option<(u32, u32)> {
    None
}
pub fn vjp(_: &Op, _: &mut dyn Vjp, _: &Context, _: &[Option<Tensor>]) -> Grads {
    Err(Error::internal("has no derivative"))
}
