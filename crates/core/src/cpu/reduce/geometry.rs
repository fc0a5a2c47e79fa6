//! How a reduction goes over memory: dimensions sorted, joined, and told apart into kept and reduced ones.
use super::Arg;
use crate::op::Dims;
use crate::shape::MAX_RANK;

/// A dimension of the input, with its stride in the input and, if it is kept, in the result.
#[derive(Clone, Copy, Default, Debug)]
pub struct Dim {
    pub size: usize,
    pub input: usize,
    pub output: usize,
}

/// Some dimensions, outermost first.
#[derive(Clone, Copy, Default, Debug)]
pub struct DimList {
    dims: [Dim; MAX_RANK],
    len: usize,
}
impl DimList {
    /// Appends `d`, joined to the last one if they are one run in both memories.
    fn push(&mut self, d: Dim) {
        if let Some(last) = self.dims[..self.len].last_mut()
            && last.input == d.input * d.size
            && last.output == d.output * d.size
        {
            *last = Dim { size: last.size * d.size, ..d };
            return;
        }
        self.dims[self.len] = d;
        self.len += 1;
    }
    pub fn pop(&mut self) -> Option<Dim> {
        self.len = self.len.checked_sub(1)?;
        Some(self.dims[self.len])
    }
    pub fn as_slice(&self) -> &[Dim] {
        &self.dims[..self.len]
    }
    pub fn numel(&self) -> usize {
        self.as_slice().iter().map(|d| d.size).product()
    }
    /// Offsets in input and result of the `index`-th element in row-major order.
    #[inline(always)]
    pub fn offsets(&self, mut index: usize) -> (usize, usize) {
        let (mut input, mut output) = (0, 0);
        for (i, d) in self.as_slice().iter().enumerate().rev() {
            // The outermost needs no division.
            let at = if i == 0 { index } else { index % d.size };
            index = if i == 0 { 0 } else { index / d.size };
            input += at * d.input;
            output += at * d.output;
        }
        (input, output)
    }
    /// Offsets in the input from the `from`-th element on.
    #[inline(always)]
    pub fn walk(&self, from: usize) -> Walk<'_> {
        let mut w = Walk { dims: self.as_slice(), index: [0; MAX_RANK], at: 0 };
        let mut rest = from;
        for (i, d) in w.dims.iter().enumerate().rev() {
            w.index[i] = if i == 0 { rest } else { rest % d.size };
            rest = if i == 0 { 0 } else { rest / d.size };
            w.at += w.index[i] * d.input;
        }
        w
    }
}

/// An endless walk in row-major order: the caller counts.
pub struct Walk<'a> {
    dims: &'a [Dim],
    index: [usize; MAX_RANK],
    at: usize,
}
impl Walk<'_> {
    #[inline(always)]
    pub fn next(&mut self) -> usize {
        let at = self.at;
        for (i, d) in self.dims.iter().enumerate().rev() {
            self.index[i] += 1;
            self.at += d.input;
            if self.index[i] < d.size || i == 0 {
                break;
            }
            self.at -= d.size * d.input;
            self.index[i] = 0;
        }
        at
    }
}

/// Kept and reduced dimensions of `x`, those of size 1 left out. `sorted`: by falling stride instead of in order.
pub fn split(x: &Arg, dims: Dims, sorted: bool) -> (DimList, DimList) {
    let (shape, strides) = (x.layout.shape, x.layout.strides());
    let mut list = [(Dim::default(), false); MAX_RANK];
    let mut output = 1;
    for d in (0..shape.rank()).rev() {
        let reduced = dims.has(d);
        list[d] = (Dim { size: shape[d], input: strides[d], output: if reduced { 0 } else { output } }, reduced);
        if !reduced {
            output *= shape[d];
        }
    }
    let list = &mut list[..shape.rank()];
    if sorted {
        // A repeated dimension is outermost: it is no run in memory.
        list.sort_by_key(|(d, _)| std::cmp::Reverse(if d.input == 0 { usize::MAX } else { d.input }));
    }
    let (mut kept, mut reduced) = (DimList::default(), DimList::default());
    for (d, r) in list.iter().filter(|(d, _)| d.size != 1) {
        if *r { reduced.push(*d) } else { kept.push(*d) }
    }
    (kept, reduced)
}
