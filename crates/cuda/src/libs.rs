//! Finding the CUDA libraries at run time: nothing of CUDA is needed to build wick or to load it.
//!
//! cudarc opens `libX.so` first, then some versioned names, and panics when none opens. Opening the wanted file beforehand
//! isn't enough: an unversioned `libX.so` that a development package left in the system's folders still wins, and no name that
//! cudarc tries matches `libnccl.so.2`. So each library is opened here, by our own rules, and then a shim whose SONAME is
//! `libX.so`: the loader hands that to cudarc, and symbol look-ups go through it to the library that it needs, which is the
//! one opened here.
use crate::elf;
use libloading::os::unix::{Library as Handle, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CStr, c_int, c_void};
use std::io::Write;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wick_core::error::{Error, Result};

/// What was found of one library.
#[derive(Clone, Debug)]
pub struct Library {
    /// The name without `lib`: `cuda` (the driver), `nvrtc`, `cublasLt`, `cudnn`, `nccl`.
    pub name: &'static str,
    pub path: Option<String>,
    pub version: Option<String>,
    /// Why it can't be used, as a sentence.
    pub problem: Option<String>,
}

struct Wanted {
    name: &'static str,
    soname: &'static str,
    what: &'static str,
    /// Oldest version that serves: major, minor.
    oldest: (u32, u32),
    version: fn(&Handle) -> Option<(u32, u32, u32)>,
    /// Where to get it: a sentence without its full stop.
    source: &'static str,
    /// A library that it looks for itself, and finds once that is open.
    needs: Option<&'static str>,
}

static WANTED: [Wanted; 5] = [
    Wanted {
        name: "cuda",
        soname: "libcuda.so.1",
        what: "the NVIDIA driver",
        oldest: (13, 0),
        version: |l| {
            let v = number::<c_int>(l, c"cuDriverGetVersion")? as u32;
            Some((v / 1000, v % 1000 / 10, 0))
        },
        source: "Driver 580 or newer brings it",
        needs: None,
    },
    Wanted {
        name: "nvrtc",
        soname: "libnvrtc.so.13",
        what: "the CUDA compiler NVRTC",
        oldest: (13, 0),
        version: |l| {
            let (mut major, mut minor): (c_int, c_int) = (0, 0);
            let f = unsafe { l.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(c"nvrtcVersion".to_bytes()) }.ok()?;
            (unsafe { f(&mut major, &mut minor) } == 0).then_some((major as u32, minor as u32, 0))
        },
        source: "The CUDA 13 toolkit has it, and so has Python's package nvidia-cuda-nvrtc",
        needs: None,
    },
    Wanted {
        name: "cublasLt",
        soname: "libcublasLt.so.13",
        what: "cuBLASLt",
        oldest: (13, 0),
        version: |l| decimal(result(l, c"cublasLtGetVersion")?),
        source: "The CUDA 13 toolkit has it, and so has Python's package nvidia-cublas",
        needs: None,
    },
    Wanted {
        name: "cudnn",
        soname: "libcudnn.so.9",
        what: "cuDNN",
        oldest: (9, 10),
        version: |l| decimal(result(l, c"cudnnGetVersion")?),
        source: "Convolutions need it; Python's package nvidia-cudnn-cu13 has it",
        needs: Some("cublasLt"),
    },
    Wanted {
        name: "nccl",
        soname: "libnccl.so.2",
        what: "NCCL",
        oldest: (2, 24),
        version: |l| decimal(number::<c_int>(l, c"ncclGetVersion")? as usize),
        source: "Training on several GPUs needs it; Python's package nvidia-nccl-cu13 has it",
        needs: None,
    },
];

/// A version that a function with one out-pointer gives.
fn number<T: Default>(library: &Handle, symbol: &CStr) -> Option<T> {
    let mut value = T::default();
    let f = unsafe { library.get::<unsafe extern "C" fn(*mut T) -> c_int>(symbol.to_bytes()) }.ok()?;
    (unsafe { f(&mut value) } == 0).then_some(value)
}
/// A version that a function returns.
fn result(library: &Handle, symbol: &CStr) -> Option<usize> {
    let f = unsafe { library.get::<unsafe extern "C" fn() -> usize>(symbol.to_bytes()) }.ok()?;
    Some(unsafe { f() })
}
/// 130002 is 13.0.2.
fn decimal(v: usize) -> Option<(u32, u32, u32)> {
    let v = v as u32;
    Some((v / 10000, v / 100 % 100, v % 100))
}

/// What there is of every library, each looked for once. Never panics.
pub fn probe() -> Vec<Library> {
    WANTED.iter().map(|w| found(w).clone()).collect()
}

/// Loads a library for cudarc's `sys` functions; the error says what is missing or too old and where to get it. To be called
/// before any of those functions, which would panic.
pub fn require(name: &'static str) -> Result<()> {
    if let Some(needed) = WANTED.iter().find(|w| w.name == name).and_then(|w| w.needs) {
        require(needed)?;
    }
    match &entry(name)?.problem {
        None => Ok(()),
        Some(problem) => Err(Error::not_supported(problem.clone())),
    }
}

/// The version of a library that has been required.
pub fn version(name: &'static str) -> Result<String> {
    entry(name)?.version.clone().ok_or_else(|| Error::internal(format!("{name} has no version")))
}

fn entry(name: &'static str) -> Result<&'static Library> {
    WANTED.iter().find(|w| w.name == name).map(found).ok_or_else(|| Error::internal(format!("no library {name}")))
}

fn found(wanted: &'static Wanted) -> &'static Library {
    static FOUND: [OnceLock<Library>; WANTED.len()] = [const { OnceLock::new() }; WANTED.len()];
    let index = WANTED.iter().position(|w| w.name == wanted.name).unwrap_or(0);
    FOUND[index].get_or_init(|| load(wanted))
}

fn load(wanted: &Wanted) -> Library {
    let mut library = Library { name: wanted.name, path: None, version: None, problem: None };
    let Wanted { soname, what, source, oldest, .. } = wanted;
    // The first that is there but doesn't serve is what the message is about.
    let mut problem = None;
    for candidate in candidates(soname) {
        let handle = match open(&candidate, RTLD_LOCAL) {
            Ok(handle) => handle,
            // A bare name that the loader doesn't find, or a file that isn't there, is the ordinary case.
            Err(e) if candidate.is_absolute() && candidate.exists() => {
                problem.get_or_insert(format!("{what} at {} can't be loaded: {e}", candidate.display()));
                continue;
            }
            Err(_) => continue,
        };
        let path = path_of(&handle, &candidate);
        let Some(v) = (wanted.version)(&handle) else {
            problem.get_or_insert(format!("{what} at {path} doesn't tell its version"));
            continue;
        };
        let version = format!("{}.{}.{}", v.0, v.1, v.2);
        if (v.0, v.1) < *oldest {
            let need = format!("{}.{}", oldest.0, oldest.1);
            problem.get_or_insert(format!("{what} at {path} is version {version}, but {need} or newer is needed. {source}"));
            continue; // closed again: a newer one may follow
        }
        return match keep(&path, handle, wanted) {
            Ok(()) => Library { path: Some(path), version: Some(version), ..library },
            Err(e) => Library { problem: Some(format!("{what} at {path} can't be used: {e}")), path: Some(path), version: Some(version), ..library },
        };
    }
    let missing = || format!("{what} ({soname}) was not found. {source}; WICK_CUDA_PATH names folders to look in");
    library.problem = Some(problem.unwrap_or_else(missing));
    library
}

/// Opens the library for good and for everybody, and gives it the name that cudarc asks for.
fn keep(path: &str, handle: Handle, wanted: &Wanted) -> std::result::Result<(), String> {
    std::mem::forget(open(Path::new(path), RTLD_GLOBAL)?);
    std::mem::forget(handle);
    let bytes = elf::shim(&format!("lib{}.so", wanted.name), wanted.soname);
    // Through a memory file: no temporary file, and a folder without execute permission doesn't matter. The descriptor stays
    // open: the loader knows libraries by path, and would take a reused /proc/self/fd/N for the first one.
    let fd = unsafe { libc::memfd_create(c"wick".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    file.write_all(&bytes).map_err(|e| e.to_string())?;
    std::mem::forget(open(Path::new(&format!("/proc/self/fd/{}", file.into_raw_fd())), RTLD_GLOBAL)?);
    Ok(())
}

fn open(path: &Path, scope: c_int) -> std::result::Result<Handle, String> {
    if path.is_absolute() {
        // NVRTC looks for its built-in functions by name only.
        for companion in companions(path) {
            let _ = unsafe { Handle::open(Some(&companion), RTLD_NOW | RTLD_GLOBAL) }.map(std::mem::forget);
        }
    }
    unsafe { Handle::open(Some(path), RTLD_NOW | scope) }.map_err(|e| e.to_string())
}

/// `libnvrtc-builtins.so.13.x` beside `libnvrtc.so.13`.
fn companions(path: &Path) -> Vec<PathBuf> {
    let is_nvrtc = path.file_name().is_some_and(|n| n == "libnvrtc.so.13");
    let dir = path.parent().filter(|_| is_nvrtc).and_then(|d| d.read_dir().ok());
    let named = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libnvrtc-builtins.so.13"));
    dir.into_iter().flatten().filter_map(|e| e.ok().map(|e| e.path())).filter(named).collect()
}

/// Where to look: `WICK_CUDA_PATH` (folders, separated by colons; a Python `site-packages` too), then the loader's own path
/// (LD_LIBRARY_PATH, ldconfig), an active Python environment, the toolkit's variables and its usual place.
fn candidates(soname: &str) -> Vec<PathBuf> {
    let given: Vec<PathBuf> = std::env::var_os("WICK_CUDA_PATH").map(|v| std::env::split_paths(&v).collect()).unwrap_or_default();
    let mut all: Vec<PathBuf> = vec![];
    for dir in given.iter().filter(|d| !d.as_os_str().is_empty()) {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        all.push(dir.join(soname));
        all.extend(python_folders(&dir).map(|d| d.join(soname)));
    }
    all.push(soname.into());
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV") {
        let pythons =
            subfolders(&Path::new(&environment).join("lib")).filter(|d| d.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")));
        all.extend(pythons.flat_map(|d| python_folders(&d.join("site-packages")).collect::<Vec<_>>()).map(|d| d.join(soname)));
    }
    all.extend(["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(|d| PathBuf::from(d).join("lib64").join(soname)));
    all.push(Path::new("/usr/local/cuda/lib64").join(soname));
    all
}

/// `nvidia/*/lib` under a `site-packages`.
fn python_folders(site: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    subfolders(&site.join("nvidia")).map(|d| d.join("lib"))
}

fn subfolders(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut found: Vec<PathBuf> = dir.read_dir().into_iter().flatten().filter_map(|e| e.ok().map(|e| e.path())).collect();
    found.sort();
    found.into_iter()
}

/// The file behind a library that was opened by its name.
fn path_of(handle: &Handle, asked: &Path) -> String {
    const SYMBOLS: [&CStr; 5] = [c"cuDriverGetVersion", c"nvrtcVersion", c"cublasLtGetVersion", c"cudnnGetVersion", c"ncclGetVersion"];
    let address = SYMBOLS.iter().find_map(|s| unsafe { handle.get::<*const c_void>(s.to_bytes()) }.ok().map(|f| f.into_raw()));
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let known = address.is_some_and(|a| unsafe { libc::dladdr(a.cast_const(), &mut info) } != 0 && !info.dli_fname.is_null());
    let path = if known { unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned() } else { asked.display().to_string() };
    if Path::new(&path).is_absolute() { path } else { asked.display().to_string() }
}
