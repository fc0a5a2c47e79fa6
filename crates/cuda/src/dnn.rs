//! Convolutions by cuDNN's graph API, raw: a problem becomes an operation graph, a heuristic names configurations for it, a
//! configuration becomes a plan, and a plan runs.
//!
//! The first time that a problem is met outside a capture, its first few plans are timed and the fastest stays: in memory,
//! and on disk for the next start.
mod descriptor;
mod graph;
mod store;
mod tune;

pub use descriptor::Target;
pub use graph::{ALIGNMENT, Graph, Kind, Plan, Problem};

use crate::gpu::Gpu;
use crate::libs;
use cudarc::cudnn::sys;
use cudarc::driver::sys::CUstream;
use descriptor::check;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::null_mut;
use std::rc::Rc;
use wick_core::error::{Error, Result};

/// Plans that are timed for a problem.
const TIMED: usize = 6;
/// Plans that are made where nothing can be timed: the first, and what to do if it refuses to run.
const UNTIMED: usize = 2;

/// cuDNN on one device: its handle and the plans made so far.
pub(crate) struct Dnn {
    handle: Handle,
    /// Where the handle works now.
    stream: Cell<CUstream>,
    /// Plans stay: a captured graph may hold their kernels.
    plans: RefCell<HashMap<Problem, Rc<Plan>>>,
    retired: RefCell<Vec<Rc<Plan>>>,
    tuner: tune::Tuner,
    /// Device and version, part of what names a plan on disk.
    platform: String,
}

struct Handle(sys::cudnnHandle_t);
impl Drop for Handle {
    fn drop(&mut self) {
        let _ = unsafe { sys::cudnnDestroy(self.0) };
    }
}

/// What a problem can be run with.
pub(crate) enum Found {
    /// The plan that was chosen before.
    Chosen(Rc<Plan>),
    /// Plans of which one is to be chosen, the likeliest first.
    Candidates(Vec<Plan>),
}
impl Found {
    /// Working memory that running needs, in bytes.
    pub fn workspace(&self) -> usize {
        match self {
            Found::Chosen(plan) => plan.workspace,
            Found::Candidates(plans) => plans.iter().map(|p| p.workspace).max().unwrap_or(0),
        }
    }
    /// Chosen earlier, perhaps under other circumstances.
    pub fn is_chosen(&self) -> bool {
        matches!(self, Found::Chosen(_))
    }
}

impl Dnn {
    /// cuDNN for `gpu`, started on first use; the error says where to get it if there is none.
    pub fn of(gpu: &Gpu) -> Result<Rc<Dnn>> {
        gpu.state(Dnn::new)
    }

    fn new(gpu: &Gpu) -> Result<Dnn> {
        libs::require("cudnn")?;
        let mut handle = Handle(null_mut());
        check(unsafe { sys::cudnnCreate(&mut handle.0) }, "a handle")?;
        let properties = &gpu.context.properties;
        let (major, minor) = properties.compute;
        let platform = format!("{} {major}.{minor} {} cuDNN {}", properties.name, properties.multiprocessors, libs::version("cudnn")?);
        let dnn = Dnn {
            handle,
            stream: Cell::new(null_mut()),
            plans: RefCell::default(),
            retired: RefCell::default(),
            tuner: tune::Tuner::new(gpu)?,
            platform,
        };
        Ok(dnn)
    }

    fn target(&self) -> Target {
        Target::Handle(self.handle.0)
    }

    /// The chosen plan of a problem, from memory or disk, or else candidates.
    pub fn find(&self, gpu: &Gpu, problem: &Problem) -> Result<Found> {
        if let Some(plan) = self.plans.borrow().get(problem) {
            return Ok(Found::Chosen(plan.clone()));
        }
        // A file that cuDNN doesn't take, after an update say, is as good as none.
        if let Some(json) = store::load(gpu.cache_dir(), &self.key(problem))
            && let Ok(plan) = Plan::from_json(self.handle.0, &json)
        {
            let plan = Rc::new(plan);
            self.plans.borrow_mut().insert(problem.clone(), plan.clone());
            return Ok(Found::Chosen(plan));
        }
        self.candidates(gpu, problem)
    }

    /// New plans, whatever was chosen before.
    pub fn candidates(&self, gpu: &Gpu, problem: &Problem) -> Result<Found> {
        self.retired.borrow_mut().extend(self.plans.borrow_mut().remove(problem));
        let most = if gpu.capturing() { UNTIMED } else { TIMED };
        let target = self.target();
        Ok(Found::Candidates(Graph::new(problem, &target)?.plans(problem, &target, most)?))
    }

    /// Runs a problem on the current stream, after choosing among candidates. `pointers` are x, weight and y.
    pub fn run(&self, gpu: &Gpu, problem: &Problem, found: Found, pointers: [u64; 3], workspace: u64) -> Result<()> {
        match found {
            Found::Chosen(plan) => self.execute(&plan, gpu.stream(), pointers, workspace),
            Found::Candidates(plans) if gpu.capturing() || plans.len() == 1 => {
                // Nothing is timed here, so nothing is kept on disk either.
                let mut why = Error::internal("no plan");
                for plan in plans {
                    match self.execute(&plan, gpu.stream(), pointers, workspace) {
                        Ok(()) => {
                            self.plans.borrow_mut().insert(problem.clone(), Rc::new(plan));
                            return Ok(());
                        }
                        Err(e) => why = e,
                    }
                }
                Err(why)
            }
            Found::Candidates(plans) => {
                let plan = Rc::new(self.tuner.fastest(gpu, plans, |plan, stream| self.execute(plan, stream, pointers, workspace))?);
                if let Ok(json) = plan.json() {
                    // Failing to keep it costs time and nothing else.
                    let _ = store::save(gpu.cache_dir(), &self.key(problem), &json);
                }
                self.plans.borrow_mut().insert(problem.clone(), plan.clone());
                self.execute(&plan, gpu.stream(), pointers, workspace)
            }
        }
    }

    fn execute(&self, plan: &Plan, stream: CUstream, pointers: [u64; 3], workspace: u64) -> Result<()> {
        if self.stream.get() != stream {
            check(unsafe { sys::cudnnSetStream(self.handle.0, stream.cast()) }, "the stream")?;
            self.stream.set(stream);
        }
        plan.run(self.handle.0, pointers, workspace)
    }

    fn key(&self, problem: &Problem) -> String {
        format!("{} {problem:?}", self.platform)
    }
}
