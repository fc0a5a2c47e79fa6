//! 2-d pooling and its gradients, on planes of any strides. A thread makes one result, or, where channels are neighbours (images are
//! channels-last on a GPU), 16 bytes of them; a gradient is gathered from the windows around a pixel.
use crate::gpu::{Gpu, Source, args, type_name};
use crate::reduce::blocks;
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{Op, Pool2d};

static SOURCE: Source = Source { name: "pool", text: include_str!("kernels/pool.cu") };
const THREADS: u64 = 256;

/// Runs `Op::MaxPool2d`, `MaxPool2dGrad`, `AvgPool2d` or `AvgPool2dGrad`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    pool(gpu, op, ins, outs).map_err(|e| e.in_op(op.name()))
}

fn pool(gpu: &Gpu, op: &Op, ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let (first, out) = (&ins[0], &outs[0]);
    if out.numel() == 0 {
        return Ok(());
    }
    // In the order in which kernels take them.
    let (name, pool, operands) = match op {
        Op::MaxPool2d(g) => ("max_pool", g, vec![first, out, &outs[1]]),
        Op::MaxPool2dGrad { geometry, .. } => ("max_pool_grad", geometry, vec![first, &ins[1], out]),
        Op::AvgPool2d(g) => ("mean_pool", g, vec![first, out]),
        Op::AvgPool2dGrad { geometry, .. } => ("mean_pool_grad", geometry, vec![first, out]),
        _ => return Err(Error::internal("isn't a pooling op")),
    };
    if !out.dtype.is_float() {
        return Err(Error::dtype(format!("needs floats, not {}", out.dtype.name())));
    }
    let is_grad = name.ends_with("grad");
    let (large, small) = if is_grad { (out, first) } else { (first, out) };
    let geometry = Geometry::new(pool, large, small, is_beside(out))?;
    let width = if is_wide(&operands, out.dtype) { 16 / out.dtype.size() as u64 } else { 1 };
    let plane = match name {
        "max_pool_grad" => geometry.input.map(|n| (n as u64).div_ceil(2)),
        "mean_pool_grad" => geometry.input.map(|n| n as u64),
        _ => geometry.output.map(|n| n as u64),
    };
    let threads = out.layout.shape[0] as u64 * (geometry.channels as u64 / width) * plane[0] * plane[1];
    let grid = (blocks(threads, THREADS)?, 1, 1);
    let f = gpu.kernel(&SOURCE, &defines(out.dtype), &format!("{name}_{}", if width > 1 { "wide" } else { "one" }))?;
    let addresses: Vec<u64> = operands.iter().map(|x| x.ptr as u64).collect();
    let planes: Vec<Planes> = operands.iter().map(|x| Planes::new(x)).collect();
    let block = (THREADS as u32, 1, 1);
    if operands.len() == 3 {
        gpu.launch(f, grid, block, 0, args![addresses[0], addresses[1], addresses[2], planes[0], planes[1], planes[2], geometry, threads])
    } else {
        gpu.launch(f, grid, block, 0, args![addresses[0], addresses[1], planes[0], planes[1], geometry, threads])
    }
}

/// Strides of images, the same bits as `Planes` in `pool.cu`.
#[repr(C)]
struct Planes([u64; 4]);
impl Planes {
    fn new(x: &Arg) -> Planes {
        let s = x.layout.strides();
        Planes(std::array::from_fn(|d| s[d] as u64))
    }
}

/// The same bits as `Geometry` in `pool.cu`.
#[repr(C)]
struct Geometry {
    kernel: [i32; 2],
    stride: [i32; 2],
    padding: [i32; 2],
    dilation: [i32; 2],
    channels: i32,
    input: [i32; 2],
    output: [i32; 2],
    inner_channels: i32,
}
impl Geometry {
    /// Of a pool from images like `large` to images like `small`.
    fn new(g: &Pool2d, large: &Arg, small: &Arg, inner_channels: bool) -> Result<Geometry> {
        let (from, to) = (large.layout.shape, small.layout.shape);
        if from.rank() != 4 || to.rank() != 4 {
            return Err(Error::shape(format!("expected [n, c, h, w], got {from:?}")));
        }
        // Places within a plane are counted in 32 bits, and windows may reach as far out of it as they are large.
        let sizes = [from[1], from[2] * from[3]].into_iter().chain([g.kernel, g.stride, g.padding, g.dilation].concat());
        if sizes.max() > Some(1 << 30) || (0..2).any(|d| (g.kernel[d] - 1) * g.dilation[d] + to[2 + d] * g.stride[d] > 1 << 30) {
            return Err(Error::not_supported(format!("a plane of {:?} or its windows are too large", from)));
        }
        let ints = |v: [usize; 2]| v.map(|n| n as i32);
        Ok(Geometry {
            kernel: ints(g.kernel),
            stride: ints(g.stride),
            padding: ints(g.padding),
            dilation: ints(g.dilation),
            channels: from[1] as i32,
            input: ints([from[2], from[3]]),
            output: ints([to[2], to[3]]),
            inner_channels: inner_channels as i32,
        })
    }
}

/// Channels lie side by side.
fn is_beside(x: &Arg) -> bool {
    let (shape, strides) = (x.layout.shape, x.layout.strides());
    shape[1] > 1 && strides[1] == 1
}

/// Vectors of channels can be loaded and stored in all operands; `dtype` is that of the values.
fn is_wide(operands: &[&Arg], dtype: DType) -> bool {
    let width = 16 / dtype.size();
    operands.iter().all(|x| {
        let (shape, strides) = (x.layout.shape, x.layout.strides());
        (x.ptr as usize).is_multiple_of(16)
            && is_beside(x)
            && shape[1].is_multiple_of(width)
            && [0, 2, 3].into_iter().all(|d| shape[d] == 1 || strides[d].is_multiple_of(width))
    })
}

fn defines(dtype: DType) -> String {
    format!("TYPE={}", type_name(dtype))
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let kernels = ["max_pool", "max_pool_grad", "mean_pool", "mean_pool_grad"];
    let names: Vec<String> = kernels.iter().flat_map(|k| ["one", "wide"].map(|w| format!("{k}_{w}"))).collect();
    DType::ALL.into_iter().filter(|d| d.is_float()).map(|d| (&SOURCE, defines(d), names.clone())).collect()
}
