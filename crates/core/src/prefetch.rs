//! Batches gathered ahead by a thread, while the loop works on those before. Only the copy happens there: tensors are made, checked
//! and handed out by the engine's own thread.
use crate::data::copy_rows;
use crate::device::{Device, Rows};
use crate::engine::{Engine, Handle};
use crate::error::{Error, Result};
use crate::profile;
use crate::shape::Layout;
use crate::tensor::Tensor;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Thread};

/// A job's states: waiting in the queue, being copied by someone, the engine's thread sleeps until it is copied, copied.
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const AWAITED: u8 = 2;
const DONE: u8 = 3;

/// One batch's copy. Its memory is the batch's that made it, which waits for the copy before it frees any.
struct Job {
    state: AtomicU8,
    rows: Vec<Rows>,
    indices: Vec<u32>,
    owner: Thread,
}
// SAFETY: the pointers are to memory that outlives the copy, and only who moved the state from QUEUED to RUNNING uses them.
unsafe impl Send for Job {}
unsafe impl Sync for Job {}

impl Job {
    fn claim(&self) -> bool {
        self.state.compare_exchange(QUEUED, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
    fn copy(&self) {
        for r in &self.rows {
            // SAFETY: indices are in range, and the result has as many rows as there are.
            unsafe { copy_rows(r, &self.indices, 0, std::slice::from_raw_parts_mut(r.to, r.bytes * self.indices.len())) }
        }
        if self.state.swap(DONE, Ordering::AcqRel) == AWAITED {
            self.owner.unpark();
        }
    }
    /// Returns when no thread copies: the rows are there, or, if `needed` is false, maybe not.
    fn finish(&self, needed: bool) {
        if self.claim() {
            if needed {
                self.copy();
            }
            return;
        }
        if self.state.compare_exchange(RUNNING, AWAITED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while self.state.load(Ordering::Acquire) != DONE {
                thread::park();
            }
        }
    }
}

/// Jobs in their order, and whether the thread has to end.
#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Arc<Job>>, bool)>,
    changed: Condvar,
}

impl Queue {
    fn work(&self) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match jobs.0.pop_front() {
                _ if jobs.1 => return,
                Some(job) => {
                    drop(jobs);
                    if job.claim() {
                        job.copy();
                    }
                    jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                }
                None => jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A batch on its way, with the versions that its sources had when it was asked for.
struct Batch {
    sources: Vec<(Tensor, u64)>,
    results: Vec<Tensor>,
    job: Arc<Job>,
}
impl Drop for Batch {
    fn drop(&mut self) {
        self.job.finish(false);
    }
}

/// An engine's batches on their way, by number, and the thread that copies them once there was one.
#[derive(Default)]
pub(crate) struct Prefetch {
    batches: HashMap<u32, Batch>,
    last: u32,
    queue: Option<Arc<Queue>>,
}

impl Prefetch {
    fn enqueue(&mut self, jobs: Vec<Arc<Job>>) -> Result<()> {
        if self.queue.is_none() {
            let queue = Arc::new(Queue::default());
            let theirs = queue.clone();
            let started = thread::Builder::new().name("wick-data".into()).spawn(move || theirs.work());
            started.map_err(|e| Error::internal(format!("no thread for data: {e}")))?;
            self.queue = Some(queue);
        }
        if let Some(queue) = &self.queue {
            queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).0.extend(jobs);
            queue.changed.notify_one();
        }
        Ok(())
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
            queue.changed.notify_one();
        }
    }
}

impl Engine {
    /// Asks for the batches of `size` rows each that `indices` names one after the other; the last may be shorter. Gives the number
    /// of the first, the others follow; 0 if these can't be had ahead, because a source isn't a row-major tensor of the CPU
    /// with these rows: [`Engine::gather_rows`] says what is wrong when the batch's turn comes.
    pub fn prefetch_rows(&mut self, sources: &[Handle], indices: &[u32], size: usize) -> Result<u32> {
        self.impure("it gathers rows");
        let sources = sources.iter().map(|h| self.landed(*h, "rows of memory that the step writes")).collect::<Result<Vec<_>>>()?;
        let most = indices.iter().max().map_or(0, |i| *i as usize);
        let fits = |t: &Tensor| t.device() == Device::Cpu && t.layout.is_contiguous() && t.shape().rank() > 0 && most < t.shape()[0];
        if indices.is_empty() || !sources.iter().all(fits) {
            return Ok(0);
        }
        let ask = |part: &[u32]| -> Result<Batch> {
            let shape = |t: &Tensor| Layout::contiguous(t.shape().with(0, part.len()));
            let results = sources.iter().map(|t| Tensor::empty(shape(t), t.dtype, Device::Cpu)).collect::<Result<Vec<_>>>()?;
            let rows = sources.iter().zip(&results).map(|(t, to)| Rows::of(t, to)).collect();
            let job = Arc::new(Job { state: AtomicU8::new(QUEUED), rows, indices: part.to_vec(), owner: thread::current() });
            Ok(Batch { sources: sources.iter().map(|t| (t.clone(), t.version())).collect(), results, job })
        };
        let batches = indices.chunks(size.max(1)).map(ask).collect::<Result<Vec<_>>>()?;
        self.prefetch.enqueue(batches.iter().map(|b| b.job.clone()).collect())?;
        // Numbers begin anew long before they run out.
        let first = if self.prefetch.last > u32::MAX / 2 { 1 } else { self.prefetch.last + 1 };
        self.prefetch.last = first + batches.len() as u32 - 1;
        self.prefetch.batches.extend((first..).zip(batches));
        Ok(first)
    }

    /// The tensors of a batch that was asked for, each once; waits for it if need be. They hold what the sources hold now.
    pub fn take_rows(&mut self, number: u32) -> Result<Vec<Handle>> {
        let batch = self.prefetch.batches.remove(&number).ok_or_else(|| Error::internal(format!("there is no batch {number} ahead")))?;
        if batch.sources.iter().any(|(t, _)| self.has_deferred_write(t)) {
            self.diverge("rows of memory that the step writes")?;
        }
        let args: Vec<_> = batch.results.iter().map(Tensor::arg).collect();
        let key = |shapes| profile::plain_key("gatherRows", &args.iter().collect::<Vec<_>>(), shapes);
        profile::span(Device::Cpu, 0, key, || {
            batch.job.finish(true);
            if batch.sources.iter().any(|(t, version)| t.version() != *version) {
                batch.job.copy();
            }
            Ok(())
        })?;
        batch.results.iter().map(|t| self.put_external(t.clone())).collect()
    }

    /// Gives up batches that were asked for and not taken.
    pub fn drop_rows(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.prefetch.batches.remove(number);
        }
    }
}
