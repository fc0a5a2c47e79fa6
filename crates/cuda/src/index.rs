//! Elements picked, joined and put into place; `add` has what adds them. Indices can't be checked on the host, which doesn't wait: a
//! wrong one reads and writes nothing, gives 0, and makes the next read an error (`fault.rs`).
mod add;

use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args};
use crate::reduce::blocks;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::Op;
use wick_core::shape::{Layout, Shape};

static SOURCE: Source = Source { name: "index", text: include_str!("kernels/index.cu") };
const THREADS: u64 = 256;
/// Most tensors that one launch joins, as in the source.
const PIECES: usize = 32;

/// Runs `Op::Gather`, `ScatterAdd`, `IndexSelect`, `IndexAdd`, `Cat` or `NarrowGrad`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let out = &outs[0];
    match *op {
        Op::Gather { dim } => pick(gpu, dim, &ins[0], &ins[1], &whole(&ins[1].layout), out),
        Op::IndexSelect { dim } => pick(gpu, dim, &ins[0], &ins[1], &along(&ins[1].layout, dim, &out.layout.shape), out),
        Op::ScatterAdd { dim } => add::scatter_add(gpu, dim, &ins[0], &ins[1], &ins[2], out),
        Op::IndexAdd { dim } => add::index_add(gpu, dim, &ins[0], &ins[1], &ins[2], out),
        Op::Cat { dim } => cat(gpu, dim, ins, out),
        Op::NarrowGrad { dim, start, step, .. } => {
            gpu.memset(out.ptr as u64, 0, out.numel() * out.dtype.size())?;
            let part = whole(&out.layout).narrow(dim, start, whole(&ins[0].layout).shape[dim], step);
            copy(gpu, out.dtype, ins[0].ptr as u64, &whole(&ins[0].layout), out.ptr as u64, &part)
        }
        _ => Err(Error::internal("isn't an indexing op")),
    }
    .map_err(|e| e.in_op(op.name()))
}

/// A layout with at least one dimension.
fn whole(layout: &Layout) -> Layout {
    if layout.rank() == 0 { Layout::contiguous(Shape::new(&[1])) } else { *layout }
}
/// A list of numbers for dimension `dim` of `shape`, the same for all other dimensions.
fn along(index: &Layout, dim: usize, shape: &Shape) -> Layout {
    let mut strides = [0; wick_core::shape::MAX_RANK];
    strides[dim] = index.strides().first().copied().unwrap_or(1);
    Layout::new(*shape, &strides[..shape.rank()], 0)
}
/// The layout's strides under another shape, with that of `dim` replaced.
fn with_stride(layout: &Layout, shape: &Shape, dim: usize, stride: usize) -> Layout {
    let mut strides = layout.strides().to_vec();
    strides[dim] = stride;
    Layout::new(*shape, &strides, 0)
}

/// Whether vectors of `width` elements can be moved along the innermost dimension: it has stride 1 in the operands `moved`, whose
/// other strides are multiples of it, and stride 0 in all others.
fn is_wide<const N: usize>(space: &Space<N>, width: u64, moved: &[usize]) -> bool {
    let rank = space.rank as usize;
    if rank == 0 || !space.sizes[rank - 1].is_multiple_of(width) {
        return false;
    }
    (0..N).all(|k| {
        let (inner, outer) = (space.strides[k][rank - 1], &space.strides[k][..rank - 1]);
        if moved.contains(&k) { inner == 1 && outer.iter().all(|s| s.is_multiple_of(width)) } else { inner == 0 }
    })
}
fn is_aligned(addresses: &[u64]) -> bool {
    addresses.iter().all(|a| a.is_multiple_of(16))
}

/// The define of an element's width.
fn word(dtype: DType) -> &'static str {
    match dtype.size() {
        1 => "TYPE=u8",
        2 => "TYPE=u16",
        4 => "TYPE=u32",
        _ => "TYPE=u64",
    }
}

/// `index` has the layout `numbers` under the result's shape.
fn pick(gpu: &Gpu, dim: usize, x: &Arg, index: &Arg, numbers: &Layout, out: &Arg) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let (source, result) = (whole(&x.layout), whole(&out.layout));
    let (size, step) = (source.shape[dim] as u64, source.strides()[dim] as u64);
    let space = Space::new(&result.shape, [&with_stride(&source, &result.shape, dim, 0), numbers, &result]);
    let (from, places, to, fault) = (x.ptr as u64, index.ptr as u64, out.ptr as u64, gpu.fault_flag()?);
    let width = 16 / x.dtype.size() as u64;
    let wide = is_wide(&space, width, &[0, 2]) && step.is_multiple_of(width) && is_aligned(&[from, to]);
    let (name, width) = if wide { ("pick_wide", width) } else { ("pick_one", 1) };
    let grid = blocks(space.numel, width * THREADS)?;
    let f = gpu.kernel(&SOURCE, word(x.dtype), name)?;
    gpu.launch(f, (grid, 1, 1), (THREADS as u32, 1, 1), 0, args![from, places, to, space, size, step, fault])
}

/// Copies between two layouts of one shape, whose offsets count.
fn copy(gpu: &Gpu, dtype: DType, from: u64, from_layout: &Layout, to: u64, to_layout: &Layout) -> Result<()> {
    let bytes = dtype.size();
    let (from, to) = (from + (from_layout.offset * bytes) as u64, to + (to_layout.offset * bytes) as u64);
    let space = Space::new(&from_layout.shape, [from_layout, to_layout]);
    if space.contiguous() {
        return gpu.copy(from, to, space.numel as usize * bytes);
    }
    let width = 16 / bytes as u64;
    let wide = is_wide(&space, width, &[0, 1]) && is_aligned(&[from, to]);
    let (name, width) = if wide { ("move_wide", width) } else { ("move_one", 1) };
    let grid = blocks(space.numel, width * THREADS)?;
    let f = gpu.kernel(&SOURCE, word(dtype), name)?;
    gpu.launch(f, (grid, 1, 1), (THREADS as u32, 1, 1), 0, args![from, to, space])
}

/// The same bits as `Pieces` in `index.cu`.
#[repr(C)]
struct Pieces {
    from: [u64; PIECES],
    start: [u64; PIECES + 1],
}

fn cat(gpu: &Gpu, dim: usize, ins: &[Arg], out: &Arg) -> Result<()> {
    let result = whole(&out.layout);
    let inner: usize = result.shape[dim + 1..].iter().product();
    let (rows, stride) = (result.shape[..dim].iter().product::<usize>(), result.shape[dim] * inner);
    // Row-major neighbours go together; what lies otherwise goes alone.
    let mut batch: Vec<(u64, usize)> = vec![];
    let (mut start, mut begun) = (0, 0);
    for x in ins {
        // PyTorch lets an empty one-dimensional tensor join anything.
        if x.numel() == 0 {
            continue;
        }
        let layout = whole(&x.layout);
        let size = layout.shape[dim];
        let plain = layout.is_contiguous() && result.is_contiguous();
        if !plain || batch.len() == PIECES {
            join(gpu, out, begun * inner, &batch, rows, stride)?;
            batch.clear();
        }
        if plain {
            if batch.is_empty() {
                begun = start;
            }
            batch.push((x.ptr as u64, size * inner));
        } else {
            copy(gpu, x.dtype, x.ptr as u64, &layout, out.ptr as u64, &result.narrow(dim, start, size, 1))?;
        }
        start += size;
    }
    join(gpu, out, begun * inner, &batch, rows, stride)
}

/// Puts pieces (address, elements of a row) side by side into each of `rows` rows of `out`, from column `column` on.
fn join(gpu: &Gpu, out: &Arg, column: usize, batch: &[(u64, usize)], rows: usize, stride: usize) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let bytes = out.dtype.size();
    let to = out.ptr as u64 + (column * bytes) as u64;
    let width = 16 / bytes;
    let wide = is_aligned(&[to])
        && (rows == 1 || stride.is_multiple_of(width))
        && batch.iter().all(|(from, len)| is_aligned(&[*from]) && len.is_multiple_of(width));
    let (name, width) = if wide { ("join_wide", width) } else { ("join_one", 1) };
    let mut pieces = Pieces { from: [0; PIECES], start: [0; PIECES + 1] };
    for (i, (from, len)) in batch.iter().enumerate() {
        pieces.from[i] = *from;
        pieces.start[i + 1] = pieces.start[i] + (len / width) as u64;
    }
    let (count, rows, stride) = (batch.len() as u32, rows as u64, stride as u64);
    let grid = blocks(rows * pieces.start[batch.len()], THREADS)?;
    let f = gpu.kernel(&SOURCE, word(out.dtype), name)?;
    gpu.launch(f, (grid, 1, 1), (THREADS as u32, 1, 1), 0, args![to, pieces, count, rows, stride])
}

/// Every program of this file and of `add`.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = ["pick_one", "pick_wide", "move_one", "move_wide", "join_one", "join_wide"].map(String::from).to_vec();
    let widths = [DType::U8, DType::F16, DType::F32, DType::F64];
    widths.into_iter().map(|d| (&SOURCE, word(d).to_string(), names.clone())).chain(add::variants()).collect()
}
