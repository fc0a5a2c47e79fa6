//! Kernels from source to machine code: NVRTC, and a cache of its results on disk.
use crate::libs;
use cudarc::nvrtc::sys::{self, nvrtcResult};
use sha2::{Digest, Sha256};
use std::ffi::{CStr, CString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use wick_core::error::{Code, Error, Result};

/// A file of kernels. `common.cuh` is put before it.
pub struct Source {
    pub name: &'static str,
    pub text: &'static str,
}
const COMMON: &str = include_str!("kernels/common.cuh");

/// A program as NVRTC gets it; errors name the lines of the file.
pub fn program(source: &Source) -> String {
    format!("{COMMON}\n#line 1 \"{}.cu\"\n{}", source.name, source.text)
}

/// NVRTC's options: the architecture, and `defines`, separated by spaces (`T=float WIDE`, or options as they are: `--fmad=false`).
pub fn options(arch: (u32, u32), defines: &str) -> Vec<String> {
    let given = defines.split_whitespace().map(|d| if d.starts_with('-') { d.to_string() } else { format!("-D{d}") });
    [format!("--gpu-architecture=sm_{}{}", arch.0, arch.1), "--std=c++17".to_string()].into_iter().chain(given).collect()
}

/// Compiles to a cubin, which every driver that knows the architecture loads as it is.
pub fn compile(program: &str, options: &[String]) -> Result<Vec<u8>> {
    libs::require("nvrtc")?;
    let text = |s: &str| CString::new(s).map_err(|_| Error::internal("a kernel's source holds a zero byte"));
    let program = text(program)?;
    let options = options.iter().map(|o| text(o)).collect::<Result<Vec<_>>>()?;
    let raw: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();
    unsafe {
        let mut handle = Handle(null_mut());
        check(sys::nvrtcCreateProgram(&mut handle.0, program.as_ptr(), c"wick.cu".as_ptr(), 0, std::ptr::null(), std::ptr::null()))?;
        let result = sys::nvrtcCompileProgram(handle.0, raw.len() as i32, raw.as_ptr());
        if result != nvrtcResult::NVRTC_SUCCESS {
            return Err(Error::new(Code::Cuda, format!("a kernel doesn't compile ({}): {}", name(result), handle.log())));
        }
        let mut size = 0;
        check(sys::nvrtcGetCUBINSize(handle.0, &mut size))?;
        let mut image = vec![0u8; size];
        check(sys::nvrtcGetCUBIN(handle.0, image.as_mut_ptr().cast()))?;
        Ok(image)
    }
}

struct Handle(sys::nvrtcProgram);
impl Handle {
    unsafe fn log(&self) -> String {
        unsafe {
            let mut size = 0;
            if sys::nvrtcGetProgramLogSize(self.0, &mut size) != nvrtcResult::NVRTC_SUCCESS || size == 0 {
                return "NVRTC says nothing".into();
            }
            let mut log = vec![0u8; size];
            let _ = sys::nvrtcGetProgramLog(self.0, log.as_mut_ptr().cast());
            String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_string()
        }
    }
}
impl Drop for Handle {
    fn drop(&mut self) {
        let _ = unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
    }
}

fn name(result: nvrtcResult) -> String {
    unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(result)) }.to_string_lossy().into_owned()
}
fn check(result: nvrtcResult) -> Result<()> {
    if result == nvrtcResult::NVRTC_SUCCESS { Ok(()) } else { Err(Error::new(Code::Cuda, format!("NVRTC failed: {}", name(result)))) }
}

/// Compiled programs on disk. A folder that can't be written is no error: then every process compiles for itself.
pub struct Cache {
    dir: PathBuf,
    /// NVRTC's version: part of every key.
    version: String,
}

/// What an entry begins with; then the code's length and its SHA-256, then the code.
const MAGIC: &[u8; 8] = b"wickcub1";
const HEADER: usize = 8 + 8 + 32;

impl Cache {
    pub fn new(dir: PathBuf, version: String) -> Cache {
        Cache { dir, version }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The cubin of a program: from disk, or from `compile` and then kept.
    pub fn cubin(&self, program: &str, options: &[String], compile: impl FnOnce(&str, &[String]) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let path = self.path(program, options);
        let kernels = self.dir.join("kernels");
        if !(is_ours(&self.dir) && is_ours(&kernels)) {
            return compile(program, options);
        }
        if let Some(image) = fs::read(&path).ok().and_then(|entry| open(&entry)) {
            return Ok(image);
        }
        let image = compile(program, options)?;
        // Failing to keep it costs time and nothing else.
        let _ = store(&path, &seal(&image));
        Ok(image)
    }

    fn path(&self, program: &str, options: &[String]) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [self.version.as_str(), program].into_iter().chain(options.iter().map(String::as_str)) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        self.dir.join("kernels").join(format!("{}.cubin", hex(&hash.finalize()[..16])))
    }
}

/// Bytes as names of files and lines of text hold them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn seal(image: &[u8]) -> Vec<u8> {
    let length = (image.len() as u64).to_le_bytes();
    [MAGIC, length.as_slice(), Sha256::digest(image).as_slice(), image].concat()
}

/// The code of an entry, if it is whole.
fn open(entry: &[u8]) -> Option<Vec<u8>> {
    let (header, image) = entry.split_at_checked(HEADER)?;
    let whole = header[..8] == *MAGIC && header[8..16] == (image.len() as u64).to_le_bytes() && header[16..] == *Sha256::digest(image);
    whole.then(|| image.to_vec())
}

/// Whether a folder holds nothing that somebody else may have put there, or isn't there yet: machine code comes from it.
fn is_ours(dir: &Path) -> bool {
    // SAFETY: it only gives a number.
    let user = unsafe { libc::geteuid() };
    fs::metadata(dir).map_or(true, |m| [user, 0].contains(&m.uid()) && m.mode() & 0o002 == 0)
}

/// Written beside and renamed: another process sees all of it or nothing.
pub fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let dir = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let file = path.file_name().and_then(|n| n.to_str()).ok_or(std::io::ErrorKind::InvalidInput)?;
    let temporary = dir.join(format!(".{file}.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let written = fs::File::create(&temporary).and_then(|mut f| f.write_all(bytes)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// `WICK_CACHE_DIR`, or wick's folder in `XDG_CACHE_HOME` or `~/.cache`; the system's temporary folder if there is no home.
pub fn cache_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("WICK_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("wick")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/wick")))
        .unwrap_or_else(|| std::env::temp_dir().join("wick"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Temporary(PathBuf);
    impl Temporary {
        fn new(name: &str) -> Temporary {
            let dir = std::env::temp_dir().join(format!("wick-cache-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Temporary(dir)
        }
        fn cache(&self, version: &str) -> Cache {
            Cache::new(self.0.clone(), version.into())
        }
        fn entries(&self) -> Vec<PathBuf> {
            let mut found: Vec<_> = fs::read_dir(self.0.join("kernels")).unwrap().map(|e| e.unwrap().path()).collect();
            found.sort();
            found
        }
    }
    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The code that stands for `program`, and whether it was compiled.
    fn get(cache: &Cache, program: &str, options: &[String]) -> (Vec<u8>, bool) {
        let compiled = Cell::new(false);
        let image = cache.cubin(program, options, |p, o| {
            compiled.set(true);
            Ok(format!("{p}{o:?}").into_bytes())
        });
        (image.unwrap(), compiled.get())
    }

    #[test]
    fn hits_and_keys() {
        let dir = Temporary::new("keys");
        let cache = dir.cache("13.0");
        let o = options((9, 0), "T=float --fmad=false");
        assert_eq!(o, ["--gpu-architecture=sm_90", "--std=c++17", "-DT=float", "--fmad=false"]);
        let (image, compiled) = get(&cache, "a", &o);
        assert!(compiled);
        assert_eq!(get(&cache, "a", &o), (image, false));
        assert!(get(&cache, "b", &o).1 && get(&cache, "a", &options((8, 0), "T=float --fmad=false")).1);
        assert!(get(&dir.cache("13.1"), "a", &o).1);
        assert_eq!(dir.entries().len(), 4);
        // Parts don't run into each other.
        assert_ne!(cache.path("ab", &["c".into()]), cache.path("a", &["bc".into()]));
    }

    #[test]
    fn broken_entries_are_rebuilt() {
        let dir = Temporary::new("broken");
        let cache = dir.cache("13.0");
        let (image, _) = get(&cache, "a", &[]);
        let path = dir.entries().remove(0);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for broken in [&whole[..whole.len() - 1], &whole[..10], &[], &flipped, &[&whole[..], b"x"].concat()] {
            fs::write(&path, broken).unwrap();
            assert_eq!(get(&cache, "a", &[]), (image.clone(), true));
            assert_eq!(get(&cache, "a", &[]), (image.clone(), false));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written() {
        let dir = Temporary::new("unwritable");
        fs::create_dir_all(&dir.0).unwrap();
        let file = dir.0.join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(file, "13.0".into());
        assert!(get(&cache, "a", &[]).1 && get(&cache, "a", &[]).1);
    }

    #[test]
    fn a_folder_that_others_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Temporary::new("others");
        let cache = dir.cache("13.0");
        assert!(get(&cache, "a", &[]).1 && !get(&cache, "a", &[]).1);
        for folder in [dir.0.join("kernels"), dir.0.clone()] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(get(&cache, "a", &[]).1 && get(&cache, "b", &[]).1);
            assert_eq!(dir.entries().len(), 1);
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(!get(&cache, "a", &[]).1);
    }

    #[test]
    fn many_writers() {
        let dir = Temporary::new("writers");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|i| assert_eq!(get(&dir.cache("13.0"), &i.to_string(), &[]).0, format!("{i}[]").into_bytes())));
            }
        });
        assert_eq!(dir.entries().len(), 20);
    }

    #[test]
    fn errors_are_not_kept() {
        let dir = Temporary::new("errors");
        let cache = dir.cache("13.0");
        assert!(cache.cubin("a", &[], |_, _| Err(Error::internal("no"))).is_err());
        assert!(get(&cache, "a", &[]).1);
    }
}
