//! Tensors and tape nodes. A `Tensor` is a view: a storage and a layout.
use crate::cpu::Arg;
use crate::device::{self, Device};
use crate::dtype::DType;
use crate::error::{Code, Error, Result};
use crate::op::Op;
use crate::reserve;
use crate::shape::{Layout, Shape};
use crate::storage::Storage;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What shape inference knows of an operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Meta {
    pub shape: Shape,
    pub dtype: DType,
}
impl Meta {
    pub fn new(shape: Shape, dtype: DType) -> Meta {
        Meta { shape, dtype }
    }
    /// The size of the elements. It doesn't overflow: see [`Shape::check`].
    pub fn bytes(&self) -> usize {
        self.shape.numel() * self.dtype.size()
    }
    pub fn describe(&self) -> String {
        format!("{}{:?}", self.dtype.name(), self.shape)
    }
}

thread_local! {
    static NEXT_LEAF: Cell<u64> = const { Cell::new(1) };
}

/// Where the gradient of a leaf (or of a tensor with `retainGrad`) is accumulated.
pub struct Leaf {
    /// Never used again: two leaves may share memory, and a plan must not take one for the other.
    pub id: u64,
    /// The buffer stays when the gradient is set to none.
    pub grad: RefCell<Option<Tensor>>,
    /// PyTorch's "grad is not None".
    pub live: Cell<bool>,
    /// Where it lies in an optimizer's flat buffer, and how many groups have it.
    pub place: RefCell<Option<crate::optim::Place>>,
    pub groups: Cell<u32>,
}
impl Default for Leaf {
    fn default() -> Self {
        let id = NEXT_LEAF.with(|n| n.replace(n.get() + 1));
        Leaf { id, grad: RefCell::default(), live: Cell::default(), place: RefCell::default(), groups: Cell::default() }
    }
}
impl Leaf {
    /// The memory that gradients are accumulated in, 0 if there is none yet.
    pub fn buffer(&self) -> u64 {
        self.grad.borrow().as_ref().map_or(0, |g| g.storage.id())
    }
}

/// Where the gradient of an input goes.
pub enum Edge {
    None,
    Node(Rc<Node>, u32),
    Leaf(Rc<Leaf>),
}

/// Inputs and outputs that a backward pass needs, with the version they had.
#[derive(Clone)]
pub struct Saved {
    pub ins: Vec<Option<(Tensor, u64)>>,
    pub outs: Vec<Option<(Tensor, u64)>>,
}

/// An op on the tape.
pub struct Node {
    pub seq: u64,
    pub op: Op,
    pub edges: Vec<Edge>,
    pub ins: Vec<Meta>,
    pub outs: Vec<Meta>,
    /// Of the inputs.
    pub device: Device,
    /// Taken when backward passes.
    pub saved: RefCell<Option<Saved>>,
    /// Outputs whose gradient is kept too.
    pub retained: RefCell<Vec<(u32, Rc<Leaf>)>>,
}

impl Drop for Node {
    /// Long chains are freed in a loop: recursion would overflow the stack.
    fn drop(&mut self) {
        fn take(n: &mut Node, list: &mut Vec<Rc<Node>>) {
            for e in n.edges.drain(..) {
                if let Edge::Node(n, _) = e {
                    list.push(n);
                }
            }
            if let Some(s) = n.saved.get_mut().take() {
                list.extend(s.ins.into_iter().chain(s.outs).flatten().filter_map(|(t, _)| t.node.map(|n| n.0)));
            }
        }
        let mut list = vec![];
        take(self, &mut list);
        while let Some(n) = list.pop() {
            if let Ok(mut n) = Rc::try_unwrap(n) {
                take(&mut n, &mut list);
            }
        }
    }
}

#[derive(Clone)]
pub struct Tensor {
    pub storage: Rc<Storage>,
    pub layout: Layout,
    pub dtype: DType,
    pub requires_grad: bool,
    pub leaf: Option<Rc<Leaf>>,
    pub node: Option<(Rc<Node>, u32)>,
    /// The window that made it and its value number there; a tensor of another window is external to this one.
    pub origin: (u64, u32),
    /// A parameter's own version: parameters of a group share a storage, but writing one is no change of the others.
    pub own_version: Option<Rc<Cell<u64>>>,
}

impl Tensor {
    pub fn new(storage: Rc<Storage>, layout: Layout, dtype: DType) -> Tensor {
        Tensor { storage, layout, dtype, requires_grad: false, leaf: None, node: None, origin: (0, 0), own_version: None }
    }
    /// Uninitialised, of the layout's shape and order.
    pub fn empty(layout: Layout, dtype: DType, device: Device) -> Result<Tensor> {
        Ok(Tensor::new(Storage::new(bytes(&layout, dtype)?, device)?, Layout { offset: 0, ..layout }, dtype))
    }
    /// Row-major data from the host. Of a bool any byte but 0 is true.
    pub fn from_bytes(bytes: &[u8], meta: Meta, device: Device) -> Result<Tensor> {
        debug_assert_eq!(bytes.len(), meta.bytes());
        if meta.dtype == DType::Bool && bytes.iter().any(|b| *b > 1) {
            let mut bools = reserve::vec(bytes.len())?;
            bools.extend(bytes.iter().map(|b| (*b != 0) as u8));
            return Tensor::from_bytes(&bools, meta, device);
        }
        let t = Tensor::empty(Layout::contiguous(meta.shape), meta.dtype, device)?;
        let from = Arg { ptr: bytes.as_ptr().cast_mut(), ..t.arg() };
        // SAFETY: fresh memory of that size, and `from` is only read.
        unsafe { device::transfer(&from, Device::Cpu, &t.arg(), device)? }
        Ok(t)
    }
    /// Zeros, of the layout's shape and order. All-zero bits are 0 in every dtype.
    pub fn zeros(layout: Layout, dtype: DType, device: Device) -> Result<Tensor> {
        Ok(Tensor::new(Storage::zeros(bytes(&layout, dtype)?, device)?, Layout { offset: 0, ..layout }, dtype))
    }
    pub fn device(&self) -> Device {
        self.storage.device()
    }
    /// The same memory, off the tape.
    pub fn detached(&self) -> Tensor {
        Tensor { requires_grad: false, leaf: None, node: None, ..self.clone() }
    }
    pub fn meta(&self) -> Meta {
        Meta { shape: self.layout.shape, dtype: self.dtype }
    }
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }
    pub fn ptr(&self) -> *mut u8 {
        // SAFETY: layouts never leave their storage.
        unsafe { self.storage.ptr().add(self.layout.offset * self.dtype.size()) }
    }
    pub fn arg(&self) -> Arg {
        Arg { ptr: self.ptr(), layout: Layout { offset: 0, ..self.layout }, dtype: self.dtype }
    }
    pub fn version(&self) -> u64 {
        self.storage.version() + self.own_version.as_ref().map_or(0, |v| v.get())
    }
    pub fn bump(&self, by: i64) {
        match &self.own_version {
            Some(v) => v.set(v.get().wrapping_add_signed(by)),
            None => self.storage.bump(by),
        }
    }
    pub fn ident(&self) -> Ident {
        Ident {
            storage: self.storage.id(),
            device: self.device(),
            layout: self.layout,
            dtype: self.dtype,
            requires_grad: self.requires_grad,
            leaf: self.watched_leaf(),
        }
    }
    /// The leaf that a gradient of this tensor would reach, 0 if none.
    fn watched_leaf(&self) -> u64 {
        self.leaf.as_ref().filter(|_| self.requires_grad).map_or(0, |l| l.id)
    }
}

/// The size of a new tensor's memory: the last line of defence, should a shape come here that was never checked.
fn bytes(layout: &Layout, dtype: DType) -> Result<usize> {
    let numel = layout.shape.iter().try_fold(dtype.size(), |n, d| n.checked_mul(*d));
    numel
        .filter(|n| *n <= isize::MAX as usize)
        .ok_or_else(|| Error::new(Code::OutOfMemory, format!("no memory holds {:?} of {}", layout.shape, dtype.name())))
}

/// What makes two external tensors the same to a plan.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ident {
    pub storage: u64,
    pub device: Device,
    pub layout: Layout,
    pub dtype: DType,
    pub requires_grad: bool,
    /// The leaf's number: memory alone doesn't say whose gradient it is.
    pub leaf: u64,
}
impl Ident {
    pub fn is(&self, t: &Tensor) -> bool {
        self.leaf == t.watched_leaf() && self.is_memory_of(t)
    }
    /// The same elements and the same wish for a gradient, whichever leaf it is.
    pub fn is_memory_of(&self, t: &Tensor) -> bool {
        self.storage == t.storage.id() && self.requires_grad == t.requires_grad && self.dtype == t.dtype && self.layout == t.layout
    }
    /// Another tensor could take its place as an input that changes from step to step.
    pub fn fits(&self, o: &Ident) -> bool {
        self.dtype == o.dtype
            && self.device == o.device
            && self.layout.shape == o.layout.shape
            && self.layout.strides() == o.layout.strides()
            && !self.requires_grad
            && !o.requires_grad
    }
}
