//! Safetensors files. They are read, never mapped: another program that cuts a mapped file ends the process that reads it.
use crate::device::Device;
use crate::dtype::DType;
use crate::engine::{Engine, Handle};
use crate::error::{Code, Error, Result};
use crate::reserve;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// A header begins with its length.
const LENGTH: u64 = 8;
/// The format's limit.
const LONGEST_HEADER: u64 = 100_000_000;
/// A temporary file that nobody has written for so long was left by a process that ended.
const LEFT: Duration = Duration::from_secs(15 * 60);

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

/// The header of a file of `size` bytes, and where the tensors' bytes begin.
fn header(path: &str, file: &File, size: u64) -> Result<(Metadata, u64)> {
    let not = |why: &dyn std::fmt::Display| bad(path, format!("not a safetensors file ({why})"));
    let mut length = [0; LENGTH as usize];
    file.read_exact_at(&mut length, 0).map_err(|e| not(&e))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length > size - LENGTH {
        return Err(not(&format!("a header of {length} bytes")));
    }
    let mut text = reserve::vec(length as usize)?;
    text.resize(length as usize, 0);
    file.read_exact_at(&mut text, LENGTH).map_err(|e| not(&e))?;
    let header: Metadata = serde_json::from_slice(&text).map_err(|e| not(&e))?;
    let (data, there) = (header.data_len() as u64, size - LENGTH - length);
    if data != there {
        return Err(bad(path, format!("not a complete safetensors file ({there} bytes of tensors, the header names {data})")));
    }
    Ok((header, LENGTH + length))
}

/// A temporary name beside `path`, and the leftovers of earlier ones gone.
fn temporary(path: &Path) -> io::Result<std::path::PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let beside = |id: u64| format!("{}.{id:016x}.tmp", name.to_string_lossy());
    let ours = |file: &str| {
        let id = file.strip_prefix(&*name.to_string_lossy()).and_then(|f| f.strip_prefix('.')).and_then(|f| f.strip_suffix(".tmp"));
        id.is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    for entry in std::fs::read_dir(folder(path))?.flatten().filter(|e| e.file_name().to_str().is_some_and(ours)) {
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|a| a > LEFT) {
            // somebody else may have done it
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(path.with_file_name(beside(RandomState::new().hash_one(()))))
}
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Engine {
    pub fn load_safetensors(&mut self, path: &str) -> Result<Loaded> {
        let file = File::open(path).map_err(|e| bad(path, e))?;
        let state = |file: &File| file.metadata().and_then(|m| Ok((m.is_file(), m.len(), m.modified()?))).map_err(|e| bad(path, e));
        let before = state(&file)?;
        if !before.0 {
            return Err(bad(path, "not a file"));
        }
        let (header, start) = header(path, &file, before.1.max(LENGTH))?;
        let mut read = vec![];
        for name in header.offset_keys() {
            let info = header.info(&name).ok_or_else(|| Error::internal("a tensor without a header"))?;
            let dtype = DType::ALL.into_iter().find(|d| to_file(*d) == info.dtype);
            let dtype = dtype.ok_or_else(|| Error::new(Code::NotSupported, format!("{path}: {name} has dtype {:?}", info.dtype)))?;
            let t = Tensor::empty(Layout::contiguous(Shape::checked(&info.shape)?), dtype, Device::Cpu)?;
            // SAFETY: fresh memory of that size, which nothing else uses.
            let bytes = unsafe { std::slice::from_raw_parts_mut(t.ptr(), t.meta().bytes()) };
            let at = start + info.data_offsets.0 as u64;
            file.read_exact_at(bytes, at).map_err(|e| bad(path, format!("not a complete safetensors file ({e})")))?;
            if dtype == DType::Bool {
                bytes.iter_mut().for_each(|b| *b = (*b != 0) as u8);
            }
            read.push((name, t));
        }
        if state(&file)? != before {
            return Err(bad(path, "another program wrote the file while it was read"));
        }
        let tensors = read.into_iter().map(|(name, t)| Ok((name, self.put_external(t)?))).collect::<Result<_>>()?;
        Ok((tensors, header.metadata().clone().unwrap_or_default().into_iter().collect()))
    }

    /// Writes a temporary file beside `path` and renames it, so that a crash leaves the old file or the new one.
    pub fn save_safetensors(&mut self, path: &str, tensors: &[(String, Handle)], metadata: &BTreeMap<String, String>) -> Result<()> {
        let mut list = tensors.iter().map(|(name, h)| Ok((name, *h, self.meta(*h)?))).collect::<Result<Vec<_>>>()?;
        // the format's order, which aligns elements
        list.sort_by(|a, b| to_file(b.2.dtype).cmp(&to_file(a.2.dtype)).then(a.0.cmp(b.0)));
        let mut end = 0;
        let infos = list.iter().map(|(name, _, meta)| {
            let start = end;
            end += meta.bytes();
            ((*name).clone(), TensorInfo { dtype: to_file(meta.dtype), shape: meta.shape.to_vec(), data_offsets: (start, end) })
        });
        let header = Metadata::new(Some(metadata.clone().into_iter().collect::<HashMap<_, _>>()), infos.collect()).map_err(|e| bad(path, e))?;
        let mut header = serde_json::to_vec(&header).map_err(|e| bad(path, e))?;
        header.resize(header.len().next_multiple_of(LENGTH as usize), b' ');
        if header.len() as u64 > LONGEST_HEADER {
            return Err(bad(path, "the header is too long for a safetensors file"));
        }

        let failed = |e: io::Error| bad(path, e);
        let to = Path::new(path);
        let temporary = temporary(to).map_err(failed)?;
        // a new file: a link that lies there isn't followed
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
        let mut write = || -> Result<()> {
            file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|_| file.write_all(&header)).map_err(failed)?;
            for (_, h, _) in &list {
                file.write_all(&self.read(*h)?.1).map_err(failed)?;
            }
            file.sync_all().and_then(|_| std::fs::rename(&temporary, to)).map_err(failed)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })?;
        // the name is as lasting as the contents
        File::open(folder(to)).and_then(|f| f.sync_all()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Op, Sc};

    fn scratch(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("wick-io-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        folder
    }
    fn filled(e: &mut Engine, value: f64, n: usize) -> Handle {
        let op = Op::Fill { shape: Shape::new(&[n]), dtype: DType::F32, device: Device::Cpu, value: Sc::new(value) };
        e.call(op, &[]).unwrap()[0]
    }

    #[test]
    fn a_file_that_is_rewritten_meanwhile_is_an_error_or_whole() {
        let folder = scratch("rewritten");
        let path = folder.join("w.safetensors").to_str().unwrap().to_string();
        let mut e = Engine::new();
        let x = filled(&mut e, 1.0, 1 << 20);
        e.save_safetensors(&path, &[("x".into(), x)], &Default::default()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // cut first, then written in place
                    std::fs::write(&path, &bytes).unwrap();
                }
            });
            for _ in 0..200 {
                match e.load_safetensors(&path) {
                    Ok((tensors, _)) => {
                        let (_, read) = e.read(tensors[0].1).unwrap();
                        assert!(read == bytes[bytes.len() - read.len()..]);
                        e.dispose(tensors[0].1).unwrap();
                    }
                    Err(e) => assert_eq!(e.code, Code::BadFile, "{e}"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn leftovers_go_and_links_are_not_followed() {
        let folder = scratch("leftovers");
        let path = folder.join("w.safetensors");
        let other = folder.join("other");
        std::fs::write(&other, "precious").unwrap();
        let old = folder.join("w.safetensors.0123456789abcdef.tmp");
        std::fs::write(&old, "half").unwrap();
        File::options().write(true).open(&old).unwrap().set_modified(std::time::SystemTime::now() - 2 * LEFT).unwrap();
        let recent = folder.join("w.safetensors.fedcba9876543210.tmp");
        std::os::unix::fs::symlink(&other, &recent).unwrap();
        let mut e = Engine::new();
        let x = filled(&mut e, 1.0, 10);
        for _ in 0..3 {
            e.save_safetensors(path.to_str().unwrap(), &[("x".into(), x)], &Default::default()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["other", "w.safetensors", "w.safetensors.fedcba9876543210.tmp"]);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bool_bytes_are_0_or_1() {
        let folder = scratch("bools");
        let path = folder.join("b.safetensors");
        let header = br#"{"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0, 255, 2]].concat();
        std::fs::write(&path, bytes).unwrap();
        let mut e = Engine::new();
        let (tensors, _) = e.load_safetensors(path.to_str().unwrap()).unwrap();
        assert_eq!(e.read(tensors[0].1).unwrap().1, [0, 1, 1]);
        let b = e.from_host(&[7, 0], Shape::new(&[2]), DType::Bool, Device::Cpu).unwrap();
        assert_eq!(e.read(b).unwrap().1, [1, 0]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
