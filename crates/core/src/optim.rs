//! Optimizers over flat buffers: a group's parameters, gradients and moments are one buffer each; tensors are views of them.
use crate::device::Device;
use crate::dtype::DType;
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Code, Error, Result};
use crate::op::{Op, Range, Ranges, Sc};
use crate::shape::{Layout, Shape};
use crate::tensor::{Leaf, Tensor};
use std::cell::Cell;
use std::rc::Rc;

/// Parameters start at multiples of this many elements, so that kernels see aligned rows.
const ALIGN: usize = 16;

pub struct Parameter {
    pub leaf: Rc<Leaf>,
    offset: usize,
    shape: Shape,
}
pub struct Group {
    pub parameters: Vec<Parameter>,
    value: Tensor,
    grad: Tensor,
    /// Moment buffers.
    slots: Vec<Tensor>,
    /// Of the last step, or as set since.
    lr: f64,
}

impl Engine {
    /// Moves `params` into one flat buffer, with a gradient buffer and `slots` moment buffers (zeros) beside it. A parameter
    /// that another group owned moves on to this one.
    pub fn group(&mut self, params: &[Handle], slots: usize) -> Result<u32> {
        self.diverge("a parameter group is made")?;
        if let Some(r) = self.recording() {
            r.bad = Some("an optimizer is made in the step".into());
        }
        let tensors: Vec<Tensor> = params.iter().map(|h| self.real(*h)).collect::<Result<_>>()?;
        let dtype = tensors.first().map_or(DType::F32, |t| t.dtype);
        if !matches!(dtype, DType::F32 | DType::F64) || tensors.iter().any(|t| t.dtype != dtype) {
            return Err(Error::dtype("the parameters of a group must all be float32 or all float64"));
        }
        if tensors.iter().any(|t| t.node.is_some()) {
            return Err(Error::new(Code::NoGrad, "can't optimize a tensor that is not a leaf"));
        }
        let total: usize = tensors.iter().map(|t| t.layout.numel().next_multiple_of(ALIGN)).sum();
        let device = tensors.first().map_or(Device::Cpu, Tensor::device);
        if tensors.iter().any(|t| t.device() != device) {
            return Err(Error::new(Code::DeviceMismatch, "the parameters of a group must all be on one device"));
        }
        let flat = || Tensor::zeros(Layout::contiguous(Shape::new(&[total])), dtype, device);
        let (value, grad) = (flat()?, flat()?);
        let slots = (0..slots).map(|_| flat()).collect::<Result<Vec<_>>>()?;
        let id = self.groups.len() as u32;
        let (mut offset, mut parameters) = (0, vec![]);
        for (t, h) in tensors.iter().zip(params) {
            let leaf = t.leaf.clone().unwrap_or_default();
            let view = |of: &Tensor| part(of, offset, t.shape());
            let new = Tensor {
                requires_grad: t.requires_grad,
                leaf: Some(leaf.clone()),
                own_version: Some(Rc::new(Cell::new(t.version()))),
                ..view(&value)
            };
            self.copy(&new.detached(), t)?;
            let old = leaf.grad.borrow_mut().replace(view(&grad));
            if let Some(g) = old.filter(|_| leaf.live.get()) {
                self.copy(&view(&grad), &g)?;
            }
            leaf.steps.set(0);
            if let Some(old) = leaf.group.replace(Some(id)) {
                self.release_if_empty(old);
            }
            let i = self.index(*h)?;
            self.table[i].slot = Slot::Real(new);
            parameters.push(Parameter { leaf, offset, shape: t.shape() });
            offset += t.layout.numel().next_multiple_of(ALIGN);
        }
        self.groups.push(Group { parameters, value, grad, slots, lr: 0.0 });
        Ok(id)
    }
    /// A group whose parameters have all moved on keeps no memory.
    fn release_if_empty(&mut self, g: u32) {
        let group = &mut self.groups[g as usize];
        if group.parameters.iter().all(|p| p.leaf.group.get() != Some(g)) {
            group.slots.clear();
        }
    }
    fn copy(&mut self, to: &Tensor, from: &Tensor) -> Result<()> {
        let was = self.set_grad_enabled(false);
        let r = self.dispatch(Op::CopyInto, &[to.clone(), from.detached()]);
        self.set_grad_enabled(was);
        r.map(|_| ())
    }

    fn parameter(&self, g: u32, param: usize) -> Result<&Parameter> {
        self.groups.get(g as usize).and_then(|g| g.parameters.get(param)).ok_or_else(|| Error::internal("no such parameter"))
    }
    /// A parameter's part of a moment buffer.
    pub fn group_slot(&mut self, g: u32, param: usize, slot: usize) -> Result<Handle> {
        let p = self.parameter(g, param)?;
        let (offset, shape) = (p.offset, p.shape);
        let flat = self.groups[g as usize].slots.get(slot).ok_or_else(moved_on)?;
        let t = part(flat, offset, shape);
        self.put(Slot::Real(t))
    }
    /// Updates that a parameter has seen.
    pub fn group_steps(&self, g: u32, param: usize) -> Result<f64> {
        Ok(self.parameter(g, param)?.leaf.steps.get() as f64)
    }
    pub fn set_group_steps(&mut self, g: u32, param: usize, steps: f64) -> Result<()> {
        self.diverge("an optimizer's state is loaded")?;
        self.parameter(g, param)?.leaf.steps.set(steps as u64);
        Ok(())
    }

    /// Sets the group's gradients to none.
    pub fn zero_grad(&mut self, g: u32) -> Result<()> {
        let op = Op::ZeroGrad { group: g as usize };
        if self.matching() {
            if self.match_macro(op, &[]) {
                return Ok(());
            }
            self.diverge("zeroGrad")?;
        }
        self.run_zero_grad(g as usize);
        Ok(())
    }
    pub(crate) fn run_zero_grad(&mut self, g: usize) {
        let flags: Vec<_> = self.groups[g].parameters.iter().map(|p| (p.leaf.clone(), p.leaf.live.get())).collect();
        for (leaf, _) in &flags {
            leaf.live.set(false);
        }
        self.mark(Op::ZeroGrad { group: g }, &[], flags);
    }

    /// Parameters with a gradient, neighbours joined, by the updates that they have seen.
    fn live_ranges(&self, g: u32) -> Result<Vec<(u64, Ranges)>> {
        let group = self.groups.get(g as usize).ok_or_else(|| Error::internal("no such group"))?;
        if group.parameters.iter().any(|p| p.leaf.group.get() != Some(g)) {
            return Err(Error::bad_option("a newer optimizer has taken over this optimizer's parameters"));
        }
        let mut found: Vec<(u64, Vec<Range>)> = vec![];
        for p in group.parameters.iter().filter(|p| p.leaf.live.get()) {
            let (steps, len) = (p.leaf.steps.get(), p.shape.numel().next_multiple_of(ALIGN));
            let list = match found.iter().position(|f| f.0 == steps) {
                Some(i) => &mut found[i].1,
                None => {
                    found.push((steps, vec![]));
                    &mut found.last_mut().ok_or_else(|| Error::internal("unreachable"))?.1
                }
            };
            match list.last_mut() {
                Some(r) if r.start + r.len == p.offset => r.len += len,
                _ => list.push(Range { start: p.offset, len }),
            }
        }
        Ok(found.into_iter().map(|(s, r)| (s, r.into())).collect())
    }
    /// The gradients of a group, flat.
    pub(crate) fn group_grad(&self, g: u32) -> Result<Tensor> {
        self.groups.get(g as usize).map(|g| g.grad.clone()).ok_or_else(|| Error::internal("no such group"))
    }
    pub(crate) fn all_live_ranges(&self, g: u32) -> Result<Ranges> {
        Ok(self.live_ranges(g)?.iter().flat_map(|r| r.1.iter().copied()).collect())
    }

    fn clip(&mut self, groups: &[u32], op: impl FnOnce(Rc<[Ranges]>) -> Op) -> Result<Vec<Handle>> {
        if groups.len() > 32 {
            return Err(Error::not_supported("clipping more than 32 parameter groups at once"));
        }
        let ranges: Rc<[Ranges]> = groups.iter().map(|g| self.all_live_ranges(*g)).collect::<Result<_>>()?;
        let flats: Vec<Tensor> = groups.iter().map(|g| self.groups[*g as usize].grad.clone()).collect();
        let operands: Vec<Operand> = flats.iter().map(Operand::Tensor).collect();
        self.issue(op(ranges), &operands)
    }
    /// Scales the groups' gradients so that their joint L2 norm is at most `max`; returns the norm before.
    pub fn clip_grad_norm(&mut self, groups: &[u32], max: f64) -> Result<Handle> {
        let h = self.clip(groups, |ranges| Op::ClipGradNorm { ranges, max: Sc::new(max) })?;
        h.first().copied().ok_or_else(|| Error::internal("a norm that wasn't computed"))
    }
    pub fn clip_grad_value(&mut self, groups: &[u32], max: f64) -> Result<()> {
        self.clip(groups, |ranges| Op::ClipGradValue { ranges, max: Sc::new(max) }).map(|_| ())
    }

    /// One fused op for all parameters that have seen equally many updates.
    fn step(&mut self, g: u32, skip: Option<Handle>, op: impl Fn(u64, Ranges) -> Op) -> Result<()> {
        let found = self.live_ranges(g)?;
        let group = &self.groups[g as usize];
        let flats: Vec<Tensor> = [&group.value, &group.grad].into_iter().chain(&group.slots).cloned().collect();
        for (steps, ranges) in found {
            let mut operands: Vec<Operand> = flats.iter().map(Operand::Tensor).collect();
            if let Some(h) = skip {
                operands.push(Operand::Handle(self.index(h)?));
            }
            self.issue(op(steps, ranges), &operands)?;
        }
        // counted on the host: a skipped update counts too
        for p in self.groups[g as usize].parameters.iter().filter(|p| p.leaf.live.get()) {
            p.leaf.steps.set(p.leaf.steps.get() + 1);
        }
        Ok(())
    }
    /// The learning rate for steps that run without their JavaScript.
    pub fn set_group_lr(&mut self, g: u32, lr: f64) -> Result<()> {
        self.groups.get_mut(g as usize).ok_or_else(|| Error::internal("no such group"))?.lr = lr;
        Ok(())
    }
    /// Counts an update of the group in `storage` that no JavaScript called, and gives its learning rate and number.
    pub(crate) fn full_update(&mut self, storage: u64, ranges: &Ranges) -> Option<(f64, u64)> {
        let group = self.groups.iter().find(|g| g.value.storage.id() == storage)?;
        let mut number = 0;
        for p in group.parameters.iter().filter(|p| ranges.iter().any(|r| (r.start..r.start + r.len).contains(&p.offset))) {
            p.leaf.steps.set(p.leaf.steps.get() + 1);
            number = p.leaf.steps.get();
        }
        Some((group.lr, number))
    }
    /// `p -= lr * (momentum buffer, or gradient)`, PyTorch's SGD. `skip`: a float64 scalar; the update is left out where it isn't 0.
    #[allow(clippy::too_many_arguments)]
    pub fn sgd_step(
        &mut self,
        g: u32,
        lr: f64,
        momentum: f64,
        dampening: f64,
        weight_decay: f64,
        nesterov: bool,
        maximize: bool,
        skip: Option<Handle>,
    ) -> Result<()> {
        self.set_group_lr(g, lr)?;
        self.step(g, skip, |steps, ranges| Op::Sgd {
            ranges,
            lr: Sc::new(lr),
            momentum: Sc::new(momentum),
            dampening: Sc::new(dampening),
            weight_decay: Sc::new(weight_decay),
            nesterov,
            maximize,
            fresh: steps == 0,
            skip: skip.is_some(),
        })
    }
    /// Decoupled weight decay (arXiv 1711.05101), PyTorch's AdamW.
    #[allow(clippy::too_many_arguments)]
    pub fn adamw_step(
        &mut self,
        g: u32,
        lr: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        maximize: bool,
        skip: Option<Handle>,
    ) -> Result<()> {
        self.set_group_lr(g, lr)?;
        self.step(g, skip, |steps, ranges| Op::AdamW {
            ranges,
            lr: Sc::new(lr),
            beta1: Sc::new(beta1),
            beta2: Sc::new(beta2),
            eps: Sc::new(eps),
            weight_decay: Sc::new(weight_decay),
            step: Sc::new(steps as f64 + 1.0),
            maximize,
            skip: skip.is_some(),
        })
    }
}

/// A parameter's place in a flat buffer. On a GPU the weights of convolutions lie as its kernels read them.
fn part(flat: &Tensor, offset: usize, shape: Shape) -> Tensor {
    let images = flat.device() != Device::Cpu && shape.rank() == 4;
    let layout = if images { Layout::channels_last(shape) } else { Layout::contiguous(shape) };
    Tensor::new(flat.storage.clone(), Layout { offset, ..layout }, flat.dtype)
}
fn moved_on() -> Error {
    Error::bad_option("a newer optimizer has taken over this optimizer's parameters")
}
