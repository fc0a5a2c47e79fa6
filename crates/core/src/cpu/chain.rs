//! Fused chains of pointwise ops: a block of each step's result stays in the L1 cache until its users have read it, and only
//! what the plan needs goes to memory. Steps run the kernels of eager mode, so the bits are the same.
use super::Arg;
use super::pointwise::kernel::Kernel;
use super::pointwise::walk::{BLOCK, Operand, SCRATCH, Scratch, Source as Reader, chunks};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Op;
use std::cell::RefCell;

/// Where a step's operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An input of the chain.
    Input(usize),
    /// The result of an earlier step.
    Step(usize),
}

/// One op of a chain: Unary, Binary, Scalar, Clamp, Where, Cast or Dropout.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    pub op: Op,
    pub ins: Vec<Source>,
}

/// Where a step's result goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Nobody needs it.
    Nowhere,
    Scratch(usize),
    Output(usize),
}

/// Steps in an order in which they can run, and those of them whose results are wanted.
#[derive(Debug)]
pub struct Chain {
    steps: Vec<Step>,
    outputs: Vec<usize>,
    inputs: Vec<DType>,
    dtypes: Vec<DType>,
    places: Vec<Place>,
    /// Blocks of scratch for steps; each input has one more.
    blocks: usize,
}

impl Chain {
    /// Checks dtypes and order and plans the scratch. Fails if a step has no kernel for its dtype or reads a later one, or if
    /// an output is named twice.
    pub fn new(steps: Vec<Step>, outputs: Vec<usize>, inputs: &[DType]) -> Result<Chain> {
        let mut dtypes = Vec::with_capacity(steps.len());
        for (s, step) in steps.iter().enumerate() {
            let of = |source: &Source| match source {
                Source::Input(i) => inputs.get(*i).copied(),
                Source::Step(p) => dtypes.get(*p).copied(),
            };
            let ins: Option<Vec<DType>> = step.ins.iter().map(of).collect();
            let ins = ins.ok_or_else(|| Error::internal(format!("step {s} of a chain reads what isn't there yet")))?;
            dtypes.push(step_dtype(&step.op, &ins).map_err(|e| e.in_op(step.op.name()))?);
        }
        let (places, blocks) = place(&steps, &outputs)?;
        Ok(Chain { steps, outputs, inputs: inputs.to_vec(), dtypes, places, blocks })
    }
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
    /// The steps that [`run_chain`]'s `outs` belong to.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }
    /// Dtype of a step's result.
    pub fn dtype(&self, step: usize) -> DType {
        self.dtypes[step]
    }
}

/// Whether the op, on operands of these dtypes, can be a step.
pub fn has_step(op: &Op, ins: &[DType]) -> bool {
    step_dtype(op, ins).is_ok()
}
fn step_dtype(op: &Op, ins: &[DType]) -> Result<DType> {
    if ins.len() != arity(op) || !agree(op, ins) {
        return Err(Error::internal(format!("a step of a chain has operands {ins:?}")));
    }
    Ok(Kernel::new(op, &[], ins)?.out())
}
fn arity(op: &Op) -> usize {
    match op {
        Op::Binary(_) => 2,
        Op::Where => 3,
        _ => 1,
    }
}

fn agree(op: &Op, ins: &[DType]) -> bool {
    match op {
        Op::Binary(_) => ins[0] == ins[1],
        Op::Where => ins[0] == DType::Bool && ins[1] == ins[2],
        _ => true,
    }
}

/// Outputs are written in place; other results share scratch blocks, each free again after its last reader.
fn place(steps: &[Step], outputs: &[usize]) -> Result<(Vec<Place>, usize)> {
    let mut places = vec![Place::Nowhere; steps.len()];
    for (o, s) in outputs.iter().enumerate() {
        match places.get_mut(*s) {
            Some(p @ Place::Nowhere) => *p = Place::Output(o),
            _ => return Err(Error::internal(format!("output {o} of a chain is no step, or named twice"))),
        }
    }
    let mut last_use = vec![None; steps.len()];
    for s in (0..steps.len()).rev() {
        if last_use[s].is_some() || matches!(places[s], Place::Output(_)) {
            for source in &steps[s].ins {
                if let Source::Step(p) = source {
                    last_use[*p].get_or_insert(s);
                }
            }
        }
    }
    let (mut free, mut blocks) = (vec![], 0);
    for s in 0..steps.len() {
        if last_use[s].is_some() && matches!(places[s], Place::Nowhere) {
            places[s] = Place::Scratch(free.pop().unwrap_or_else(|| {
                blocks += 1;
                blocks - 1
            }));
        }
        // Only now: a result must not overlap what it is computed from.
        let mut read: Vec<usize> = steps[s].ins.iter().filter_map(|i| if let Source::Step(p) = i { Some(*p) } else { None }).collect();
        read.sort_unstable();
        read.dedup();
        for p in read {
            if let (Place::Scratch(b), true) = (places[p], last_use[p] == Some(s)) {
                free.push(b);
            }
        }
    }
    Ok((places, blocks))
}

thread_local! {
    static BLOCKS: RefCell<Vec<Scratch>> = const { RefCell::new(vec![]) };
}

#[derive(Clone, Copy)]
struct Output {
    ptr: *mut u8,
    size: usize,
}
// SAFETY: each thread writes its own range of elements.
unsafe impl Sync for Output {}
unsafe impl Send for Output {}

/// Runs a chain; `outs[k]` gets the result of step `chain.outputs()[k]`. All outs have one shape; an input has that shape too
/// (with any strides, 0 where broadcast), or is a contiguous row that repeats over the leading dimensions, or one element.
/// Element numbers for dropout are those of the outs.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run_chain(chain: &Chain, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let numel = outs.first().map_or(0, Arg::numel);
    if numel == 0 {
        return Ok(());
    }
    debug_assert!(ins.iter().map(|a| a.dtype).eq(chain.inputs.iter().copied()));
    let readers: Vec<Reader> = ins.iter().map(|a| Reader::repeated_row(a, numel)).collect();
    let outputs: Vec<Output> = outs.iter().map(|a| Output { ptr: a.ptr, size: a.dtype.size() }).collect();
    let mut kernels = Vec::with_capacity(chain.steps.len());
    for step in &chain.steps {
        let dtypes = step.ins.iter().map(|source| match source {
            Source::Input(i) => chain.inputs[*i],
            Source::Step(p) => chain.dtypes[*p],
        });
        let mut known = [DType::Bool; 3];
        known.iter_mut().zip(dtypes).for_each(|(k, d)| *k = d);
        kernels.push(Kernel::new(&step.op, params, &known[..step.ins.len()]).map_err(|e| e.in_op(step.op.name()))?);
    }
    let work = numel * kernels.iter().map(Kernel::work).sum::<usize>();
    let links: Vec<Link> = chain.steps.iter().zip(&chain.places).map(|(s, p)| Link { name: s.op.name(), ins: &s.ins, place: *p }).collect();
    let needed = readers.len() + chain.blocks;
    chunks(numel, work, |begin, end| {
        BLOCKS.with_borrow_mut(|blocks| {
            if blocks.len() < needed {
                blocks.resize(needed, SCRATCH);
            }
            unsafe { run_chunk(&links, &kernels, &readers, &outputs, blocks, begin, end) }
        })
    })
}

/// What a step's op leaves to know once its kernel is made.
struct Link<'a> {
    name: &'static str,
    ins: &'a [Source],
    place: Place,
}

unsafe fn run_chunk(
    links: &[Link],
    kernels: &[Kernel],
    readers: &[Reader],
    outputs: &[Output],
    blocks: &mut [Scratch],
    begin: usize,
    end: usize,
) -> Result<()> {
    let (packed, scratch) = blocks.split_at_mut(readers.len());
    let none = Operand { ptr: std::ptr::null(), repeated: false };
    let mut inputs = vec![none; readers.len()];
    let mut results = vec![none; links.len()];
    let mut start = begin;
    while start < end {
        let n = readers.iter().fold(BLOCK.min(end - start), |n, r| n.min(r.stretch(start)));
        unsafe {
            for ((input, reader), block) in inputs.iter_mut().zip(readers).zip(packed.iter_mut()) {
                *input = reader.read(start, n, block);
            }
            for (s, (link, kernel)) in links.iter().zip(kernels).enumerate() {
                let out: *mut u8 = match link.place {
                    Place::Nowhere => continue,
                    Place::Scratch(b) => scratch[b].as_mut_ptr().cast(),
                    Place::Output(o) => outputs[o].ptr.add(start * outputs[o].size),
                };
                let mut operands = [none; 3];
                for (operand, source) in operands.iter_mut().zip(link.ins) {
                    *operand = match source {
                        Source::Input(i) => inputs[*i],
                        Source::Step(p) => results[*p],
                    };
                }
                kernel.run(start, n, &operands[..link.ins.len()], out).map_err(|e| e.in_op(link.name))?;
                results[s] = Operand { ptr: out, repeated: false };
            }
        }
        start += n;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pointwise::tests::{Buffer, apply, same};
    use super::*;
    use crate::op::{Binary, Sc, Unary};
    use crate::shape::{Layout, Shape};
    use Source::{Input, Step as At};

    fn step(op: Op, ins: &[Source]) -> Step {
        Step { op, ins: ins.to_vec() }
    }
    fn scalar(op: Binary, value: f64) -> Op {
        Op::Scalar { op, value: Sc::new(value), reversed: false }
    }

    /// Runs the chain, and each step alone on operands of the full shape; every result must agree.
    fn check(steps: Vec<Step>, inputs: &[Buffer], full: &[usize]) {
        let dtypes: Vec<DType> = inputs.iter().map(|b| b.dtype).collect();
        let expanded: Vec<Buffer> = inputs
            .iter()
            .map(|b| {
                let values = b.values();
                Buffer::new(full, b.dtype, |i| values[i % values.len()])
            })
            .collect();
        let last = steps.len() - 1;
        for outputs in [vec![last], (0..=last).rev().collect(), vec![0, last]] {
            let chain = Chain::new(steps.clone(), outputs, &dtypes).unwrap();
            let outs: Vec<Buffer> = chain.outputs().iter().map(|s| Buffer::zeros(full, chain.dtype(*s))).collect();
            let args = |b: &[Buffer]| b.iter().map(Buffer::arg).collect::<Vec<Arg>>();
            unsafe { run_chain(&chain, &[], &args(inputs), &args(&outs)).unwrap() };
            let mut results: Vec<Buffer> = vec![];
            for (s, step) in steps.iter().enumerate() {
                let ins: Vec<&Buffer> = step
                    .ins
                    .iter()
                    .map(|i| match i {
                        Input(i) => &expanded[*i],
                        At(s) => &results[*s],
                    })
                    .collect();
                results.push(apply(&step.op, &ins, chain.dtype(s)));
            }
            for (out, s) in outs.iter().zip(chain.outputs()) {
                same(&out.values(), &results[*s].values(), steps[*s].op.name());
            }
        }
    }

    fn steps() -> Vec<Step> {
        vec![
            step(Op::Binary(Binary::Add), &[Input(0), Input(1)]),
            step(Op::Unary(Unary::Tanh), &[At(0)]),
            step(scalar(Binary::Mul, 0.7), &[At(1)]),
            step(Op::Dropout { p: Sc::new(0.3), seed: Sc::new(9.0), offset: Sc::new(4.0) }, &[At(2)]),
            step(Op::Binary(Binary::Gt), &[At(3), Input(2)]),
            step(Op::Where, &[At(4), At(0), At(3)]),
            step(Op::Clamp { low: Sc::new(-0.5), high: Sc::new(f64::INFINITY) }, &[At(5)]),
            step(Op::Unary(Unary::Exp), &[At(6)]),
            step(Op::Binary(Binary::Div), &[At(7), At(0)]),
            step(scalar(Binary::Pow, 3.0), &[At(8)]),
        ]
    }

    #[test]
    fn same_bits_as_unfused() {
        for (rows, cols) in [(1, 1), (1, 1000), (7, 3), (5, 257), (3, 1024), (129, 517)] {
            for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
                let number = |i: usize| ((i * 7919 + 13) % 1000) as f64 / 200.0 - 2.5;
                let inputs =
                    [Buffer::new(&[rows, cols], dtype, number), Buffer::new(&[cols], dtype, |i| number(i + 77)), Buffer::new(&[], dtype, |_| 0.1)];
                check(steps(), &inputs, &[rows, cols]);
                let mut narrow = steps();
                narrow.push(step(Op::Cast(DType::I32), &[At(5)]));
                narrow.push(step(scalar(Binary::Add, 3.0), &[At(10)]));
                check(narrow, &inputs, &[rows, cols]);
            }
        }
    }

    #[test]
    fn expanded_operands() {
        // A column and a transposed matrix come with the full shape and strides.
        let shape = Shape::new(&[30, 400]);
        let column = Buffer::new(&[30], DType::F32, |i| i as f64).under(Layout::new(shape, &[1, 0], 0));
        let matrix = Buffer::new(&[400, 30], DType::F32, |i| i as f64 * 0.5).under(Layout::new(shape, &[1, 30], 0));
        let chain = Chain::new(vec![step(Op::Binary(Binary::Sub), &[Input(0), Input(1)])], vec![0], &[DType::F32; 2]).unwrap();
        let out = Buffer::zeros(&[30, 400], DType::F32);
        unsafe { run_chain(&chain, &[], &[matrix.arg(), column.arg()], &[out.arg()]).unwrap() };
        same(&out.values(), &apply(&Op::Binary(Binary::Sub), &[&matrix, &column], DType::F32).values(), "expanded");
    }

    #[test]
    fn empty_and_wrong() {
        let none = Buffer::zeros(&[0, 3], DType::F32);
        let chain = Chain::new(steps(), vec![9], &[DType::F32; 3]).unwrap();
        unsafe { run_chain(&chain, &[], &[none.arg(), none.arg(), none.arg()], &[none.arg()]).unwrap() };
        let bad = |steps: Vec<Step>, outputs: Vec<usize>| assert!(Chain::new(steps, outputs, &[DType::F32, DType::I64]).is_err());
        bad(vec![step(Op::Unary(Unary::Exp), &[At(0)])], vec![0]);
        bad(vec![step(Op::Unary(Unary::Exp), &[Input(1)])], vec![0]);
        bad(vec![step(Op::Binary(Binary::Add), &[Input(0), Input(1)])], vec![0]);
        bad(vec![step(Op::Unary(Unary::Exp), &[Input(0)])], vec![0, 0]);
        bad(vec![step(Op::Matmul { mask: false }, &[Input(0)])], vec![0]);
        let chain = Chain::new(vec![step(Op::Binary(Binary::Remainder), &[Input(0), Input(0)])], vec![0], &[DType::I64]).unwrap();
        let zeros = Buffer::zeros(&[5], DType::I64);
        unsafe { run_chain(&chain, &[], &[zeros.arg()], &[none.arg()]).unwrap() };
        let out = Buffer::zeros(&[5], DType::I64);
        let e = unsafe { run_chain(&chain, &[], &[zeros.arg()], &[out.arg()]) }.unwrap_err();
        assert_eq!((e.op, e.message.as_str()), (Some("remainder"), "integer remainder by zero"));
    }

    #[test]
    fn scratch_is_reused() {
        let chain = Chain::new(steps(), vec![9], &[DType::F32; 3]).unwrap();
        assert!(chain.blocks <= 4, "{:?}", chain.places);
    }
}
