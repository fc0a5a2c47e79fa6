//! The profiler. While it runs, each piece of work (an op, a plan's instruction, a copy) is noted with its time on the host and,
//! on a GPU, the time between two moments of its stream. While it is off, a piece of work costs one branch more.
use crate::cpu::Arg;
use crate::cpu::chain::Chain;
use crate::device::{self, Backend, Device, Part};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::op::{NormMask, Op};
use crate::storage::{self, Usage};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

/// What is noted besides the times.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// Ops are told apart by dtypes and shapes too.
    pub shapes: bool,
    /// Plans on a GPU stay graphs, each one piece of work. Otherwise their launches go one by one.
    pub graphs: bool,
}

/// What pieces of work are counted by: the op's name, and if wanted dtypes and shapes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub name: String,
    pub signature: String,
}

/// A piece of work; times are in microseconds from the profile's begin.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Index into [`Profile::keys`].
    pub key: u32,
    pub device: Device,
    /// The stream: 0 is the main one.
    pub lane: u32,
    pub start: f64,
    /// What the host took: all of it on the CPU, the launch on a GPU.
    pub duration: f64,
    /// Begin and duration on the GPU.
    pub gpu: Option<(f64, f64)>,
}

/// The memory of one device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceMemory {
    pub device: Device,
    /// Bytes in use when the profile began.
    pub before: usize,
    /// At the moment when most was in use.
    pub peak: Usage,
    /// Bytes of it that plans have for their intermediates.
    pub plans: usize,
}

pub struct Profile {
    pub keys: Vec<Key>,
    pub events: Vec<Event>,
    /// Microseconds from begin to end.
    pub wall: f64,
    pub memory: Vec<DeviceMemory>,
}

/// A piece of work whose GPU times are still moments of its stream.
struct Noted {
    event: Event,
    moments: Option<(usize, usize)>,
}
/// Ties a GPU's moments to the host's clock.
struct Clock {
    index: u8,
    backend: Rc<dyn Backend>,
    origin: usize,
    at: f64,
}
struct Running {
    options: Options,
    began: Instant,
    numbers: HashMap<Key, u32>,
    noted: Vec<Noted>,
    clocks: Vec<Clock>,
    before: Vec<(Device, Usage)>,
}
impl Running {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1e6
    }
    fn clock(&mut self, index: u8) -> Result<Rc<dyn Backend>> {
        if let Some(c) = self.clocks.iter().find(|c| c.index == index) {
            return Ok(c.backend.clone());
        }
        let backend = device::backend(index)?;
        backend.forget_moments();
        backend.synchronize()?;
        let (at, origin) = (self.now(), backend.moment()?);
        self.clocks.push(Clock { index, backend: backend.clone(), origin, at });
        Ok(backend)
    }
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    /// The device is held up until the launches that follow are in line.
    static IN_LINE: Cell<bool> = const { Cell::new(false) };
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Microseconds for which a GPU is held up before a launch, so that the moments around it and the launch are all in line when
/// it goes on: otherwise the time between the moments would be the host's.
const LAUNCH: u32 = 20;
const LONGEST_HOLD: u32 = 50_000;

/// Whether plans on a GPU must run launch by launch.
pub(crate) fn one_by_one() -> bool {
    ON.get() && RUNNING.with_borrow(|r| r.as_ref().is_some_and(|r| !r.options.graphs))
}

/// Runs `f`, a piece of work on a stream of `device`. The key is asked for only if the profiler runs.
#[inline]
pub(crate) fn span<T>(device: Device, lane: usize, key: impl FnOnce(bool) -> Key, f: impl FnOnce() -> Result<T>) -> Result<T> {
    if !ON.get() {
        return f();
    }
    timed(device, lane, key, f)
}

#[cold]
fn timed<T>(device: Device, lane: usize, key: impl FnOnce(bool) -> Key, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let with = |run: &mut dyn FnMut(&mut Running) -> Result<()>| RUNNING.with_borrow_mut(|r| r.as_mut().map_or(Ok(()), run));
    let (mut backend, mut shapes) = (None, false);
    with(&mut |r| {
        shapes = r.options.shapes;
        if let Device::Cuda(i) = device {
            backend = Some(r.clock(i)?);
        }
        Ok(())
    })?;
    let key = key(shapes);
    let mut from = None;
    if let Some(b) = &backend {
        if !IN_LINE.get() {
            b.hold(LAUNCH)?;
        }
        from = Some(b.moment()?);
    }
    let began = Instant::now();
    let done = f()?;
    let duration = began.elapsed().as_secs_f64() * 1e6;
    let moments = match (from, &backend) {
        (Some(from), Some(b)) => Some((from, b.moment()?)),
        _ => None,
    };
    let mut key = Some(key);
    with(&mut |r| {
        let next = r.numbers.len() as u32;
        let number = key.take().map_or(0, |k| *r.numbers.entry(k).or_insert(next));
        let start = began.duration_since(r.began).as_secs_f64() * 1e6;
        r.noted.push(Noted { event: Event { key: number, device, lane: lane as u32, start, duration, gpu: None }, moments });
        Ok(())
    })?;
    Ok(done)
}

/// Runs `f`, which makes `launches` launches on `backend` without waiting for any: all of them are in line before the first runs.
pub(crate) fn in_line<T>(backend: &dyn Backend, launches: usize, f: impl FnOnce() -> T) -> Result<T> {
    if !ON.get() {
        return Ok(f());
    }
    backend.hold((launches as u32).saturating_mul(LAUNCH).min(LONGEST_HOLD))?;
    IN_LINE.set(true);
    let done = f();
    IN_LINE.set(false);
    Ok(done)
}

/// The key of an op.
pub(crate) fn op_key(op: &Op, ins: &[Arg], outs: &[Arg], shapes: bool) -> Key {
    Key { name: label(op), signature: if shapes { signature(ins, outs) } else { String::new() } }
}
/// The key of ops that run in one pass.
pub(crate) fn chain_key(chain: &Chain, ins: &[Arg], outs: &[Arg], shapes: bool) -> Key {
    let names: Vec<String> = chain.steps().iter().map(|s| label(&s.op)).collect();
    Key { name: format!("chain: {}", names.join("+")), signature: if shapes { signature(ins, outs) } else { String::new() } }
}
/// The key of ops that share a launch: how many of each.
pub(crate) fn together_key(parts: &[Part], ins: &[Arg], outs: &[Arg], shapes: bool) -> Key {
    let mut counts: Vec<(String, usize)> = vec![];
    for name in parts.iter().map(|p| label(&p.op)) {
        match counts.iter_mut().find(|c| c.0 == name) {
            Some(known) => known.1 += 1,
            None => counts.push((name, 1)),
        }
    }
    let names: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    Key { name: format!("together: {}", names.join("+")), signature: if shapes { signature(ins, outs) } else { String::new() } }
}
/// The key of a piece of work that is no op.
pub(crate) fn plain_key(name: &str, args: &[&Arg], shapes: bool) -> Key {
    let args: Vec<Arg> = args.iter().map(|a| **a).collect();
    Key { name: name.into(), signature: if shapes { signature(&args, &[]) } else { String::new() } }
}

/// Operands that a signature shows.
const OPERANDS: usize = 8;

fn signature(ins: &[Arg], outs: &[Arg]) -> String {
    let list = |args: &[Arg]| {
        let mut list: Vec<String> = args.iter().take(OPERANDS).map(|a| format!("{}{:?}", a.dtype.name(), a.layout.shape)).collect();
        if args.len() > OPERANDS {
            list.push(format!("{} more", args.len() - OPERANDS));
        }
        list.join(", ")
    };
    match (ins, outs) {
        (ins, []) => list(ins),
        (ins, outs) => format!("{} -> {}", list(ins), list(outs)),
    }
}

/// The op's name, with the attributes that decide how much work it is.
fn label(op: &Op) -> String {
    let mut s = op.name().to_string();
    let mut also = |yes: bool, text: String| {
        if yes {
            s += &text;
        }
    };
    match op {
        Op::Linear { relu, .. } => also(*relu, "+relu".into()),
        Op::BatchNorm { add, relu, .. } => {
            also(*add, "+add".into());
            also(*relu, "+relu".into());
        }
        Op::BatchNormGrad { mask, sum, .. } => {
            also(*sum, "+add".into());
            also(*mask != NormMask::None, "+reluGrad".into());
        }
        Op::Cast(dtype) => also(true, format!(" {}", dtype.name())),
        Op::Conv2d { geometry: g, .. } | Op::Conv2dGradInput { geometry: g, .. } | Op::Conv2dGradWeight { geometry: g, .. } => {
            also(g.stride != [1, 1], format!(" stride {}", pair(g.stride)));
            also(g.dilation != [1, 1], format!(" dilation {}", pair(g.dilation)));
            also(g.groups > 1, format!(" groups {}", g.groups));
        }
        Op::MaxPool2d(g) | Op::MaxPool2dGrad { geometry: g, .. } | Op::AvgPool2d(g) | Op::AvgPool2dGrad { geometry: g, .. } => {
            also(true, format!(" {}", pair(g.kernel)));
            also(g.stride != g.kernel, format!(" stride {}", pair(g.stride)));
        }
        _ => {}
    }
    s
}
fn pair(p: [usize; 2]) -> String {
    if p[0] == p[1] { p[0].to_string() } else { format!("{}x{}", p[0], p[1]) }
}

impl Engine {
    /// Starts the profiler of this thread. It is an error if it runs.
    pub fn profile_begin(&mut self, options: Options) -> Result<()> {
        if ON.get() {
            return Err(Error::bad_option("a profile is being taken already").in_op("profile"));
        }
        storage::restart_peaks();
        let running = Running { options, began: Instant::now(), numbers: HashMap::new(), noted: vec![], clocks: vec![], before: storage::peaks() };
        RUNNING.set(Some(running));
        ON.set(true);
        Ok(())
    }

    /// Stops the profiler, waits for the GPUs that it saw, and gives what it noted.
    pub fn profile_end(&mut self) -> Result<Profile> {
        ON.set(false);
        let Some(r) = RUNNING.take() else { return Err(Error::internal("no profile is being taken")) };
        r.clocks.iter().try_for_each(|c| c.backend.synchronize())?;
        let wall = r.now();
        let mut events = Vec::with_capacity(r.noted.len());
        for Noted { mut event, moments } in r.noted {
            if let (Device::Cuda(i), Some((from, to))) = (event.device, moments)
                && let Some(c) = r.clocks.iter().find(|c| c.index == i)
            {
                event.gpu = Some((c.at + c.backend.elapsed(c.origin, from)?, c.backend.elapsed(from, to)?));
            }
            events.push(event);
        }
        r.clocks.iter().for_each(|c| c.backend.forget_moments());
        let mut keys: Vec<(Key, u32)> = r.numbers.into_iter().collect();
        keys.sort_by_key(|k| k.1);
        let before = |d: Device| r.before.iter().find(|b| b.0 == d).map_or(0, |b| b.1.bytes);
        let plans = |d: Device| self.arenas.iter().filter(|a| a.device() == d).map(|a| a.bytes()).sum();
        let memory = storage::peaks().into_iter().map(|(device, peak)| DeviceMemory { device, before: before(device), peak, plans: plans(device) });
        Ok(Profile { keys: keys.into_iter().map(|k| k.0).collect(), events, wall, memory: memory.collect() })
    }
}
