//! Running sums: a block a line, or a thread a line where many lines lie side by side.
use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args};
use crate::reduce::{blocks, number_name};
use crate::softmax::lines;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};

static SOURCE: Source = Source { name: "scan", text: include_str!("../kernels/scan.cu") };

/// Runs `Op::Cumsum`.
pub fn cumsum(gpu: &Gpu, dim: usize, x: &Arg, out: &Arg) -> Result<()> {
    /// Lines that keep the device busy with a thread each.
    const MANY: u64 = 4096;
    /// Elements of a line that one thread adds at least as fast as a block.
    const SHORT: u64 = 32;
    /// Elements of a thread, as `ITEMS` in the source.
    const ITEMS: u64 = 4;
    if x.dtype == DType::Bool {
        return Err(Error::dtype("needs numbers, not bool"));
    }
    if x.numel() == 0 {
        return Ok(());
    }
    let ((length, x_step, x_lines), (_, y_step, y_lines)) = (lines(&x.layout, dim), lines(&out.layout, dim));
    let space = Space::new(&x_lines.shape, [&x_lines, &y_lines]);
    let (from, to) = (x.ptr as u64, out.ptr as u64);
    let beside = length <= SHORT || (x_step != 1 && space.numel >= MANY);
    let (name, grid, threads) = if beside {
        ("scan_columns", blocks(space.numel, 256)?, 256)
    } else {
        ("scan_lines", blocks(space.numel, 1)?, length.div_ceil(ITEMS).next_power_of_two().clamp(32, 1024) as u32)
    };
    let f = gpu.kernel(&SOURCE, &defines(x.dtype), name)?;
    gpu.launch(f, (grid, 1, 1), (threads, 1, 1), 0, args![from, to, space, length, x_step, y_step])
}

fn defines(dtype: DType) -> String {
    format!("TYPE={}", number_name(dtype))
}

/// Every program of this file.
pub fn variants() -> impl Iterator<Item = (&'static Source, String, Vec<String>)> {
    let dtypes = DType::ALL.into_iter().filter(|d| *d != DType::Bool);
    dtypes.map(|d| (&SOURCE, defines(d), ["scan_lines", "scan_columns"].map(String::from).to_vec()))
}
