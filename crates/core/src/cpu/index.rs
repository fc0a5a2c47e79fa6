//! Ops that pick or place elements by number: gather, scatterAdd, indexSelect, indexAdd, cat, and narrow's derivative.
//! Indices are checked before anything is written.
use super::Arg;
use super::parallel;
use super::scratch::Shared;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use crate::shape::{MAX_RANK, Shape};
use half::{bf16, f16};

/// Evaluates `$body` with `$T` standing for an unsigned type as wide as an element of `$dtype`.
macro_rules! for_width {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

/// An element that can be added to another: integers wrap, bools are ored.
trait Sum: Copy + Send + Sync {
    fn sum(self, other: Self) -> Self;
}
macro_rules! sum {
    ($($t:ty: $a:ident, $b:ident => $e:expr),*) => {
        $(impl Sum for $t {
            #[inline(always)]
            fn sum(self, $b: $t) -> $t {
                let $a = self;
                $e
            }
        })*
    };
}
sum!(bool: a, b => a | b, u8: a, b => a.wrapping_add(b), i32: a, b => a.wrapping_add(b), i64: a, b => a.wrapping_add(b));
sum!(f16: a, b => a + b, bf16: a, b => a + b, f32: a, b => a + b, f64: a, b => a + b);

macro_rules! for_sum {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::Bool => {
                type $T = bool;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
            DType::BF16 => {
                type $T = bf16;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

/// # Safety
/// As [`super::run`]; all inputs but those of `Cat` are contiguous.
pub unsafe fn run(op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let out = &outs[0];
    let size_of = |dim: usize| ins[0].layout.shape.get(dim).copied().unwrap_or(1);
    unsafe {
        if let Op::Gather { dim } | Op::ScatterAdd { dim } | Op::IndexSelect { dim } | Op::IndexAdd { dim } = op {
            check(&ins[1], *dim, size_of(*dim))?;
        }
        // sizes around an empty one may be huge
        if out.numel() == 0 {
            return Ok(());
        }
        match op {
            Op::Gather { dim } => {
                for_width!(out.dtype, T => gather::<T>(*dim, &ins[0], &ins[1], out));
            }
            Op::ScatterAdd { dim } => {
                copy_all(&ins[0], out);
                for_sum!(out.dtype, T => scatter_add::<T>(*dim, &ins[1], &ins[2], out));
            }
            Op::IndexSelect { dim } => index_select(*dim, &ins[0], &ins[1], out),
            Op::IndexAdd { dim } => {
                copy_all(&ins[0], out);
                for_sum!(out.dtype, T => index_add::<T>(*dim, &ins[1], &ins[2], out));
            }
            Op::Cat { dim } => for_width!(out.dtype, T => cat::<T>(*dim, ins, out)),
            Op::NarrowGrad { shape, dim, start, step } => for_width!(out.dtype, T => narrow_grad::<T>(shape, *dim, *start, *step, &ins[0], out)),
            _ => return Err(Error::internal("isn't an indexing op")),
        }
    }
    Ok(())
}

/// Fails with the first index that isn't in `0..size`.
unsafe fn check(index: &Arg, dim: usize, size: usize) -> Result<()> {
    match unsafe { index.slice::<i64>() }.iter().find(|i| **i < 0 || **i >= size as i64) {
        Some(i) => Err(Error::index(format!("index {i} is out of range for dimension {dim} of size {size}"))),
        None => Ok(()),
    }
}

unsafe fn copy_all(from: &Arg, to: &Arg) {
    unsafe { from.ptr.copy_to_nonoverlapping(to.ptr, to.numel() * to.dtype.size()) }
}

/// Elements before, along and after a dimension. A scalar is one element along dimension 0.
fn split(shape: &Shape, dim: usize) -> [usize; 3] {
    if shape.rank() == 0 { [1, 1, 1] } else { [shape[..dim].iter().product(), shape[dim], shape[dim + 1..].iter().product()] }
}

/// Calls `f` with the positions, in two tensors of the given strides, of each line of `shape` along its last dimension.
fn lines(shape: &Shape, a: &[usize], b: &[usize], mut f: impl FnMut(usize, usize)) {
    if shape.numel() == 0 {
        return;
    }
    let rank = shape.rank();
    let mut at = [0usize; MAX_RANK];
    let (mut i, mut j) = (0, 0);
    loop {
        f(i, j);
        let mut d = rank.saturating_sub(1);
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            at[d] += 1;
            (i, j) = (i + a[d], j + b[d]);
            if at[d] < shape[d] {
                break;
            }
            (i, j) = (i - at[d] * a[d], j - at[d] * b[d]);
            at[d] = 0;
        }
    }
}

/// Calls `f(position in the indexed tensor, position in a tensor of the index's strides `other`)` for each index, in order. The
/// index may be smaller than the indexed tensor in the other dimensions.
unsafe fn each_index(dim: usize, indexed: &Shape, index: &Arg, other: &Shape, mut f: impl FnMut(usize, usize)) {
    let shape = &index.layout.shape;
    let positions = unsafe { index.slice::<i64>() };
    if shape.rank() == 0 {
        return f(positions[0] as usize, 0);
    }
    let last = shape.rank() - 1;
    let (mut strides, along) = (indexed.strides(), indexed.strides()[dim]);
    strides[dim] = 0;
    let step = strides[last];
    let mut line = 0;
    lines(shape, &strides, &other.strides(), |base, at| {
        for (j, i) in positions[line..line + shape[last]].iter().enumerate() {
            f(base + j * step + *i as usize * along, at + j);
        }
        line += shape[last];
    });
}

unsafe fn gather<T: Copy>(dim: usize, x: &Arg, index: &Arg, out: &Arg) {
    unsafe {
        let (x_values, values) = (x.slice::<T>(), out.slice_mut::<T>());
        each_index(dim, &x.layout.shape, index, &index.layout.shape, |from, to| values[to] = x_values[from]);
    }
}

unsafe fn scatter_add<T: Sum>(dim: usize, index: &Arg, src: &Arg, out: &Arg) {
    unsafe {
        let (values, out_values) = (src.slice::<T>(), out.slice_mut::<T>());
        each_index(dim, &out.layout.shape, index, &src.layout.shape, |to, from| out_values[to] = out_values[to].sum(values[from]));
    }
}

unsafe fn index_select(dim: usize, x: &Arg, index: &Arg, out: &Arg) {
    let [outer, size, inner] = split(&x.layout.shape, dim);
    let bytes = inner * x.dtype.size();
    let positions = unsafe { index.slice::<i64>() };
    let (from, to) = (Shared::<u8>::new(x.ptr), Shared::<u8>::new(out.ptr));
    // Chunks of rows, of about 16 KB.
    let rows = (16384 / bytes.max(1)).max(1);
    let chunks = positions.len().div_ceil(rows);
    parallel::for_each(outer * chunks, out.numel(), |chunk| {
        let (o, first) = (chunk / chunks, chunk % chunks * rows);
        for (j, i) in positions.iter().enumerate().skip(first).take(rows) {
            unsafe { from.at((o * size + *i as usize) * bytes).copy_to_nonoverlapping(to.at((o * positions.len() + j) * bytes), bytes) };
        }
    });
}

unsafe fn index_add<T: Sum>(dim: usize, index: &Arg, src: &Arg, out: &Arg) {
    let [outer, size, inner] = split(&out.layout.shape, dim);
    let positions = unsafe { index.slice::<i64>() };
    let (from, to) = (Shared::<T>::new(src.ptr), Shared::<T>::new(out.ptr));
    // Rows may meet, so chunks are bands of columns: each adds its rows in order.
    const BAND: usize = 128;
    let bands = inner.div_ceil(BAND);
    parallel::for_each(outer * bands, src.numel(), |chunk| {
        let (o, first) = (chunk / bands, chunk % bands * BAND);
        let len = BAND.min(inner - first);
        for (j, i) in positions.iter().enumerate() {
            unsafe {
                let row = from.slice((o * positions.len() + j) * inner + first, len);
                for (a, b) in to.slice_mut((o * size + *i as usize) * inner + first, len).iter_mut().zip(row) {
                    *a = a.sum(*b);
                }
            }
        }
    });
}

unsafe fn cat<T: Copy>(dim: usize, ins: &[Arg], out: &Arg) {
    let [outer, size, inner] = split(&out.layout.shape, dim);
    let to = out.ptr.cast::<T>();
    let mut start = 0;
    for x in ins {
        // PyTorch lets an empty one-dimensional tensor join anything.
        if x.numel() == 0 {
            continue;
        }
        let shape = &x.layout.shape;
        let block = split(shape, dim)[1] * inner;
        let from = x.ptr.cast::<T>();
        unsafe {
            if x.layout.is_contiguous() {
                for o in 0..outer {
                    from.add(o * block).copy_to_nonoverlapping(to.add(o * size * inner + start), block);
                }
            } else {
                let last = shape.rank() - 1;
                let (step, len) = (x.layout.strides()[last], shape[last]);
                lines(shape, x.layout.strides(), &out.layout.shape.strides(), |i, j| {
                    let (from, to) = (from.add(i), to.add(start + j));
                    if step == 1 {
                        from.copy_to_nonoverlapping(to, len);
                    } else {
                        for k in 0..len {
                            *to.add(k) = *from.add(k * step);
                        }
                    }
                });
            }
        }
        start += block;
    }
}

unsafe fn narrow_grad<T: Copy>(shape: &Shape, dim: usize, start: usize, step: usize, grad: &Arg, out: &Arg) {
    let [outer, size, inner] = split(shape, dim);
    let len = split(&grad.layout.shape, dim)[1];
    unsafe {
        let (from, to) = (grad.ptr.cast::<T>(), out.ptr.cast::<T>());
        to.write_bytes(0, out.numel());
        for o in 0..outer {
            let (from, to) = (from.add(o * len * inner), to.add((o * size + start) * inner));
            if step == 1 {
                from.copy_to_nonoverlapping(to, len * inner);
            } else {
                for i in 0..len {
                    from.add(i * inner).copy_to_nonoverlapping(to.add(i * step * inner), inner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
