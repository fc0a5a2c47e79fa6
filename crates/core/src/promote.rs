//! PyTorch's promotion of dtypes and of the host's scalars, done with casts and copies before the op is dispatched.
use crate::device::Device;
use crate::dtype::DType;
use crate::engine::{Engine, Handle};
use crate::error::{Error, Result};
use crate::op::*;
use crate::tensor::Meta;

fn category(d: DType) -> u8 {
    if d.is_float() { 2 } else { (d != DType::Bool) as u8 }
}

/// The dtype of a result of both: a tensor with dimensions beats a scalar tensor of the same or a lower category.
fn common(a: &Meta, b: &Meta) -> DType {
    let rank = |m: &Meta| m.shape.rank() > 0;
    match (rank(a), rank(b)) {
        (true, false) if category(a.dtype) >= category(b.dtype) => a.dtype,
        (false, true) if category(b.dtype) >= category(a.dtype) => b.dtype,
        _ => a.dtype.promote(b.dtype),
    }
}

struct Casts<'a> {
    engine: &'a mut Engine,
    temps: &'a mut Vec<Handle>,
}
impl Casts<'_> {
    fn to(&mut self, h: &mut Handle, dtype: DType) -> Result<()> {
        if self.engine.meta(*h)?.dtype != dtype {
            *h = self.engine.call(Op::Cast(dtype), &[*h])?[0];
            self.temps.push(*h);
        }
        Ok(())
    }
}

pub fn promote(engine: &mut Engine, op: &mut Op, hs: &mut [Handle], temps: &mut Vec<Handle>) -> Result<()> {
    let dtype = |e: &Engine, h: Handle| e.meta(h).map(|m| m.dtype);
    match op {
        Op::Binary(b) => {
            let (x, y) = (engine.meta(hs[0])?, engine.meta(hs[1])?);
            let mut d = common(&x, &y);
            if matches!(b, Binary::LogicalAnd | Binary::LogicalOr | Binary::LogicalXor) {
                d = DType::Bool;
            } else if *b == Binary::Div && !d.is_float() {
                d = DType::F32;
            } else if d == DType::Bool && *b == Binary::Sub {
                return Err(Error::dtype("is not defined for bool; use logicalXor or logicalNot"));
            }
            if x.dtype != d || y.dtype != d {
                let mut c = Casts { engine, temps };
                c.to(&mut hs[0], d)?;
                c.to(&mut hs[1], d)?;
            }
        }
        Op::Scalar { op: b, value, .. } => {
            let d = dtype(engine, hs[0])?;
            if d.is_float() {
                return Ok(());
            }
            let fraction = value.recorded().fract() != 0.0 || !value.recorded().is_finite();
            if *b == Binary::Div || fraction {
                Casts { engine, temps }.to(&mut hs[0], DType::F32)?;
            } else if d == DType::Bool {
                Casts { engine, temps }.to(&mut hs[0], DType::I64)?;
            }
        }
        Op::Clamp { low, high } => {
            let fraction = [low, high].iter().any(|s| s.recorded().is_finite() && s.recorded().fract() != 0.0);
            if fraction && !dtype(engine, hs[0])?.is_float() {
                Casts { engine, temps }.to(&mut hs[0], DType::F32)?;
            }
        }
        Op::Unary(u) => {
            let d = dtype(engine, hs[0])?;
            let exact = matches!(u, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Floor | Unary::Ceil | Unary::Round);
            if !d.is_float() && !exact && !u.is_predicate() {
                Casts { engine, temps }.to(&mut hs[0], DType::F32)?;
            } else if *u == Unary::LogicalNot {
                Casts { engine, temps }.to(&mut hs[0], DType::Bool)?;
            }
        }
        Op::Cumsum { .. } if !dtype(engine, hs[0])?.is_float() => Casts { engine, temps }.to(&mut hs[0], DType::I64)?,
        // the parameters of a half-precision input are float32; running statistics are written, so they must be so already
        Op::BatchNorm { affine: true, .. } => {
            let d = dtype(engine, hs[0])?.accumulator();
            let mut c = Casts { engine, temps };
            c.to(&mut hs[1], d)?;
            c.to(&mut hs[2], d)?;
        }
        Op::Where => {
            let d = common(&engine.meta(hs[1])?, &engine.meta(hs[2])?);
            let mut c = Casts { engine, temps };
            c.to(&mut hs[1], d)?;
            c.to(&mut hs[2], d)?;
        }
        Op::Cat { .. } => {
            let mut d = None;
            for h in hs.iter() {
                let x = dtype(engine, *h)?;
                d = Some(d.map_or(x, |d: DType| d.promote(x)));
            }
            for h in hs.iter_mut() {
                Casts { engine: &mut *engine, temps: &mut *temps }.to(h, d.unwrap_or(DType::F32))?;
            }
        }
        Op::BinaryInto(_) => {
            let (x, y) = (engine.meta(hs[0])?, engine.meta(hs[1])?);
            if category(y.dtype) > category(x.dtype) {
                return Err(Error::dtype(format!("the result is {}, which {} can't hold in place", y.dtype.name(), x.dtype.name())));
            }
            Casts { engine, temps }.to(&mut hs[1], x.dtype)?;
        }
        Op::ScalarInto { value, .. } => {
            let d = dtype(engine, hs[0])?;
            if !d.is_float() && value.recorded().fract() != 0.0 {
                return Err(Error::dtype(format!("the result is float32, which {} can't hold in place", d.name())));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A scalar of the host beside tensors of a GPU goes there, as in PyTorch.
pub fn move_scalars(engine: &mut Engine, op: &Op, hs: &mut [Handle], temps: &mut Vec<Handle>) -> Result<()> {
    if !matches!(op, Op::Binary(_) | Op::Where | Op::BinaryInto(_)) {
        return Ok(());
    }
    let mut home = Device::Cpu;
    for h in hs.iter() {
        if home == Device::Cpu {
            home = engine.device(*h)?;
        }
    }
    if home == Device::Cpu {
        return Ok(());
    }
    for (i, h) in hs.iter_mut().enumerate() {
        let written = op.writes() >> i & 1 == 1;
        if !written && engine.device(*h)? == Device::Cpu && engine.meta(*h)?.shape.rank() == 0 {
            *h = engine.call(Op::ToDevice(home), &[*h])?[0];
            temps.push(*h);
        }
    }
    Ok(())
}
