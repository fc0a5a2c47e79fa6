//! Running a plan. Instructions for the CPU are run one by one; a stretch of instructions for a GPU is a [`DeviceRun`].
use super::build::{Plan, Root, Write};
use super::device_run::{DeviceRun, Group, Inputs};
use super::draft::{Draft, Out};
use super::fuse::{Instruction, Kernel};
use super::record::In;
use crate::cpu::{self, Arg};
use crate::device::{Backend, Device, transfer};
use crate::error::{Error, Result};
use crate::op::Op;
use crate::ops;
use crate::profile;
use crate::shape::Layout;
use crate::storage::Storage;
use crate::tensor::{Meta, Tensor};
use std::rc::Rc;

/// Where an operand's address comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Address {
    /// Byte offset in the device's arena.
    Arena(usize),
    /// External number, bytes from the tensor's own start.
    External(u32, usize),
    Bound(u32, usize),
}

pub(super) struct Operand {
    pub address: Address,
    pub device: Device,
    pub arg: Arg,
    /// The memory that it is in, by number, and the byte where it begins there.
    start: (u64, usize),
}
impl Operand {
    /// The bytes that it touches.
    pub fn span(&self) -> (u64, usize, usize) {
        (self.start.0, self.start.1, self.start.1 + self.arg.layout.span() * self.arg.dtype.size())
    }
}
pub(super) struct Step {
    pub at: usize,
    pub kernel: Kernel,
    pub ins: Vec<Operand>,
    pub outs: Vec<Operand>,
    bumps: Vec<u32>,
    /// May run beside the steps after it.
    pub side: bool,
    /// Where it runs.
    pub device: Device,
    /// The end of the stretch of steps of one device, with no host read between, that it belongs to.
    stretch: usize,
}
impl Step {
    /// A copy between devices, which the host runs.
    fn transfers(&self) -> bool {
        matches!(self.kernel, Kernel::Op(Op::ToDevice(_)))
    }
    /// The error as eager mode has it: with the op and its operands.
    fn named(&self, mut e: Error, ins: &[Arg]) -> Error {
        let Kernel::Op(op) = &self.kernel else { return e };
        if e.operands.is_empty() {
            e.operands = ins.iter().map(|a| Meta::new(a.layout.shape, a.dtype).describe()).collect();
        }
        e.in_op(op.name())
    }
    /// Runs `f`, which runs or launches the kernel, under the profiler's eyes.
    pub fn span<T>(&self, lane: usize, ins: &[Arg], outs: &[Arg], f: impl FnOnce() -> Result<T>) -> Result<T> {
        if matches!(self.kernel, Kernel::Bump) {
            return f();
        }
        let key = |shapes| match &self.kernel {
            Kernel::Op(op) => profile::op_key(op, ins, outs, shapes),
            Kernel::Chain(chain) => profile::chain_key(chain, ins, outs, shapes),
            Kernel::Together(parts) => profile::together_key(parts, ins, outs, shapes),
            Kernel::Bump => profile::plain_key("bump", &[], shapes),
        };
        profile::span(self.device, lane, key, f)
    }
}

/// Instructions with their operands worked out. Only addresses are filled in at a launch.
pub struct Exec {
    steps: Vec<Step>,
    /// By first step.
    runs: Vec<(usize, DeviceRun)>,
    inputs: Inputs,
    group: Group,
    in_args: Vec<Arg>,
    out_args: Vec<Arg>,
}

/// What a launch takes from the window.
pub struct Bindings<'a> {
    pub arenas: &'a [Rc<Storage>],
    pub slots: &'a [Option<Tensor>],
    pub host: &'a [(u32, Tensor)],
    pub params: &'a [f64],
}
/// Host data is bound in the order of the plan's values.
pub(super) fn host_data(host: &[(u32, Tensor)], v: u32) -> Option<&Tensor> {
    host.binary_search_by_key(&v, |h| h.0).ok().map(|i| &host[i].1)
}
impl Bindings<'_> {
    pub(super) fn arena(&self, device: Device) -> *mut u8 {
        self.arenas.iter().find(|a| a.device() == device).map_or(std::ptr::null_mut(), |a| a.ptr())
    }
    pub(super) fn host(&self, v: u32) -> Option<&Tensor> {
        host_data(self.host, v)
    }
}

impl Exec {
    pub fn new(d: &Draft, instructions: Vec<Instruction>, place: &[Option<usize>], cuts: &[usize], writes: &[Write]) -> Exec {
        let operand = |root: Root, layout: Layout, dtype: crate::dtype::DType, device: Device| {
            let base = if let Root::External(e) = root { d.externals[e as usize].id.layout.offset } else { 0 };
            let offset = (layout.offset - base) * dtype.size();
            let address = match root {
                Root::Arena(r) => Address::Arena(place[r as usize].unwrap_or(0) + offset),
                Root::External(e) => Address::External(e, offset),
                Root::Bound(v) => Address::Bound(v, offset),
            };
            let start = match (root, address) {
                (Root::Arena(_), Address::Arena(at)) => (0, at),
                (Root::External(e), _) if !d.externals[e as usize].slot => (d.externals[e as usize].id.storage, layout.offset * dtype.size()),
                (Root::External(e), _) => (u64::MAX - e as u64, offset),
                (Root::Bound(v), _) => (u64::MAX / 2 - v as u64, offset),
                (Root::Arena(_), _) => (0, 0),
            };
            Operand { address, device, start, arg: Arg { ptr: std::ptr::null_mut(), layout: Layout { offset: 0, ..layout }, dtype } }
        };
        let value = |v: u32| {
            let x = &d.values[v as usize];
            operand(d.roots[v as usize], x.layout, x.dtype, x.device)
        };
        let external = |e: u32| {
            let x = &d.externals[e as usize].id;
            operand(Root::External(e), x.layout, x.dtype, x.device)
        };
        let mut steps: Vec<Step> = instructions
            .into_iter()
            .map(|i| {
                let mut ins: Vec<Operand> = i
                    .ins
                    .iter()
                    .map(|i| match *i {
                        In::Value(v) => value(v),
                        In::External(e) => external(e),
                    })
                    .collect();
                let outs: Vec<Operand> = i
                    .outs
                    .iter()
                    .map(|o| match *o {
                        Out::Value(v) => value(v),
                        Out::External(e) => external(e),
                    })
                    .collect();
                if let Kernel::Op(op) = &i.kernel
                    && ops::broadcasts(op)
                {
                    let shape = outs.first().map_or(ins[0].arg.layout.shape, |o| o.arg.layout.shape);
                    for x in &mut ins {
                        x.arg.layout = x.arg.layout.expand(&shape);
                    }
                }
                let device = outs.first().or(ins.first()).map_or(Device::Cpu, |o| o.device);
                Step { at: i.at, kernel: i.kernel, ins, outs, bumps: i.bumps, side: i.side, device, stretch: 0 }
            })
            .collect();
        let mut end = steps.len();
        for k in (0..steps.len()).rev() {
            if let Some(next) = steps.get(k + 1) {
                let cut = cuts.get(cuts.partition_point(|c| *c <= steps[k].at)).is_some_and(|c| *c <= next.at);
                // an elided copy has no device of its own
                let bump = matches!(steps[k].kernel, Kernel::Bump);
                let device = if bump && !cut { next.device } else { steps[k].device };
                if cut || device != next.device || steps[k].transfers() || next.transfers() {
                    end = k + 1;
                }
                steps[k].device = device;
            }
            steps[k].stretch = end;
        }
        let mut inputs = Inputs::new(d, &steps, writes);
        let mut runs: Vec<(usize, DeviceRun)> = vec![];
        let mut k = 0;
        while k < steps.len() {
            let end = steps[k].stretch;
            if let (Device::Cuda(i), false) = (steps[k].device, steps[k].transfers()) {
                runs.push((k, DeviceRun::new(i, &steps[k..end], &mut inputs)));
            }
            k = end;
        }
        Exec { steps, runs, inputs, group: Group::default(), in_args: vec![], out_args: vec![] }
    }
    pub fn len(&self) -> usize {
        self.steps.iter().filter(|s| !matches!(s.kernel, Kernel::Bump)).count()
    }
}

/// Launches of one graph, about: with more, nothing is left to gain.
const GROUP_LAUNCHES: usize = 512;
/// Steps of one graph at most.
const GROUP_STEPS: usize = 16;

impl Plan {
    /// How many of the next `steps` steps, which no JavaScript runs, go into one graph; 1: none do.
    pub fn group_size(&self, steps: usize) -> usize {
        let exec = self.exec.borrow();
        let whole = matches!(exec.runs.as_slice(), [(0, run)] if exec.steps[0].stretch == exec.steps.len() && run.is_captured());
        let size = (GROUP_LAUNCHES / exec.len().max(1)).min(GROUP_STEPS).min(steps);
        // few sizes, since each has a graph
        if whole && size > 1 { 1 << size.ilog2() } else { 1 }
    }

    /// Runs the whole plan once for each of `bs`, as many as [`Plan::group_size`] says.
    ///
    /// # Safety
    /// As [`Plan::launch`], for each of them.
    pub unsafe fn launch_group(&self, bs: &[Bindings]) -> std::result::Result<(), (usize, Error)> {
        let Exec { steps, runs, inputs, group, .. } = &mut *self.exec.borrow_mut();
        for e in steps.iter().flat_map(|s| &s.bumps) {
            if let Some(t) = &self.externals[*e as usize].tensor {
                t.bump(bs.len() as i64);
            }
        }
        // SAFETY: as the caller says.
        unsafe { runs[0].1.launch_group(group, steps, self, inputs, bs) }
    }

    /// Runs the entries `from..to`. An error comes with the entry that failed; those before it stand.
    ///
    /// # Safety
    /// The arenas have the plan's sizes, and each slot up to `to` is bound.
    pub unsafe fn launch(&self, from: usize, to: usize, b: &Bindings) -> std::result::Result<(), (usize, Error)> {
        let Exec { steps, runs, inputs, in_args, out_args, .. } = &mut *self.exec.borrow_mut();
        let mut k = steps.partition_point(|s| s.at < from);
        let end = steps.partition_point(|s| s.at < to);
        let bump = |s: &Step| {
            for e in &s.bumps {
                if let Some(t) = &self.externals[*e as usize].tensor {
                    t.bump(1);
                }
            }
        };
        while k < end {
            let stretch = steps[k].stretch.min(end);
            if let (Device::Cuda(_), false) = (steps[k].device, steps[k].transfers()) {
                steps[k..stretch].iter().for_each(bump);
                let whole = runs.binary_search_by_key(&k, |r| r.0).ok().filter(|_| steps[k].stretch == stretch).map(|r| &mut runs[r].1);
                // SAFETY: as below.
                unsafe { DeviceRun::launch(whole, &steps[k..stretch], self, inputs, b)? }
            } else {
                for s in &steps[k..stretch] {
                    bump(s);
                    let fill = |args: &mut Vec<Arg>, operands: &[Operand]| {
                        args.clear();
                        args.extend(operands.iter().map(|o| Arg { ptr: self.address(o, None, b), ..o.arg }));
                    };
                    fill(in_args, &s.ins);
                    fill(out_args, &s.outs);
                    // SAFETY: operands are what shape inference said, in memory that the plan owns or holds.
                    let done = unsafe {
                        match &s.kernel {
                            Kernel::Op(Op::ToDevice(_)) => transfer(&in_args[0], s.ins[0].device, &out_args[0], s.outs[0].device),
                            Kernel::Op(op) => s.span(0, in_args, out_args, || cpu::run(op, b.params, in_args, out_args)),
                            Kernel::Chain(c) => s.span(0, in_args, out_args, || cpu::chain::run_chain(c, b.params, in_args, out_args)),
                            Kernel::Together(parts) => s.span(0, in_args, out_args, || cpu::run_together(parts, b.params, in_args, out_args)),
                            Kernel::Bump => Ok(()),
                        }
                    };
                    done.map_err(|e| (s.at, s.named(e, in_args)))?;
                }
            }
            k = stretch;
        }
        Ok(())
    }

    /// The operand's address now; inputs that change from step to step may have been copied to fixed places.
    pub(super) fn address(&self, o: &Operand, fixed: Option<&Inputs>, b: &Bindings) -> *mut u8 {
        let (start, at) = match o.address {
            Address::Arena(at) => (b.arena(o.device), at),
            Address::External(e, at) => {
                let bound = || self.externals[e as usize].tensor.as_ref().or(b.slots[e as usize].as_ref()).map_or(std::ptr::null_mut(), Tensor::ptr);
                (fixed.and_then(|f| f.external(e)).unwrap_or_else(bound), at)
            }
            Address::Bound(v, at) => {
                let bound = || b.host(v).map_or(std::ptr::null_mut(), |t| t.storage.ptr());
                (fixed.and_then(|f| f.host(v)).unwrap_or_else(bound), at)
            }
        };
        // SAFETY: offsets were computed from layouts inside of their storages.
        if start.is_null() { start } else { unsafe { start.add(at) } }
    }
}

/// Launches one step on `backend`, with its operands' addresses filled in.
///
/// # Safety
/// The addresses are valid for their layouts.
pub(super) unsafe fn run_on(backend: &dyn Backend, s: &Step, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    unsafe {
        match &s.kernel {
            Kernel::Op(op) => backend.run(op, params, ins, outs).map_err(|e| e.in_op(op.name())),
            Kernel::Chain(c) => backend.run_chain(c, params, ins, outs),
            Kernel::Together(parts) => backend.run_together(parts, params, ins, outs),
            Kernel::Bump => Ok(()),
        }
    }
}
