//! Data in and out: host arrays, reads, gathers, safetensors files.
use crate::{args, with};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use std::collections::{BTreeMap, HashMap};
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result as CoreResult};

#[napi(catch_unwind)]
pub fn dtype_names() -> Vec<&'static str> {
    DType::ALL.iter().map(|d| d.name()).collect()
}
#[napi(catch_unwind)]
pub fn shape_of(a: f64) -> Result<Vec<f64>> {
    with(|e| Ok(e.meta(a)?.shape.iter().map(|n| *n as f64).collect()))
}
#[napi(catch_unwind)]
pub fn rank_of(a: f64) -> Result<u32> {
    with(|e| Ok(e.meta(a)?.shape.rank() as u32))
}
#[napi(catch_unwind)]
pub fn dtype_of(a: f64) -> Result<u32> {
    with(|e| Ok(e.meta(a)?.dtype as u32))
}
/// 0 is the CPU, n + 1 is `cuda:n`.
#[napi(catch_unwind)]
pub fn device_of(a: f64) -> Result<u32> {
    with(|e| Ok(e.device(a)?.code()))
}
/// Copies the bytes.
#[napi(catch_unwind)]
pub fn from_host(data: &[u8], shape: Vec<args::Whole>, dtype: u32, device: u32) -> Result<f64> {
    with(|e| e.from_host(data, args::shape(&shape)?, args::dtype(dtype)?, Device::from_code(device)?))
}
/// Copies the elements, row-major, into `target`, which must have their size in bytes.
#[napi(catch_unwind)]
pub fn read_into(a: f64, mut target: Uint8ArraySlice<'_>) -> Result<()> {
    // SAFETY: the array is JavaScript's, which doesn't run until this call returns.
    let target = unsafe { target.as_mut() };
    with(|e| {
        let (_, bytes) = e.read(a)?;
        if bytes.len() != target.len() {
            return Err(Error::internal(format!("{} bytes can't be read into {}", bytes.len(), target.len())));
        }
        target.copy_from_slice(&bytes);
        Ok(())
    })
}
/// The only element of a tensor, as a number.
#[napi(catch_unwind)]
pub fn item(a: f64) -> Result<f64> {
    with(|e| {
        let shape = e.meta(a)?.shape;
        if shape.numel() != 1 {
            return Err(Error::shape(format!("needs a tensor of one element; this one has shape {shape:?}")).in_op("item"));
        }
        let (meta, bytes) = e.read(a)?;
        number(meta.dtype, &bytes)
    })
}
fn number(dtype: DType, bytes: &[u8]) -> CoreResult<f64> {
    fn take<const N: usize>(bytes: &[u8]) -> CoreResult<[u8; N]> {
        bytes.first_chunk().copied().ok_or_else(|| Error::internal("a read gave too few bytes").in_op("item"))
    }
    Ok(match dtype {
        DType::Bool | DType::U8 => take::<1>(bytes)?[0] as f64,
        DType::I32 => i32::from_ne_bytes(take(bytes)?) as f64,
        DType::I64 => i64::from_ne_bytes(take(bytes)?) as f64,
        DType::F16 => half::f16::from_ne_bytes(take(bytes)?).to_f64(),
        DType::BF16 => half::bf16::from_ne_bytes(take(bytes)?).to_f64(),
        DType::F32 => f32::from_ne_bytes(take(bytes)?) as f64,
        DType::F64 => f64::from_ne_bytes(take(bytes)?),
    })
}
/// The chosen rows of each source along its first dimension, as fresh tensors without a tape: on `device`, or where each source
/// is if that is -1.
#[napi(catch_unwind)]
pub fn gather_rows(sources: Vec<f64>, indices: &[u32], device: i32) -> Result<Vec<f64>> {
    with(|e| {
        let device = u32::try_from(device).ok().map(Device::from_code).transpose()?;
        e.gather_rows(&sources, indices, device)
    })
}
/// Asks for the batches of `size` rows each that `indices` names, to be gathered by a thread: the number of the first, or 0 if they
/// can't be had ahead.
#[napi(catch_unwind)]
pub fn prefetch_rows(sources: Vec<f64>, indices: &[u32], size: args::Size) -> Result<u32> {
    with(|e| e.prefetch_rows(&sources, indices, size.0))
}
/// The tensors of a batch that was asked for, each once.
#[napi(catch_unwind)]
pub fn take_rows(number: u32) -> Result<Vec<f64>> {
    with(|e| e.take_rows(number))
}
/// Gives up batches that were asked for and not taken.
#[napi(catch_unwind)]
pub fn drop_rows(numbers: &[u32]) -> Result<()> {
    with(|e| {
        e.drop_rows(numbers);
        Ok(())
    })
}
/// Changes whenever the tensor's memory is written.
#[napi(catch_unwind)]
pub fn version_of(a: f64) -> Result<f64> {
    with(|e| Ok(e.version(a)? as f64))
}

/// The tensors of a file, in its order.
#[napi(object)]
pub struct SafetensorsFile {
    pub names: Vec<String>,
    pub handles: Vec<f64>,
    pub metadata: HashMap<String, String>,
}
#[napi(catch_unwind)]
pub fn load_safetensors(path: String) -> Result<SafetensorsFile> {
    with(|e| {
        let (tensors, metadata) = e.load_safetensors(&path)?;
        let (names, handles) = tensors.into_iter().unzip();
        Ok(SafetensorsFile { names, handles, metadata: metadata.into_iter().collect() })
    })
}
#[napi(catch_unwind)]
pub fn save_safetensors(path: String, names: Vec<String>, handles: Vec<f64>, metadata: HashMap<String, String>) -> Result<()> {
    let tensors: Vec<(String, f64)> = names.into_iter().zip(handles).collect();
    let metadata: BTreeMap<String, String> = metadata.into_iter().collect();
    with(|e| e.save_safetensors(&path, &tensors, &metadata))
}
