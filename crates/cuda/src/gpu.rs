//! The device as kernels see it: streams, compiled functions, launches, scalars and working memory.
use crate::context::Context;
use crate::graph::Events;
use crate::libs;
use crate::moments::Moments;
use crate::nvrtc::{self, Cache};
use crate::staging::{Readback, Staging};
use cudarc::driver::sys::{self, CUresult};
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::rc::Rc;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::Sc;

pub use crate::nvrtc::Source;

/// A scalar as a kernel gets it (`Sc` in `common.cuh`): a value, or an address that holds it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scalar {
    pub value: f64,
    pub param: u64,
}

/// Kernel arguments by address, as `launch` wants them. Each must be a variable or a field: CUDA reads its bytes.
macro_rules! args {
    ($($a:expr),* $(,)?) => { &mut [$(&raw const $a as *mut std::ffi::c_void),*] }
}
pub(crate) use args;

/// The C++ type of a dtype in kernels.
pub const fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool",
        DType::U8 => "unsigned char",
        DType::I32 => "int",
        DType::I64 => "long long",
        DType::F16 => "half_t",
        DType::BF16 => "bf16_t",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}

/// One device, owned by one thread.
pub struct Gpu {
    // What families keep goes first, while the context is alive.
    states: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    pub(crate) staging: RefCell<Staging>,
    pub(crate) readback: RefCell<Readback>,
    pub(crate) events: Events,
    pub(crate) moments: Moments,
    functions: RefCell<HashMap<u64, Vec<Function>>>,
    modules: RefCell<HashMap<u64, Vec<Module>>>,
    /// The most dynamic shared memory that a function has been allowed.
    shared: RefCell<HashMap<sys::CUfunction, u32>>,
    scratch: [RefCell<Scratch>; 2],
    reserved: RefCell<Vec<u64>>,
    /// Memory that was released while a graph was captured.
    pub(crate) postponed: RefCell<Vec<u64>>,
    cache: Cache,
    lane: Cell<usize>,
    /// Each stream waits for an event before its next launch.
    joined: [Cell<bool>; 2],
    pub(crate) capturing: Cell<bool>,
    /// Where a plan's parameters are; 0: none.
    pub(crate) params: Cell<u64>,
    pub(crate) tf32: Cell<bool>,
    pub(crate) deterministic: Cell<bool>,
    /// Counted by every graph, which may use scratch memory.
    pub(crate) graphs: Rc<()>,
    pub(crate) context: Rc<Context>,
}

struct Function {
    source: usize,
    defines: Box<str>,
    name: Box<str>,
    raw: sys::CUfunction,
}
/// A loaded module, by its source's address and defines, or by its text.
struct Module {
    source: usize,
    key: Box<str>,
    raw: sys::CUmodule,
}
#[derive(Default)]
struct Scratch {
    ptr: u64,
    bytes: usize,
    /// Outgrown, but a graph may hold it.
    outgrown: Vec<u64>,
}
const SMALLEST_SCRATCH: usize = 1 << 20;

impl Gpu {
    /// Device `index`; says what is missing if it can't be used.
    pub fn new(index: usize) -> Result<Gpu> {
        let context = Rc::new(Context::new(index)?);
        let version = libs::version("nvrtc")?;
        Ok(Gpu {
            states: RefCell::default(),
            staging: RefCell::new(Staging::new(context.clone())),
            readback: RefCell::new(Readback::new(context.clone())),
            events: Events::new(context.clone()),
            moments: Moments::new(context.clone()),
            functions: RefCell::default(),
            modules: RefCell::default(),
            shared: RefCell::default(),
            scratch: Default::default(),
            reserved: RefCell::default(),
            postponed: RefCell::default(),
            cache: Cache::new(nvrtc::cache_dir(), version),
            lane: Cell::new(0),
            joined: Default::default(),
            capturing: Cell::new(false),
            params: Cell::new(0),
            tf32: Cell::new(false),
            deterministic: Cell::new(false),
            graphs: Rc::new(()),
            context,
        })
    }

    /// Number of multiprocessors.
    pub fn sms(&self) -> u32 {
        self.context.properties.multiprocessors
    }

    /// Compute capability: major, minor.
    pub fn compute(&self) -> (u32, u32) {
        self.context.properties.compute
    }

    /// Where launches go now: compute, or side while a plan is captured.
    #[inline]
    pub fn stream(&self) -> sys::CUstream {
        self.context.streams[self.lane.get()]
    }

    /// The number of the current stream: 0 compute, 1 side.
    pub fn lane(&self) -> usize {
        self.lane.get()
    }
    pub(crate) fn set_lane(&self, lane: usize) {
        self.lane.set(lane.min(1));
    }

    /// Products of float32 may run in TF32.
    pub fn tf32(&self) -> bool {
        self.tf32.get()
    }

    /// Every op must give the same bits each time.
    pub fn deterministic(&self) -> bool {
        self.deterministic.get()
    }

    /// Launches are recorded into a graph: nothing may wait or be measured.
    pub fn capturing(&self) -> bool {
        self.capturing.get()
    }

    /// Waits for all work.
    pub fn synchronize(&self) -> Result<()> {
        self.context.synchronize()
    }

    /// Where files that outlive the process may be kept: cubins, tuned plans. It may not exist.
    pub fn cache_dir(&self) -> &Path {
        self.cache.dir()
    }

    /// An error for every result of the driver but success.
    #[inline]
    pub fn check(&self, result: CUresult) -> Result<()> {
        self.context.check(result)
    }

    /// What a family keeps for this device (handles, plans), one of each type, made on first use.
    pub fn state<T: 'static>(&self, make: impl FnOnce(&Gpu) -> Result<T>) -> Result<Rc<T>> {
        let id = TypeId::of::<T>();
        let known = self.states.borrow().get(&id).cloned();
        let state = match known {
            Some(state) => state,
            None => {
                let made: Rc<dyn Any> = Rc::new(make(self)?);
                self.states.borrow_mut().insert(id, made.clone());
                made
            }
        };
        state.downcast().map_err(|_| Error::internal("a family's state has another type"))
    }

    /// A function of a source, compiled with `defines` (separated by spaces: `T=float VEC=4`; words that begin with `-` are
    /// options of NVRTC, as `--fmad=false`) on first use, and then cached by source, defines and name.
    #[inline]
    pub fn kernel(&self, source: &'static Source, defines: &str, name: &str) -> Result<sys::CUfunction> {
        let id = source.text.as_ptr() as usize;
        self.function(id, defines, name, || self.module(id, defines, || (nvrtc::program(source), nvrtc::options(self.compute(), defines))))
    }

    fn function(&self, source: usize, defines: &str, name: &str, module: impl FnOnce() -> Result<sys::CUmodule>) -> Result<sys::CUfunction> {
        let hash = hash(&(source, defines, name));
        if let Some(same) = self.functions.borrow().get(&hash)
            && let Some(f) = same.iter().find(|f| f.source == source && *f.defines == *defines && *f.name == *name)
        {
            return Ok(f.raw);
        }
        let module = module()?;
        let symbol = CString::new(name).map_err(|_| Error::internal("a kernel's name holds a zero byte"))?;
        let mut raw = std::ptr::null_mut();
        self.check(unsafe { sys::cuModuleGetFunction(&mut raw, module, symbol.as_ptr()) })
            .map_err(|e| Error { message: format!("kernel {name} of a program with \"{}\": {}", short(defines), e.message), ..e })?;
        self.functions.borrow_mut().entry(hash).or_default().push(Function { source, defines: defines.into(), name: name.into(), raw });
        Ok(raw)
    }

    fn module(&self, source: usize, key: &str, program: impl FnOnce() -> (String, Vec<String>)) -> Result<sys::CUmodule> {
        let hash = hash(&(source, key));
        if let Some(same) = self.modules.borrow().get(&hash)
            && let Some(m) = same.iter().find(|m| m.source == source && *m.key == *key)
        {
            return Ok(m.raw);
        }
        let (text, options) = program();
        let image = self.cache.cubin(&text, &options, nvrtc::compile)?;
        let mut raw = std::ptr::null_mut();
        self.check(unsafe { sys::cuModuleLoadData(&mut raw, image.as_ptr().cast()) })?;
        self.modules.borrow_mut().entry(hash).or_default().push(Module { source, key: key.into(), raw });
        Ok(raw)
    }

    /// Starts a kernel on the current stream. An empty grid is nothing to do; more than 48 KiB of `shared_bytes` is asked for where needed.
    #[inline]
    pub fn launch(
        &self,
        f: sys::CUfunction,
        grid: (u32, u32, u32),
        block: (u32, u32, u32),
        shared_bytes: u32,
        args: &mut [*mut c_void],
    ) -> Result<()> {
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(());
        }
        if shared_bytes > 48 << 10 {
            self.allow_shared(f, shared_bytes)?;
        }
        let mut overlap = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid.0,
            gridDimY: grid.1,
            gridDimZ: grid.2,
            blockDimX: block.0,
            blockDimY: block.1,
            blockDimZ: block.2,
            sharedMemBytes: shared_bytes,
            hStream: self.stream(),
            attrs: &mut overlap,
            numAttrs: self.overlaps() as u32,
        };
        self.check(unsafe { sys::cuLaunchKernelEx(&config, f, args.as_mut_ptr(), std::ptr::null_mut()) })
    }

    /// Whether the next launch may begin while the one before it on its stream works; every kernel waits for that one's results itself
    /// (`overlap` in `common.cuh`). Not if it also waits for the other stream, which only a whole launch does.
    fn overlaps(&self) -> bool {
        self.context.properties.compute >= (9, 0) && !self.joined[self.lane()].take()
    }
    /// The current stream waits for `event`.
    pub(crate) fn wait(&self, event: sys::CUevent) -> Result<()> {
        self.joined[self.lane()].set(true);
        self.check(unsafe { sys::cuStreamWaitEvent(self.stream(), event, 0) })
    }

    fn allow_shared(&self, f: sys::CUfunction, bytes: u32) -> Result<()> {
        let mut shared = self.shared.borrow_mut();
        let allowed = shared.entry(f).or_default();
        if *allowed < bytes {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            self.check(unsafe { sys::cuFuncSetAttribute(f, attribute, bytes as i32) })?;
            *allowed = bytes;
        }
        Ok(())
    }

    /// A scalar for a kernel: by value, or in a captured plan an address in the plan's parameter buffer.
    pub fn scalar(&self, s: &Sc, params: &[f64]) -> Scalar {
        let param = match (self.params.get(), s.source()) {
            (0, _) | (_, None) => 0,
            _ if params.is_empty() => 0,
            (buffer, Some(source)) => buffer + 8 * source as u64,
        };
        Scalar { value: s.get(params), param }
    }

    /// Working memory of the current op on the current stream, 256-byte aligned, valid until the next op there. One call an op: take the sum
    /// and split it. Its contents are whatever the last op left.
    pub fn scratch(&self, bytes: usize) -> Result<u64> {
        let mut scratch = self.scratch[self.lane()].borrow_mut();
        if scratch.bytes >= bytes && scratch.ptr != 0 {
            return Ok(scratch.ptr);
        }
        let wanted = bytes.max(SMALLEST_SCRATCH).checked_next_power_of_two().unwrap_or(bytes);
        // Where double the size doesn't fit, what is needed may.
        let (ptr, got) = match self.context.allocate_now(wanted) {
            Ok(ptr) => (ptr, wanted),
            Err(_) if wanted > bytes => (self.context.allocate_now(bytes)?, bytes),
            Err(e) => return Err(e),
        };
        let old = std::mem::replace(&mut scratch.ptr, ptr);
        scratch.bytes = got;
        if old != 0 {
            scratch.outgrown.push(old);
        }
        if !self.capturing() && Rc::strong_count(&self.graphs) == 1 {
            scratch.outgrown.drain(..).for_each(|p| self.context.release_now(p));
        }
        Ok(ptr)
    }

    /// Memory that lives as long as the device's owner: constants, counters.
    pub fn reserve(&self, bytes: usize) -> Result<u64> {
        let ptr = self.context.allocate_now(bytes)?;
        self.reserved.borrow_mut().push(ptr);
        Ok(ptr)
    }

    /// Sets bytes, on the current stream.
    pub fn memset(&self, ptr: u64, byte: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.check(unsafe { sys::cuMemsetD8Async(ptr, byte, bytes, self.stream()) })
    }

    /// Copies bytes on the device, on the current stream.
    pub fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        if bytes == 0 || from == to {
            return Ok(());
        }
        self.check(unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream()) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.context.bind().is_err() || self.context.synchronize().is_err() {
            return; // a lost context has given everything back
        }
        if Rc::strong_count(&self.graphs) > 1 {
            return; // a graph that is still held uses the code and the memory
        }
        self.states.borrow_mut().clear();
        for scratch in &self.scratch {
            let scratch = std::mem::take(&mut *scratch.borrow_mut());
            scratch.outgrown.iter().chain(&[scratch.ptr]).filter(|p| **p != 0).for_each(|p| self.context.release_now(*p));
        }
        self.reserved.borrow_mut().drain(..).for_each(|p| self.context.release_now(p));
        for module in self.modules.borrow_mut().drain().flat_map(|(_, same)| same) {
            let _ = unsafe { sys::cuModuleUnload(module.raw) };
        }
    }
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The beginning of a key, for messages.
fn short(text: &str) -> &str {
    let end = text.char_indices().nth(80).map_or(text.len(), |(i, _)| i);
    &text[..end]
}
