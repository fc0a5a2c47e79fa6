//! The GPU as the engine's device: every op goes to its family's file.
use crate::gpu::Gpu;
use crate::{chain, conv, copies, creation, index, linalg, loss, moments, norm, optim, pointwise, pool, reduce, softmax, sort, together};
use std::ptr::NonNull;
use wick_core::cpu::Arg;
use wick_core::cpu::chain::Chain;
use wick_core::device::{Backend, DeviceOption, Graph, Part, Properties, Rows};
use wick_core::error::{Error, Result};
use wick_core::op::Op;

/// Runs `op` on the current stream.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub(crate) unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    use Op::*;
    let family = match op {
        Fill { .. } | Arange { .. } | Random { .. } => creation::run,
        Unary(_)
        | Binary(_)
        | Scalar { .. }
        | Clamp { .. }
        | Where
        | Cast(_)
        | Contiguous
        | Dropout { .. }
        | CopyInto
        | BinaryInto(_)
        | ScalarInto { .. } => pointwise::run,
        Reduce { .. } => reduce::run,
        Softmax { .. } => softmax::run,
        Matmul { .. } | Linear { .. } => linalg::run,
        Conv2d { .. } | Conv2dGradInput { .. } | Conv2dGradWeight { .. } => conv::run,
        MaxPool2d(_) | MaxPool2dGrad { .. } | AvgPool2d(_) | AvgPool2dGrad { .. } => pool::run,
        BatchNorm { .. } | BatchNormGrad { .. } => norm::run,
        CrossEntropy { .. } | CrossEntropyGrad { .. } | TrackLoss { .. } => loss::run,
        ClipGradNorm { .. } | ClipGradValue { .. } | Unscale { .. } | UpdateScale { .. } | Sgd { .. } | AdamW { .. } => optim::run,
        Gather { .. } | ScatterAdd { .. } | IndexSelect { .. } | IndexAdd { .. } | Cat { .. } | NarrowGrad { .. } => index::run,
        Cumsum { .. } | Sort { .. } => sort::run,
        FromHost { .. } | ToDevice(_) | View(_) | Backward { .. } | ZeroGrad { .. } | HostRead => return Err(Error::internal("has no kernel")),
    };
    unsafe { family(gpu, op, params, ins, outs) }
}

impl Backend for Gpu {
    fn properties(&self) -> &Properties {
        &self.context.properties
    }

    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        self.context.bind()?;
        if self.capturing() {
            return Err(Error::internal("memory was asked for while a graph is captured"));
        }
        self.context.allocate(bytes)
    }

    fn release(&self, ptr: NonNull<u8>, _bytes: usize) {
        let ptr = ptr.as_ptr() as u64;
        if self.capturing() {
            // Recorded into the graph it would free the memory at every launch.
            self.postponed.borrow_mut().push(ptr);
        } else if self.context.bind().is_ok() {
            self.context.release(ptr);
        }
    }

    unsafe fn run(&self, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        self.context.bind()?;
        unsafe { run(self, op, params, ins, outs) }.map_err(|e| e.in_op(op.name()))
    }

    unsafe fn run_chain(&self, chain: &Chain, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        self.context.bind()?;
        unsafe { chain::run_chain(self, chain, params, ins, outs) }
    }

    unsafe fn run_together(&self, parts: &[Part], params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
        self.context.bind()?;
        unsafe { together::run(self, parts, params, ins, outs) }
    }

    unsafe fn run_copies(&self, copies: &[(Arg, Arg)]) -> Result<()> {
        self.context.bind()?;
        unsafe { copies::run(self, copies) }
    }

    unsafe fn upload(&self, bytes: usize, to: *mut u8, fill: &mut dyn FnMut(usize, &mut [u8])) -> Result<()> {
        self.context.bind()?;
        if self.capturing() {
            return Err(Error::internal("host data was uploaded while a graph is captured"));
        }
        unsafe { self.staging.borrow_mut().upload(bytes, to as u64, fill) }
    }

    unsafe fn download(&self, from: *const u8, to: &mut [u8]) -> Result<()> {
        self.context.bind()?;
        if self.capturing() {
            return Err(Error::internal("device data was read while a graph is captured"));
        }
        unsafe { self.readback.borrow_mut().download(from as u64, to) }?;
        self.check_fault()
    }

    unsafe fn copy(&self, from: *const u8, to: *mut u8, bytes: usize) -> Result<()> {
        self.context.bind()?;
        Gpu::copy(self, from as u64, to as u64, bytes)
    }

    unsafe fn fill(&self, to: *mut u8, byte: u8, bytes: usize) -> Result<()> {
        self.context.bind()?;
        self.memset(to as u64, byte, bytes)
    }

    unsafe fn gather_rows(&self, all: &[Rows], indices: &[u32]) -> Result<()> {
        self.context.bind()?;
        unsafe { copies::gather_rows(self, all, indices) }
    }

    fn free_memory(&self) -> Result<usize> {
        self.context.bind()?;
        Ok(self.context.memory()?.0)
    }

    fn synchronize(&self) -> Result<()> {
        self.context.bind()?;
        Gpu::synchronize(self)?;
        self.check_fault()
    }
    fn trim(&self) -> Result<()> {
        self.context.bind()?;
        self.context.trim()
    }

    fn begin_capture(&self) -> Result<()> {
        self.context.bind()?;
        Gpu::begin_capture(self)
    }

    fn end_capture(&self) -> Result<Box<dyn Graph>> {
        self.context.bind()?;
        Ok(Box::new(Gpu::end_capture(self)?))
    }

    fn set_lane(&self, lane: usize) {
        Gpu::set_lane(self, lane);
    }

    fn record(&self, event: usize) -> Result<()> {
        self.context.bind()?;
        let event = self.events.get(event)?;
        self.check(unsafe { cudarc::driver::sys::cuEventRecord(event, self.stream()) })
    }

    fn wait(&self, event: usize) -> Result<()> {
        self.context.bind()?;
        let event = self.events.get(event)?;
        Gpu::wait(self, event)
    }

    fn use_params(&self, buffer: *mut u8) {
        self.params.set(buffer as u64);
    }

    fn set_params(&self, buffer: *mut u8, changed: &[(u32, f64)]) -> Result<()> {
        self.context.bind()?;
        copies::set_params(self, buffer as u64, changed)
    }

    fn moment(&self) -> Result<usize> {
        self.context.bind()?;
        self.moments.note(self.stream())
    }

    fn elapsed(&self, from: usize, to: usize) -> Result<f64> {
        self.context.bind()?;
        self.moments.elapsed(from, to)
    }

    fn forget_moments(&self) {
        self.moments.forget();
    }

    fn hold(&self, microseconds: u32) -> Result<()> {
        self.context.bind()?;
        moments::hold(self, microseconds)
    }

    fn set_option(&self, option: DeviceOption, on: bool) {
        match option {
            DeviceOption::Tf32 => self.tf32.set(on),
            DeviceOption::Deterministic => self.deterministic.set(on),
        }
    }
}
