//! A stretch of a plan on a GPU. Its inputs are copied to fixed places, its scalars to a buffer on the device, so that the
//! launches are the same in every step: they run one by one once, then they are captured as a graph and replayed.
use super::build::{Plan, Root, Write};
use super::draft::Draft;
use super::replay::{Address, Bindings, Step, run_on};
use crate::cpu::Arg;
use crate::device::{self, Backend, Device, Graph};
use crate::error::Error;
use crate::profile;
use crate::storage::Storage;
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What a step does with the two streams, besides its launch.
#[derive(Clone, Default, Debug)]
pub(super) struct Lane {
    pub side: bool,
    /// Events to wait for before it, and the one to mark after it.
    pub waits: Vec<usize>,
    pub record: Option<usize>,
}

enum Stage {
    /// Not run yet: kernels compile, products are tuned.
    New,
    Warm,
    Captured {
        graph: Box<dyn Graph>,
        arena: *mut u8,
    },
    /// The graph could not be made; launches go one by one.
    Direct,
}

/// A step's scalars in a buffer of float64 on the device.
struct Params {
    buffer: Rc<Storage>,
    /// The first one's number.
    first: usize,
    /// What was last written there.
    sent: Vec<f64>,
}
impl Params {
    fn ptr(&self) -> *mut u8 {
        self.buffer.ptr().wrapping_add(8 * self.first)
    }
}

/// Fixed places of the inputs that change from step to step, and the scalars on the device.
pub(super) struct Inputs {
    externals: HashMap<u32, Option<Rc<Storage>>>,
    hosts: HashMap<u32, Option<Rc<Storage>>>,
    params: Option<Params>,
    /// Whether places may be fixed at all: an input that the plan writes stays where it is.
    fixed: bool,
}
impl Inputs {
    pub fn new(d: &Draft, steps: &[Step], writes: &[Write]) -> Inputs {
        let devices: Vec<Device> = steps.iter().flat_map(|s| s.ins.iter().chain(&s.outs)).map(|o| o.device).filter(|d| *d != Device::Cpu).collect();
        let fixed = !writes.iter().any(|w| matches!(w.root, Root::Bound(_))) && devices.iter().all(|d| *d == devices[0]);
        let slots = d.externals.iter().enumerate().filter(|(_, x)| x.slot && x.id.device != Device::Cpu).map(|(e, _)| (e as u32, None)).collect();
        Inputs { externals: slots, hosts: HashMap::new(), params: None, fixed }
    }
    /// The same inputs at places of their own.
    fn elsewhere(&self) -> Inputs {
        let unplaced = |all: &HashMap<u32, Option<Rc<Storage>>>| all.keys().map(|x| (*x, None)).collect();
        Inputs { externals: unplaced(&self.externals), hosts: unplaced(&self.hosts), params: None, fixed: self.fixed }
    }
    fn params(&self) -> *mut u8 {
        self.params.as_ref().map_or(std::ptr::null_mut(), Params::ptr)
    }
    pub fn external(&self, e: u32) -> Option<*mut u8> {
        self.externals.get(&e).and_then(Option::as_ref).map(|s| s.ptr())
    }
    pub fn host(&self, v: u32) -> Option<*mut u8> {
        self.hosts.get(&v).and_then(Option::as_ref).map(|s| s.ptr())
    }
}

/// Several steps in one graph, each with inputs and scalars of its own: the host's part, and the pause between two graphs, come
/// once for all of them.
#[derive(Default)]
pub(super) struct Group {
    inputs: Vec<Inputs>,
    /// And the arena that it was captured with.
    graph: Option<(Box<dyn Graph>, *mut u8)>,
}

pub(super) struct DeviceRun {
    device: u8,
    stage: Stage,
    lanes: Vec<Lane>,
    /// The mark at which the second stream is done.
    join: Option<usize>,
    /// Inputs that are first read here.
    externals: Vec<u32>,
    hosts: Vec<u32>,
    /// Parameters that its launches read.
    params: Vec<u32>,
}

impl DeviceRun {
    pub fn new(device: u8, steps: &[Step], inputs: &mut Inputs) -> DeviceRun {
        let (mut externals, mut hosts, mut params) = (vec![], vec![], vec![]);
        let mut seen: HashSet<u32> = HashSet::new();
        for s in steps {
            for o in &s.ins {
                match o.address {
                    Address::External(e, _) if inputs.externals.contains_key(&e) && seen.insert(e) => externals.push(e),
                    Address::Bound(v, _) if !inputs.hosts.contains_key(&v) => {
                        inputs.hosts.insert(v, None);
                        hosts.push(v);
                    }
                    _ => {}
                }
            }
            for op in s.kernel.ops() {
                params.extend(op.clone().scalars_mut().iter().filter_map(|s| s.source().map(|p| p as u32)));
            }
        }
        params.sort_unstable();
        params.dedup();
        let (lanes, join) = super::lanes::schedule(steps);
        DeviceRun { device, stage: Stage::New, lanes, join, externals, hosts, params }
    }

    /// Runs `steps`, which are `whole`'s or only a part of a run. An error comes with the entry that failed.
    ///
    /// # Safety
    /// As [`Plan::launch`].
    pub unsafe fn launch(
        whole: Option<&mut DeviceRun>,
        steps: &[Step],
        plan: &Plan,
        inputs: &mut Inputs,
        b: &Bindings,
    ) -> std::result::Result<(), (usize, Error)> {
        let at = steps[0].at;
        let Device::Cuda(index) = steps[0].device else { return Err((at, Error::internal("a run of the CPU's steps"))) };
        let backend = device::backend(index).map_err(|e| (at, e))?;
        let Some(run) = whole.filter(|_| inputs.fixed) else {
            // SAFETY: as the caller says.
            return unsafe { launch_each(&*backend, steps, None, false, plan, None, b) };
        };
        run.bind(&*backend, std::slice::from_mut(inputs), std::slice::from_ref(b)).map_err(|e| (at, e))?;
        let (params, arena) = (inputs.params(), b.arena(Device::Cuda(run.device)));
        if matches!(run.stage, Stage::Captured { arena: a, .. } if a != arena) {
            run.stage = Stage::Warm;
        }
        let one_by_one = profile::one_by_one();
        if matches!(run.stage, Stage::Warm) && !one_by_one {
            backend.begin_capture().map_err(|e| (at, e))?;
            backend.use_params(params);
            // SAFETY: as the caller says.
            let launched = unsafe { launch_each(&*backend, steps, Some(run), true, plan, Some(inputs), b) };
            backend.use_params(std::ptr::null_mut());
            let graph = backend.end_capture();
            run.stage = match (launched, graph) {
                (Ok(()), Ok(graph)) => Stage::Captured { graph, arena },
                // nothing has run: one by one, an error will show where it belongs
                _ => Stage::Direct,
            };
        }
        if let (Stage::Captured { graph, .. }, false) = (&run.stage, one_by_one) {
            let device = Device::Cuda(run.device);
            return profile::span(device, 0, |_| profile::plain_key("graph", &[], false), || graph.launch()).map_err(|e| (at, e));
        }
        // a first run compiles and allocates: it must not find the device held up
        let lanes = (one_by_one && !matches!(run.stage, Stage::New)).then_some(&*run);
        backend.use_params(params);
        // SAFETY: as the caller says.
        let each = || unsafe { launch_each(&*backend, steps, lanes, false, plan, Some(inputs), b) };
        let done = if lanes.is_some() { profile::in_line(&*backend, steps.len(), each).unwrap_or_else(|e| Err((at, e))) } else { each() };
        backend.use_params(std::ptr::null_mut());
        if matches!(run.stage, Stage::New) && done.is_ok() {
            run.stage = Stage::Warm;
        }
        done
    }

    /// Runs the plan's `steps`, which are all of this run, once for each of `bs`, in one graph.
    ///
    /// # Safety
    /// As [`Plan::launch`].
    pub unsafe fn launch_group(
        &mut self,
        group: &mut Group,
        steps: &[Step],
        plan: &Plan,
        inputs: &mut Inputs,
        bs: &[Bindings],
    ) -> std::result::Result<(), (usize, Error)> {
        let at = steps[0].at;
        let backend = device::backend(self.device).map_err(|e| (at, e))?;
        if group.inputs.len() != bs.len() {
            *group = Group { inputs: bs.iter().map(|_| inputs.elsewhere()).collect(), graph: None };
        }
        let arena = bs[0].arena(Device::Cuda(self.device));
        self.bind(&*backend, &mut group.inputs, bs).map_err(|e| (at, e))?;
        if group.graph.as_ref().is_none_or(|g| g.1 != arena) {
            backend.begin_capture().map_err(|e| (at, e))?;
            let launched = group.inputs.iter().zip(bs).try_for_each(|(inputs, b)| {
                backend.use_params(inputs.params());
                // SAFETY: as the caller says.
                unsafe { launch_each(&*backend, steps, Some(self), true, plan, Some(inputs), b) }
            });
            backend.use_params(std::ptr::null_mut());
            let graph = backend.end_capture();
            launched?;
            group.graph = Some((graph.map_err(|e| (at, e))?, arena));
        }
        let launch = || group.graph.as_ref().map_or(Ok(()), |g| g.0.launch());
        profile::span(Device::Cuda(self.device), 0, |_| profile::plain_key("graph", &[], false), launch).map_err(|e| (at, e))
    }

    /// A graph of one step has been made, so one of several can be.
    pub fn is_captured(&self) -> bool {
        matches!(self.stage, Stage::Captured { .. }) && !profile::one_by_one()
    }

    /// Brings the inputs and scalars of steps to where their launches read them, those of all steps together.
    fn bind(&self, backend: &dyn Backend, steps: &mut [Inputs], bs: &[Bindings]) -> crate::error::Result<()> {
        let device = Device::Cuda(self.device);
        let mut copies: Vec<(Arg, Arg)> = vec![];
        for (inputs, b) in steps.iter_mut().zip(bs) {
            self.place(inputs, b, &mut copies)?;
        }
        if !copies.is_empty() {
            // SAFETY: each copy has as many elements on both sides.
            let run = || unsafe { backend.run_copies(&copies) };
            profile::span(device, 0, |shapes| profile::plain_key("copy inputs", &copies.iter().map(|c| &c.0).collect::<Vec<_>>(), shapes), run)?;
        }
        let count = bs[0].params.len();
        if self.params.is_empty() || count == 0 {
            return Ok(());
        }
        if steps[0].params.is_none() {
            let buffer = Storage::new(steps.len() * count * 8, device)?;
            for (i, inputs) in steps.iter_mut().enumerate() {
                inputs.params = Some(Params { buffer: buffer.clone(), first: i * count, sent: vec![f64::from_bits(u64::MAX); count] });
            }
        }
        let mut changed: Vec<(u32, f64)> = vec![];
        for (params, b) in steps.iter_mut().filter_map(|i| i.params.as_mut()).zip(bs) {
            for p in &self.params {
                let value = b.params[*p as usize];
                if std::mem::replace(&mut params.sent[*p as usize], value).to_bits() != value.to_bits() {
                    changed.push((params.first as u32 + p, value));
                }
            }
        }
        match &steps[0].params {
            Some(p) if !changed.is_empty() => {
                profile::span(device, 0, |shapes| profile::plain_key("set scalars", &[], shapes), || backend.set_params(p.buffer.ptr(), &changed))
            }
            _ => Ok(()),
        }
    }

    /// Gives a step's inputs their fixed places and notes the copies that bring them there.
    fn place(&self, inputs: &mut Inputs, b: &Bindings, copies: &mut Vec<(Arg, Arg)>) -> crate::error::Result<()> {
        let mut place = |slot: &mut Option<Rc<Storage>>, t: &Tensor, whole: bool| -> crate::error::Result<()> {
            let size = t.dtype.size();
            let elements = if whole { t.storage.bytes() / size } else { t.layout.span() };
            if slot.is_none() {
                *slot = Some(Storage::new(elements * size, t.device())?);
            }
            let Some(s) = slot else { return Ok(()) };
            let layout = crate::shape::Layout::contiguous(crate::shape::Shape::new(&[elements]));
            let from = if whole { t.storage.ptr() } else { t.ptr() };
            copies.push((Arg { ptr: from, layout, dtype: t.dtype }, Arg { ptr: s.ptr(), layout, dtype: t.dtype }));
            Ok(())
        };
        for e in &self.externals {
            let Some(slot) = inputs.externals.get_mut(e) else { continue };
            let t = b.slots[*e as usize].as_ref().ok_or_else(|| Error::internal("a slot that was not bound"))?;
            place(slot, t, false)?;
        }
        for v in &self.hosts {
            let Some(slot) = inputs.hosts.get_mut(v) else { continue };
            let t = b.host(*v).ok_or_else(|| Error::internal("host data that was not bound"))?;
            place(slot, t, true)?;
        }
        Ok(())
    }
}

/// Launches the steps in order; with `run`, on its streams. `captured`: into a graph.
///
/// # Safety
/// As [`Plan::launch`].
unsafe fn launch_each(
    backend: &dyn Backend,
    steps: &[Step],
    run: Option<&DeviceRun>,
    captured: bool,
    plan: &Plan,
    fixed: Option<&Inputs>,
    b: &Bindings,
) -> std::result::Result<(), (usize, Error)> {
    let (mut ins, mut outs): (Vec<Arg>, Vec<Arg>) = (vec![], vec![]);
    for (k, s) in steps.iter().enumerate() {
        ins.clear();
        ins.extend(s.ins.iter().map(|o| Arg { ptr: plan.address(o, fixed, b), ..o.arg }));
        outs.clear();
        outs.extend(s.outs.iter().map(|o| Arg { ptr: plan.address(o, fixed, b), ..o.arg }));
        let launched = (|| {
            let lane = run.map(|r| &r.lanes[k]);
            if let Some(lane) = lane {
                backend.set_lane(lane.side as usize);
                lane.waits.iter().try_for_each(|e| backend.wait(*e))?;
            }
            // SAFETY: addresses are those of operands as inferred.
            let launch = || unsafe { run_on(backend, s, b.params, &ins, &outs) };
            if captured {
                launch()?;
            } else {
                s.span(lane.is_some_and(|l| l.side) as usize, &ins, &outs, launch)?;
            }
            lane.and_then(|l| l.record).map_or(Ok(()), |e| backend.record(e))
        })();
        if let Err(e) = launched {
            backend.set_lane(0);
            return Err((s.at, e));
        }
    }
    backend.set_lane(0);
    run.and_then(|r| r.join).map_or(Ok(()), |e| backend.wait(e)).map_err(|e| (steps[0].at, e))
}
