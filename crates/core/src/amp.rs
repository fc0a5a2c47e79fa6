//! Mixed precision: autocast, PyTorch's policy by op, and what a loss scaler does on the device.
use crate::dtype::DType;
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Error, Result};
use crate::op::{Binary, Op, ReduceKind, Sc, Unary};
use crate::shape::Layout;

/// A parameter that was cast, as it was then.
pub(crate) struct CachedCast {
    storage: u64,
    /// The leaf: its gradient goes through the cast.
    leaf: u64,
    layout: Layout,
    dtype: DType,
    version: u64,
    cast: Handle,
}

/// What autocast does with an op's floating operands.
enum Policy {
    /// The low dtype: products, where the hardware is fast.
    Low,
    /// float32: sums, exponentials and losses.
    Full,
    /// As they come.
    Keep,
}
fn policy(op: &Op) -> Policy {
    use Unary::*;
    match op {
        Op::Matmul { .. } | Op::Linear { .. } | Op::Conv2d { .. } => Policy::Low,
        Op::Softmax { .. } | Op::CrossEntropy { .. } | Op::Cumsum { .. } => Policy::Full,
        Op::Reduce { kind: ReduceKind::Sum | ReduceKind::Prod, .. } => Policy::Full,
        Op::Unary(Exp | Expm1 | Log | Log1p | Rsqrt | Reciprocal) | Op::Binary(Binary::Pow) | Op::Scalar { op: Binary::Pow, .. } => Policy::Full,
        _ => Policy::Keep,
    }
}

impl Engine {
    /// The low dtype of autocast, or none; gives the one before. Casts of parameters are kept until there is none.
    pub fn set_autocast(&mut self, low: Option<DType>) -> Result<Option<DType>> {
        if let Some(d) = low.filter(|d| !matches!(d, DType::F16 | DType::BF16)) {
            return Err(Error::dtype(format!("autocast takes float16 or bfloat16, not {}", d.name())).in_op("autocast"));
        }
        if low.is_none() {
            for c in std::mem::take(&mut self.casts) {
                if self.is_live(c.cast) {
                    self.dispose(c.cast)?;
                }
            }
        }
        Ok(std::mem::replace(&mut self.autocast, low))
    }
    pub fn autocast(&self) -> Option<DType> {
        self.autocast
    }

    /// Casts the operands of a call as autocast says.
    pub(crate) fn cast_operands(&mut self, op: &Op, hs: &mut [Handle], temps: &mut Vec<Handle>) -> Result<()> {
        let Some(low) = self.autocast else { return Ok(()) };
        let (to, from): (DType, &[DType]) = match policy(op) {
            Policy::Low => (low, &[DType::F32, DType::F16, DType::BF16]),
            Policy::Full => (DType::F32, &[DType::F16, DType::BF16]),
            Policy::Keep => return Ok(()),
        };
        for h in hs {
            let dtype = self.meta(*h)?.dtype;
            if dtype == to || !from.contains(&dtype) {
                continue;
            }
            *h = match self.cached_cast(*h, to)? {
                Some(c) => c,
                None => {
                    let c = self.call(Op::Cast(to), &[*h])?[0];
                    temps.push(c);
                    c
                }
            };
        }
        Ok(())
    }
    /// The cast of a parameter, which later ops of the region share; `None` for other tensors.
    fn cached_cast(&mut self, h: Handle, to: DType) -> Result<Option<Handle>> {
        let (storage, leaf, layout, version) = match &self.table[self.index(h)?].slot {
            Slot::Real(t) if t.requires_grad && t.node.is_none() && self.grad_enabled => match &t.leaf {
                Some(leaf) => (t.storage.id(), if self.mutant(38) { 0 } else { leaf.id }, t.layout, self.version_of(t)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let same = |c: &CachedCast| c.storage == storage && c.leaf == leaf && c.layout == layout && c.dtype == to;
        if let Some(at) = self.casts.iter().position(same) {
            let c = &self.casts[at];
            if c.version == version && self.is_live(c.cast) {
                return Ok(Some(c.cast));
            }
            self.casts.swap_remove(at);
        }
        let cast = self.call(Op::Cast(to), &[h])?[0];
        self.casts.push(CachedCast { storage, leaf, layout, dtype: to, version, cast });
        Ok(Some(cast))
    }

    /// Divides the groups' gradients by `scale` (a float32 scalar); gives a float64 scalar that is 1 if any is not finite.
    pub fn unscale(&mut self, groups: &[u32], scale: Handle) -> Result<Handle> {
        let (flats, ranges) = self.live_grads(groups)?;
        if flats.len() > 31 {
            return Err(Error::not_supported("unscaling more than 31 parameter groups at once").in_op("unscale"));
        }
        let mut operands: Vec<Operand> = flats.iter().map(Operand::Tensor).collect();
        operands.push(Operand::Handle(self.index(scale)?));
        let found = self.issue(Op::Unscale { ranges }, &operands)?;
        found.first().copied().ok_or_else(|| Error::internal("a flag that wasn't computed"))
    }
    /// PyTorch's rule for the next loss scale: times `backoff` after a non-finite gradient, times `growth` after `interval`
    /// updates without one. `scale` is a float32, `tracker` an int32, `found` a float64 scalar.
    pub fn update_scale(&mut self, scale: Handle, tracker: Handle, found: Handle, growth: f64, backoff: f64, interval: f64) -> Result<()> {
        let operands = [scale, tracker, found].map(|h| self.index(h).map(Operand::Handle));
        let operands = operands.into_iter().collect::<Result<Vec<_>>>()?;
        self.issue(Op::UpdateScale { growth: Sc::new(growth), backoff: Sc::new(backoff), interval: Sc::new(interval) }, &operands)?;
        Ok(())
    }
}
