//! Softmax and its logarithm over the last dimension: a row is read once and held in registers where it fits.
use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args, type_name};
use crate::reduce::blocks;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::Op;
use wick_core::shape::{Layout, Shape};

static SOURCE: Source = Source { name: "softmax", text: include_str!("kernels/softmax.cu") };
/// Threads of a block that has several rows.
const THREADS: u64 = 256;
/// Most threads of a block that has one row.
const LARGEST: u64 = 512;

/// Runs `Op::Softmax`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::Softmax { log } => softmax(gpu, log, &ins[0], &outs[0]),
        _ => Err(Error::internal("is not a softmax")),
    }
    .map_err(|e| e.in_op(op.name()))
}

/// Lines of a tensor along one dimension: elements of a line, their distance, and the layout of the lines' first elements.
pub(crate) fn lines(layout: &Layout, dim: usize) -> (u64, u64, Layout) {
    if layout.rank() == 0 {
        return (1, 1, Layout::contiguous(Shape::scalar()));
    }
    (layout.shape[dim] as u64, layout.strides()[dim] as u64, layout.select(dim, 0))
}

/// Whether vectors of `width` elements along an operand's lines begin at multiples of their size.
fn is_aligned(space: &Space<2>, operand: usize, x: &Arg, width: u64) -> bool {
    (x.ptr as u64).is_multiple_of(16) && space.strides[operand][..space.rank as usize].iter().all(|s| s.is_multiple_of(width))
}

fn softmax(gpu: &Gpu, log: bool, x: &Arg, out: &Arg) -> Result<()> {
    if x.numel() == 0 {
        return Ok(());
    }
    if !x.dtype.is_float() {
        return Err(Error::dtype(format!("needs floats, not {}", x.dtype.name())));
    }
    let last = x.layout.rank().saturating_sub(1);
    let ((length, x_step, x_rows), (_, y_step, y_rows)) = (lines(&x.layout, last), lines(&out.layout, last));
    let rows = Space::new(&x_rows.shape, [&x_rows, &y_rows]);
    let width = 16 / x.dtype.size() as u64;
    let whole = x_step == 1 && y_step == 1 && length.is_multiple_of(width);
    let wide = whole && is_aligned(&rows, 0, x, width) && is_aligned(&rows, 1, out, width);
    let (kernel, threads, lanes) = choose(wide, length, width);
    let f = gpu.kernel(&SOURCE, &defines(log, x.dtype), kernel)?;
    let (from, to) = (x.ptr as u64, out.ptr as u64);
    let block = (threads as u32, 1, 1);
    if lanes > 0 {
        let (grid, short) = (blocks(rows.numel, threads / lanes as u64)?, length as u32);
        return gpu.launch(f, (grid, 1, 1), block, 0, args![from, to, rows, short, lanes, x_step, y_step]);
    }
    let grid = (blocks(rows.numel, 1)?, 1, 1);
    if kernel.starts_with("block") {
        gpu.launch(f, grid, block, 0, args![from, to, rows, length])
    } else {
        gpu.launch(f, grid, block, 0, args![from, to, rows, length, x_step, y_step])
    }
}

/// The kernel for rows of `length` elements, threads of a block, and threads of a row where a block has several (else 0).
fn choose(wide: bool, length: u64, width: u64) -> (&'static str, u64, u32) {
    let lanes = |vectors: u64| vectors.next_power_of_two().min(32) as u32;
    let threads = |vectors: u64| vectors.next_multiple_of(32).min(LARGEST);
    if !wide {
        return match length {
            0..=32 => ("warp_one_1", THREADS, lanes(length)),
            33..=128 => ("warp_one_4", THREADS, 32),
            129..=512 => ("warp_one_16", THREADS, 32),
            _ => ("online_one", threads(length.div_ceil(4)), 0),
        };
    }
    match length / width {
        n @ 0..=32 => ("warp_wide_1", THREADS, lanes(n)),
        33..=64 => ("warp_wide_2", THREADS, 32),
        65..=128 => ("warp_wide_4", THREADS, 32),
        n @ 129..=512 => ("block_1", threads(n), 0),
        n @ 513..=2048 => ("block_4", threads(n.div_ceil(4)), 0),
        n @ 2049..=4096 => ("block_8", threads(n.div_ceil(8)), 0),
        _ => ("online_wide", LARGEST, 0),
    }
}

fn defines(log: bool, dtype: DType) -> String {
    format!("TYPE={} LOG={}", type_name(dtype), log as u8)
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = [
        ["warp_one_1", "warp_one_4", "warp_one_16", "warp_wide_1", "warp_wide_2", "warp_wide_4"].as_slice(),
        ["block_1", "block_4", "block_8", "online_one", "online_wide"].as_slice(),
    ];
    let names: Vec<String> = names.concat().into_iter().map(String::from).collect();
    let floats = DType::ALL.into_iter().filter(|d| d.is_float());
    floats.flat_map(|d| [false, true].map(|log| (&SOURCE, defines(log, d), names.clone()))).collect()
}
