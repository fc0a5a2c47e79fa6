//! Matrix products, planned once a shape: by cuBLASLt, or by a kernel of our own where that is faster or the only one. Which it is
//! gets measured on the device at first use and is kept on disk, so every later run, eager or replayed, takes the same kernel.
mod lt;
mod small;
mod store;
mod tune;

use crate::gpu::Gpu;
use lt::{Key, Lt};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use store::Store;
use wick_core::dtype::DType;
use wick_core::error::Result;

pub use small::{MANY_DIMS, variants};

/// A batch of matrices in memory: strides in elements, those of the batch outer and inner.
#[derive(Clone, Copy, Debug)]
pub struct Mat {
    pub ptr: u64,
    pub row: usize,
    pub col: usize,
    pub batch: [usize; 2],
}

/// `out = mask(relu(out? + a [m, k] @ b [k, n] + bias?))` for every matrix of a batch; rows of `out` are dense and `ldo` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub dtype: DType,
    /// Outer and inner. A library takes the inner ones in one launch, our kernel both.
    pub batches: [usize; 2],
    pub a: Mat,
    pub b: Mat,
    pub out: u64,
    pub ldo: usize,
    pub out_batch: [usize; 2],
    /// Address and stride of `n` elements, added to each row.
    pub bias: Option<(u64, usize)>,
    /// Only with one matrix, whose rows lie without gaps.
    pub relu: bool,
    /// Address of a relu's result that lies as `out` does: the product is 0 where that isn't above 0. As relu, of one matrix only.
    pub mask: Option<u64>,
    /// Adds to what `out` holds.
    pub accumulate: bool,
}

impl Product {
    /// The layout is one that cuBLASLt knows.
    pub fn is_plain(&self) -> bool {
        self.dtype.is_float() && self.k > 0 && Key::new(self, false).is_some()
    }
    /// Multiplications and additions in pairs.
    pub fn work(&self) -> usize {
        [self.n, self.k, self.batches[0], self.batches[1]].iter().fold(self.m, |w, d| w.saturating_mul(*d))
    }
    /// The batch's outer entry `i`, alone.
    fn outer(&self, i: usize) -> Product {
        let step = |by: usize| (i * by * self.dtype.size()) as u64;
        let at = |x: Mat| Mat { ptr: x.ptr + step(x.batch[0]), ..x };
        Product { a: at(self.a), b: at(self.b), out: self.out + step(self.out_batch[0]), batches: [1, self.batches[1]], ..*self }
    }
}

/// Who computes a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// cuBLASLt by this algorithm.
    Library([u64; 8]),
    /// Our kernel with tiles of this side.
    Small(u32),
}

struct Blas {
    lt: Lt,
    plans: RefCell<HashMap<Key, Rc<lt::Plan>>>,
    store: Store,
}

/// Computes `p`.
///
/// # Safety
/// Addresses are valid for sizes and strides; `out` overlaps nothing else.
pub unsafe fn run(gpu: &Gpu, p: &Product) -> Result<()> {
    if p.m == 0 || p.n == 0 || p.batches.contains(&0) {
        return Ok(());
    }
    let key = match Key::new(p, gpu.tf32()) {
        Some(key) if p.dtype.is_float() && p.k > 0 => key,
        _ => return unsafe { small::run(gpu, p, small::tile(p)) },
    };
    let blas = gpu.state(|gpu| {
        let lt = Lt::new(gpu)?;
        let store = Store::open(gpu, lt.version());
        Ok(Blas { lt, plans: RefCell::default(), store })
    })?;
    let known = blas.plans.borrow().get(&key).cloned();
    let plan = match known {
        Some(plan) => plan,
        None => {
            let plan = Rc::new(unsafe { blas.plan(gpu, &key, p)? });
            blas.plans.borrow_mut().insert(key, plan.clone());
            plan
        }
    };
    unsafe { blas.lt.run(gpu, &plan, p) }
}

impl Blas {
    /// The plan of a key that has none: as measured before, else as measured now. While a graph is captured nothing can be measured, and
    /// the library's first proposal must do.
    unsafe fn plan(&self, gpu: &Gpu, key: &Key, p: &Product) -> Result<lt::Plan> {
        let mut plan = self.lt.prepare(key, p.bias.map_or(0, |b| b.0))?;
        let name = key.to_string();
        if let Some(choice) = self.store.get(&name)
            && self.lt.choose(&mut plan, choice)
        {
            return Ok(plan);
        }
        let mut candidates: Vec<Choice> = self.lt.proposals(&plan, key)?.into_iter().map(Choice::Library).collect();
        if gpu.capturing() {
            candidates.push(Choice::Small(small::tile(p)));
            candidates.into_iter().any(|c| self.lt.choose(&mut plan, c));
            return Ok(plan);
        }
        candidates.extend(small::candidates(p).into_iter().map(Choice::Small));
        if candidates.is_empty() {
            candidates.push(Choice::Small(small::tile(p)));
        }
        let best = unsafe { tune::fastest(gpu, &self.lt, &mut plan, p, &candidates)? };
        self.lt.choose(&mut plan, best);
        self.store.put(&name, best);
        Ok(plan)
    }
}
