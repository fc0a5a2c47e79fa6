//! Running a plan.
use super::build::{Draft, Plan, Root};
use super::fuse::{Instruction, Kernel, Out};
use super::record::In;
use crate::cpu::{self, Arg};
use crate::error::Error;
use crate::ops;
use crate::shape::Layout;
use crate::tensor::Tensor;

/// Where an operand's address comes from.
#[derive(Clone, Copy)]
enum Address {
    Arena(usize),
    /// External number, bytes from the tensor's own start.
    External(u32, usize),
    Bound(u32, usize),
}

struct Operand {
    address: Address,
    arg: Arg,
}
struct Step {
    at: usize,
    kernel: Kernel,
    ins: Vec<Operand>,
    outs: Vec<Operand>,
    bumps: Vec<u32>,
}

/// Instructions with their operands worked out. Only addresses are filled in at a launch.
pub struct Exec {
    steps: Vec<Step>,
    in_args: Vec<Arg>,
    out_args: Vec<Arg>,
}

/// What a launch takes from the window.
pub struct Bindings<'a> {
    pub slots: &'a [Option<Tensor>],
    pub host: &'a [(u32, Tensor)],
    pub params: &'a [f64],
}

impl Exec {
    pub fn new(d: &Draft, instructions: Vec<Instruction>, place: &[Option<usize>]) -> Exec {
        let operand = |root: Root, layout: Layout, dtype: crate::dtype::DType| {
            let base = if let Root::External(e) = root { d.externals[e as usize].id.layout.offset } else { 0 };
            let offset = (layout.offset - base) * dtype.size();
            let address = match root {
                Root::Arena(r) => Address::Arena(place[r as usize].unwrap_or(0) + offset),
                Root::External(e) => Address::External(e, offset),
                Root::Bound(v) => Address::Bound(v, offset),
            };
            Operand { address, arg: Arg { ptr: std::ptr::null_mut(), layout: Layout { offset: 0, ..layout }, dtype } }
        };
        let value = |v: u32| operand(d.roots[v as usize], d.values[v as usize].layout, d.values[v as usize].dtype);
        let external = |e: u32| operand(Root::External(e), d.externals[e as usize].id.layout, d.externals[e as usize].id.dtype);
        let steps = instructions
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
                Step { at: i.at, kernel: i.kernel, ins, outs, bumps: i.bumps }
            })
            .collect();
        Exec { steps, in_args: vec![], out_args: vec![] }
    }
    pub fn len(&self) -> usize {
        self.steps.iter().filter(|s| !matches!(s.kernel, Kernel::Bump)).count()
    }
}

impl Plan {
    /// Runs the entries `from..to` in the arena at `arena`. An error comes with the entry that failed; those before it stand.
    ///
    /// # Safety
    /// The arena has `arena_bytes` bytes, and each slot up to `to` is bound.
    pub unsafe fn launch(&self, from: usize, to: usize, arena: *mut u8, b: &Bindings) -> std::result::Result<(), (usize, Error)> {
        let exec = &mut *self.exec.borrow_mut();
        let start = exec.steps.partition_point(|s| s.at < from);
        let address = |o: &Operand| -> *mut u8 {
            // SAFETY: offsets were computed from layouts inside of their storages.
            unsafe {
                match o.address {
                    Address::Arena(at) => arena.add(at),
                    Address::External(e, at) => match (&self.externals[e as usize].tensor, &b.slots[e as usize]) {
                        (Some(t), _) | (None, Some(t)) => t.ptr().add(at),
                        (None, None) => std::ptr::null_mut(),
                    },
                    Address::Bound(v, at) => b.host.iter().find(|h| h.0 == v).map_or(std::ptr::null_mut(), |h| h.1.ptr().add(at)),
                }
            }
        };
        let fill = |args: &mut Vec<Arg>, operands: &[Operand]| {
            args.clear();
            args.extend(operands.iter().map(|o| Arg { ptr: address(o), ..o.arg }));
        };
        for s in &exec.steps[start..] {
            if s.at >= to {
                break;
            }
            for e in &s.bumps {
                if let Some(t) = &self.externals[*e as usize].tensor {
                    t.bump(1);
                }
            }
            fill(&mut exec.in_args, &s.ins);
            fill(&mut exec.out_args, &s.outs);
            // SAFETY: operands are what shape inference said, in memory that the plan owns or holds.
            let done = unsafe {
                match &s.kernel {
                    Kernel::Op(op) => cpu::run(op, b.params, &exec.in_args, &exec.out_args),
                    Kernel::Chain(c) => cpu::chain::run_chain(c, b.params, &exec.in_args, &exec.out_args),
                    Kernel::Bump => Ok(()),
                }
            };
            done.map_err(|e| (s.at, e))?;
        }
        Ok(())
    }
}
