//! Shapes and layouts, held inline: a dispatch must not allocate for them.
use crate::error::{Error, Result};
use std::ops::Deref;

/// Highest rank of a tensor.
pub const MAX_RANK: usize = 8;
/// Highest number of elements. What is within it, times the size of any dtype, is a size of memory.
const MAX_NUMEL: usize = isize::MAX as usize / 8;

/// Sizes of the dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// `dims` must hold at most [`MAX_RANK`] sizes; see [`Shape::checked`] for input from outside.
    pub fn new(dims: &[usize]) -> Shape {
        let mut s = Shape { dims: [0; MAX_RANK], rank: dims.len() as u8 };
        s.dims[..dims.len()].copy_from_slice(dims);
        s
    }
    pub fn checked(dims: &[usize]) -> Result<Shape> {
        if dims.len() > MAX_RANK {
            return Err(Error::not_supported(format!("rank {} is above the limit of {MAX_RANK}", dims.len())));
        }
        let s = Shape::new(dims);
        s.check()?;
        Ok(s)
    }
    /// Whether the shape is one that can be reckoned with: no product of some of its sizes passes [`MAX_NUMEL`], also where
    /// another size is 0. Holds for every tensor, so strides and numbers of elements need no checks of their own.
    pub fn check(&self) -> Result<()> {
        let numel = self.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)));
        if numel.is_some_and(|n| n <= MAX_NUMEL) { Ok(()) } else { Err(Error::shape(format!("{self:?} has too many elements"))) }
    }
    pub fn scalar() -> Shape {
        Shape::new(&[])
    }
    pub fn rank(&self) -> usize {
        self.rank as usize
    }
    pub fn numel(&self) -> usize {
        self.iter().product()
    }
    pub fn with(mut self, dim: usize, size: usize) -> Shape {
        self.dims[dim] = size;
        self
    }
    /// The shape without dimension `dim`.
    pub fn without(&self, dim: usize) -> Shape {
        let mut s = *self;
        s.dims.copy_within(dim + 1.., dim);
        s.dims[MAX_RANK - 1] = 0;
        s.rank -= 1;
        s
    }
    /// Row-major strides, in elements.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut st = [0; MAX_RANK];
        let mut n = 1;
        for d in (0..self.rank()).rev() {
            st[d] = n;
            n *= self.dims[d];
        }
        st
    }
    /// NumPy's broadcasting rule.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape> {
        let rank = self.rank().max(other.rank());
        let mut out = Shape { dims: [0; MAX_RANK], rank: rank as u8 };
        for i in 0..rank {
            let get = |s: &Shape| if i + s.rank() >= rank { s[i + s.rank() - rank] } else { 1 };
            out.dims[i] = match (get(self), get(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return Err(Error::shape(format!("{self:?} and {other:?} can't be broadcast together"))),
            };
        }
        Ok(out)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }
}
impl From<&[usize]> for Shape {
    fn from(d: &[usize]) -> Shape {
        Shape::new(d)
    }
}
impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// Where a tensor's elements lie in its storage, in elements. Strides are never negative; 0 repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    pub shape: Shape,
    pub strides: [usize; MAX_RANK],
    pub offset: usize,
}

impl Layout {
    pub fn contiguous(shape: Shape) -> Layout {
        Layout { strides: shape.strides(), shape, offset: 0 }
    }
    pub fn new(shape: Shape, strides: &[usize], offset: usize) -> Layout {
        let mut st = [0; MAX_RANK];
        st[..strides.len()].copy_from_slice(strides);
        Layout { shape, strides: st, offset }
    }
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.shape.rank()]
    }
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }
    /// Row-major without holes, whatever the offset. Dimensions of size 1 may have any stride.
    pub fn is_contiguous(&self) -> bool {
        let mut n = 1;
        for d in (0..self.rank()).rev() {
            if self.shape[d] != 1 && self.strides[d] != n {
                return self.numel() == 0;
            }
            n *= self.shape[d];
        }
        true
    }
    /// [n, h, w, c] in memory, for a shape [n, c, h, w].
    pub fn channels_last(shape: Shape) -> Layout {
        let (c, h, w) = (shape[1], shape[2], shape[3]);
        Layout::new(shape, &[h * w * c, 1, w * c, c], 0)
    }
    /// Four dimensions that lie as [n, h, w, c] without holes. Dimensions of size 1 may have any stride.
    pub fn is_channels_last(&self) -> bool {
        self.rank() == 4 && {
            let l = Layout::channels_last(self.shape);
            (0..4).all(|d| self.shape[d] == 1 || self.strides[d] == l.strides[d]) || self.numel() == 0
        }
    }
    /// Every element of a stretch of memory once, in any order of dimensions.
    pub fn is_dense(&self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        let mut dims: Vec<usize> = (0..self.rank()).filter(|d| self.shape[*d] != 1).collect();
        dims.sort_by_key(|d| self.strides[*d]);
        let mut n = 1;
        for d in dims {
            if self.strides[d] != n {
                return false;
            }
            n *= self.shape[d];
        }
        true
    }
    /// The same places for the same elements, wherever they begin.
    pub fn same_order(&self, o: &Layout) -> bool {
        self.shape == o.shape && (0..self.rank()).all(|d| self.shape[d] == 1 || self.strides[d] == o.strides[d])
    }
    /// Elements of storage from the first to the last that it touches.
    pub fn span(&self) -> usize {
        if self.numel() == 0 {
            return 0;
        }
        1 + (0..self.rank()).map(|d| (self.shape[d] - 1) * self.strides[d]).sum::<usize>()
    }
    pub fn permute(&self, perm: &[u8]) -> Layout {
        let mut out = *self;
        let mut dims = [0; MAX_RANK];
        for (i, p) in perm.iter().enumerate() {
            dims[i] = self.shape[*p as usize];
            out.strides[i] = self.strides[*p as usize];
        }
        out.shape = Shape::new(&dims[..perm.len()]);
        out
    }
    /// `len` elements of dimension `dim` from `start`, each `step`-th.
    pub fn narrow(&self, dim: usize, start: usize, len: usize, step: usize) -> Layout {
        let mut out = *self;
        out.offset += start * self.strides[dim];
        // one element or none has no next one, however long the step
        if len > 1 {
            out.strides[dim] *= step;
        }
        out.shape = self.shape.with(dim, len);
        out
    }
    pub fn select(&self, dim: usize, index: usize) -> Layout {
        let mut out = *self;
        out.offset += index * self.strides[dim];
        out.shape = self.shape.without(dim);
        out.strides.copy_within(dim + 1.., dim);
        out
    }
    /// `shape` must be what this one broadcasts to.
    pub fn expand(&self, shape: &Shape) -> Layout {
        let mut st = [0; MAX_RANK];
        let lead = shape.rank() - self.rank();
        for d in 0..self.rank() {
            st[d + lead] = if self.shape[d] == 1 && shape[d + lead] != 1 { 0 } else { self.strides[d] };
        }
        Layout { shape: *shape, strides: st, offset: self.offset }
    }
    /// The same elements under another shape, if strides can say so (PyTorch's `computeStride`).
    pub fn reshape(&self, shape: &Shape) -> Option<Layout> {
        if self.numel() != shape.numel() {
            return None;
        }
        if self.is_contiguous() {
            return Some(Layout { strides: shape.strides(), shape: *shape, offset: self.offset });
        }
        // Runs of old dimensions that lie without a gap are cut anew by the new dimensions.
        let (old, new) = (self.shape, *shape);
        let mut st = [0; MAX_RANK];
        let mut view = new.rank() as isize - 1;
        let mut chunk_base = if old.rank() == 0 { 1 } else { self.strides[old.rank() - 1] };
        let (mut old_n, mut new_n) = (1, 1);
        for d in (0..old.rank()).rev() {
            old_n *= old[d];
            if d == 0 || (old[d - 1] != 1 && self.strides[d - 1] != old_n * chunk_base) {
                while view >= 0 && (new_n < old_n || new[view as usize] == 1) {
                    st[view as usize] = new_n * chunk_base;
                    new_n *= new[view as usize];
                    view -= 1;
                }
                if new_n != old_n {
                    return None;
                }
                if d > 0 {
                    chunk_base = self.strides[d - 1];
                    (old_n, new_n) = (1, 1);
                }
            }
        }
        (view == -1).then_some(Layout { shape: new, strides: st, offset: self.offset })
    }
}
