//! Walks tensors of any layout in row-major order and hands stretches of them to block functions, which see only
//! contiguous or repeated elements: whatever else there is gets packed into a scratch block in the L1 cache first.
use crate::cpu::{Arg, parallel};
use crate::error::{Error, Result};
use crate::shape::MAX_RANK;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Elements of a scratch block.
pub const BLOCK: usize = 1024;
/// Elements of a parallel chunk.
pub const CHUNK: usize = 32768;
/// Rows of at least this length are passed in place, shorter ones are packed.
const LONG_ROW: usize = 256;
/// Most operands, the result among them.
pub const MAX_OPERANDS: usize = 4;

/// What a block function reads: consecutive elements, or one that stands for all.
#[derive(Clone, Copy)]
pub struct Operand {
    pub ptr: *const u8,
    pub repeated: bool,
}

/// Room for a block of the widest dtype.
pub type Scratch = [MaybeUninit<u64>; BLOCK];
pub const SCRATCH: Scratch = [MaybeUninit::uninit(); BLOCK];

/// One tensor, read or written by row-major element numbers. Dimensions that lie without a gap are one.
#[derive(Clone, Copy)]
pub struct Source {
    ptr: *mut u8,
    size: usize,
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}
// SAFETY: `walk` and the chains give each thread its own range of the elements that are written.
unsafe impl Sync for Source {}
unsafe impl Send for Source {}

impl Source {
    pub fn new(arg: &Arg) -> Source {
        let l = &arg.layout;
        let mut s = Source { ptr: arg.ptr, size: arg.dtype.size(), rank: 0, dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        if l.is_contiguous() {
            (s.rank, s.dims[0], s.strides[0]) = (1, l.numel(), 1);
            return s;
        }
        for (&dim, &stride) in l.shape.iter().zip(l.strides()).filter(|(dim, _)| **dim != 1) {
            if s.rank > 0 && s.strides[s.rank - 1] == stride * dim {
                s.dims[s.rank - 1] *= dim;
                s.strides[s.rank - 1] = stride;
            } else {
                (s.dims[s.rank], s.strides[s.rank]) = (dim, stride);
                s.rank += 1;
            }
        }
        s
    }

    /// A contiguous row that repeats until there are `numel` elements; one element repeats for all.
    pub fn repeated_row(arg: &Arg, numel: usize) -> Source {
        let n = arg.numel();
        if n == numel {
            return Source::new(arg);
        }
        let mut s = Source { ptr: arg.ptr, size: arg.dtype.size(), rank: 2, dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        if n == 1 {
            (s.rank, s.dims[0]) = (1, numel);
        } else {
            (s.dims[0], s.dims[1], s.strides[1]) = (numel / n, n, 1);
        }
        s
    }

    #[inline]
    fn inner(&self) -> (usize, usize) {
        (self.dims[self.rank - 1], self.strides[self.rank - 1])
    }
    #[inline]
    fn is_flat(&self) -> bool {
        self.rank == 1 && self.strides[0] <= 1
    }

    /// The address of element `start`, if all lie one behind the other.
    #[inline]
    pub fn flat(&self, start: usize) -> Option<*mut u8> {
        (self.rank == 1 && self.strides[0] == 1).then(|| self.ptr.wrapping_add(start * self.size))
    }

    /// How many elements from `start` on may be asked for at once.
    #[inline]
    pub fn stretch(&self, start: usize) -> usize {
        let (dim, stride) = self.inner();
        match () {
            _ if self.is_flat() => usize::MAX,
            _ if stride <= 1 && dim >= LONG_ROW => dim - start % dim,
            _ => BLOCK,
        }
    }

    /// Elements `start .. start + n`; no more than [`Source::stretch`] says.
    ///
    /// # Safety
    /// The tensor has them.
    #[inline]
    pub unsafe fn read(&self, start: usize, n: usize, scratch: &mut Scratch) -> Operand {
        unsafe {
            if self.is_flat() {
                return Operand { ptr: self.ptr.add(start * self.strides[0] * self.size), repeated: self.strides[0] == 0 };
            }
            self.pack(start, n, scratch)
        }
    }

    unsafe fn pack(&self, start: usize, n: usize, scratch: &mut Scratch) -> Operand {
        let (dim, stride) = self.inner();
        unsafe {
            if stride <= 1 && start % dim + n <= dim {
                return Operand { ptr: self.ptr.add(self.offset(start) * self.size), repeated: stride == 0 };
            }
            debug_assert!(n <= BLOCK);
            let to: *mut u8 = scratch.as_mut_ptr().cast();
            self.copy_to(start, n, to);
            Operand { ptr: to, repeated: false }
        }
    }

    /// Copies elements `start .. start + n` to `to`.
    ///
    /// # Safety
    /// The tensor has them, `to` has room and overlaps none; n > 0.
    pub unsafe fn copy_to(&self, start: usize, n: usize, to: *mut u8) {
        unsafe {
            match self.size {
                1 => self.gather::<u8>(start, n, to),
                2 => self.gather::<u16>(start, n, to),
                4 => self.gather::<u32>(start, n, to),
                _ => self.gather::<u64>(start, n, to),
            }
        }
    }

    /// Stores `from` at elements `start .. start + n`.
    ///
    /// # Safety
    /// The tensor has them, and `from` overlaps none; n > 0.
    pub unsafe fn write(&self, start: usize, n: usize, from: *const u8) {
        unsafe {
            match self.size {
                1 => self.scatter::<u8>(start, n, from),
                2 => self.scatter::<u16>(start, n, from),
                4 => self.scatter::<u32>(start, n, from),
                _ => self.scatter::<u64>(start, n, from),
            }
        }
    }

    fn offset(&self, mut i: usize) -> usize {
        let mut offset = 0;
        for d in (0..self.rank).rev() {
            offset += i % self.dims[d] * self.strides[d];
            i /= self.dims[d];
        }
        offset
    }

    /// Calls `f(offset, stride, length)` for each piece of a row in `start .. start + n`.
    #[inline(always)]
    fn rows(&self, start: usize, n: usize, mut f: impl FnMut(usize, usize, usize)) {
        let (dim, stride) = self.inner();
        let mut index = [0; MAX_RANK];
        let mut i = start / dim;
        let mut row = 0;
        for d in (0..self.rank - 1).rev() {
            index[d] = i % self.dims[d];
            row += index[d] * self.strides[d];
            i /= self.dims[d];
        }
        let (mut at, mut left) = (start % dim, n);
        loop {
            let len = left.min(dim - at);
            f(row + at * stride, stride, len);
            left -= len;
            if left == 0 {
                return;
            }
            at = 0;
            for d in (0..self.rank - 1).rev() {
                index[d] += 1;
                row += self.strides[d];
                if index[d] < self.dims[d] {
                    break;
                }
                row -= self.dims[d] * self.strides[d];
                index[d] = 0;
            }
        }
    }

    unsafe fn gather<T: Copy>(&self, start: usize, n: usize, to: *mut u8) {
        let (base, mut to) = (self.ptr.cast::<T>(), to.cast::<T>());
        self.rows(start, n, |offset, stride, len| unsafe {
            let from = base.add(offset);
            match stride {
                1 => std::ptr::copy_nonoverlapping(from, to, len),
                0 => std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<T>>(), len).fill(MaybeUninit::new(from.read())),
                _ => (0..len).for_each(|i| to.add(i).write(from.add(i * stride).read())),
            }
            to = to.add(len);
        });
    }

    unsafe fn scatter<T: Copy>(&self, start: usize, n: usize, from: *const u8) {
        let (base, mut from) = (self.ptr.cast::<T>(), from.cast::<T>());
        self.rows(start, n, |offset, stride, len| unsafe {
            let to = base.add(offset);
            match stride {
                1 => std::ptr::copy_nonoverlapping(from, to, len),
                _ => (0..len).for_each(|i| to.add(i * stride).write(from.add(i).read())),
            }
            from = from.add(len);
        });
    }
}

/// Calls `f(chunk's start, its end)` for the chunks of `numel` elements, in parallel if `work` units are worth it. The
/// first error wins.
pub fn chunks(numel: usize, work: usize, f: impl Fn(usize, usize) -> Result<()> + Sync) -> Result<()> {
    if numel <= CHUNK {
        return if numel == 0 { Ok(()) } else { f(0, numel) };
    }
    let failed = OnceLock::<Error>::new();
    parallel::for_each(numel.div_ceil(CHUNK), work, |c| {
        if let Err(e) = f(c * CHUNK, numel.min((c + 1) * CHUNK)) {
            let _ = failed.set(e);
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}

/// Calls `f(start, n, operands, result)` until each element of `out` has been computed; `result` has room for `n` elements.
/// An `in_place` result may have any layout, and be read as an input too.
///
/// # Safety
/// Every pointer is valid for its layout, all of one shape. `f` writes `n` elements of `out`'s dtype.
pub unsafe fn walk(
    ins: &[Arg],
    out: &Arg,
    in_place: bool,
    work: usize,
    f: impl Fn(usize, usize, &[Operand], *mut u8) -> Result<()> + Sync,
) -> Result<()> {
    let result = Source::new(out);
    let mut sources = [result; MAX_OPERANDS];
    for (s, a) in sources.iter_mut().zip(ins) {
        *s = Source::new(a);
    }
    let sources = &sources[..ins.len()];
    let whole = &result;
    chunks(out.numel(), work, |begin, end| {
        let mut packed = [SCRATCH; MAX_OPERANDS];
        let mut operands = [Operand { ptr: std::ptr::null(), repeated: false }; MAX_OPERANDS];
        let mut start = begin;
        while start < end {
            let most = if in_place { BLOCK } else { end - start };
            let n = sources.iter().fold(most.min(end - start), |n, s| n.min(s.stretch(start)));
            unsafe {
                for (k, s) in sources.iter().enumerate() {
                    operands[k] = s.read(start, n, &mut packed[k]);
                }
                if in_place {
                    let to: *mut u8 = packed[MAX_OPERANDS - 1].as_mut_ptr().cast();
                    f(start, n, &operands[..sources.len()], to)?;
                    whole.write(start, n, to);
                } else {
                    f(start, n, &operands[..sources.len()], whole.ptr.add(start * whole.size))?;
                }
            }
            start += n;
        }
        Ok(())
    })
}
