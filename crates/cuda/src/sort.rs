//! Stable sorting along the last dimension, and running sums (`scan`). Rows that fit are sorted in shared memory, several a block if they
//! are short; of longer ones tiles are sorted and then merged, two by two.
mod scan;

use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args};
use crate::reduce::{blocks, number_name};
use crate::softmax::lines;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::Op;

static SOURCE: Source = Source { name: "sort", text: include_str!("kernels/sort.cu") };
/// Bytes of shared memory that a tile takes, as in the source.
const SHARED: u64 = 32768;
const THREADS: u32 = 512;
/// Working memory up to which rows are sorted together.
const WORK: u64 = 256 << 20;

/// Runs `Op::Sort` or `Op::Cumsum`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::Cumsum { dim } => scan::cumsum(gpu, dim, &ins[0], &outs[0]),
        Op::Sort { descending } => sort(gpu, descending, &ins[0], &outs[0], &outs[1]),
        _ => Err(Error::internal("is neither a sort nor a running sum")),
    }
    .map_err(|e| e.in_op(op.name()))
}

fn sort(gpu: &Gpu, descending: bool, x: &Arg, values: &Arg, indices: &Arg) -> Result<()> {
    if x.numel() == 0 {
        return Ok(());
    }
    let last = x.layout.rank().saturating_sub(1);
    let (length, x_step, x_rows) = lines(&x.layout, last);
    let ((_, value_step, value_rows), (_, index_step, index_rows)) = (lines(&values.layout, last), lines(&indices.layout, last));
    let at = Space::new(&x_rows.shape, [&x_rows, &value_rows, &index_rows]);
    let rows = Rows { at, length, x_step, value_step, index_step };
    let addresses = [x.ptr as u64, values.ptr as u64, indices.ptr as u64];
    let work = match work_bytes(x.dtype, &rows) {
        0 => 0,
        bytes => gpu.scratch(bytes as usize)?,
    };
    sort_rows(gpu, x.dtype, descending, addresses, rows, work)
}

/// The same bits as `Rows` in `sort.cu`: where rows begin in the input, the values and the places, their elements, and the distance of
/// neighbours in each.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    at: Space<3>,
    length: u64,
    x_step: u64,
    value_step: u64,
    index_step: u64,
}
impl Rows {
    /// One row of `length` neighbours.
    pub fn single(length: u64) -> Rows {
        let at = Space { rank: 0, numel: 1, sizes: [0; 8], strides: [[0; 8]; 3] };
        Rows { at, length, x_step: 1, value_step: 1, index_step: 1 }
    }
}

/// Bytes of a key with its place, and pairs of a tile.
fn pair(dtype: DType) -> (u64, u64) {
    let bytes = if dtype.size() == 8 { 16 } else { 8 };
    (bytes, SHARED / bytes)
}

/// Rows that are sorted at a time, if they are longer than a tile.
fn batch(dtype: DType, rows: &Rows) -> u64 {
    (WORK / (2 * pair(dtype).0 * rows.length)).clamp(1, rows.at.numel)
}

/// Working memory that [`sort_rows`] needs.
pub(crate) fn work_bytes(dtype: DType, rows: &Rows) -> u64 {
    let (bytes, tile) = pair(dtype);
    if rows.length <= tile { 0 } else { 2 * bytes * rows.length * batch(dtype, rows) }
}

/// Sorts `rows` of the first of `addresses` into the second, the places of the elements into the third. `work`: the address of
/// [`work_bytes`] bytes, a multiple of 16.
pub(crate) fn sort_rows(gpu: &Gpu, dtype: DType, descending: bool, addresses: [u64; 3], rows: Rows, work: u64) -> Result<()> {
    let [x, values, indices] = addresses;
    let (bytes, tile) = pair(dtype);
    let kernel = |name| gpu.kernel(&SOURCE, &defines(dtype), name);
    if rows.length <= tile {
        let size = rows.length.next_power_of_two() as u32;
        let group = (1024 / size).clamp(1, rows.at.numel.min(1024).next_power_of_two() as u32);
        let grid = (blocks(rows.at.numel, group as u64)?, 1, 1);
        let threads = (size * group / 2).clamp(32, THREADS);
        let shared = size * group * bytes as u32;
        return gpu.launch(kernel("sort_rows")?, grid, (threads, 1, 1), shared, args![x, values, indices, rows, size, group, descending]);
    }
    if bytes == 8 && rows.length > u32::MAX as u64 {
        return Err(Error::not_supported(format!("rows of {} elements are longer than {}", rows.length, u32::MAX)));
    }
    let (tiles, batch) = (blocks(rows.length, tile)?, batch(dtype, &rows));
    for first in (0..rows.at.numel).step_by(batch as usize) {
        let count = batch.min(rows.at.numel - first);
        let (grid, block) = ((blocks(count * tiles as u64, 1)?, 1, 1), (THREADS, 1, 1));
        let (mut from, mut to) = (work, work + bytes * rows.length * batch);
        gpu.launch(kernel("sort_tiles")?, grid, block, 0, args![x, from, rows, first, tiles, descending])?;
        let mut run = tile;
        while run < rows.length {
            let last = 2 * run >= rows.length;
            gpu.launch(kernel("merge")?, grid, block, 0, args![from, to, x, values, indices, rows, first, tiles, run, last])?;
            (from, to, run) = (to, from, 2 * run);
        }
    }
    Ok(())
}

fn defines(dtype: DType) -> String {
    format!("TYPE={}", number_name(dtype))
}

/// Every program of this file and of `scan`.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let dtypes = DType::ALL.into_iter().filter(|d| *d != DType::Bool);
    let names = ["sort_rows", "sort_tiles", "merge"].map(String::from).to_vec();
    dtypes.map(|d| (&SOURCE, defines(d), names.clone())).chain(scan::variants()).collect()
}
