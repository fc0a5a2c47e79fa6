//! Matrix products: which kernel computes one, and on how many threads. The kernel follows from shape and strides alone and no
//! split cuts a sum, so results don't depend on the number of threads.
use super::parallel::Shared;
use super::simd::vectorised;
use super::{dot, parallel};
use std::ops::Add;

/// A matrix in memory: element (i, j) is at `ptr + i * row + j * col`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<T> {
    pub ptr: *const T,
    pub row: usize,
    pub col: usize,
}

/// What happens to a product on its way to memory: `out = relu(out? + product + bias?)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// Adds to what `out` holds.
    pub accumulate: bool,
    /// Added to each row.
    pub bias: Option<&'a [T]>,
    pub relu: bool,
}
impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Epilogue { accumulate: false, bias: None, relu: false }
    }
}

/// Element types of [`gemm`].
pub trait Real: Copy + Send + Sync + PartialOrd + Add<Output = Self> + 'static {
    const ZERO: Self;
    const ONE: Self;
    /// The product by a kernel of our own, if there is one that suits the shape.
    ///
    /// # Safety
    /// As [`gemm`].
    unsafe fn special(_: &Product<Self>) -> bool {
        false
    }
}
impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    unsafe fn special(p: &Product<f32>) -> bool {
        let suits = p.a.col == 1 && p.b.row == 1 && dot_is_faster(p.m, p.n, p.k) && dot::available();
        if suits {
            unsafe { by_dots(p) }
        }
        suits
    }
}
impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
}

/// One product `a [m, k] @ b [k, n]`, `out` row-major with rows `ldo` elements apart.
#[derive(Clone, Copy)]
pub struct Product<'a, T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Mat<T>,
    pub b: Mat<T>,
    pub out: *mut T,
    pub ldo: usize,
    pub epilogue: Epilogue<'a, T>,
    /// May use several threads. False where the caller already runs on them.
    pub threads: bool,
}
// Pointers into operands that the caller keeps alive and unaliased for the length of the call.
unsafe impl<T: Sync> Sync for Product<'_, T> {}
unsafe impl<T: Send> Send for Product<'_, T> {}

/// Units of [`parallel::for_each`]'s `work` in a product: measured, 16 flops take as long as moving an element.
pub(super) fn work(m: usize, n: usize, k: usize) -> usize {
    (2 * m * n).saturating_mul(k) / 16
}

/// Where [`dot`] wins over packing (both operands lie along `k`), measured: long sums while one operand stays in a cache, and few
/// rows or columns, for which packing the other operand doesn't pay.
fn dot_is_faster(m: usize, n: usize, k: usize) -> bool {
    let (a, b) = (4 * m * k, 4 * n * k);
    (k >= 256 && (a <= 2 << 20 || b <= dot::PANEL)) || (k >= 48 && (m <= 64 || n <= 16))
}

/// Computes `p`.
///
/// # Safety
/// The pointers are valid for sizes and strides; `out` overlaps nothing else; a bias has `n` elements.
pub unsafe fn gemm<T: Real>(p: &Product<T>) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    unsafe {
        if p.k == 0 {
            if !p.epilogue.accumulate {
                (0..p.m).for_each(|i| std::slice::from_raw_parts_mut(p.out.add(i * p.ldo), p.n).fill(T::ZERO));
            }
            finish(p, 0, p.m);
        } else if !T::special(p) {
            packed(p);
        }
    }
}

/// Through the gemm crate. It cuts rows and columns between threads, never `k`.
unsafe fn packed<T: Real>(p: &Product<T>) {
    let call = |threads: usize| unsafe {
        let parallelism = if threads > 1 { ::gemm::Parallelism::Rayon(threads) } else { ::gemm::Parallelism::None };
        let p = *p;
        ::gemm::gemm(
            p.m,
            p.n,
            p.k,
            p.out,
            1,
            p.ldo as isize,
            p.epilogue.accumulate,
            p.a.ptr,
            p.a.col as isize,
            p.a.row as isize,
            p.b.ptr,
            p.b.col as isize,
            p.b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    };
    if p.threads {
        let shared = unsafe { Shared::new(call) };
        parallel::within(work(p.m, p.n, p.k), move |threads| shared.get()(threads));
    } else {
        call(1);
    }
    const ROWS: usize = 64;
    if p.epilogue.bias.is_some() || p.epilogue.relu {
        let chunks = p.m.div_ceil(ROWS);
        let body = |c: usize| unsafe { finish(p, c * ROWS, p.m.min((c + 1) * ROWS)) };
        if p.threads { parallel::for_each(chunks, p.m * p.n, body) } else { (0..chunks).for_each(body) }
    }
}

/// Bias and relu on rows `from..to` of a product that is in memory.
unsafe fn finish<T: Real>(p: &Product<T>, from: usize, to: usize) {
    vectorised(
        #[inline(always)]
        || {
            for i in from..to {
                let row = unsafe { std::slice::from_raw_parts_mut(p.out.add(i * p.ldo), p.n) };
                if let Some(bias) = p.epilogue.bias {
                    for (y, b) in row.iter_mut().zip(bias) {
                        *y = *y + *b;
                    }
                }
                if p.epilogue.relu {
                    for y in row.iter_mut() {
                        // A NaN stays.
                        *y = if *y < T::ZERO { T::ZERO } else { *y };
                    }
                }
            }
        },
    )
}

/// Cuts the longer side of the result into pieces of about `CHUNK` flops.
unsafe fn by_dots(p: &Product<f32>) {
    const CHUNK: usize = 8 << 20;
    let chunks = (2 * p.m * p.n).saturating_mul(p.k).div_ceil(CHUNK);
    let rows = p.m >= p.n;
    // Multiples of a tile's sides, so that no tile is cut.
    let (side, tile) = if rows { (p.m, 6) } else { (p.n, 4) };
    let step = side.div_ceil(chunks).next_multiple_of(tile);
    let piece = |c: usize| {
        let (from, to) = (c * step, side.min((c + 1) * step));
        let (i, j) = if rows { (from, 0) } else { (0, from) };
        let (m, n) = if rows { (to - from, p.n) } else { (p.m, to - from) };
        let mut epilogue = p.epilogue;
        epilogue.bias = epilogue.bias.map(|b| &b[j..]);
        unsafe {
            dot::run(&dot::Dot {
                m,
                n,
                k: p.k,
                a: p.a.ptr.add(i * p.a.row),
                lda: p.a.row,
                b: p.b.ptr.add(j * p.b.col),
                ldb: p.b.col,
                out: p.out.add(i * p.ldo + j),
                ldo: p.ldo,
                epilogue,
            });
        }
    };
    if p.threads {
        parallel::for_each(side.div_ceil(step), work(p.m, p.n, p.k), piece);
    } else {
        (0..side.div_ceil(step)).for_each(piece);
    }
}
