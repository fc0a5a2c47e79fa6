//! Optimizers over flat buffers: a group's parameters, gradients and moments are one buffer each; tensors are views of them.
use crate::device::Device;
use crate::dtype::DType;
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Code, Error, Result};
use crate::op::{Op, Range, Ranges, Sc};
use crate::plan::matching::Undo;
use crate::plan::record::LeafFlag;
use crate::shape::{Layout, Shape};
use crate::tensor::{Leaf, Tensor};
use std::cell::Cell;
use std::rc::Rc;

/// Parameters start at multiples of this many elements, so that kernels see aligned rows.
const ALIGN: usize = 16;

/// What the values and gradients of parameters lie in.
pub struct Flat {
    value: Tensor,
    grad: Tensor,
}
/// Where a parameter lies since the newest optimizer was made.
#[derive(Clone)]
pub struct Place {
    flat: Rc<Flat>,
    offset: usize,
}
struct Parameter {
    leaf: Rc<Leaf>,
    shape: Shape,
    /// Updates that this group has made.
    steps: Rc<Cell<u64>>,
    part: usize,
    /// In the part.
    offset: usize,
}
impl Parameter {
    /// Elements up to the next parameter.
    fn room(&self) -> usize {
        self.shape.numel().next_multiple_of(ALIGN)
    }
}
/// A stretch of one flat buffer that holds parameters of a group, and the group's moments for it.
struct Part {
    flat: Rc<Flat>,
    /// Where in the flat buffer it begins.
    start: usize,
    value: Tensor,
    grad: Tensor,
    slots: Vec<Tensor>,
}
/// Parameters of an optimizer. Those of the newest optimizer over them are one part; when a newer one takes some over, the
/// group follows them into its buffer.
pub struct Group {
    parameters: Vec<Parameter>,
    parts: Vec<Part>,
    slots: usize,
    /// The update that its optimizer's options ask for now, for steps that run without their JavaScript.
    pub offered: Option<Op>,
}
impl Group {
    /// Whether a storage is one of its moment buffers, which are its alone.
    pub fn has_moments(&self, storage: u64) -> bool {
        self.part_of(storage).is_some()
    }
    fn part_of(&self, moments: u64) -> Option<usize> {
        self.parts.iter().position(|p| p.slots.iter().any(|s| s.storage.id() == moments))
    }
    /// Whether a storage is one of its buffers, moments or not.
    pub fn holds(&self, storage: u64) -> bool {
        self.parts.iter().any(|p| [&p.value, &p.grad].into_iter().chain(&p.slots).any(|t| t.storage.id() == storage))
    }
    pub fn leaves(&self) -> impl Iterator<Item = &Rc<Leaf>> {
        self.parameters.iter().map(|p| &p.leaf)
    }
    /// Counts of the updates of the parameters within `ranges` of the part with these moments.
    pub fn counts(&self, moments: u64, ranges: &Ranges) -> Vec<Rc<Cell<u64>>> {
        let part = self.part_of(moments);
        let inside = |offset: usize| ranges.iter().any(|r| (r.start..r.start + r.len).contains(&offset));
        self.parameters.iter().filter(|p| Some(p.part) == part && inside(p.offset)).map(|p| p.steps.clone()).collect()
    }
    /// Whether a parameter is no longer where its moments are.
    pub fn is_behind(&self) -> bool {
        self.parameters.iter().any(|p| {
            let part = &self.parts[p.part];
            !p.leaf.place.borrow().as_ref().is_some_and(|at| Rc::ptr_eq(&at.flat, &part.flat) && at.offset == part.start + p.offset)
        })
    }
}

impl Engine {
    /// Moves `params` into one flat buffer, with a gradient buffer and `slots` moment buffers (zeros) beside it. Other groups
    /// of a parameter follow it there.
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
        let total: usize = tensors.iter().fold(0, |n: usize, t| n.saturating_add(t.layout.numel().next_multiple_of(ALIGN)));
        let device = tensors.first().map_or(Device::Cpu, Tensor::device);
        if tensors.iter().any(|t| t.device() != device) {
            return Err(Error::new(Code::DeviceMismatch, "the parameters of a group must all be on one device"));
        }
        let flat = || Tensor::zeros(Layout::contiguous(Shape::new(&[total])), dtype, device);
        let (value, grad) = (flat()?, flat()?);
        let slots = (0..slots).map(|_| flat()).collect::<Result<Vec<_>>>()?;
        let flat = Rc::new(Flat { value: value.clone(), grad: grad.clone() });
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
            *leaf.place.borrow_mut() = Some(Place { flat: flat.clone(), offset });
            leaf.groups.set(leaf.groups.get() + 1);
            let i = self.index(*h)?;
            self.table[i].slot = Slot::Real(new);
            parameters.push(Parameter { leaf, shape: t.shape(), steps: Rc::default(), part: 0, offset });
            offset += t.layout.numel().next_multiple_of(ALIGN);
        }
        let count = slots.len();
        let part = Part { flat, start: 0, value, grad, slots };
        self.groups.insert(Group { parameters, parts: vec![part], slots: count, offered: None })
    }
    /// Gives up a group's moments, and the plans that update by it. Its parameters and their gradients stay as they are.
    pub fn free_group(&mut self, g: u32) {
        let Some(group) = self.groups.remove(g as usize) else { return };
        let moments: Vec<u64> = group.parts.iter().flat_map(|p| &p.slots).map(|s| s.storage.id()).collect();
        self.forget_steps(&moments);
        for p in &group.parameters {
            p.leaf.groups.set(p.leaf.groups.get() - 1);
            if p.leaf.groups.get() == 0 {
                p.leaf.place.take();
            }
        }
    }
    pub fn has_group(&self, g: u32) -> bool {
        self.groups.get(g as usize).is_some()
    }
    /// The parameter `h` gets other memory: its groups can't follow it.
    pub fn leave_groups(&mut self, h: Handle) -> Result<()> {
        self.diverge("a parameter leaves its optimizer")?;
        if let Some(leaf) = &self.real(h)?.leaf {
            leaf.place.take();
        }
        Ok(())
    }
    /// Whether a parameter has left the group.
    pub fn is_left(&self, g: u32) -> Result<bool> {
        Ok(self.known_group(g)?.parameters.iter().any(|p| p.leaf.place.borrow().is_none()))
    }
    /// Lays the group's moments out anew where a newer group has taken parameters over.
    fn follow(&mut self, g: u32) -> Result<()> {
        if !self.known_group(g)?.is_behind() || self.mutant(50) {
            return Ok(());
        }
        self.diverge("an optimizer follows its parameters to a newer one")?;
        if let Some(r) = self.recording() {
            r.bad = Some("an optimizer follows its parameters to a newer one in the step".into());
        }
        let group = &self.groups[g as usize];
        let places: Vec<Place> = group.parameters.iter().map(|p| p.leaf.place.borrow().clone()).collect::<Option<_>>().ok_or_else(left)?;
        let mut spans: Vec<(Rc<Flat>, usize, usize)> = vec![];
        for (p, at) in group.parameters.iter().zip(&places) {
            let end = at.offset + p.room();
            match spans.iter_mut().find(|s| Rc::ptr_eq(&s.0, &at.flat)) {
                Some(s) => (s.1, s.2) = (s.1.min(at.offset), s.2.max(end)),
                None => spans.push((at.flat.clone(), at.offset, end)),
            }
        }
        let count = group.slots;
        let part_of = |(flat, start, end): &(Rc<Flat>, usize, usize)| {
            let shape = Shape::new(&[end - start]);
            let zeros = || Tensor::zeros(Layout::contiguous(shape), flat.value.dtype, flat.value.device());
            let slots = (0..count).map(|_| zeros()).collect::<Result<_>>()?;
            let within = |t: &Tensor| Tensor::new(t.storage.clone(), Layout { offset: *start, ..Layout::contiguous(shape) }, t.dtype);
            Ok(Part { flat: flat.clone(), start: *start, value: within(&flat.value), grad: within(&flat.grad), slots })
        };
        let parts: Vec<Part> = spans.iter().map(part_of).collect::<Result<_>>()?;
        let (mut copies, mut moved) = (vec![], vec![]);
        for (p, at) in group.parameters.iter().zip(&places) {
            let i = parts.iter().position(|q| Rc::ptr_eq(&q.flat, &at.flat)).ok_or_else(|| Error::internal("a parameter without a part"))?;
            let offset = at.offset - parts[i].start;
            for (from, to) in group.parts[p.part].slots.iter().zip(&parts[i].slots) {
                copies.push((part(to, offset, p.shape), part(from, p.offset, p.shape)));
            }
            moved.push((i, offset));
        }
        for (to, from) in copies {
            self.copy(&to, &from)?;
        }
        let group = &mut self.groups[g as usize];
        group.parts = parts;
        for (p, (i, offset)) in group.parameters.iter_mut().zip(moved) {
            (p.part, p.offset) = (i, offset);
        }
        Ok(())
    }
    fn copy(&mut self, to: &Tensor, from: &Tensor) -> Result<()> {
        let was = self.set_grad_enabled(false);
        let r = self.dispatch(Op::CopyInto, &[to.clone(), from.detached()]);
        self.set_grad_enabled(was);
        r.map(|_| ())
    }

    fn known_group(&self, g: u32) -> Result<&Group> {
        self.groups.get(g as usize).ok_or_else(|| Error::new(Code::Disposed, "the optimizer was disposed"))
    }
    fn parameter(&self, g: u32, param: usize) -> Result<(&Parameter, &Part)> {
        let group = self.known_group(g)?;
        let p = group.parameters.get(param).ok_or_else(|| Error::internal("no such parameter"))?;
        Ok((p, &group.parts[p.part]))
    }
    /// A parameter's part of a moment buffer.
    pub fn group_slot(&mut self, g: u32, param: usize, slot: usize) -> Result<Handle> {
        let (p, at) = self.parameter(g, param)?;
        let flat = at.slots.get(slot).ok_or_else(|| Error::internal("no such moment"))?;
        let t = part(flat, p.offset, p.shape);
        self.put(Slot::Real(t))
    }
    /// Updates of a parameter by this group.
    pub fn group_steps(&self, g: u32, param: usize) -> Result<f64> {
        Ok(self.parameter(g, param)?.0.steps.get() as f64)
    }
    pub fn set_group_steps(&mut self, g: u32, param: usize, steps: f64) -> Result<()> {
        self.diverge("an optimizer's state is loaded")?;
        self.parameter(g, param)?.0.steps.set(steps as u64);
        Ok(())
    }

    /// Sets the group's gradients to none.
    pub fn zero_grad(&mut self, g: u32) -> Result<()> {
        self.known_group(g)?;
        let op = Op::ZeroGrad { group: g as usize };
        if self.matching() {
            if self.match_macro(op, &[]) {
                return Ok(());
            }
            self.diverge("zeroGrad")?;
        }
        let leaves = self.known_group(g)?.parameters.iter().map(|p| p.leaf.clone()).collect();
        self.run_zero_grad(g as usize, leaves);
        Ok(())
    }
    pub(crate) fn run_zero_grad(&mut self, group: usize, leaves: Vec<Rc<Leaf>>) {
        let cleared = |leaf: Rc<Leaf>| LeafFlag { had: leaf.live.replace(false), leaf, buffer: 0 };
        let flags = leaves.into_iter().map(cleared).collect();
        self.mark(Op::ZeroGrad { group }, &[], flags);
    }

    /// Of each part, the parameters with a gradient, neighbours joined, by the updates that they have seen.
    fn live_ranges(&mut self, g: u32) -> Result<Vec<(usize, u64, Ranges)>> {
        self.follow(g)?;
        let group = self.known_group(g)?;
        let mut found: Vec<(usize, u64, Vec<Range>)> = vec![];
        for p in group.parameters.iter().filter(|p| p.leaf.live.get()) {
            let (steps, len) = (p.steps.get(), p.room());
            let list = match found.iter().position(|f| (f.0, f.1) == (p.part, steps)) {
                Some(i) => &mut found[i].2,
                None => {
                    found.push((p.part, steps, vec![]));
                    &mut found.last_mut().ok_or_else(|| Error::internal("unreachable"))?.2
                }
            };
            match list.last_mut() {
                Some(r) if r.start + r.len == p.offset => r.len += len,
                _ => list.push(Range { start: p.offset, len }),
            }
        }
        Ok(found.into_iter().map(|(p, s, r)| (p, s, r.into())).collect())
    }
    /// The flat gradients of groups, and what of them is live.
    pub(crate) fn live_grads(&mut self, groups: &[u32]) -> Result<(Vec<Tensor>, Rc<[Ranges]>)> {
        let (mut grads, mut ranges) = (vec![], vec![]);
        for g in groups {
            let found = self.live_ranges(*g)?;
            for (i, part) in self.known_group(*g)?.parts.iter().enumerate() {
                grads.push(part.grad.clone());
                ranges.push(found.iter().filter(|f| f.0 == i).flat_map(|f| f.2.iter().copied()).collect());
            }
        }
        Ok((grads, ranges.into()))
    }

    fn clip(&mut self, groups: &[u32], op: impl FnOnce(Rc<[Ranges]>) -> Op) -> Result<Vec<Handle>> {
        let (flats, ranges) = self.live_grads(groups)?;
        if flats.len() > 32 {
            return Err(Error::not_supported("clipping more than 32 parameter groups at once"));
        }
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
        if self.offering {
            self.known_group(g)?;
            self.groups[g as usize].offered = Some(op(0, Rc::from([])));
            return Ok(());
        }
        for (i, steps, ranges) in self.live_ranges(g)? {
            let part = &self.known_group(g)?.parts[i];
            let flats: Vec<Tensor> = [&part.value, &part.grad].into_iter().chain(&part.slots).cloned().collect();
            let mut operands: Vec<Operand> = flats.iter().map(Operand::Tensor).collect();
            if let Some(h) = skip {
                operands.push(Operand::Handle(self.index(h)?));
            }
            self.issue(op(steps, ranges), &operands)?;
        }
        // counted on the host: a skipped update counts too
        let counted: Vec<Rc<Cell<u64>>> = self.known_group(g)?.parameters.iter().filter(|p| p.leaf.live.get()).map(|p| p.steps.clone()).collect();
        for steps in counted {
            let count = steps.get();
            steps.set(count + 1);
            self.note_undo(1, Undo::Steps(steps, count));
        }
        Ok(())
    }
    pub(crate) fn forget_offers(&mut self) {
        for g in self.groups.values_mut() {
            g.offered = None;
        }
    }
    /// While on, an optimizer's updates only offer what they would do, for [`Engine::full`].
    pub fn offer_updates(&mut self, on: bool) {
        self.offering = on;
        if on {
            self.forget_offers();
        }
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
fn left() -> Error {
    Error::bad_option("a parameter was moved since the optimizer was made: call followParameters(), or make a new one")
}
