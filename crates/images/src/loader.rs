//! Threads that make batches of images, in the order in which they were asked for.
use crate::canvas::{Canvas, MOST_KEPT};
use crate::decode::decode;
use crate::transform::{Draws, Transform};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use wick_core::error::{Code, Error, Result};
use wick_core::reserve;
use wick_core::storage::Block;

/// An image to be made: its file, and where its random numbers begin.
pub struct Item {
    pub path: String,
    pub seed: f64,
    pub offset: f64,
}

/// A batch: planes of `count` images, one behind the other.
pub struct Made {
    pub block: Block,
    pub count: usize,
    pub height: usize,
    pub width: usize,
    pub is_float: bool,
}

/// Why a batch could not be made.
pub struct Failure {
    /// The item's place in the batch.
    pub position: usize,
    pub error: Error,
}

/// Is told of a batch once, by the thread that ended it.
pub type Done = Box<dyn FnOnce(std::result::Result<Made, Failure>) + Send>;

/// The threads, which begin with the first request and end with the loader, after what was asked for is made.
pub struct Loader {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    transform: Transform,
    queue: Mutex<Queue>,
    asked: Condvar,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Arc<Batch>>,
    threads: usize,
    has_ended: bool,
}

struct Batch {
    items: Vec<Item>,
    /// The first item that no thread has taken.
    next: AtomicUsize,
    /// Items that aren't made.
    left: AtomicUsize,
    is_cancelled: AtomicBool,
    result: Mutex<Parts>,
    done: Mutex<Option<Done>>,
}

/// A batch's memory, with height and width of an image.
type Memory = (Block, usize, usize);

struct Parts {
    memory: Option<Memory>,
    failure: Option<Failure>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loader {
    pub fn new(transform: Transform, threads: usize) -> Loader {
        let shared = Shared { transform, queue: Mutex::default(), asked: Condvar::new() };
        Loader { shared: Arc::new(shared), threads: threads.max(1) }
    }

    /// Asks for a batch, which must not be empty.
    pub fn request(&self, items: Vec<Item>, done: Done) {
        match self.prepare(items.len()) {
            Ok(memory) => self.enqueue(items, memory, done),
            Err(error) => done(Err(Failure { position: 0, error })),
        }
    }

    /// Starts the threads and gives a batch's memory where its size is known, from this thread's pool.
    fn prepare(&self, count: usize) -> Result<Option<Memory>> {
        let mut queue = lock(&self.shared.queue);
        while queue.threads < self.threads {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("wick-images".into());
            match thread.spawn(move || shared.work()) {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads > 0 => break,
                Err(e) => return Err(Error::new(Code::OutOfMemory, format!("no thread can be started: {e}"))),
            }
        }
        drop(queue);
        let Some((h, w)) = self.shared.transform.size() else { return Ok(None) };
        Ok(Some((Block::new(self.shared.transform.result_bytes(h, w).saturating_mul(count))?, h, w)))
    }

    fn enqueue(&self, items: Vec<Item>, memory: Option<Memory>, done: Done) {
        let batch = Arc::new(Batch {
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(items.len()),
            is_cancelled: AtomicBool::new(false),
            result: Mutex::new(Parts { memory, failure: None }),
            done: Mutex::new(Some(done)),
            items,
        });
        lock(&self.shared.queue).batches.push_back(batch);
        self.shared.asked.notify_all();
    }

    /// Gives up what was asked for: no further image is begun.
    pub fn cancel(&self) {
        let batches: Vec<_> = lock(&self.shared.queue).batches.drain(..).collect();
        for batch in batches {
            batch.is_cancelled.store(true, Ordering::Relaxed);
            let begun = batch.next.swap(batch.items.len(), Ordering::Relaxed).min(batch.items.len());
            batch.end(batch.items.len() - begun, &self.shared.transform);
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        lock(&self.shared.queue).has_ended = true;
        self.shared.asked.notify_all();
    }
}

impl Shared {
    /// A thread's life.
    fn work(&self) {
        let mut bench = Bench::default();
        while let Some((batch, i)) = self.take() {
            if lock(&batch.result).failure.as_ref().is_none_or(|f| f.position > i) {
                let making = AssertUnwindSafe(|| reserve::caught(|| self.make(&batch, i, &mut bench)));
                let made = catch_unwind(making).unwrap_or_else(|panic| {
                    bench = Bench::default();
                    Err(of_panic(&*panic))
                });
                bench.trim();
                if let Err(mut error) = made {
                    error.message = format!("{}: {}", batch.items[i].path, error.message);
                    batch.fail(Failure { position: i, error });
                }
            }
            batch.end(1, &self.transform);
        }
    }

    /// Waits for an item.
    fn take(&self) -> Option<(Arc<Batch>, usize)> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(batch) = queue.batches.front() {
                let i = batch.next.fetch_add(1, Ordering::Relaxed);
                let batch = batch.clone();
                if i + 1 >= batch.items.len() {
                    queue.batches.pop_front();
                }
                if i < batch.items.len() {
                    return Some((batch, i));
                }
            } else if queue.has_ended {
                return None;
            } else {
                queue = self.asked.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn make(&self, batch: &Batch, i: usize, bench: &mut Bench) -> Result<()> {
        let item = &batch.items[i];
        read(&item.path, &mut bench.file)?;
        decode(&bench.file, &mut bench.canvas)?;
        let mut draws = Draws::new(item.seed, item.offset);
        self.transform.draw(&mut bench.canvas, &mut draws)?;
        let (height, width) = (bench.canvas.height, bench.canvas.width);
        let bytes = self.transform.result_bytes(height, width);
        let start = batch.memory(height, width, bytes)?;
        // SAFETY: the batch's memory has `bytes` for each item, is freed after the last one, and this thread alone has taken item `i`.
        let to = unsafe { std::slice::from_raw_parts_mut(start.0.add(i * bytes), bytes) };
        self.transform.write(&bench.canvas, &mut draws, to)
    }
}

/// What a thread works with, kept for the next image.
#[derive(Default)]
struct Bench {
    file: Vec<u8>,
    canvas: Canvas,
}

impl Bench {
    /// Lets go of what a large image needed.
    fn trim(&mut self) {
        self.canvas.trim();
        if self.file.capacity() > MOST_KEPT {
            self.file = vec![];
        }
    }
}

struct Start(*mut u8);

impl Batch {
    /// Where the results stand; the first image decides about their size where the steps don't.
    fn memory(&self, height: usize, width: usize, bytes: usize) -> Result<Start> {
        let mut parts = lock(&self.result);
        if parts.memory.is_none() {
            parts.memory = Some((Block::new(bytes.saturating_mul(self.items.len()))?, height, width));
        }
        match &parts.memory {
            Some((block, h, w)) if (*h, *w) == (height, width) => Ok(Start(block.ptr())),
            Some((_, h, w)) => {
                let message = format!("the image is {height} x {width} where another of its batch is {h} x {w}; resize or crop them");
                Err(Error::shape(message))
            }
            None => Err(Error::internal("a batch without memory")),
        }
    }

    /// Of several failures, that of the first item counts.
    fn fail(&self, failure: Failure) {
        let mut parts = lock(&self.result);
        if parts.failure.as_ref().is_none_or(|f| f.position > failure.position) {
            parts.failure = Some(failure);
        }
    }

    /// Notes that `n` items are over.
    fn end(&self, n: usize, transform: &Transform) {
        if n == 0 || self.left.fetch_sub(n, Ordering::AcqRel) > n {
            return;
        }
        let Some(done) = lock(&self.done).take() else { return };
        let mut parts = lock(&self.result);
        let result = match (parts.failure.take(), parts.memory.take()) {
            (Some(failure), _) => Err(failure),
            (None, Some((block, height, width))) if !self.is_cancelled.load(Ordering::Relaxed) => {
                Ok(Made { block, count: self.items.len(), height, width, is_float: transform.is_float() })
            }
            _ => Err(Failure { position: 0, error: Error::internal("the pass was closed") }),
        };
        done(result);
    }
}

fn read(path: &str, to: &mut Vec<u8>) -> Result<()> {
    to.clear();
    let open = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_to_end(&mut file, to));
    let code = |e: &std::io::Error| if e.kind() == std::io::ErrorKind::OutOfMemory { Code::OutOfMemory } else { Code::BadFile };
    open.map(drop).map_err(|e| Error::new(code(&e), e.to_string()))
}

fn of_panic(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    Error::new(Code::BadFile, format!("the image can't be read ({text})"))
}
