//! Backward: walks the tape, newest node first. Every derivative is made of dispatched ops.
use crate::device::Device;
use crate::dispatch::modified;
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Code, Error, Result};
use crate::op::{Binary, Op, Sc};
use crate::ops::{self, Context, Vjp};
use crate::plan::record::LeafFlag;
use crate::shape::Layout;
use crate::tensor::{Edge, Leaf, Meta, Node, Saved, Tensor};
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// The engine as derivatives see it.
struct Derivative<'a> {
    engine: &'a mut Engine,
    create_graph: bool,
    device: Device,
}
impl Vjp for Derivative<'_> {
    fn run(&mut self, op: Op, ins: &[&Tensor]) -> Result<Vec<Tensor>> {
        let ins: Vec<Tensor> = ins.iter().map(|t| (*t).clone()).collect();
        self.engine.dispatch(op, &ins)
    }
    fn create_graph(&self) -> bool {
        self.create_graph
    }
    fn device(&self) -> Device {
        self.device
    }
}

/// Where a leaf's gradient is accumulated; made on first use.
pub(crate) fn grad_buffer(leaf: &Leaf, meta: Meta, like: &Tensor) -> Result<Tensor> {
    let mut grad = leaf.grad.borrow_mut();
    match &*grad {
        Some(g) => Ok(g.clone()),
        None => Ok(grad.insert(Tensor::zeros(Layout::contiguous(meta.shape), meta.dtype, like.device())?).clone()),
    }
}

/// The leaves that a walk reached, each once, as they were before.
#[derive(Default)]
struct Touched {
    flags: Vec<LeafFlag>,
    seen: HashSet<u64>,
}
/// Where a walk's gradients go: into leaves, or to whoever asked for them.
enum Sink<'a> {
    Leaves(&'a mut Touched),
    Asked(&'a mut [(Tensor, Option<Tensor>)]),
}
impl Sink<'_> {
    fn wants(&self, leaf: &Rc<Leaf>) -> bool {
        match self {
            Sink::Leaves(_) => true,
            Sink::Asked(list) => list.iter().any(|(t, _)| t.node.is_none() && t.leaf.as_ref().is_some_and(|l| Rc::ptr_eq(l, leaf))),
        }
    }
}

impl Engine {
    /// Accumulates the gradients of `h` into the leaves that it was made from. `gradient` is that of `h` itself, 1 for a scalar.
    pub fn backward(&mut self, h: Handle, gradient: Option<Handle>, retain: bool, create_graph: bool) -> Result<()> {
        let mut at = vec![self.index(h)?];
        if let Some(g) = gradient {
            at.push(self.index(g)?);
        }
        if self.matching() && !create_graph {
            let operands: Vec<Operand> = at.iter().map(|i| Operand::Handle(*i)).collect();
            if self.match_macro(Op::Backward { retain }, &operands) {
                return Ok(());
            }
            self.diverge("backward differs (root, or which gradients exist)")?;
        }
        let root = self.settle(h, "backward")?;
        let gradient = gradient.map(|g| self.settle(g, "backward")).transpose()?;
        self.run_backward(&root, gradient.as_ref(), retain, create_graph)
    }

    pub(crate) fn run_backward(&mut self, root: &Tensor, gradient: Option<&Tensor>, retain: bool, create_graph: bool) -> Result<()> {
        self.check_root(root, gradient)?;
        let at = self.recording().map(|r| r.entries.len());
        let ins: Vec<Tensor> = std::iter::once(root).chain(gradient).cloned().collect();
        self.mark(Op::Backward { retain }, &ins, vec![]);
        let mut touched = Touched::default();
        let r = self.walk(&[(root.clone(), gradient.cloned())], &mut Sink::Leaves(&mut touched), retain, create_graph);
        if let (Some(at), Some(rec)) = (at, self.recording()) {
            rec.entries[at].end = rec.entries.len();
            rec.entries[at].leaves = touched.flags;
            if r.is_err() {
                rec.bad = Some("backward failed".into());
            } else if create_graph {
                rec.bad = Some("backward made a graph of its own".into());
            }
        }
        r
    }

    fn check_root(&self, root: &Tensor, gradient: Option<&Tensor>) -> Result<()> {
        let fail = |code, m: String| Err(Error { operands: vec![root.meta().describe()], ..Error::new(code, m).in_op("backward") });
        if !root.requires_grad {
            return fail(Code::NoGrad, "the tensor doesn't require grad and has no history".into());
        }
        match gradient {
            None if root.layout.numel() != 1 => {
                fail(Code::ShapeMismatch, format!("needs a gradient for a tensor that isn't a scalar: {:?}", root.shape()))
            }
            Some(g) if g.shape() != root.shape() => {
                fail(Code::ShapeMismatch, format!("the gradient must be {:?}, not {:?}", root.shape(), g.shape()))
            }
            _ => Ok(()),
        }
    }

    /// The gradients of `outputs` by `inputs`, without touching any `grad`. A step window that calls it is eager.
    pub fn grad(
        &mut self,
        outputs: &[Handle],
        grads: &[Option<Handle>],
        inputs: &[Handle],
        retain: bool,
        create_graph: bool,
        allow_unused: bool,
    ) -> Result<Vec<Option<Handle>>> {
        self.diverge("grad()")?;
        if let Some(r) = self.recording() {
            r.bad = Some("grad() computes gradients outside of backward".into());
        }
        let mut roots = vec![];
        for (i, h) in outputs.iter().enumerate() {
            let root = self.real(*h)?;
            let g = grads.get(i).copied().flatten().map(|g| self.real(g)).transpose()?;
            self.check_root(&root, g.as_ref())?;
            roots.push((root, g));
        }
        let mut asked: Vec<(Tensor, Option<Tensor>)> = inputs.iter().map(|h| Ok((self.real(*h)?, None))).collect::<Result<_>>()?;
        if let Some((t, _)) = asked.iter().find(|a| !a.0.requires_grad) {
            return Err(Error { operands: vec![t.meta().describe()], ..Error::new(Code::NoGrad, "an input doesn't require grad").in_op("grad") });
        }
        self.walk(&roots, &mut Sink::Asked(&mut asked), retain || create_graph, create_graph)?;
        asked
            .into_iter()
            .map(|(_, g)| match g {
                Some(g) => self.put(Slot::Real(if create_graph { g } else { g.detached() })).map(Some),
                None if allow_unused => Ok(None),
                None => {
                    Err(Error::new(Code::NoGrad, "an input was not used to compute the outputs; pass allowUnused to get null for it").in_op("grad"))
                }
            })
            .collect()
    }

    fn walk(&mut self, roots: &[(Tensor, Option<Tensor>)], sink: &mut Sink, retain: bool, create_graph: bool) -> Result<()> {
        let before = (self.depth, self.grad_enabled);
        self.depth += 1;
        self.grad_enabled = create_graph;
        let r = catch_unwind(AssertUnwindSafe(|| self.walk_inner(roots, sink, retain, create_graph)));
        (self.depth, self.grad_enabled) = before;
        r.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn walk_inner(&mut self, roots: &[(Tensor, Option<Tensor>)], sink: &mut Sink, retain: bool, create_graph: bool) -> Result<()> {
        // nodes that have a gradient waiting, by age
        let mut waiting: BTreeMap<u64, (Rc<Node>, Vec<Option<Tensor>>)> = BTreeMap::new();
        for (root, g) in roots {
            let g = match g {
                Some(g) => g.clone(),
                None => {
                    self.dispatch(Op::Fill { shape: root.shape(), dtype: root.dtype, device: root.device(), value: Sc::new(1.0) }, &[])?.remove(0)
                }
            };
            match (&root.node, &root.leaf) {
                (Some((n, o)), _) => self.deliver(&mut waiting, n, *o, g)?,
                (None, Some(l)) => self.arrive(sink, l, g, root.meta(), create_graph)?,
                _ => {}
            }
        }
        while let Some((_, (node, grads))) = waiting.pop_last() {
            self.collect(sink, &node, &grads)?;
            let saved = if retain { node.saved.borrow().clone() } else { node.saved.borrow_mut().take() };
            let Some(saved) = saved else {
                return Err(Error::new(Code::NoGrad, "backward went through this part of the graph before; pass retainGraph the first time")
                    .in_op(node.op.name()));
            };
            if saved.ins.iter().chain(&saved.outs).flatten().any(|(t, v)| t.version() != *v) {
                return Err(modified(&node.op));
            }
            let needs: Vec<bool> = node
                .edges
                .iter()
                .map(|e| match e {
                    Edge::None => false,
                    Edge::Node(..) => true,
                    Edge::Leaf(l) => sink.wants(l),
                })
                .collect();
            let given = self.derive(&node, saved, &needs, &grads, create_graph)?;
            for (i, (e, g)) in node.edges.iter().zip(given).enumerate() {
                let Some(g) = g.filter(|_| needs[i]) else { continue };
                match e {
                    Edge::None => {}
                    Edge::Node(n, o) => self.deliver(&mut waiting, n, *o, g)?,
                    Edge::Leaf(l) => self.arrive(sink, l, g, node.ins[i], create_graph)?,
                }
            }
        }
        Ok(())
    }

    fn derive(&mut self, node: &Rc<Node>, saved: Saved, needs: &[bool], grads: &[Option<Tensor>], create_graph: bool) -> Result<Vec<Option<Tensor>>> {
        let ins: Vec<Option<Tensor>> = saved.ins.into_iter().map(|s| s.map(|s| s.0)).collect();
        let outs: Vec<Option<Tensor>> =
            saved
                .outs
                .into_iter()
                .enumerate()
                .map(|(o, s)| {
                    s.map(|(t, _)| {
                        if create_graph && t.dtype.is_float() { Tensor { requires_grad: true, node: Some((node.clone(), o as u32)), ..t } } else { t }
                    })
                })
                .collect();
        let context = Context { ins: &ins, outs: &outs, metas: &node.ins, needs, device: node.device };
        let device = grads.iter().flatten().next().map_or(node.device, Tensor::device);
        ops::vjp(&node.op, &mut Derivative { engine: self, create_graph, device }, &context, grads).map_err(|e| e.in_op(node.op.name()))
    }

    /// Adds a gradient to what waits at a node.
    fn deliver(&mut self, waiting: &mut BTreeMap<u64, (Rc<Node>, Vec<Option<Tensor>>)>, node: &Rc<Node>, out: u32, g: Tensor) -> Result<()> {
        let slot = &mut waiting.entry(node.seq).or_insert_with(|| (node.clone(), vec![None; node.outs.len()])).1[out as usize];
        let sum = match slot.take() {
            Some(old) => self.dispatch(Op::Binary(Binary::Add), &[old, g])?.remove(0),
            None => g,
        };
        waiting.entry(node.seq).and_modify(|w| w.1[out as usize] = Some(sum));
        Ok(())
    }

    /// A gradient arrives at a leaf.
    fn arrive(&mut self, sink: &mut Sink, leaf: &Rc<Leaf>, g: Tensor, meta: Meta, create_graph: bool) -> Result<()> {
        match sink {
            Sink::Leaves(touched) => {
                let (first, had) = (touched.seen.insert(leaf.id), leaf.live.get());
                self.accumulate(leaf, g, meta, create_graph)?;
                if first {
                    touched.flags.push(LeafFlag { leaf: leaf.clone(), had, buffer: leaf.buffer() });
                }
                Ok(())
            }
            Sink::Asked(list) => {
                for i in 0..list.len() {
                    if list[i].0.node.is_none() && list[i].0.leaf.as_ref().is_some_and(|l| Rc::ptr_eq(l, leaf)) {
                        list[i].1 = Some(match list[i].1.take() {
                            Some(old) => self.dispatch(Op::Binary(Binary::Add), &[old, g.clone()])?.remove(0),
                            None => g.clone(),
                        });
                    }
                }
                Ok(())
            }
        }
    }

    fn accumulate(&mut self, leaf: &Rc<Leaf>, g: Tensor, meta: Meta, create_graph: bool) -> Result<()> {
        if create_graph {
            if leaf.groups.get() > 0 {
                return Err(Error::not_supported("backward({ createGraph }) into a parameter that an optimizer owns; use grad()").in_op("backward"));
            }
            let old = leaf.grad.borrow().clone().filter(|_| leaf.live.get());
            let sum = match old {
                Some(old) => self.dispatch(Op::Binary(Binary::Add), &[old, g])?.remove(0),
                None => g,
            };
            *leaf.grad.borrow_mut() = Some(sum);
        } else {
            let buffer = grad_buffer(leaf, meta, &g)?;
            self.dispatch(if leaf.live.get() { Op::BinaryInto(Binary::Add) } else { Op::CopyInto }, &[buffer.detached(), g])?;
        }
        leaf.live.set(true);
        Ok(())
    }

    /// The gradient of a node's results is final: hands it to those who want it.
    fn collect(&mut self, sink: &mut Sink, node: &Rc<Node>, grads: &[Option<Tensor>]) -> Result<()> {
        let retained = node.retained.borrow().clone();
        for (o, leaf) in retained {
            if let Some(g) = &grads[o as usize] {
                self.accumulate(&leaf, g.clone(), node.outs[o as usize], false)?;
            }
        }
        if let Sink::Asked(list) = sink {
            for (t, slot) in list.iter_mut() {
                if let Some((n, o)) = &t.node
                    && Rc::ptr_eq(n, node)
                {
                    *slot = grads[*o as usize].clone();
                }
            }
        }
        Ok(())
    }

    /// Marks the tape as used without computing: a launch has done it.
    pub(crate) fn consume(node: &Rc<Node>) {
        let mut list = vec![node.clone()];
        while let Some(n) = list.pop() {
            if n.saved.borrow_mut().take().is_some() {
                list.extend(n.edges.iter().filter_map(|e| if let Edge::Node(n, _) = e { Some(n.clone()) } else { None }));
            }
        }
    }
}
