//! The funnel: every computation goes through `dispatch`.
use crate::cpu::{self, Arg};
use crate::device::{self, Device};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::op::{Op, Sc};
use crate::ops;
use crate::plan::record::{LeafFlag, Recording};
use crate::profile;
use crate::shape::Layout;
use crate::tensor::{Edge, Meta, Node, Saved, Tensor};
use crate::window::{Mode, Window};
use std::cell::RefCell;
use std::rc::Rc;

impl Engine {
    /// Runs `op` now, puts it on the tape and, in a recording, on the list.
    pub(crate) fn dispatch(&mut self, mut op: Op, ins: &[Tensor]) -> Result<Vec<Tensor>> {
        let copies: Vec<Tensor>;
        let mut ins = ins;
        if ins.iter().enumerate().any(|(i, t)| ops::needs_contiguous(&op, i, &t.layout, t.device())) {
            copies = ins
                .iter()
                .enumerate()
                .map(|(i, t)| {
                    if ops::needs_contiguous(&op, i, &t.layout, t.device()) {
                        Ok(self.dispatch(Op::Contiguous, std::slice::from_ref(t))?.remove(0))
                    } else {
                        Ok(t.clone())
                    }
                })
                .collect::<Result<_>>()?;
            ins = &copies;
        }
        let metas: Vec<Meta> = ins.iter().map(Tensor::meta).collect();
        let home = device_of(&op, ins)?;
        let out_metas = ops::infer(&op, &metas)?;
        if let (0, Some(r)) = (self.depth, self.recording()) {
            let k = r.entries.len();
            own(&mut op, k);
        }
        if let Op::View(v) = &op {
            let x = &ins[0];
            let out = Tensor { own_version: x.own_version.clone(), ..Tensor::new(x.storage.clone(), ops::view::layout(v, &x.layout)?, x.dtype) };
            return Ok(self.finish(op, ins, vec![out]));
        }
        let outs: Vec<Tensor> = match home {
            Device::Cpu => out_metas.iter().map(|m| Tensor::empty(Layout::contiguous(m.shape), m.dtype, home)).collect::<Result<_>>()?,
            Device::Cuda(_) => {
                let layouts: Vec<Layout> = ins.iter().map(|t| t.layout).collect();
                let empty = |(i, m): (usize, &Meta)| Tensor::empty(ops::out_layout(&op, &layouts, m, i), m.dtype, home);
                out_metas.iter().enumerate().map(empty).collect::<Result<_>>()?
            }
        };
        let apart: Vec<Tensor>;
        if matches!(op, Op::CopyInto | Op::BinaryInto(_)) && partial_overlap(&ins[0], &ins[1]) {
            // the kernel would read what it has just written
            apart = vec![ins[0].clone(), self.dispatch(Op::Contiguous, &ins[1..])?.remove(0)];
            ins = &apart;
        }
        if op.writes() & 1 == 1
            && ins[0].layout.numel() > 0
            && ins[0].layout.strides().iter().zip(ins[0].shape().iter()).any(|(s, n)| *s == 0 && *n > 1)
        {
            return Err(Error::new(Code::InplaceModified, "elements of the tensor share memory (it was expanded): it can't be written in place")
                .in_op(op.name()));
        }
        let mut in_args: Vec<Arg> = ins.iter().map(Tensor::arg).collect();
        if ops::broadcasts(&op) {
            let shape = out_metas.first().map_or(metas[0].shape, |m| m.shape);
            for a in &mut in_args {
                a.layout = a.layout.expand(&shape);
            }
        }
        let out_args: Vec<Arg> = outs.iter().map(Tensor::arg).collect();
        // SAFETY: shapes and dtypes were inferred, outputs are fresh, and all lie on the device.
        let done = unsafe {
            if let Op::ToDevice(_) = op {
                device::transfer(&in_args[0], ins[0].device(), &out_args[0], home)
            } else {
                let key = |shapes| profile::op_key(&op, &in_args, &out_args, shapes);
                profile::span(home, 0, key, || match home {
                    Device::Cpu => cpu::run(&op, &[], &in_args, &out_args),
                    Device::Cuda(i) => device::backend(i)?.run(&op, &[], &in_args, &out_args),
                })
            }
        };
        done.map_err(|mut e| {
            e.operands = metas.iter().map(Meta::describe).collect();
            e.in_op(op.name())
        })?;
        self.bump_written(&op, ins);
        Ok(self.finish(op, ins, outs))
    }
    pub(crate) fn bump_written(&self, op: &Op, ins: &[Tensor]) {
        let writes = op.writes();
        for (i, t) in ins.iter().enumerate() {
            if writes >> i & 1 == 1 {
                t.bump(1);
            }
        }
    }

    /// What is the same for an op that has just run and for one whose results a launch has left behind: recording and tape.
    pub(crate) fn finish(&mut self, op: Op, ins: &[Tensor], mut outs: Vec<Tensor>) -> Vec<Tensor> {
        let grad_enabled = self.grad_enabled;
        if let Some(Window { mode: Mode::Recording(r), serial, .. }) = &mut self.window {
            let ids = ins.iter().map(|t| r.input(t, *serial)).collect();
            let writes = op.writes();
            for (i, t) in ins.iter().enumerate() {
                if writes >> i & 1 == 1 {
                    r.written.insert(t.storage.id());
                }
            }
            let layouts: Vec<_> = outs.iter().map(|t| (t.layout, t.dtype, t.device())).collect();
            let k = r.push(op.clone(), ids, grad_enabled, &layouts);
            let first = r.entries[k].first;
            for (o, t) in outs.iter_mut().enumerate() {
                t.origin = (*serial, first + o as u32);
                r.memory[first as usize + o] = Rc::downgrade(&t.storage);
            }
        }
        if !grad_enabled || !ins.iter().any(|t| t.requires_grad) {
            return outs;
        }
        let Some((save_ins, save_outs)) = ops::saves(&op) else { return outs };
        let edges = ins.iter().map(edge).collect();
        let save = |t: &Tensor| Some((t.clone(), t.version()));
        let saved = Saved {
            ins: ins.iter().enumerate().map(|(i, t)| if save_ins >> i & 1 == 1 { save(t) } else { None }).collect(),
            // without their node: a node must not hold itself
            outs: outs.iter().enumerate().map(|(i, t)| if save_outs >> i & 1 == 1 { save(t) } else { None }).collect(),
        };
        self.tape += 1;
        let node = Rc::new(Node {
            seq: self.tape,
            op,
            edges,
            ins: ins.iter().map(Tensor::meta).collect(),
            outs: outs.iter().map(Tensor::meta).collect(),
            device: ins.first().map_or(Device::Cpu, Tensor::device),
            saved: RefCell::new(Some(saved)),
            retained: RefCell::default(),
        });
        for (o, t) in outs.iter_mut().enumerate() {
            if t.dtype.is_float() {
                t.requires_grad = true;
                t.node = Some((node.clone(), o as u32));
            }
        }
        outs
    }

    /// Records an entry without a kernel.
    pub(crate) fn mark(&mut self, op: Op, ins: &[Tensor], leaves: Vec<LeafFlag>) {
        let grad_enabled = self.grad_enabled;
        if let Some(Window { mode: Mode::Recording(r), serial, .. }) = &mut self.window {
            let ids = ins.iter().map(|t| r.input(t, *serial)).collect();
            let k = r.push(op, ids, grad_enabled, &[]);
            r.entries[k].leaves = leaves;
        }
    }
    pub(crate) fn recording(&mut self) -> Option<&mut Recording> {
        match &mut self.window {
            Some(Window { mode: Mode::Recording(r), .. }) => Some(r),
            _ => None,
        }
    }
}

/// Names the scalars of an op that the user called after entry `k`: they are parameters of the plan.
pub(crate) fn own(op: &mut Op, k: usize) {
    for (j, s) in op.scalars_mut().into_iter().enumerate() {
        s.bind(k * crate::op::MAX_SCALARS + j);
    }
}
/// The op with numbers in place of parameters.
pub(crate) fn with_params(op: &Op, params: &[f64]) -> Op {
    let mut op = op.clone();
    for s in op.scalars_mut() {
        *s = Sc::new(s.get(params));
    }
    op
}

/// Where the op's results are. Its operands must all be in one place.
fn device_of(op: &Op, ins: &[Tensor]) -> Result<Device> {
    let first = ins.first().map_or(Device::Cpu, Tensor::device);
    if let Some(t) = ins.iter().find(|t| t.device() != first) {
        let mut e = Error::new(Code::DeviceMismatch, format!("operands are on {} and on {}", first.name(), t.device().name()));
        e.operands = ins.iter().map(|t| format!("{} on {}", t.meta().describe(), t.device().name())).collect();
        return Err(e.in_op(op.name()));
    }
    Ok(op.device().unwrap_or(first))
}

fn edge(t: &Tensor) -> Edge {
    match (t.requires_grad, &t.node, &t.leaf) {
        (true, Some((n, o)), _) => Edge::Node(n.clone(), *o),
        (true, None, Some(l)) => Edge::Leaf(l.clone()),
        _ => Edge::None,
    }
}

/// An in-place write to saved state.
pub(crate) fn modified(op: &Op) -> Error {
    Error::new(Code::InplaceModified, "a tensor that backward needs was changed in place after this op read it").in_op(op.name())
}

/// Two tensors share some elements' memory without being the same elements in the same order.
fn partial_overlap(a: &Tensor, b: &Tensor) -> bool {
    let range = |t: &Tensor| (t.layout.offset * t.dtype.size(), (t.layout.offset + t.layout.span()) * t.dtype.size());
    let ((a0, a1), (b0, b1)) = (range(a), range(b));
    a.storage.id() == b.storage.id() && a0 < b1 && b0 < a1 && (a.layout != b.layout || a.dtype != b.dtype)
}
