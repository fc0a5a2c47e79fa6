//! Our own product kernel: any strides and element types, quick where the result is small.
use super::{Mat, Product};
use crate::gpu::{Gpu, Source, args};
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};

static SOURCE: Source = Source { name: "linalg", text: include_str!("../kernels/linalg.cu") };

/// Sides of the tiles that the kernel is compiled for.
pub const TILES: [u32; 3] = [8, 16, 32];
/// Batch dimensions that the kernel takes.
pub const MANY_DIMS: usize = 2;

/// The same bits as `Operand` in `linalg.cu`.
#[repr(C)]
struct Operand {
    data: u64,
    side: u64,
    k: u64,
    outer: u64,
    inner: u64,
}
impl Operand {
    fn new(x: &Mat, side: usize, k: usize) -> Operand {
        Operand { data: x.ptr, side: side as u64, k: k as u64, outer: x.batch[0] as u64, inner: x.batch[1] as u64 }
    }
}

/// The same bits as `Problem` in `linalg.cu`.
#[repr(C)]
struct Problem {
    m: u64,
    n: u64,
    k: u64,
    batches: u64,
    inner: u64,
    ldo: u64,
    out_outer: u64,
    out_inner: u64,
    bias: u64,
    bias_stride: u64,
    mask: u64,
    relu: i32,
    accumulate: i32,
}

/// Names without a space: they stand in compiler options.
fn defines(dtype: DType, tile: u32) -> Result<String> {
    let name = match dtype {
        DType::Bool => return Err(Error::dtype("has no product of bool matrices")),
        DType::U8 => "u8",
        DType::I64 => "i64",
        d => crate::gpu::type_name(d),
    };
    Ok(format!("ELEMENT={name} TILE={tile}"))
}

/// The tile for a product that isn't measured: small ones, until there are enough to keep the device busy.
pub fn tile(p: &Product) -> u32 {
    let results = p.work() / p.k.max(1);
    match results {
        0..=0x4000 => 8,
        0x4001..=0x20000 => 16,
        _ => 32,
    }
}

/// Tiles that may win against the library.
pub fn candidates(p: &Product) -> Vec<u32> {
    let results = p.work() / p.k.max(1);
    let fits = |tile: &u32| results <= 256 * (tile * tile) as usize * if *tile == 32 { 4 } else { 1 };
    if p.work() <= 1 << 26 { TILES.into_iter().filter(fits).collect() } else { vec![] }
}

/// Computes `p` with tiles of side `tile`.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run(gpu: &Gpu, p: &Product, tile: u32) -> Result<()> {
    let f = gpu.kernel(&SOURCE, &defines(p.dtype, tile)?, "product")?;
    let (a, b) = (Operand::new(&p.a, p.a.row, p.a.col), Operand::new(&p.b, p.b.col, p.b.row));
    let batches = p.batches[0] * p.batches[1];
    let (bias, bias_stride) = p.bias.map_or((0, 0), |(at, stride)| (at, stride as u64));
    let problem = Problem {
        m: p.m as u64,
        n: p.n as u64,
        k: p.k as u64,
        batches: batches as u64,
        inner: p.batches[1] as u64,
        ldo: p.ldo as u64,
        out_outer: p.out_batch[0] as u64,
        out_inner: p.out_batch[1] as u64,
        bias,
        bias_stride,
        mask: p.mask.unwrap_or(0),
        relu: p.relu as i32,
        accumulate: p.accumulate as i32,
    };
    let tiles = p.m.div_ceil(tile as usize).saturating_mul(p.n.div_ceil(tile as usize));
    let tiles = i32::try_from(tiles).map_err(|_| Error::not_supported("a product of that many elements"))? as u32;
    gpu.launch(f, (tiles, batches.min(0xffff) as u32, 1), (256, 1, 1), 0, args![a, b, p.out, problem])
}

/// `out = relu(out)`.
pub fn relu(gpu: &Gpu, p: &Product) -> Result<()> {
    if p.batches != [1, 1] || p.ldo != p.n {
        return Err(Error::internal("a relu on a result with gaps"));
    }
    let f = gpu.kernel(&SOURCE, &defines(p.dtype, TILES[0])?, "relu_in_place")?;
    let count = (p.m * p.n) as u64;
    gpu.launch(f, (count.div_ceil(256).min(16 * gpu.sms() as u64) as u32, 1, 1), (256, 1, 1), 0, args![p.out, count])
}

/// `out` where the mask lets it through, else 0.
pub fn mask(gpu: &Gpu, p: &Product) -> Result<()> {
    if p.batches != [1, 1] || p.ldo != p.n {
        return Err(Error::internal("a mask on a result with gaps"));
    }
    let f = gpu.kernel(&SOURCE, &defines(p.dtype, TILES[0])?, "mask_in_place")?;
    let (y, count) = (p.mask.unwrap_or(0), (p.m * p.n) as u64);
    gpu.launch(f, (count.div_ceil(256).min(16 * gpu.sms() as u64) as u32, 1, 1), (256, 1, 1), 0, args![p.out, y, count])
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let all = DType::ALL.into_iter().flat_map(|d| TILES.into_iter().filter_map(move |t| defines(d, t).ok()));
    all.map(|d| (&SOURCE, d, ["product", "relu_in_place", "mask_in_place"].map(String::from).to_vec())).collect()
}
