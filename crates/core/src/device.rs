//! Where tensors live, and what a device other than the CPU has to offer: memory, kernels, captured launches.
use crate::cpu::Arg;
use crate::cpu::chain::Chain;
use crate::error::{Code, Error, Result};
use crate::op::Op;
use crate::profile;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::OnceLock;

/// The memory that a tensor is in, and so the kernels that work on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Device {
    #[default]
    Cpu,
    Cuda(u8),
}
impl Device {
    pub fn name(self) -> String {
        match self {
            Device::Cpu => "cpu".into(),
            Device::Cuda(i) => format!("cuda:{i}"),
        }
    }
    /// A small number: 0 is the CPU.
    pub fn code(self) -> u32 {
        match self {
            Device::Cpu => 0,
            Device::Cuda(i) => i as u32 + 1,
        }
    }
    pub fn from_code(code: u32) -> Result<Device> {
        match code {
            0 => Ok(Device::Cpu),
            n if n <= 256 => Ok(Device::Cuda((n - 1) as u8)),
            n => Err(Error::bad_option(format!("no device has the number {n}"))),
        }
    }
}

/// What is known of a device.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    pub name: String,
    pub memory_bytes: usize,
    /// Compute capability, major and minor.
    pub compute: (u32, u32),
    pub multiprocessors: u32,
}

/// Switches of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceOption {
    /// float32 products and convolutions may round their operands to TF32.
    Tf32,
    /// The same bits from run to run, also where atomics would be faster.
    Deterministic,
}

/// One of several ops that run together: the next `ins` of all inputs and the next `outs` of all outputs are its own.
#[derive(Clone, Debug)]
pub struct Part {
    pub op: Op,
    pub ins: usize,
    pub outs: usize,
}

/// Rows of a tensor, and where chosen ones go.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub source: *const u8,
    /// Of one row.
    pub bytes: usize,
    pub to: *mut u8,
}

/// A device as the engine of one thread sees it. Work is asynchronous and runs in the order in which it is given; pointers are
/// device addresses.
pub trait Backend {
    fn properties(&self) -> &Properties;
    fn set_option(&self, option: DeviceOption, on: bool);

    /// Memory for work that is given from now on.
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>>;
    /// Gives memory back once the work given so far is done.
    fn release(&self, ptr: NonNull<u8>, bytes: usize);

    /// Runs `op`, as [`crate::cpu::run`] does; outputs are dense, in any order of dimensions.
    ///
    /// # Safety
    /// Every address is valid for its layout.
    unsafe fn run(&self, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()>;
    /// Runs elementwise ops in one pass.
    ///
    /// # Safety
    /// As [`Backend::run`].
    unsafe fn run_chain(&self, chain: &Chain, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()>;
    /// Runs ops that don't touch one another's results, in as few launches as it can.
    ///
    /// # Safety
    /// As [`Backend::run`].
    unsafe fn run_together(&self, parts: &[Part], params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()>;
    /// Copies and casts each first operand to the second, of equal dense layout.
    ///
    /// # Safety
    /// As [`Backend::run`].
    unsafe fn run_copies(&self, copies: &[(Arg, Arg)]) -> Result<()>;
    /// Copies bytes to the device. `fill` writes them, piece by piece and told where a piece begins, before this returns.
    ///
    /// # Safety
    /// `to` has room for them.
    unsafe fn upload(&self, bytes: usize, to: *mut u8, fill: &mut dyn FnMut(usize, &mut [u8])) -> Result<()>;
    /// Copies bytes from the device and waits for them.
    ///
    /// # Safety
    /// `from` has that many.
    unsafe fn download(&self, from: *const u8, to: &mut [u8]) -> Result<()>;
    /// # Safety
    /// Both have `bytes` bytes on this device and don't overlap.
    unsafe fn copy(&self, from: *const u8, to: *mut u8, bytes: usize) -> Result<()>;
    /// # Safety
    /// `to` has `bytes` bytes.
    unsafe fn fill(&self, to: *mut u8, byte: u8, bytes: usize) -> Result<()>;
    /// Copies the rows that the indices choose, of each of `all`. Indices are in range.
    ///
    /// # Safety
    /// The sources have every row, and there is room for the chosen ones.
    unsafe fn gather_rows(&self, all: &[Rows], indices: &[u32]) -> Result<()>;
    /// Bytes that can be allocated.
    fn free_memory(&self) -> Result<usize>;
    /// Waits for all work given so far.
    fn synchronize(&self) -> Result<()>;
    /// Waits, then gives memory that was released, but kept for later, back to the system.
    fn trim(&self) -> Result<()>;

    /// From here launches are noted down instead of run.
    fn begin_capture(&self) -> Result<()>;
    /// What was noted down, ready to be run any number of times. Also called after an error.
    fn end_capture(&self) -> Result<Box<dyn Graph>>;
    /// Where launches go: 0 is the main stream, 1 the one beside it.
    fn set_lane(&self, lane: usize);
    /// Marks how far the current lane has come.
    fn record(&self, event: usize) -> Result<()>;
    /// The current lane goes on once another has come as far as the mark.
    fn wait(&self, event: usize) -> Result<()>;
    /// Kernels read an op's scalars from this buffer of float64 (null: by value).
    fn use_params(&self, buffer: *mut u8);
    /// Writes numbers to the buffer, in order with other work.
    fn set_params(&self, buffer: *mut u8, changed: &[(u32, f64)]) -> Result<()>;

    /// Notes the moment when the current lane comes here, and gives its number.
    fn moment(&self) -> Result<usize>;
    /// Microseconds from one moment to another. Both have passed: [`Backend::synchronize`] first.
    fn elapsed(&self, from: usize, to: usize) -> Result<f64>;
    /// Moments are numbered from 0 again.
    fn forget_moments(&self);
    /// Keeps the current lane busy for about so long.
    fn hold(&self, microseconds: u32) -> Result<()>;
}

/// Launches that were noted down.
pub trait Graph {
    fn launch(&self) -> Result<()>;
}

/// Opens the device with the given index.
pub type Opener = fn(u8) -> Result<Rc<dyn Backend>>;
static OPENER: OnceLock<Opener> = OnceLock::new();

thread_local! {
    static OPEN: RefCell<Vec<(u8, Rc<dyn Backend>)>> = RefCell::default();
}

/// Names what opens CUDA devices; the first one stays.
pub fn set_opener(opener: Opener) {
    let _ = OPENER.set(opener);
}

/// This thread's backend of CUDA device `index`, opened on first use.
pub fn backend(index: u8) -> Result<Rc<dyn Backend>> {
    if let Some(b) = OPEN.with(|o| o.borrow().iter().find(|b| b.0 == index).map(|b| b.1.clone())) {
        return Ok(b);
    }
    let opener = OPENER.get().ok_or_else(|| Error::new(Code::Cuda, "this build of wick has no CUDA backend"))?;
    let b = opener(index)?;
    OPEN.with(|o| o.borrow_mut().push((index, b.clone())));
    Ok(b)
}

/// Copies a row-major tensor between devices.
///
/// # Safety
/// Both operands are valid for their layouts, on the devices named.
pub(crate) unsafe fn transfer(from: &Arg, source: Device, to: &Arg, target: Device) -> Result<()> {
    let bytes = from.numel() * from.dtype.size();
    let key = |name| move |shapes| profile::plain_key(name, &[from], shapes);
    unsafe {
        match (source, target) {
            (Device::Cpu, Device::Cpu) => {
                std::ptr::copy_nonoverlapping(from.ptr, to.ptr, bytes);
                Ok(())
            }
            (Device::Cpu, Device::Cuda(i)) => {
                let bytes = std::slice::from_raw_parts(from.ptr, bytes);
                let mut fill = |at: usize, part: &mut [u8]| part.copy_from_slice(&bytes[at..at + part.len()]);
                profile::span(target, 0, key("upload"), || backend(i)?.upload(bytes.len(), to.ptr, &mut fill))
            }
            (Device::Cuda(i), Device::Cpu) => {
                profile::span(source, 0, key("download"), || backend(i)?.download(from.ptr, std::slice::from_raw_parts_mut(to.ptr, bytes)))
            }
            (Device::Cuda(a), Device::Cuda(b)) if a == b => profile::span(source, 0, key("copy"), || backend(a)?.copy(from.ptr, to.ptr, bytes)),
            (Device::Cuda(_), Device::Cuda(_)) => {
                let mut host = crate::reserve::vec::<u8>(bytes)?;
                let between = Arg { ptr: host.as_mut_ptr(), ..*to };
                transfer(from, source, &between, Device::Cpu)?;
                transfer(&between, Device::Cpu, to, target)
            }
        }
    }
}
