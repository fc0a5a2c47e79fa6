//! The engine of one JavaScript thread: handles, scopes and what the user calls. Work goes through `dispatch`.
use crate::context::{Contexts, Scope};
use crate::cpu::philox;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Code, Error, Result};
use crate::numbered::Numbered;
use crate::op::*;
use crate::ops;
use crate::plan::matching::Undo;
use crate::reserve;
use crate::rng::Stream;
use crate::shape::{Layout, Shape};
use crate::storage::{self, Storage};
use crate::tensor::{Leaf, Meta, Tensor};
use crate::window::{Mode, Site, Window};
use std::cell::Cell;
use std::rc::Rc;

/// A tensor's name in JavaScript: generation * 2^24 + index. A freed index is reused under another generation.
pub type Handle = f64;

// A table entry is a tensor in all but the shortest-lived of cases, so boxing it would only cost a pointer chase per op.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Slot {
    Free,
    Real(Tensor),
    /// A value of the plan that the open window is matching.
    Pending(u32),
}
pub(crate) struct Entry {
    pub generation: u32,
    /// The scope that frees it.
    home: u32,
    pub slot: Slot,
}

/// An operand of a call: a handle's index, or a tensor that has none.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Handle(usize),
    Tensor(&'a Tensor),
}

/// Live tensors and the memory they occupy.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub tensors: usize,
    pub usage: storage::Usage,
}

/// Switches for the differential tests of plans.
#[derive(Clone, Copy, Default, Debug)]
pub struct Debug {
    /// Leave out the fusing passes.
    pub no_fusion: bool,
    /// Fill the arena with NaN before each launch, and try plans however often they miss.
    pub poison: bool,
    /// Copy inputs to a fixed place before a launch, as a CUDA graph needs.
    pub copy_slots: bool,
    /// Break this rule of the plan on purpose (0: none), to see that the tests notice.
    pub mutant: u32,
}

pub struct Engine {
    pub(crate) table: Vec<Entry>,
    free: Vec<u32>,
    /// By name; the running context's is `scope`.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) free_scopes: Vec<u32>,
    pub(crate) scope: u32,
    pub(crate) contexts: Contexts,
    pub(crate) groups: Numbered<crate::optim::Group>,
    /// Whether updates of optimizers only offer what they would do.
    pub(crate) offering: bool,
    pub(crate) sites: Numbered<Site>,
    /// Sites that were given up while their window was open.
    pub(crate) dead_sites: Vec<usize>,
    pub(crate) window: Option<Window>,
    pub(crate) windows: u64,
    /// What new sites may still waste on recordings of their first window.
    pub(crate) credit: u32,
    /// Number of the newest tape node.
    pub(crate) tape: u64,
    /// Inside an op's own expansion (backward): ops here are nobody's calls.
    pub(crate) depth: u32,
    pub(crate) grad_enabled: bool,
    /// The low dtype, while autocast is on, and the casts of parameters made for it.
    pub(crate) autocast: Option<DType>,
    pub(crate) casts: Vec<crate::amp::CachedCast>,
    pub(crate) streams: Vec<Stream>,
    /// Memory for the intermediates of plans, one a device.
    pub(crate) arenas: Vec<Rc<Storage>>,
    pub(crate) prefetch: crate::prefetch::Prefetch,
    pub debug: Debug,
}

const SEEDS: &str = "it seeds, reads or draws from a random stream on the host";

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

pub(crate) fn split(h: Handle) -> (usize, u32) {
    let h = h as u64;
    ((h & 0xFF_FFFF) as usize, (h >> 24) as u32)
}
fn join(index: usize, generation: u32) -> Handle {
    ((generation as u64) << 24 | index as u64) as f64
}

impl Engine {
    pub fn new() -> Engine {
        Engine {
            table: vec![],
            free: vec![],
            scopes: vec![Scope::default()],
            free_scopes: vec![],
            scope: 0,
            contexts: Contexts::default(),
            groups: Numbered::new("parameter groups"),
            offering: false,
            sites: Numbered::new("captured functions"),
            dead_sites: vec![],
            window: None,
            windows: 0,
            credit: crate::window::SITES_CREDIT,
            tape: 0,
            depth: 0,
            grad_enabled: true,
            autocast: None,
            casts: vec![],
            streams: vec![Stream::new(0.0)],
            arenas: vec![],
            prefetch: Default::default(),
            debug: Debug::default(),
        }
    }
    #[inline]
    pub(crate) fn mutant(&self, n: u32) -> bool {
        self.debug.mutant == n
    }

    // ---- handles

    pub(crate) fn put(&mut self, slot: Slot) -> Result<Handle> {
        let home = self.scope;
        if home > 0 {
            reserve::grow(&mut self.scopes[home as usize].made)?;
        }
        if let Some(w) = &mut self.window {
            reserve::grow(&mut w.made)?;
        }
        let i = match self.free.pop() {
            Some(i) => i as usize,
            None => {
                if self.table.len() >= 1 << 24 {
                    return Err(Error::new(Code::OutOfMemory, "16 million tensors are alive: a scope or dispose() is missing"));
                }
                reserve::grow(&mut self.table)?;
                // letting tensors go must not need memory
                if self.free.try_reserve(self.table.capacity()).is_err() {
                    return Err(Error::new(Code::OutOfMemory, "memory is exhausted; the table of tensors can't grow"));
                }
                self.table.push(Entry { generation: 0, home: 0, slot: Slot::Free });
                self.table.len() - 1
            }
        };
        let e = &mut self.table[i];
        (e.slot, e.home) = (slot, home);
        let g = e.generation;
        if home > 0 {
            self.scopes[home as usize].made.push((i as u32, g));
        }
        if let Some(w) = &mut self.window {
            w.made.push((i as u32, g));
        }
        Ok(join(i, g))
    }
    pub(crate) fn index(&self, h: Handle) -> Result<usize> {
        let (i, g) = split(h);
        match self.table.get(i) {
            Some(e) if e.generation == g && !matches!(e.slot, Slot::Free) => Ok(i),
            _ => Err(Error::new(
                Code::Disposed,
                "this tensor was disposed, or the scope or step that made it has ended; keep() or return it to use it later",
            )),
        }
    }
    pub(crate) fn release(&mut self, i: usize) {
        let e = &mut self.table[i];
        if let (Slot::Real(t), Some(Window { mode: Mode::Recording(r), serial, .. })) = (&e.slot, &mut self.window)
            && t.origin.0 == *serial
        {
            r.unname(t.origin.1);
        }
        e.slot = Slot::Free;
        e.generation = (e.generation + 1) & 0xFFF_FFFF;
        self.free.push(i as u32);
    }
    pub fn is_live(&self, h: Handle) -> bool {
        self.index(h).is_ok()
    }
    pub fn dispose(&mut self, h: Handle) -> Result<()> {
        let i = self.index(h)?;
        let home = self.table[i].home;
        if self.window.as_ref().is_some_and(|w| w.watch.is_some() && !self.is_inside(home, w.outer)) {
            self.impure("it disposes of a tensor from outside");
        }
        self.release(i);
        Ok(())
    }
    pub fn release_if_live(&mut self, h: Handle) {
        if let Ok(i) = self.index(h) {
            self.release(i);
        }
    }
    /// Takes the tensor out of every scope, until `dispose`.
    pub fn keep(&mut self, h: Handle) -> Result<()> {
        let i = self.index(h)?;
        self.table[i].home = 0;
        Ok(())
    }
    /// A scope ends: frees what it made, or moves it to the scope around if it is to be kept.
    pub(crate) fn leave_scope(&mut self, ended: u32, around: u32, i: u32, g: u32, keep: &[Handle]) {
        let e = &mut self.table[i as usize];
        if e.generation != g || e.home != ended {
            return;
        }
        if keep.iter().any(|h| split(*h) == (i as usize, g)) {
            e.home = around;
            if around > 0 {
                self.scopes[around as usize].made.push((i, g));
            }
        } else {
            self.release(i as usize);
        }
    }
    pub fn memory(&self, device: Device) -> Memory {
        Memory { tensors: self.table.len() - self.free.len(), usage: storage::usage(device) }
    }
    pub fn empty_cache(&mut self) -> Result<()> {
        if self.window.is_none() {
            self.arenas.clear();
        }
        storage::empty_cache()
    }

    // ---- what is known of a tensor

    pub(crate) fn layout(&self, i: usize) -> Result<(Layout, DType, Device)> {
        match &self.table[i].slot {
            Slot::Real(t) => Ok((t.layout, t.dtype, t.device())),
            Slot::Pending(v) => {
                self.pending_value(*v).map(|v| (v.layout, v.dtype, v.device)).ok_or_else(|| Error::internal("a pending tensor without a plan"))
            }
            Slot::Free => Err(Error::internal("a freed tensor")),
        }
    }
    pub fn meta(&self, h: Handle) -> Result<Meta> {
        let (l, d, _) = self.layout(self.index(h)?)?;
        Ok(Meta::new(l.shape, d))
    }
    pub fn device(&self, h: Handle) -> Result<Device> {
        Ok(self.layout(self.index(h)?)?.2)
    }
    /// Whether the elements lie row-major without holes.
    pub fn is_contiguous(&self, h: Handle) -> Result<bool> {
        Ok(self.layout(self.index(h)?)?.0.is_contiguous())
    }
    /// The tensor itself, which must not be pending: [`Engine::settle`] first.
    pub(crate) fn real(&self, h: Handle) -> Result<Tensor> {
        match &self.table[self.index(h)?].slot {
            Slot::Real(t) => Ok(t.clone()),
            _ => Err(Error::internal("a tensor that was not computed")),
        }
    }
    /// Leaves the plan if `h` is only a promise of it.
    pub(crate) fn settle(&mut self, h: Handle, why: &str) -> Result<Tensor> {
        if let Slot::Pending(_) = self.table[self.index(h)?].slot {
            self.diverge(why)?;
        }
        self.real(h)
    }

    // ---- ops

    /// Calls `op` as a user does: promotes dtypes, broadcasts, copies what a kernel can't read as it lies. In-place ops return
    /// their first input.
    pub fn call(&mut self, op: Op, ins: &[Handle]) -> Result<Vec<Handle>> {
        let name = op.name();
        let mut temps: Vec<Handle> = vec![];
        let r = self.prepared_call(op, ins, &mut temps).map_err(|e| e.in_op(name));
        for t in temps {
            // a failed divergence may have freed it
            let _ = self.dispose(t);
        }
        r
    }
    fn prepared_call(&mut self, mut op: Op, ins: &[Handle], temps: &mut Vec<Handle>) -> Result<Vec<Handle>> {
        let mut hs: [Handle; 8] = [0.0; 8];
        let mut many: Vec<Handle>;
        let hs: &mut [Handle] = if ins.len() <= 8 {
            hs[..ins.len()].copy_from_slice(ins);
            &mut hs[..ins.len()]
        } else {
            many = ins.to_vec();
            &mut many
        };
        self.cast_operands(&op, hs, temps)?;
        crate::promote::promote(self, &mut op, hs, temps)?;
        crate::promote::move_scalars(self, &op, hs, temps)?;
        for (j, h) in hs.iter_mut().enumerate() {
            let (layout, _, device) = self.layout(self.index(*h)?)?;
            if ops::needs_contiguous(&op, j, &layout, device) {
                *h = self.call(Op::Contiguous, &[*h])?[0];
                temps.push(*h);
            }
        }
        if matches!(op, Op::CopyInto | Op::BinaryInto(_) | Op::ScalarInto { .. })
            && self.grad_enabled
            && let Some(r) = self.tracked_in_place(&op, hs)?
        {
            return Ok(vec![r]);
        }
        let mut operands: [Operand; 8] = [Operand::Handle(0); 8];
        let mut many: Vec<Operand>;
        let operands: &mut [Operand] = if hs.len() <= 8 {
            &mut operands[..hs.len()]
        } else {
            many = vec![Operand::Handle(0); hs.len()];
            &mut many
        };
        for (o, h) in operands.iter_mut().zip(hs.iter()) {
            *o = Operand::Handle(self.index(*h)?);
        }
        let in_place = matches!(op, Op::CopyInto | Op::BinaryInto(_) | Op::ScalarInto { .. } | Op::TrackLoss { .. });
        let out = self.issue(op, operands)?;
        Ok(if in_place { vec![ins[0]] } else { out })
    }

    /// Matches the op against the plan, or runs it.
    pub(crate) fn issue(&mut self, mut op: Op, operands: &[Operand]) -> Result<Vec<Handle>> {
        if self.matching() {
            let refused = self.refuses_now(&op, operands);
            if !refused && let Some(values) = self.try_match(&mut op, operands) {
                return values.map(|v| self.put(Slot::Pending(v))).collect();
            }
            let why = if refused { "refuses its operands" } else { "is not what the plan has here" };
            self.diverge(&format!("{} {why}", op.name()))?;
            for s in op.scalars_mut() {
                *s = Sc::new(s.recorded());
            }
        }
        self.raise_failure()?;
        let ins: Vec<Tensor> = operands
            .iter()
            .map(|o| match o {
                Operand::Tensor(t) => Ok((*t).clone()),
                Operand::Handle(i) => match &self.table[*i].slot {
                    Slot::Real(t) => Ok(t.clone()),
                    _ => Err(Error::new(Code::Disposed, "the op that makes this tensor failed")),
                },
            })
            .collect::<Result<_>>()?;
        let outs = self.dispatch(op, &ins)?;
        outs.into_iter().map(|t| self.put(Slot::Real(t))).collect()
    }

    /// PyTorch's in-place rules where autograd watches: refused on a leaf, tracked on a result. `None`: nothing is watched.
    fn tracked_in_place(&mut self, op: &Op, hs: &[Handle]) -> Result<Option<Handle>> {
        let mut watched = false;
        for h in hs {
            watched |= self.requires_grad(*h)?;
        }
        if !watched {
            return Ok(None);
        }
        let refused = |m: &str| Err(Error::new(Code::InplaceModified, m).in_op(op.name()));
        if self.requires_grad(hs[0])? && self.is_leaf(hs[0])? {
            return refused("a leaf that requires grad can't be changed in place; use noGrad()");
        }
        self.diverge("an in-place op that autograd watches")?;
        if let Some(r) = self.recording() {
            r.bad = Some(format!("{} in place on a tensor of the tape", op.name()));
        }
        let x = self.real(hs[0])?;
        if x.node.as_ref().is_some_and(|n| n.0.op.is_view()) {
            return Err(Error::not_supported("in place on a view that is on the tape; write the op without the trailing underscore").in_op(op.name()));
        }
        // the derivative may want the old value: it gets a copy that stands at the same place of the tape
        let old = Tensor {
            node: x.node.clone(),
            requires_grad: x.requires_grad,
            ..self.dispatch_untracked(Op::Contiguous, std::slice::from_ref(&x))?.remove(0)
        };
        let ins: Vec<Tensor> = std::iter::once(Ok(old)).chain(hs[1..].iter().map(|h| self.real(*h))).collect::<Result<_>>()?;
        ops::infer(op, &ins.iter().map(Tensor::meta).collect::<Vec<_>>())?;
        let new = match op {
            Op::BinaryInto(b) => self.dispatch(Op::Binary(*b), &ins)?,
            Op::ScalarInto { op, value } => self.dispatch(Op::Scalar { op: *op, value: *value, reversed: false }, &ins)?,
            _ => {
                let src = self.dispatch(Op::Cast(x.dtype), &ins[1..])?;
                self.dispatch(Op::View(View::Expand(x.shape())), &src)?
            }
        }
        .remove(0);
        self.dispatch_untracked(Op::CopyInto, &[x.detached(), new.detached()])?;
        let i = self.index(hs[0])?;
        self.table[i].slot = Slot::Real(Tensor { storage: x.storage, layout: x.layout, own_version: x.own_version, ..new });
        Ok(Some(hs[0]))
    }
    fn dispatch_untracked(&mut self, op: Op, ins: &[Tensor]) -> Result<Vec<Tensor>> {
        let was = std::mem::replace(&mut self.grad_enabled, false);
        let r = self.dispatch(op, ins);
        self.grad_enabled = was;
        r
    }

    /// A tensor of data from the host, copied now: the caller may change its array afterwards.
    pub fn from_host(&mut self, bytes: &[u8], shape: Shape, dtype: DType, device: Device) -> Result<Handle> {
        let meta = Meta::new(shape, dtype);
        if bytes.len() != meta.bytes() {
            return Err(Error::shape(format!("{} bytes of data for {}, which takes {}", bytes.len(), meta.describe(), meta.bytes())).in_op("tensor"));
        }
        let t = Tensor::from_bytes(bytes, meta, device)?;
        self.bind_host(t)
    }
    /// Lets a tensor that native code made into the window as host data.
    pub(crate) fn bind_host(&mut self, t: Tensor) -> Result<Handle> {
        let mut op = Op::FromHost { shape: t.shape(), dtype: t.dtype, device: t.device() };
        if self.matching() {
            if let Some(mut values) = self.try_match(&mut op, &[]) {
                let v = values.next().unwrap_or(0);
                self.bind_value(v, t);
                return self.put(Slot::Pending(v));
            }
            self.diverge("data from the host that the plan doesn't have here")?;
        }
        let out = self.finish(op, &[], vec![t]).remove(0);
        self.put(Slot::Real(out))
    }
    /// A tensor from outside any window: parameters, loaded files, gathered batches.
    pub(crate) fn put_external(&mut self, t: Tensor) -> Result<Handle> {
        if self.window.is_some() { self.bind_host(t) } else { self.put(Slot::Real(t)) }
    }

    // ---- random numbers

    fn stream(&mut self, generator: Option<u32>) -> Result<&mut Stream> {
        self.streams.get_mut(generator.map_or(0, |g| g as usize)).ok_or_else(|| Error::bad_option("no such generator"))
    }
    /// The stream, for a change: a launch that fails before the entry that is matched next puts it back.
    fn stream_to_change(&mut self, generator: Option<u32>) -> Result<&mut Stream> {
        let before = *self.stream(generator)?;
        let number = generator.map_or(0, |g| g as usize);
        self.note_undo(0, Undo::Stream(number, before));
        self.stream(generator)
    }
    pub fn manual_seed(&mut self, seed: f64) {
        self.impure(SEEDS);
        if let Ok(s) = self.stream_to_change(None) {
            *s = Stream::new(seed);
        }
    }
    pub fn generator(&mut self, seed: f64) -> u32 {
        self.impure(SEEDS);
        self.streams.push(Stream::new(seed));
        self.streams.len() as u32 - 1
    }
    pub fn generator_state(&mut self, generator: Option<u32>) -> Result<(f64, f64)> {
        self.impure(SEEDS);
        self.stream(generator).map(|s| (s.seed, s.offset))
    }
    pub fn set_generator_state(&mut self, generator: Option<u32>, seed: f64, offset: f64) -> Result<()> {
        self.impure(SEEDS);
        *self.stream_to_change(generator)? = Stream { seed, offset };
        Ok(())
    }
    pub fn random(&mut self, kind: Random, shape: Shape, dtype: DType, device: Device, generator: Option<u32>) -> Result<Handle> {
        let s = self.stream_to_change(generator)?;
        let (seed, offset) = (Sc::new(s.seed), Sc::new(s.take(shape.numel())));
        let x = self.call(Op::Random { shape, dtype, device, kind, seed, offset }, &[])?[0];
        self.note_stream(generator.unwrap_or(0));
        Ok(x)
    }
    pub fn dropout(&mut self, x: Handle, p: f64) -> Result<Handle> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::bad_option(format!("p must be between 0 and 1, not {p}")).in_op("dropout"));
        }
        let n = self.meta(x)?.shape.numel();
        let s = self.stream_to_change(None)?;
        let (seed, offset) = (Sc::new(s.seed), Sc::new(s.take(n)));
        let y = self.call(Op::Dropout { p: Sc::new(p), seed, offset }, &[x])?[0];
        self.note_stream(0);
        Ok(y)
    }
    /// A random order of 0..n (Fisher-Yates), on the host.
    pub fn permutation(&mut self, n: usize, generator: Option<u32>) -> Result<Vec<u32>> {
        if n > u32::MAX as usize {
            return Err(Error::not_supported("a permutation of more than 2^32 elements"));
        }
        self.impure(SEEDS);
        let s = self.stream_to_change(generator)?;
        let (seed, at) = (s.seed, s.take(n));
        let (mut words, mut v) = (reserve::vec(n)?, reserve::vec(n)?);
        words.resize(n, 0);
        v.extend(0..n as u32);
        philox::words(philox::seed_bits(seed), at as u64, 0, &mut words);
        for i in (1..n).rev() {
            v.swap(i, ((words[i] as u64 * (i as u64 + 1)) >> 32) as usize);
        }
        Ok(v)
    }

    // ---- autograd

    pub fn grad_enabled(&self) -> bool {
        self.grad_enabled
    }
    pub fn set_grad_enabled(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.grad_enabled, on)
    }
    pub fn requires_grad(&self, h: Handle) -> Result<bool> {
        Ok(match &self.table[self.index(h)?].slot {
            Slot::Real(t) => t.requires_grad,
            Slot::Pending(v) => self.pending_requires_grad(*v),
            Slot::Free => false,
        })
    }
    pub fn is_leaf(&self, h: Handle) -> Result<bool> {
        Ok(match &self.table[self.index(h)?].slot {
            Slot::Real(t) => t.node.is_none(),
            Slot::Pending(v) => !self.pending_requires_grad(*v),
            Slot::Free => false,
        })
    }
    pub fn set_requires_grad(&mut self, h: Handle, on: bool) -> Result<()> {
        self.impure("it sets requiresGrad");
        let mut t = self.settle(h, "requiresGrad of a result")?;
        if t.node.is_some() {
            return Err(Error::new(Code::NoGrad, "requiresGrad can only be set on a leaf; detach() the tensor first"));
        }
        if on && !t.dtype.is_float() {
            return Err(Error::dtype(format!("only floating tensors can require grad, not {}", t.dtype.name())));
        }
        if on && t.leaf.is_none() {
            t.leaf = Some(Rc::new(Leaf::default()));
        }
        t.requires_grad = on;
        let i = self.index(h)?;
        self.table[i].slot = Slot::Real(t);
        Ok(())
    }
    fn leaf_of(&mut self, h: Handle) -> Result<Option<Rc<Leaf>>> {
        let t = self.settle(h, "the gradient of a result")?;
        Ok(match (&t.leaf, &t.node) {
            (Some(l), _) => Some(l.clone()),
            (None, Some((n, o))) => n.retained.borrow().iter().find(|r| r.0 == *o).map(|r| r.1.clone()),
            _ => None,
        })
    }
    /// The accumulated gradient, or none.
    pub fn grad_of(&mut self, h: Handle) -> Result<Option<Handle>> {
        let leaf = self.leaf_of(h)?;
        if let Some(l) = &leaf {
            self.note_grad_asked(l);
        }
        match leaf {
            Some(l) if l.live.get() => match l.grad.borrow().clone() {
                Some(g) => self.put(Slot::Real(g)).map(Some),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }
    /// Sets a leaf's gradient to a copy of `grad`, or to none.
    pub fn set_grad(&mut self, h: Handle, grad: Option<Handle>) -> Result<()> {
        self.diverge("a gradient is set")?;
        if let Some(r) = self.recording() {
            r.bad = Some("a gradient is set by hand".into());
        }
        let (t, Some(leaf)) = (self.real(h)?, self.leaf_of(h)?) else {
            return Err(Error::new(Code::NoGrad, "only a leaf that requires grad has a gradient to set"));
        };
        match grad {
            None => leaf.live.set(false),
            Some(g) => {
                let g = self.real(g)?;
                if g.meta() != t.meta() {
                    return Err(Error::shape(format!("the gradient of {} can't be {}", t.meta().describe(), g.meta().describe())));
                }
                let buffer = crate::tape::grad_buffer(&leaf, t.meta(), &t)?;
                self.dispatch_untracked(Op::CopyInto, &[buffer, g.detached()])?;
                leaf.live.set(true);
            }
        }
        Ok(())
    }
    /// Keeps the gradient of a result in its `grad` too.
    pub fn retain_grad(&mut self, h: Handle) -> Result<()> {
        self.diverge("retainGrad of a result")?;
        if let Some(r) = self.recording() {
            r.bad = Some("retainGrad keeps the gradient of a result".into());
        }
        let t = self.real(h)?;
        if let Some((n, o)) = t.node
            && !n.retained.borrow().iter().any(|r| r.0 == o)
        {
            n.retained.borrow_mut().push((o, Rc::new(Leaf { live: Cell::new(false), ..Leaf::default() })));
        }
        Ok(())
    }
}
