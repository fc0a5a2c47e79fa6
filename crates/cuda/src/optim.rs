//! Gradient clipping, loss scaling and the optimisers, over ranges of flat buffers: one pass over memory each.
mod pieces;

use crate::counters::counters;
use crate::gpu::{Gpu, Scalar, Source, args, type_name};
use pieces::{MANY, Pieces, launches, width};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{Op, Range, Ranges, Sc};

static SOURCE: Source = Source { name: "optim", text: include_str!("kernels/optim.cu") };

/// As in `optim.cu`.
const THREADS: usize = 256;

/// Runs `Op::ClipGradNorm`, `Op::ClipGradValue`, `Op::Unscale`, `Op::UpdateScale`, `Op::Sgd` or `Op::AdamW`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match op {
        Op::ClipGradNorm { ranges, max } => clip_norm(gpu, ranges, &gpu.scalar(max, params), ins, &outs[0]),
        Op::ClipGradValue { ranges, max } => {
            let max = gpu.scalar(max, params);
            batches(ranges, ins)?.iter().try_for_each(|b| b.launch(gpu, "clip_value", b.pieces.chunks, args![b.pieces, max]))
        }
        Op::Unscale { ranges } => unscale(gpu, ranges, ins, &outs[0]),
        Op::UpdateScale { growth, backoff, interval } => {
            let [growth, backoff, interval] = [growth, backoff, interval].map(|s| gpu.scalar(s, params));
            let [scale, tracker, found] = [0, 1, 2].map(|i| ins[i].ptr as u64);
            let f = gpu.kernel(&SOURCE, &defines(DType::F32, 1, 1), "update_scale")?;
            gpu.launch(f, (1, 1, 1), (1, 1, 1), 0, args![scale, tracker, found, growth, backoff, interval])
        }
        Op::Sgd { ranges, lr, momentum, dampening, weight_decay, nesterov, maximize, fresh, skip } => {
            let scalar = |s: &Sc| gpu.scalar(s, params);
            let settings = Sgd {
                lr: scalar(lr),
                momentum: scalar(momentum),
                dampening: scalar(dampening),
                decay: scalar(weight_decay),
                nesterov: *nesterov as i32,
                maximize: *maximize as i32,
                fresh: *fresh as i32,
                heavy: (momentum.get(params) != 0.0) as i32,
            };
            let (skip, fault) = (skip_address(*skip, ins), gpu.fault_flag()?);
            let [param, grad, buffer] = [0, 1, 2].map(|i| ins[i].ptr as u64);
            update(gpu, "sgd", ranges, &ins[..3], |pieces, launch| launch(args![param, grad, buffer, *pieces, settings, skip, fault]))
        }
        Op::AdamW { ranges, lr, beta1, beta2, eps, weight_decay, step, maximize, skip } => {
            let scalar = |s: &Sc| gpu.scalar(s, params);
            let settings = AdamW {
                lr: scalar(lr),
                beta1: scalar(beta1),
                beta2: scalar(beta2),
                eps: scalar(eps),
                decay: scalar(weight_decay),
                step: scalar(step),
                maximize: *maximize as i32,
            };
            let (skip, fault) = (skip_address(*skip, ins), gpu.fault_flag()?);
            let [param, grad, first, second] = [0, 1, 2, 3].map(|i| ins[i].ptr as u64);
            update(gpu, "adamw", ranges, &ins[..4], |pieces, launch| launch(args![param, grad, first, second, *pieces, settings, skip, fault]))
        }
        _ => Err(Error::internal("is not an optimiser")),
    }
    .map_err(|e| e.in_op(op.name()))
}

/// The same bits as `Sgd` in `optim.cu`.
#[repr(C)]
struct Sgd {
    lr: Scalar,
    momentum: Scalar,
    dampening: Scalar,
    decay: Scalar,
    nesterov: i32,
    maximize: i32,
    fresh: i32,
    heavy: i32,
}

/// The same bits as `AdamW` in `optim.cu`.
#[repr(C)]
struct AdamW {
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    eps: Scalar,
    decay: Scalar,
    step: Scalar,
    maximize: i32,
}

fn defines(dtype: DType, width: usize, pieces: usize) -> String {
    format!("ELEMENT={} WIDTH={width} PIECES={pieces}", type_name(dtype))
}

fn real(dtype: DType) -> Result<DType> {
    match dtype {
        DType::F32 | DType::F64 => Ok(dtype),
        d => Err(Error::dtype(format!("needs float32 or float64 buffers, not {}", d.name()))),
    }
}

/// Address of the number that, if it isn't 0, makes an update do nothing; 0: none.
fn skip_address(skip: bool, ins: &[Arg]) -> u64 {
    ins.last().filter(|_| skip).map_or(0, |s| s.ptr as u64)
}

/// Starts the updates of `ranges`, whose first elements count in every buffer alike.
fn update(
    gpu: &Gpu,
    name: &str,
    ranges: &[Range],
    buffers: &[Arg],
    each: impl Fn(&Pieces, &dyn Fn(&mut [*mut std::ffi::c_void]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let dtype = real(buffers[0].dtype)?;
    let addresses: Vec<u64> = buffers.iter().map(|b| b.ptr as u64).collect();
    let width = width(dtype.size(), &addresses, ranges);
    for pieces in launches(ranges.iter().map(|r| (r.start as u64, r.len)), THREADS * width) {
        let f = gpu.kernel(&SOURCE, &defines(dtype, width, pieces.capacity()), name)?;
        each(&pieces, &|args| gpu.launch(f, (pieces.chunks, 1, 1), (THREADS as u32, 1, 1), 0, args))?;
    }
    Ok(())
}

/// Pieces of gradient buffers for one launch.
struct Batch {
    dtype: DType,
    width: usize,
    pieces: Pieces,
}

impl Batch {
    fn launch(&self, gpu: &Gpu, name: &str, blocks: u32, args: &mut [*mut std::ffi::c_void]) -> Result<()> {
        let f = gpu.kernel(&SOURCE, &defines(self.dtype, self.width, self.pieces.capacity()), name)?;
        gpu.launch(f, (blocks, 1, 1), (THREADS as u32, 1, 1), 0, args)
    }
}

/// Launches over the ranges of several buffers; neighbours of one type share them.
fn batches(ranges: &[Ranges], grads: &[Arg]) -> Result<Vec<Batch>> {
    struct Kind {
        dtype: DType,
        width: usize,
        pieces: Vec<(u64, usize)>,
    }
    let mut kinds: Vec<Kind> = vec![];
    for (ranges, grad) in ranges.iter().zip(grads) {
        let (dtype, ptr) = (real(grad.dtype)?, grad.ptr as u64);
        let width = width(dtype.size(), &[ptr], ranges);
        let pieces = ranges.iter().map(|r| (ptr + (r.start * dtype.size()) as u64, r.len));
        match kinds.last_mut() {
            Some(k) if (k.dtype, k.width) == (dtype, width) => k.pieces.extend(pieces),
            _ => kinds.push(Kind { dtype, width, pieces: pieces.collect() }),
        }
    }
    let chunk = |width: usize| THREADS * if width == 1 { 16 } else { 4 * width };
    let batch = |k: Kind| launches(k.pieces, chunk(k.width)).into_iter().map(move |pieces| Batch { dtype: k.dtype, width: k.width, pieces });
    Ok(kinds.into_iter().flat_map(batch).collect())
}

/// What a grid without work is launched for: to write its result.
fn empty() -> Batch {
    Batch { dtype: DType::F32, width: 1, pieces: Pieces::EMPTY }
}

fn clip_norm(gpu: &Gpu, ranges: &[Ranges], max: &Scalar, grads: &[Arg], norm: &Arg) -> Result<()> {
    let batches = batches(ranges, grads)?;
    let nothing = [empty()];
    let sums = if batches.is_empty() { &nothing[..] } else { &batches[..] };
    // Enough blocks to keep the memory busy; each leaves one number for the last one.
    let blocks = |b: &Batch| b.pieces.chunks.clamp(1, 4 * gpu.sms());
    let total: u32 = sums.iter().map(blocks).sum();
    const HEAD: u64 = 256;
    let scale = gpu.scratch(HEAD as usize + 8 * total as usize)?;
    let (parts, done) = (scale + HEAD, counters(gpu)?);
    let (norm, wide) = (norm.ptr as u64, (real(norm.dtype)? == DType::F64) as i32);
    let mut offset = 0u32;
    for (i, b) in sums.iter().enumerate() {
        let finish = (i + 1 == sums.len()) as i32;
        b.launch(gpu, "sum_of_squares", blocks(b), args![b.pieces, parts, offset, finish, done, norm, wide, *max, scale])?;
        offset += blocks(b);
    }
    batches.iter().try_for_each(|b| b.launch(gpu, "scale_chunks", b.pieces.chunks, args![b.pieces, scale]))
}

fn unscale(gpu: &Gpu, ranges: &[Ranges], ins: &[Arg], found: &Arg) -> Result<()> {
    let mut batches = batches(ranges, &ins[..ranges.len()])?;
    if batches.is_empty() {
        batches.push(empty());
    }
    let (scale, found, done) = (ins[ranges.len()].ptr as u64, found.ptr as u64, counters(gpu)?);
    // The second counter gathers from launch to launch; it too is zero between two ops.
    let flag = done + 4;
    for (i, b) in batches.iter().enumerate() {
        let finish = (i + 1 == batches.len()) as i32;
        b.launch(gpu, "unscale", b.pieces.chunks.max(1), args![b.pieces, scale, done, flag, finish, found])?;
    }
    Ok(())
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = ["sgd", "adamw", "sum_of_squares", "scale_chunks", "clip_value", "unscale", "update_scale"].map(String::from);
    let kinds = [DType::F32, DType::F64].into_iter().flat_map(|d| [1, 16 / d.size()].map(|w| (d, w)));
    kinds.flat_map(|(d, w)| [1, MANY].map(|p| defines(d, w, p))).map(|d| (&SOURCE, d, names.to_vec())).collect()
}
