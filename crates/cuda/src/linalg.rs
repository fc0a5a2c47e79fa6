//! Matrix products of tensors: `Matmul` and `Linear`, by `blas.rs`. Operands are taken as they lie wherever strides can say so.
use crate::blas::{self, MANY_DIMS, Mat, Product};
use crate::gpu::{Gpu, Source};
use crate::pointwise;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::Op;
use wick_core::shape::{Layout, Shape};

/// Runs `Op::Matmul` or `Op::Linear`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    unsafe {
        match *op {
            Op::Matmul { mask } => matmul(gpu, &ins[0], &ins[1], ins.get(2).filter(|_| mask), &outs[0]),
            Op::Linear { bias, relu } => linear(gpu, &ins[0], &ins[1], bias.then(|| &ins[2]), relu, &outs[0]),
            _ => Err(Error::internal("is not a matrix product")),
        }
    }
    .map_err(|e| e.in_op(op.name()))
}

/// Every program of this family.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    blas::variants()
}

/// Launches that a product may be cut into before copying its operands is the better way.
const FEW: usize = 8;
/// Multiplications up to which our own kernel, which takes any strides, beats copying.
const LITTLE: usize = 1 << 24;

/// A dimension of a batch: its size and strides in a, b and the result.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Dim {
    size: usize,
    strides: [usize; 3],
}

/// The batch dimensions of a product, outermost first, merged where all operands allow.
fn batch(a: &Layout, b: &Layout, out: &Layout) -> Vec<Dim> {
    let mut dims: Vec<Dim> = vec![];
    for d in (0..out.rank() - 2).filter(|d| out.shape[*d] != 1) {
        let size = out.shape[d];
        let stride = |x: &Layout| if x.shape[d] == 1 { 0 } else { x.strides()[d] };
        let strides = [stride(a), stride(b), stride(out)];
        match dims.last_mut() {
            Some(last) if (0..3).all(|i| last.strides[i] == strides[i] * size) => *last = Dim { size: last.size * size, strides },
            _ => dims.push(Dim { size, strides }),
        }
    }
    dims
}

/// A batch of products, which takes as many launches as its `rest` has elements.
struct Batched {
    product: Product,
    rest: Vec<Dim>,
}

impl Batched {
    /// `y`: the result of a relu, as dense as `out`, where the product passes through its derivative.
    fn new(a: &Arg, b: &Arg, y: Option<&Arg>, out: &Arg) -> Batched {
        let (sa, sb, so) = (a.layout.strides(), b.layout.strides(), out.layout.strides());
        let r = out.layout.rank();
        let (m, n, k) = (out.layout.shape[r - 2], out.layout.shape[r - 1], a.layout.shape[r - 1]);
        let mut dims = batch(&a.layout, &b.layout, &out.layout);
        let mut product = Product {
            m,
            n,
            k,
            dtype: out.dtype,
            batches: [1, 1],
            a: Mat { ptr: a.ptr as u64, row: sa[r - 2], col: sa[r - 1], batch: [0, 0] },
            b: Mat { ptr: b.ptr as u64, row: sb[r - 2], col: sb[r - 1], batch: [0, 0] },
            out: out.ptr as u64,
            // The stride of a single row says nothing.
            ldo: if m > 1 { so[r - 2] } else { n },
            out_batch: [0, 0],
            bias: None,
            relu: false,
            mask: y.map(|y| y.ptr as u64),
            accumulate: false,
        };
        // Many matrices by one: the rows of all of them are one matrix.
        if let [Dim { size, strides: [by_a, 0, by_out] }] = dims[..]
            && (m == 1 || (by_a == m * product.a.row && by_out == m * product.ldo))
        {
            if m == 1 {
                (product.a.row, product.ldo) = (by_a, by_out);
            }
            product.m *= size;
            dims.clear();
        }
        // The library takes one dimension at a time: the largest. Our kernel takes one more.
        dims.sort_by_key(|d| d.size);
        for level in (0..MANY_DIMS).rev() {
            if let Some(Dim { size, strides: [by_a, by_b, by_out] }) = dims.pop() {
                product.batches[level] = size;
                (product.a.batch[level], product.b.batch[level], product.out_batch[level]) = (by_a, by_b, by_out);
            }
        }
        Batched { product, rest: dims }
    }

    /// Launches of the library.
    fn launches(&self) -> usize {
        self.rest.iter().map(|d| d.size).product::<usize>() * self.product.batches[0]
    }

    unsafe fn run(&self, gpu: &Gpu) -> Result<()> {
        let count: usize = self.rest.iter().map(|d| d.size).product();
        (0..count).try_for_each(|mut index| {
            let mut p = self.product;
            for d in &self.rest {
                let step = |i: usize| ((index % d.size) * d.strides[i] * p.dtype.size()) as u64;
                let [by_a, by_b, by_out] = [step(0), step(1), step(2)];
                (p.a.ptr, p.b.ptr, p.out) = (p.a.ptr + by_a, p.b.ptr + by_b, p.out + by_out);
                index /= d.size;
            }
            unsafe { blas::run(gpu, &p) }
        })
    }
}

unsafe fn matmul(gpu: &Gpu, a: &Arg, b: &Arg, y: Option<&Arg>, out: &Arg) -> Result<()> {
    if out.dtype == DType::Bool {
        return Err(Error::dtype("has no product of bool matrices"));
    }
    if out.numel() == 0 {
        return Ok(());
    }
    if !out.layout.is_contiguous() || y.is_some_and(|y| !y.layout.is_contiguous()) {
        return Err(Error::not_supported("a product whose result isn't row-major"));
    }
    let batched = Batched::new(a, b, y, out);
    let (p, library) = (&batched.product, a.layout.shape[a.layout.rank() - 1] > 0 && out.dtype.is_float());
    let direct = !library || (p.is_plain() && batched.launches() <= FEW) || (p.work() <= LITTLE && batched.rest.is_empty() && !p.is_plain());
    if direct {
        return unsafe { batched.run(gpu) };
    }
    let [a, b] = unsafe { dense(gpu, [a, b])? };
    unsafe { Batched::new(&a, &b, y, out).run(gpu) }
}

/// The operands, those that aren't row-major as copies in scratch memory.
unsafe fn dense<const N: usize>(gpu: &Gpu, operands: [&Arg; N]) -> Result<[Arg; N]> {
    let bytes = |x: &Arg| if x.layout.is_contiguous() { 0 } else { (x.numel() * x.dtype.size()).next_multiple_of(256) };
    let mut at = gpu.scratch(operands.iter().map(|x| bytes(x)).sum())?;
    let mut copies = operands.map(|x| *x);
    for x in copies.iter_mut().filter(|x| !x.layout.is_contiguous()) {
        let to = Arg { ptr: at as *mut u8, layout: Layout::contiguous(x.layout.shape), dtype: x.dtype };
        unsafe { pointwise::run(gpu, &Op::Contiguous, &[], &[*x], &[to])? };
        at += bytes(x) as u64;
        *x = to;
    }
    Ok(copies)
}

unsafe fn linear(gpu: &Gpu, x: &Arg, weight: &Arg, bias: Option<&Arg>, relu: bool, out: &Arg) -> Result<()> {
    if !out.dtype.is_float() {
        return Err(Error::dtype(format!("needs floats, not {}", out.dtype.name())));
    }
    if out.numel() == 0 {
        return Ok(());
    }
    if !out.layout.is_contiguous() {
        return Err(Error::not_supported("a product whose result isn't row-major"));
    }
    let (n, k) = (weight.layout.shape[0], weight.layout.shape[1]);
    let rows = Shape::new(&[out.numel() / n, k]);
    // All rows as one matrix, which a view of x with gaps may not be.
    let flat = x.layout.reshape(&rows);
    let mut p = product(&Arg { layout: flat.unwrap_or_else(|| Layout::contiguous(rows)), ..*x }, weight, bias, relu, out);
    if flat.is_none() || (k > 0 && !p.is_plain() && p.work() > LITTLE) {
        // The result stands for a bias that there isn't: it's row-major, so nothing is copied.
        let [x, weight, dense_bias] = unsafe { dense(gpu, [x, weight, bias.unwrap_or(out)])? };
        p = product(&Arg { layout: Layout::contiguous(rows), ..x }, &weight, bias.map(|_| &dense_bias), relu, out);
    }
    unsafe { blas::run(gpu, &p) }
}

/// `x [rows, k]` by the transpose of `weight [n, k]`.
fn product(x: &Arg, weight: &Arg, bias: Option<&Arg>, relu: bool, out: &Arg) -> Product {
    let (sx, sw) = (x.layout.strides(), weight.layout.strides());
    let (m, k, n) = (x.layout.shape[0], x.layout.shape[1], weight.layout.shape[0]);
    Product {
        m,
        n,
        k,
        dtype: out.dtype,
        batches: [1, 1],
        a: Mat { ptr: x.ptr as u64, row: sx[0], col: sx[1], batch: [0, 0] },
        b: Mat { ptr: weight.ptr as u64, row: sw[1], col: sw[0], batch: [0, 0] },
        out: out.ptr as u64,
        ldo: n,
        out_batch: [0, 0],
        bias: bias.map(|b| (b.ptr as u64, b.layout.strides()[0])),
        relu,
        mask: None,
        accumulate: false,
    }
}

#[cfg(test)]
mod tests;
