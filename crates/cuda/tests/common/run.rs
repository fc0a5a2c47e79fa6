//! Runs a case: the reference on the CPU, the op on the GPU, a replay of it from a graph.
use crate::array::Array;
use crate::case::{Case, Lay, Reference, Work, tolerance};
use crate::compare::difference;
use crate::operand::{Generator, Image, OnHost, Placed, layout};
use wick_core::cpu;
use wick_core::cpu::Arg;
use wick_core::cpu::chain::{Chain, Source, Step};
use wick_core::device::{Backend, Device, DeviceOption};
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::op::Op;
use wick_core::ops;
use wick_core::shape::{Layout, Shape};
use wick_core::tensor::Meta;

/// What is wrong with a case: nothing if the list is empty.
pub fn check(backend: &dyn Backend, case: &Case) -> Result<Vec<String>> {
    backend.set_option(DeviceOption::Tf32, case.tf32);
    backend.set_option(DeviceOption::Deterministic, case.deterministic);
    let mut problems = vec![];
    let images: Vec<Image> =
        (0..case.inputs.len()).map(|i| Image::of(&case.inputs[i], lay_of(case, i), &mut Generator::new(&case.name, i))).collect();
    let metas: Vec<Meta> = case.inputs.iter().map(|i| Meta::new(Shape::new(&i.shape), i.dtype)).collect();
    let shape = broadcast(case, &metas)?;
    let expected = reference(case, &images, &metas, shape.as_ref())?;

    let inputs = images.iter().map(|i| Placed::new(backend, i.clone())).collect::<Result<Vec<_>>>()?;
    let outputs = results(&case.work, &metas)?
        .iter()
        .map(|m| Placed::new(backend, Image::filled(output_layout(case.outputs, &m.shape), m.dtype, 0xff)))
        .collect::<Result<Vec<_>>>()?;
    let gpu = Run { backend, work: &case.work, shape, inputs, outputs };

    gpu.restore()?;
    unsafe { gpu.launch(&case.work, &[])? };
    let eager = gpu.read()?;
    problems.extend(gpu.untouched(&eager));
    for (i, (got, want)) in eager.outputs.iter().zip(&expected.outputs).enumerate() {
        problems.extend(compare(case, &got.array(), want).map(|d| format!("result {i} {d}")));
    }
    for (i, want) in &expected.written {
        problems.extend(compare(case, &eager.inputs[*i].array(), want).map(|d| format!("operand {i}, which is written, {d}")));
    }
    if let Work::Chain(steps, wanted) = &case.work {
        problems.extend(gpu.unfused(steps, wanted, &eager)?);
    }
    if case.graph && problems.is_empty() {
        problems.extend(gpu.replayed(&eager, case)?);
    }
    Ok(problems)
}

fn compare(case: &Case, got: &Array, want: &Array) -> Option<String> {
    let factor = if case.reference == Reference::Exact { 0.0 } else { case.tolerance };
    difference(got, want, tolerance(got.dtype) * factor)
}

/// An input's layout: what the case says, unless the engine would make the operand row-major.
fn lay_of(case: &Case, i: usize) -> Lay {
    let input = &case.inputs[i];
    let l = layout(input.lay, &Shape::new(&input.shape));
    match &case.work {
        Work::Op(op) if ops::needs_contiguous(op, i, &Layout::new(l.shape, l.strides(), 0), Device::Cuda(0)) => Lay::Contiguous,
        _ => input.lay,
    }
}

fn output_layout(lay: Lay, shape: &Shape) -> Layout {
    match lay {
        Lay::ChannelsLast if shape.rank() == 4 => layout(lay, shape),
        Lay::Offset => layout(lay, shape),
        _ => Layout::contiguous(*shape),
    }
}

/// The shape that operands are broadcast to, if the work does so.
fn broadcast(case: &Case, metas: &[Meta]) -> Result<Option<Shape>> {
    match &case.work {
        Work::Op(Op::CopyInto | Op::BinaryInto(_)) => Ok(Some(metas[0].shape)),
        Work::Op(op) if !ops::broadcasts(op) => Ok(None),
        _ => metas.iter().try_fold(Shape::scalar(), |s, m| s.broadcast(&m.shape)).map(Some),
    }
}

/// What the work gives.
fn results(work: &Work, metas: &[Meta]) -> Result<Vec<Meta>> {
    match work {
        Work::Op(op) => ops::infer(op, metas),
        Work::Chain(steps, wanted) => {
            let shape = metas.iter().try_fold(Shape::scalar(), |s, m| s.broadcast(&m.shape))?;
            let chain = Chain::new(steps.clone(), wanted.clone(), &dtypes(metas))?;
            Ok(wanted.iter().map(|s| Meta::new(shape, chain.dtype(*s))).collect())
        }
    }
}

fn dtypes(metas: &[Meta]) -> Vec<DType> {
    metas.iter().map(|m| m.dtype).collect()
}
fn written(work: &Work) -> u32 {
    match work {
        Work::Op(op) => op.writes(),
        Work::Chain(..) => 0,
    }
}

struct Expected {
    outputs: Vec<Array>,
    /// Operands that the op writes, after it.
    written: Vec<(usize, Array)>,
}

/// The CPU's results, in float64 or in the case's own dtypes.
fn reference(case: &Case, images: &[Image], metas: &[Meta], shape: Option<&Shape>) -> Result<Expected> {
    let widen = case.reference == Reference::Wide;
    let wide = |d: DType| if widen && d.is_float() { DType::F64 } else { d };
    let metas: Vec<Meta> = metas.iter().map(|m| Meta::new(m.shape, wide(m.dtype))).collect();
    let work = match &case.work {
        Work::Op(op) => Work::Op(with_dtype(op, wide)),
        Work::Chain(steps, wanted) => {
            Work::Chain(steps.iter().map(|s| Step { op: with_dtype(&s.op, wide), ins: s.ins.clone() }).collect(), wanted.clone())
        }
    };
    let mut ins: Vec<OnHost> = images.iter().map(|i| if widen { OnHost::new(&i.array().widened()) } else { OnHost::new(&i.array()) }).collect();
    let mut outs: Vec<OnHost> = results(&work, &metas)?.iter().map(|m| OnHost::zeros(m.shape, m.dtype)).collect();
    let in_args: Vec<Arg> = ins.iter_mut().map(|i| i.arg(shape)).collect();
    let out_args: Vec<Arg> = outs.iter_mut().map(|o| o.arg(None)).collect();
    match &work {
        Work::Op(op) => unsafe { cpu::run(op, &[], &in_args, &out_args)? },
        Work::Chain(steps, wanted) => unsafe {
            cpu::chain::run_chain(&Chain::new(steps.clone(), wanted.clone(), &dtypes(&metas))?, &[], &in_args, &out_args)?
        },
    }
    let mask = written(&work);
    let written = ins.iter_mut().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(i, h)| (i, h.array())).collect();
    Ok(Expected { outputs: outs.iter_mut().map(OnHost::array).collect(), written })
}

/// The op with other dtypes in its attributes.
fn with_dtype(op: &Op, wide: impl Fn(DType) -> DType) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Cast(dtype) | Op::Fill { dtype, .. } | Op::Arange { dtype, .. } | Op::Random { dtype, .. } => *dtype = wide(*dtype),
        _ => {}
    }
    op
}

/// Memory after a run.
struct Memory {
    inputs: Vec<Image>,
    outputs: Vec<Image>,
}

struct Run<'a> {
    backend: &'a dyn Backend,
    work: &'a Work,
    /// What operands are broadcast to.
    shape: Option<Shape>,
    inputs: Vec<Placed<'a>>,
    outputs: Vec<Placed<'a>>,
}

impl Run<'_> {
    fn restore(&self) -> Result<()> {
        self.inputs.iter().chain(&self.outputs).try_for_each(Placed::restore)
    }
    fn read(&self) -> Result<Memory> {
        let read = |placed: &[Placed]| placed.iter().map(Placed::now).collect::<Result<Vec<_>>>();
        Ok(Memory { inputs: read(&self.inputs)?, outputs: read(&self.outputs)? })
    }
    fn args(&self) -> (Vec<Arg>, Vec<Arg>) {
        (self.inputs.iter().map(|i| i.arg(self.shape.as_ref())).collect(), self.outputs.iter().map(|o| o.arg(None)).collect())
    }
    unsafe fn launch(&self, work: &Work, params: &[f64]) -> Result<()> {
        let (ins, outs) = self.args();
        match work {
            Work::Op(op) => unsafe { self.backend.run(op, params, &ins, &outs) },
            Work::Chain(steps, wanted) => {
                let dtypes: Vec<DType> = ins.iter().map(|a| a.dtype).collect();
                unsafe { self.backend.run_chain(&Chain::new(steps.clone(), wanted.clone(), &dtypes)?, params, &ins, &outs) }
            }
        }
    }

    /// Inputs that aren't written must be as before, and so must all memory around elements.
    fn untouched(&self, now: &Memory) -> Vec<String> {
        let mut problems = vec![];
        let mask = written(self.work);
        for (i, (input, now)) in self.inputs.iter().zip(&now.inputs).enumerate() {
            if mask >> i & 1 == 1 && !now.same_around(&input.image) {
                problems.push(format!("memory around operand {i} was written"));
            } else if mask >> i & 1 == 0 && now.bytes != input.image.bytes {
                problems.push(format!("operand {i} was written"));
            }
        }
        let around = self.outputs.iter().zip(&now.outputs).enumerate().filter(|(_, (o, now))| !now.same_around(&o.image));
        problems.extend(around.map(|(i, _)| format!("memory around result {i} was written")));
        problems
    }

    /// A chain's ops one by one must give the same bits.
    fn unfused(&self, steps: &[Step], wanted: &[usize], fused: &Memory) -> Result<Vec<String>> {
        let (ins, _) = self.args();
        let dtypes: Vec<DType> = ins.iter().map(|a| a.dtype).collect();
        let chain = Chain::new(steps.to_vec(), wanted.to_vec(), &dtypes)?;
        let dense = Layout::contiguous(self.shape.unwrap_or(Shape::scalar()));
        let results = (0..steps.len()).map(|s| Placed::new(self.backend, Image::filled(dense, chain.dtype(s), 0xff))).collect::<Result<Vec<_>>>()?;
        self.restore()?;
        for (step, result) in steps.iter().zip(&results) {
            let operand = |source: &Source| match source {
                Source::Input(i) => ins[*i],
                Source::Step(s) => results[*s].arg(None),
            };
            let operands: Vec<Arg> = step.ins.iter().map(operand).collect();
            unsafe { self.backend.run(&step.op, &[], &operands, &[result.arg(None)])? };
        }
        let mut problems = vec![];
        for (o, s) in wanted.iter().enumerate() {
            let d = difference(&fused.outputs[o].array(), &results[*s].now()?.array(), 0.0);
            problems.extend(d.map(|d| format!("result {o}, against its ops one by one, {d}")));
        }
        Ok(problems)
    }

    /// Captured with its scalars in device memory, launched twice: the bits of the eager run. The host's scalars are no numbers
    /// then, so an op that looks at them is found out.
    /// The op's launches in a graph, run twice, against the eager run: the same bits, but for sums that may be in any order.
    fn replayed(&self, eager: &Memory, case: &Case) -> Result<Vec<String>> {
        let (work, values) = bound(self.work);
        let nothing = vec![f64::NAN; values.len()];
        let buffer = self.backend.allocate((values.len() * 8).max(8))?;
        let changed: Vec<(u32, f64)> = values.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
        self.backend.set_params(buffer.as_ptr(), &changed)?;
        self.backend.begin_capture()?;
        self.backend.use_params(buffer.as_ptr());
        let launched = unsafe { self.launch(&work, &nothing) };
        self.backend.use_params(std::ptr::null_mut());
        let graph = self.backend.end_capture();
        launched?;
        let graph = graph?;
        let mut problems = vec![];
        for turn in 1..=2 {
            self.restore()?;
            graph.launch()?;
            let now = self.read()?;
            problems.extend(self.untouched(&now).into_iter().map(|p| format!("replay {turn}: {p}")));
            for (what, now, eager) in [("result", &now.outputs, &eager.outputs), ("operand", &now.inputs, &eager.inputs)] {
                for (i, (now, eager)) in now.iter().zip(eager).enumerate().filter(|(_, (a, b))| a.bytes != b.bytes) {
                    let d = if case.any_order() {
                        compare(case, &now.array(), &eager.array())
                    } else {
                        Some(difference(&now.array(), &eager.array(), 0.0).unwrap_or("differs in which NaN it holds".into()))
                    };
                    problems.extend(d.map(|d| format!("replay {turn}: {what} {i}, against the eager run, {d}")));
                }
            }
        }
        drop(graph);
        self.backend.release(buffer, (values.len() * 8).max(8));
        Ok(problems)
    }
}

/// The work with its scalars as a plan's parameters, and their values.
fn bound(work: &Work) -> (Work, Vec<f64>) {
    let mut values = vec![];
    let mut bind = |op: &Op| {
        let mut op = op.clone();
        for s in op.scalars_mut() {
            values.push(s.get(&[]));
            s.bind(values.len() - 1);
        }
        op
    };
    let work = match work {
        Work::Op(op) => Work::Op(bind(op)),
        Work::Chain(steps, wanted) => Work::Chain(steps.iter().map(|s| Step { op: bind(&s.op), ins: s.ins.clone() }).collect(), wanted.clone()),
    };
    (work, values)
}
