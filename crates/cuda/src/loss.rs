//! Cross-entropy, its derivative, and the running mean of a loss: one launch each.
use crate::counters::counters;
use crate::gpu::{Gpu, Scalar, Source, args, type_name};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{Op, Reduction, Sc};

static SOURCE: Source = Source { name: "loss", text: include_str!("kernels/loss.cu") };

/// Runs `Op::CrossEntropy`, `Op::CrossEntropyGrad` or `Op::TrackLoss`. A target that is no class makes its loss and its gradient NaN, and
/// the next read an error (`fault.rs`).
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::CrossEntropy { ignore_index, smoothing, reduction, grad } => {
            let problem = Problem::new(gpu, &ins[0], &ins[1], ignore_index, &smoothing, reduction, params);
            let out = outs.get(2).filter(|_| grad);
            if out.is_none() || problem.is_small() {
                return forward(gpu, problem, &ins[0], &outs[0], &outs[1], out);
            }
            forward(gpu, problem, &ins[0], &outs[0], &outs[1], None)?;
            out.map_or(Ok(()), |out| backward(gpu, problem, &ins[0], None, outs[0].dtype, out))
        }
        Op::CrossEntropyGrad { ignore_index, smoothing, reduction } => {
            let problem = Problem::new(gpu, &ins[1], &ins[2], ignore_index, &smoothing, reduction, params);
            backward(gpu, problem, &ins[1], Some(&ins[0]), ins[0].dtype, &outs[0])
        }
        Op::TrackLoss { weight } => {
            let (tracker, stride, loss) = (ins[0].ptr as u64, ins[0].layout.strides()[0] as i64, ins[1].ptr as u64);
            let weight = gpu.scalar(&weight, params);
            let f = gpu.kernel(&SOURCE, &defines(ins[1].dtype, ins[1].dtype)?, "track_loss")?;
            gpu.launch(f, (1, 1, 1), (1, 1, 1), 0, args![tracker, stride, loss, weight])
        }
        _ => Err(Error::internal("is not a loss")),
    }
    .map_err(|e| e.in_op(op.name()))
}

/// The same bits as `Problem` in `loss.cu`; strides in elements.
#[repr(C)]
#[derive(Clone, Copy)]
struct Problem {
    logits: u64,
    target: u64,
    rows: i64,
    classes: i64,
    row: i64,
    col: i64,
    target_stride: i64,
    ignore: i64,
    smoothing: Scalar,
    reduction: i32,
    lanes: i32,
    vectors: i32,
}

/// Rows of more classes have a block each, others some threads of a warp.
const SHORT: usize = 512;
/// Logits up to which one block does all: its result needs no second stage.
const ONE_BLOCK: usize = 1 << 14;
/// Targets up to which every block counts them for itself.
const FEW_TARGETS: usize = 4096;

impl Problem {
    fn new(gpu: &Gpu, logits: &Arg, target: &Arg, ignore: i64, smoothing: &Sc, reduction: Reduction, params: &[f64]) -> Problem {
        let (shape, strides) = (logits.layout.shape, logits.layout.strides());
        Problem {
            logits: logits.ptr as u64,
            target: target.ptr as u64,
            rows: shape[0] as i64,
            classes: shape[1] as i64,
            row: strides[0] as i64,
            col: strides[1] as i64,
            target_stride: target.layout.strides()[0] as i64,
            ignore,
            smoothing: gpu.scalar(smoothing, params),
            reduction: match reduction {
                Reduction::None => 0,
                Reduction::Mean => 1,
                Reduction::Sum => 2,
            },
            lanes: 32,
            vectors: aligned(logits.ptr as u64, strides[0], strides[1], &logits.layout.shape, logits.dtype) as i32,
        }
    }
    fn rows(&self) -> usize {
        self.rows as usize
    }
    fn classes(&self) -> usize {
        self.classes as usize
    }
    fn is_short(&self) -> bool {
        self.classes() <= SHORT
    }
    /// One block takes all.
    fn is_small(&self) -> bool {
        self.is_short() && self.rows() * self.classes() <= ONE_BLOCK
    }
    /// Threads of a row of a small problem: the same in both directions, so that one kernel can do both.
    fn small_lanes(&self) -> usize {
        lanes(self.rows(), self.classes(), |threads, each| threads > 1024 && each <= 8)
    }
    fn is_mean(&self) -> bool {
        self.reduction == 1
    }
    fn is_reduced(&self) -> bool {
        self.reduction != 0
    }
}

/// Rows can be read by 16 bytes.
fn aligned(ptr: u64, row: usize, col: usize, shape: &[usize], dtype: DType) -> bool {
    col == 1 && ptr.is_multiple_of(16) && (shape[0] <= 1 || (row * dtype.size()).is_multiple_of(16))
}

fn defines(logits: DType, result: DType) -> Result<String> {
    match [logits, result].iter().find(|d| !d.is_float()) {
        Some(d) => Err(Error::dtype(format!("needs floats, not {}", d.name()))),
        None => Ok(format!("ELEMENT={} RESULT={}", type_name(logits), type_name(result))),
    }
}

/// Halves the threads of a row while `wasteful(rows * threads, elements that each of half as many would have)`.
fn lanes(rows: usize, classes: usize, wasteful: impl Fn(usize, usize) -> bool) -> usize {
    let mut lanes = classes.clamp(1, 32).next_power_of_two();
    while lanes > 1 && wasteful(rows * lanes, classes.div_ceil(lanes / 2)) {
        lanes /= 2;
    }
    lanes
}

/// Blocks and threads for rows that a block has each.
fn wide(gpu: &Gpu, p: &Problem) -> (u32, u32) {
    let threads = if p.classes > 1 << 13 { 1024 } else { 256 };
    (p.rows().clamp(1, (2048 / threads * gpu.sms()) as usize) as u32, threads)
}

/// The loss, and of a small problem its gradient too, if `grad` is given.
fn forward(gpu: &Gpu, mut p: Problem, logits: &Arg, loss: &Arg, lse: &Arg, grad: Option<&Arg>) -> Result<()> {
    if loss.dtype != lse.dtype {
        return Err(Error::not_supported("a loss and a log-sum-exp of different dtypes"));
    }
    let short = p.is_short();
    let (blocks, threads) = if !short {
        wide(gpu, &p)
    } else if p.is_small() {
        let lanes = p.small_lanes();
        p.lanes = lanes as i32;
        (1, (p.rows() * lanes).next_multiple_of(32).clamp(32, 1024) as u32)
    } else {
        let lanes = lanes(p.rows(), p.classes(), |_, each| each <= 4);
        p.lanes = lanes as i32;
        ((p.rows() * lanes).div_ceil(256).min(8 * gpu.sms() as usize) as u32, 256)
    };
    let (mut parts, mut done) = (0, 0);
    if blocks > 1 && p.is_reduced() {
        (parts, done) = (gpu.scratch(16 * blocks as usize)?, counters(gpu)?);
    }
    let f = gpu.kernel(&SOURCE, &defines(logits.dtype, loss.dtype)?, if short { "cross_entropy" } else { "cross_entropy_wide" })?;
    let (loss, lse, grad, fault) = (loss.ptr as u64, lse.ptr as u64, grad.map_or(0, |g| g.ptr as u64), gpu.fault_flag()?);
    if short {
        gpu.launch(f, (blocks, 1, 1), (threads, 1, 1), 0, args![p, loss, lse, parts, done, grad, fault])
    } else {
        gpu.launch(f, (blocks, 1, 1), (threads, 1, 1), 0, args![p, loss, lse, parts, done, fault])
    }
}

/// The gradient of the logits, given that of the loss, of dtype `of_loss`: 1 if there is none.
fn backward(gpu: &Gpu, mut p: Problem, logits: &Arg, grad: Option<&Arg>, of_loss: DType, out: &Arg) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let defines = defines(logits.dtype, of_loss)?;
    let short = p.is_short();
    let (blocks, threads) = if p.is_small() {
        let lanes = p.small_lanes();
        p.lanes = lanes as i32;
        ((p.rows() * lanes).div_ceil(256) as u32, 256)
    } else if short {
        // As many threads a row as there are, until the device is full.
        let full = 2048 * gpu.sms() as usize;
        let lanes = lanes(p.rows(), p.classes(), |threads, each| threads > full && each <= 4);
        p.lanes = lanes as i32;
        ((p.rows() * lanes).div_ceil(256).min(8 * gpu.sms() as usize) as u32, 256)
    } else {
        p.vectors &= aligned(out.ptr as u64, p.classes(), 1, &out.layout.shape, out.dtype) as i32;
        wide(gpu, &p)
    };
    let mut count = 0;
    if p.is_mean() && p.rows() > FEW_TARGETS {
        let blocks = p.rows().div_ceil(1024).min(gpu.sms() as usize) as u32;
        const HEAD: u64 = 256;
        count = gpu.scratch(HEAD as usize + 8 * blocks as usize)?;
        let (parts, done) = (count + HEAD, counters(gpu)?);
        let f = gpu.kernel(&SOURCE, &defines, "count_targets")?;
        gpu.launch(f, (blocks, 1, 1), (256, 1, 1), 0, args![p, count, parts, done])?;
    }
    // Without a reduction the gradient has a number for each row; often it is one number, repeated.
    let stride = if p.is_reduced() { 0 } else { grad.and_then(|g| g.layout.strides().first().copied()).unwrap_or(0) as i64 };
    let f = gpu.kernel(&SOURCE, &defines, if short { "cross_entropy_grad" } else { "cross_entropy_grad_wide" })?;
    let (grad, out) = (grad.map_or(0, |g| g.ptr as u64), out.ptr as u64);
    gpu.launch(f, (blocks, 1, 1), (threads, 1, 1), 0, args![p, grad, stride, out, count])
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = ["cross_entropy", "cross_entropy_wide", "count_targets", "cross_entropy_grad", "cross_entropy_grad_wide", "track_loss"];
    [DType::F32, DType::F64, DType::F16, DType::BF16]
        .into_iter()
        .filter_map(|d| defines(d, d).ok())
        .map(|d| (&SOURCE, d, names.map(String::from).to_vec()))
        .collect()
}
