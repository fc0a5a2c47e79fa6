//! Recordings.
use crate::device::Device;
use crate::dtype::DType;
use crate::op::Op;
use crate::shape::{Layout, Shape};
use crate::storage::Storage;
use crate::tensor::{Ident, Leaf, Meta, Tensor};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};

/// An operand of a recorded op: a value that an earlier entry made, or a tensor from outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum In {
    Value(u32),
    External(u32),
}

/// A leaf whose gradient an entry sets or clears.
#[derive(Clone)]
pub struct LeafFlag {
    pub leaf: Rc<Leaf>,
    /// Whether it had a gradient when the entry ran.
    pub had: bool,
    /// The memory that the entry accumulated into, 0 if it did not.
    pub buffer: u64,
}
impl LeafFlag {
    /// The leaf is as it was when the entry ran.
    pub fn holds(&self) -> bool {
        self.leaf.live.get() == self.had && (self.buffer == 0 || self.leaf.buffer() == self.buffer)
    }
    fn same(&self, o: &LeafFlag) -> bool {
        Rc::ptr_eq(&self.leaf, &o.leaf) && self.had == o.had && self.buffer == o.buffer
    }
}

/// One recorded op. Its results are the values `first .. first + outs`.
#[derive(Clone)]
pub struct Entry {
    pub op: Op,
    pub ins: Vec<In>,
    pub first: u32,
    pub outs: u32,
    pub grad_enabled: bool,
    /// The entry after this one and its own expansion (backward).
    pub end: usize,
    pub leaves: Vec<LeafFlag>,
}
impl Entry {
    pub fn values(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.outs
    }
    /// The same op on the same values, under the same circumstances.
    pub fn same(&self, o: &Entry) -> bool {
        self.op == o.op && self.ins == o.ins && self.outs == o.outs && self.same_but_inputs(o)
    }
    pub fn same_but_inputs(&self, o: &Entry) -> bool {
        self.op == o.op
            && self.first == o.first
            && self.grad_enabled == o.grad_enabled
            && self.end == o.end
            && self.ins.len() == o.ins.len()
            && self.leaves.len() == o.leaves.len()
            && self.leaves.iter().zip(&o.leaves).all(|(x, y)| x.same(y))
    }
}

/// A result: where it lies relative to the storage that it is in.
#[derive(Clone, Copy)]
pub struct Value {
    pub entry: u32,
    pub layout: Layout,
    pub dtype: DType,
    pub device: Device,
}
impl Value {
    pub fn meta(&self) -> Meta {
        Meta::new(self.layout.shape, self.dtype)
    }
    /// Of one shape, dtype and device, and in the same order.
    pub fn same(&self, o: &Value) -> bool {
        self.meta() == o.meta() && self.device == o.device && self.layout.strides() == o.layout.strides()
    }
}

/// How long values live, counted in host reads. What is dead at one of them is dead at those after it.
#[derive(Clone, Default)]
pub struct Lives {
    /// By value: the host reads that had passed when the last handle that names it went.
    pub named: Vec<u32>,
    /// By value: at the first host read after it was made something, handle or tape, held its memory.
    pub held: Vec<bool>,
}

#[derive(Clone)]
pub struct External {
    pub id: Ident,
    /// Dropped while a recording waits for its twin.
    pub tensor: Option<Tensor>,
    /// Differs from step to step.
    pub slot: bool,
}

#[derive(Default)]
pub struct Recording {
    pub entries: Vec<Entry>,
    pub values: Vec<Value>,
    pub externals: Vec<External>,
    /// The externals of a storage, by offset and shape.
    known: HashMap<(u64, usize, Shape), Vec<u32>>,
    /// The host reads' entries.
    pub cuts: Vec<usize>,
    pub lives: Lives,
    /// Values that outlive the window.
    pub outputs: HashSet<u32>,
    /// The memory of each value.
    pub memory: Vec<Weak<Storage>>,
    /// Storages written since the last cut, and the first value after it.
    pub written: HashSet<u64>,
    pub last_cut: u32,
    /// Why this recording can't become a plan.
    pub bad: Option<String>,
    /// By entry: a digest of the ops so far. Recordings that agree have the same.
    pub digests: Vec<u64>,
}

impl Recording {
    pub fn input(&mut self, t: &Tensor, window: u64) -> In {
        if t.origin.0 == window {
            return In::Value(t.origin.1);
        }
        if t.node.is_some() {
            self.bad = Some("an input carries a tape from outside the window".into());
        }
        let alike = self.known.entry((t.storage.id(), t.layout.offset, t.shape())).or_default();
        if let Some(i) = alike.iter().find(|i| self.externals[**i as usize].id.is(t)) {
            return In::External(*i);
        }
        let i = self.externals.len() as u32;
        alike.push(i);
        self.externals.push(External { id: t.ident(), tensor: Some(t.clone()), slot: false });
        In::External(i)
    }

    /// Appends an entry; its results get their numbers.
    pub fn push(&mut self, op: Op, ins: Vec<In>, grad_enabled: bool, outs: &[(Layout, DType, Device)]) -> usize {
        let (k, first) = (self.entries.len(), self.values.len() as u32);
        let mut hasher = DefaultHasher::new();
        (self.digests.last(), std::mem::discriminant(&op), grad_enabled, ins.len()).hash(&mut hasher);
        for i in &ins {
            if let In::Value(v) = i { *v } else { u32::MAX }.hash(&mut hasher);
        }
        for (layout, dtype, _) in outs {
            (layout.shape, dtype).hash(&mut hasher);
        }
        self.digests.push(hasher.finish());
        for (layout, dtype, device) in outs {
            self.values.push(Value { entry: k as u32, layout: *layout, dtype: *dtype, device: *device });
            self.memory.push(Weak::new());
            self.lives.named.push(0);
            self.lives.held.push(false);
        }
        self.entries.push(Entry { op, ins, first, outs: outs.len() as u32, grad_enabled, end: k + 1, leaves: vec![] });
        k
    }

    /// A digest of all its ops.
    pub fn digest(&self) -> u64 {
        self.digests.last().copied().unwrap_or(0)
    }
    /// The last handle that names a value goes.
    pub fn unname(&mut self, v: u32) {
        let named = &mut self.lives.named[v as usize];
        *named = (*named).max(self.cuts.len() as u32);
    }
    /// A host read comes next: `held` says which of the values since the last one something holds.
    pub fn cut(&mut self, held: impl Fn(&Recording, u32) -> bool) {
        for v in self.last_cut..self.values.len() as u32 {
            self.lives.held[v as usize] = held(self, v);
        }
        self.written.clear();
        self.last_cut = self.values.len() as u32;
    }

    /// Same ops on the same values. Externals may be other tensors if they could take each other's place.
    pub fn agrees(&self, o: &Recording) -> bool {
        self.digest() == o.digest()
            && self.entries.len() == o.entries.len()
            && self.externals.len() == o.externals.len()
            && self.cuts.len() == o.cuts.len()
            && self.entries.iter().zip(&o.entries).all(|(a, b)| a.same(b))
            && self.values.iter().zip(&o.values).all(|(a, b)| a.same(b))
            && self.externals.iter().zip(&o.externals).all(|(a, b)| a.id == b.id || a.id.fits(&b.id))
    }

    /// Identities only: a recording that waits for its twin must not keep batches alive.
    pub fn forget_tensors(&mut self) {
        for e in &mut self.externals {
            e.tensor = None;
        }
    }
}
