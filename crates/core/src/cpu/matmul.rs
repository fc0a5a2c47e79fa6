//! Matrix products of tensors: `Matmul` and `Linear`.
use super::gemm::{Epilogue, Mat, Product, Real, gemm, work};
use super::half::{is_half, through_float32};
use super::{Arg, parallel, parallel::Shared, pointwise, simd};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Binary, Op};
use crate::shape::{Layout, MAX_RANK, Shape};

/// Runs `Op::Matmul` or `Op::Linear`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(op: &Op, _: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    unsafe {
        match *op {
            Op::Matmul { mask } => matmul(&ins[0], &ins[1], &outs[0]).and_then(|_| match ins.get(2) {
                Some(y) if mask => pointwise::run(&Op::BinaryInto(Binary::ReluGrad), &[], &[outs[0], *y], &[]),
                _ => Ok(()),
            }),
            Op::Linear { bias, relu } => linear(&ins[0], &ins[1], bias.then(|| &ins[2]), relu, &outs[0]),
            _ => Err(Error::internal("is not a matrix product")),
        }
        .map_err(|e| e.in_op(op.name()))
    }
}

unsafe fn matmul(a: &Arg, b: &Arg, out: &Arg) -> Result<()> {
    unsafe {
        match out.dtype {
            DType::F32 => batched::<f32>(a, b, out),
            DType::F64 => batched::<f64>(a, b, out),
            DType::F16 | DType::BF16 => {
                return through_float32(&[*a, *b], &[*out], |ins, outs| {
                    batched::<f32>(&ins[0], &ins[1], &outs[0]);
                    Ok(())
                });
            }
            DType::I32 => integers::<i32>(a, b, out, |s, x, y| s.wrapping_add(x.wrapping_mul(y))),
            DType::I64 => integers::<i64>(a, b, out, |s, x, y| s.wrapping_add(x.wrapping_mul(y))),
            DType::U8 => integers::<u8>(a, b, out, |s, x, y| s.wrapping_add(x.wrapping_mul(y))),
            DType::Bool => return Err(Error::dtype("has no product of bool matrices")),
        }
    }
    Ok(())
}

/// The last two dimensions of an operand; the ones before count the batch.
fn matrix<T>(x: &Arg) -> Mat<T> {
    let (r, st) = (x.layout.rank(), x.layout.strides());
    Mat { ptr: x.ptr.cast(), row: st[r - 2], col: st[r - 1] }
}

/// Offsets of the matrices of an operand whose batch dimensions broadcast to `batch`.
struct Batch {
    shape: Shape,
    strides: [usize; MAX_RANK],
}
impl Batch {
    fn new(x: &Layout, batch: &Shape) -> Batch {
        let mut strides = [0; MAX_RANK];
        for (d, s) in strides.iter_mut().enumerate().take(batch.rank()) {
            *s = if x.shape[d] == 1 { 0 } else { x.strides()[d] };
        }
        Batch { shape: *batch, strides }
    }
    fn offset(&self, mut index: usize) -> usize {
        let mut at = 0;
        for d in (0..self.shape.rank()).rev() {
            at += index % self.shape[d] * self.strides[d];
            index /= self.shape[d];
        }
        at
    }
    /// The stride if one number tells all offsets.
    fn uniform(&self) -> Option<usize> {
        let mut run: Option<(usize, usize)> = None;
        for d in (0..self.shape.rank()).rev().filter(|d| self.shape[*d] != 1) {
            match run {
                None => run = Some((self.strides[d], self.strides[d] * self.shape[d])),
                Some((first, next)) if self.strides[d] == next => run = Some((first, next * self.shape[d])),
                _ => return None,
            }
        }
        Some(run.map_or(0, |r| r.0))
    }
}

unsafe fn batched<T: Real>(a: &Arg, b: &Arg, out: &Arg) {
    let r = out.layout.rank();
    let (m, n, k) = (out.layout.shape[r - 2], out.layout.shape[r - 1], a.layout.shape[r - 1]);
    let batch = Shape::new(&out.layout.shape[..r - 2]);
    let count = batch.numel();
    let (at_a, at_b) = (Batch::new(&a.layout, &batch), Batch::new(&b.layout, &batch));
    let mut p = Product { m, n, k, a: matrix(a), b: matrix(b), out: out.ptr.cast(), ldo: n, epilogue: Epilogue::default(), threads: true };
    if count * m * n == 0 {
        return;
    }
    // Many matrices by one: the rows of all of them are one matrix.
    if m == 1 {
        p.a.row = at_a.uniform().unwrap_or(p.a.row);
    }
    if count > 1 && at_b.uniform() == Some(0) && at_a.uniform() == Some(m * p.a.row) {
        p.m *= count;
        return unsafe { gemm(&p) };
    }
    // Few large products are cut one by one, many small ones are dealt out whole.
    const FEW: usize = 8;
    let each = work(m, n, k);
    let alone = count < FEW && each >= 1 << 20;
    let one = |i: usize, threads: bool| unsafe {
        let at = |x: Mat<T>, by: usize| Mat { ptr: x.ptr.add(by), ..x };
        gemm(&Product { a: at(p.a, at_a.offset(i)), b: at(p.b, at_b.offset(i)), out: p.out.add(i * m * n), threads, ..p });
    };
    if alone {
        (0..count).for_each(|i| one(i, true));
    } else {
        let group = (1 << 16) / each.max(1) + 1;
        let body = unsafe { Shared::new(one) };
        parallel::for_each(count.div_ceil(group), each.saturating_mul(count), |c| {
            (c * group..count.min((c + 1) * group)).for_each(|i| body.get()(i, false));
        });
    }
}

unsafe fn integers<T: Copy + Default>(a: &Arg, b: &Arg, out: &Arg, step: impl Fn(T, T, T) -> T + Copy) {
    let r = out.layout.rank();
    let (n, k) = (out.layout.shape[r - 1], a.layout.shape[r - 1]);
    let batch = Shape::new(&out.layout.shape[..r - 2]);
    let (at_a, at_b) = (Batch::new(&a.layout, &batch), Batch::new(&b.layout, &batch));
    let (ma, mb) = (matrix::<T>(a), matrix::<T>(b));
    let m = out.layout.shape[r - 2];
    let result = unsafe { out.slice_mut::<T>() };
    result.fill(T::default());
    if n == 0 {
        return;
    }
    for (i, row) in result.chunks_exact_mut(n).enumerate() {
        let (x, y) = unsafe { (ma.ptr.add(at_a.offset(i / m) + i % m * ma.row), mb.ptr.add(at_b.offset(i / m))) };
        simd::vectorised(
            #[inline(always)]
            || {
                for p in 0..k {
                    let (s, line) = unsafe { (*x.add(p * ma.col), y.add(p * mb.row)) };
                    for (j, o) in row.iter_mut().enumerate() {
                        *o = step(*o, s, unsafe { *line.add(j * mb.col) });
                    }
                }
            },
        );
    }
}

unsafe fn linear(x: &Arg, weight: &Arg, bias: Option<&Arg>, relu: bool, out: &Arg) -> Result<()> {
    unsafe {
        match out.dtype {
            DType::F32 => layer::<f32>(x, weight, bias, relu, out),
            DType::F64 => layer::<f64>(x, weight, bias, relu, out),
            d if is_half(d) => {
                let ins: Vec<Arg> = [x, weight].into_iter().chain(bias).copied().collect();
                return through_float32(&ins, &[*out], |ins, outs| {
                    layer::<f32>(&ins[0], &ins[1], ins.get(2), relu, &outs[0]);
                    Ok(())
                });
            }
            d => return Err(Error::dtype(format!("needs floats, not {}", d.name()))),
        }
    }
    Ok(())
}

unsafe fn layer<T: Real>(x: &Arg, weight: &Arg, bias: Option<&Arg>, relu: bool, out: &Arg) {
    let (n, k) = (weight.layout.shape[0], weight.layout.shape[1]);
    if n == 0 {
        return;
    }
    let p = Product {
        m: out.numel() / n,
        n,
        k,
        a: Mat { ptr: x.ptr.cast(), row: k, col: 1 },
        b: Mat { ptr: weight.ptr.cast(), row: 1, col: k },
        out: out.ptr.cast(),
        ldo: n,
        epilogue: Epilogue { accumulate: false, bias: bias.map(|b| unsafe { b.slice::<T>() }), relu },
        threads: true,
    };
    unsafe { gemm(&p) }
}

#[cfg(test)]
mod tests;
