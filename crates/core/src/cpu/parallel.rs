//! Threads. Work is cut into chunks whose number doesn't depend on the number of threads, so neither do results.
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

static THREADS: AtomicUsize = AtomicUsize::new(0);
static POOL: OnceLock<RwLock<Option<Arc<rayon::ThreadPool>>>> = OnceLock::new();

/// Threads that kernels may use: `WICK_NUM_THREADS`, else the number of cores.
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let n = std::env::var("WICK_NUM_THREADS")
                .ok()
                .and_then(|v| v.parse().ok())
                .filter(|n| *n > 0)
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
            THREADS.store(n, Ordering::Relaxed);
            n
        }
        n => n,
    }
}

pub fn set_num_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
    if let Some(pool) = POOL.get() {
        *pool.write().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

fn pool() -> Option<Arc<rayon::ThreadPool>> {
    let slot = POOL.get_or_init(Default::default);
    if let Some(p) = slot.read().unwrap_or_else(|e| e.into_inner()).as_ref() {
        return Some(p.clone());
    }
    let made = rayon::ThreadPoolBuilder::new().num_threads(num_threads()).thread_name(|i| format!("wick-{i}")).build().ok()?;
    let made = Arc::new(made);
    *slot.write().unwrap_or_else(|e| e.into_inner()) = Some(made.clone());
    Some(made)
}

/// Carries pointers into operands, or a closure over them, to other threads.
pub struct Shared<T>(T);
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}
impl<T> Shared<T> {
    /// # Safety
    /// What threads do with `value` at the same time doesn't clash: each writes its own part of the memory that it reaches.
    pub unsafe fn new(value: T) -> Self {
        Shared(value)
    }
    #[inline(always)]
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Work below which [`for_each`] and [`within`] stay on the calling thread.
const WORTH: usize = 1_000_000;

/// Calls `f(threads)` once: inside the pool, with the number of its threads, if `work` is worth waking them, else here with 1.
/// For code that splits its work itself through rayon.
pub fn within<R: Send>(work: usize, f: impl FnOnce(usize) -> R + Send) -> R {
    if work >= WORTH
        && num_threads() > 1
        && let Some(p) = pool()
    {
        let threads = p.current_num_threads();
        return p.install(move || f(threads));
    }
    f(1)
}

/// Calls `f(chunk)` for each of `chunks`, on several threads if there are several and `work` (about one unit a flop or a
/// moved element) is worth waking them (measured: a wake costs about 30 us, 300k units).
pub fn for_each(chunks: usize, work: usize, f: impl Fn(usize) + Sync) {
    if chunks > 1
        && work >= WORTH
        && num_threads() > 1
        && let Some(p) = pool()
    {
        return p.install(|| (0..chunks).into_par_iter().for_each(&f));
    }
    (0..chunks).for_each(f);
}
