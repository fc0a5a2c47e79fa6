//! Safetensors files.
use crate::device::Device;
use crate::dtype::DType;
use crate::engine::{Engine, Handle};
use crate::error::{Code, Error, Result};
use crate::shape::Shape;
use crate::tensor::{Meta, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};

fn bad(path: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::BadFile, format!("{path}: {why}"))
}
fn to_file(d: DType) -> Dtype {
    match d {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}

/// Tensors in the file's order, and its metadata.
pub type Loaded = (Vec<(String, Handle)>, BTreeMap<String, String>);

impl Engine {
    pub fn load_safetensors(&mut self, path: &str) -> Result<Loaded> {
        let file = std::fs::File::open(path).map_err(|e| bad(path, e))?;
        // SAFETY: the map is read here and dropped; a file that shrinks meanwhile is the caller's doing.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| bad(path, e))?;
        let (_, header) = SafeTensors::read_metadata(&map).map_err(|e| bad(path, format!("not a safetensors file ({e})")))?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let parsed = SafeTensors::deserialize(&map).map_err(|e| bad(path, format!("not a complete safetensors file ({e})")))?;
        let mut out = vec![];
        for (name, view) in parsed.iter() {
            let dtype = DType::ALL.into_iter().find(|d| to_file(*d) == view.dtype());
            let dtype = dtype.ok_or_else(|| Error::new(Code::NotSupported, format!("{path}: {name} has dtype {:?}", view.dtype())))?;
            let t = Tensor::from_bytes(view.data(), Meta::new(Shape::checked(view.shape())?, dtype), Device::Cpu)?;
            out.push((name.to_string(), self.put_external(t)?));
        }
        Ok((out, metadata))
    }

    /// Writes a temporary file beside `path` and renames it, so that a crash leaves the old file or the new one.
    pub fn save_safetensors(&mut self, path: &str, tensors: &[(String, Handle)], metadata: &BTreeMap<String, String>) -> Result<()> {
        let mut read = vec![];
        for (name, h) in tensors {
            read.push((name.clone(), self.read(*h)?));
        }
        let views = read
            .iter()
            .map(|(name, (meta, bytes))| {
                Ok((name.as_str(), TensorView::new(to_file(meta.dtype), meta.shape.to_vec(), bytes).map_err(|e| bad(path, e))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| bad(path, e))?;
        let temporary = format!("{path}.{}.tmp", std::process::id());
        let write = || -> std::io::Result<()> {
            use std::io::Write;
            let mut f = std::fs::File::create(&temporary)?;
            f.write_all(&bytes)?;
            f.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&temporary);
            bad(path, e)
        })
    }
}
