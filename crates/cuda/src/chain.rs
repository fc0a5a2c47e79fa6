//! Fused chains of pointwise ops, and the one program that every pointwise op is: a chain of one step. What a step computes
//! stands in `kernels/pointwise.cu` and `kernels/creation.cu`, how the chain goes through memory in `kernels/chain.cu`; here
//! the steps are written down as the macros of that file, and the same text gives the same compiled kernel. Scalars are
//! arguments. A step rounds as its op does alone, so fusion changes no bit.
mod variants;

use crate::gpu::{Gpu, Source};
use crate::walk::{How, Place, Walk};
use std::fmt::Write;
pub use variants::variants;
use wick_core::cpu::Arg;
use wick_core::cpu::chain::{Chain, Source as Operand};
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{Binary, Op, Random, Sc, Unary};
use wick_core::shape::Shape;

static SOURCE: Source = Source {
    name: "chain",
    text: concat!(include_str!("kernels/pointwise.cu"), include_str!("kernels/creation.cu"), include_str!("kernels/chain.cu")),
};
/// As in `chain.cu`.
const THREADS: usize = 128;

/// Runs a chain; `outs[k]` gets the result of step `chain.outputs()[k]`. All outs have one shape. An input has that shape too,
/// with any strides, or is broadcast to it: a row that repeats over leading dimensions, a channel, one element.
///
/// # Safety
/// Device addresses are valid for their layouts, and outs overlap nothing.
pub unsafe fn run_chain(gpu: &Gpu, chain: &Chain, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Some(first) = outs.first() else { return Ok(()) };
    let mut program = Program::new(first.layout.shape, params);
    ins.iter().for_each(|a| program.input(a));
    for step in chain.steps() {
        program.step(&step.op, &step.ins).map_err(|e| e.in_op(step.op.name()))?;
    }
    for (step, out) in chain.outputs().iter().zip(outs) {
        program.output(*step, out);
    }
    unsafe { program.run(gpu) }
}

/// The tag of a dtype in `pointwise.cu`.
pub fn tag(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "Bool",
        DType::U8 => "U8",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

/// A chain in the making: inputs, then steps, then outputs.
pub struct Program<'a> {
    shape: Shape,
    params: &'a [f64],
    places: Vec<Place>,
    /// Of the inputs, by place.
    inputs: Vec<DType>,
    /// Tags of all places.
    tags: Vec<&'static str>,
    /// Results, by step.
    dtypes: Vec<DType>,
    /// Steps of the outputs.
    outputs: Vec<usize>,
    numbers: Vec<Sc>,
    scalars: String,
    steps: String,
    /// A step needs row-major numbers.
    numbered: bool,
    /// An element costs more than reading it: vectors are not unrolled.
    heavy: bool,
}

impl<'a> Program<'a> {
    /// A chain whose results have `shape`; `params` are a plan's scalars.
    pub fn new(shape: Shape, params: &'a [f64]) -> Program<'a> {
        Program {
            shape,
            params,
            places: Vec::with_capacity(4),
            inputs: Vec::with_capacity(4),
            tags: Vec::with_capacity(4),
            dtypes: vec![],
            outputs: vec![],
            numbers: vec![],
            scalars: String::new(),
            steps: String::with_capacity(64),
            numbered: false,
            heavy: false,
        }
    }

    /// The next input: broadcast to the shape.
    pub fn input(&mut self, arg: &Arg) {
        self.inputs.push(arg.dtype);
        self.place(arg, tag(arg.dtype));
    }
    /// The result of `step` goes to `arg`.
    pub fn output(&mut self, step: usize, arg: &Arg) {
        self.outputs.push(step);
        self.place(arg, tag(arg.dtype));
    }
    fn place(&mut self, arg: &Arg, tag: &'static str) {
        self.places.push(Place::new(arg.ptr as u64, arg.dtype.size(), &arg.layout, &self.shape));
        self.tags.push(tag);
    }

    /// `from` to `to`, both of the shape and of one dtype, bits as they are. Needs no step.
    pub fn copy(&mut self, from: &Arg, to: &Arg) {
        let tag = match to.dtype.size() {
            1 => "U8",
            2 => "B16",
            4 => "I32",
            _ => "I64",
        };
        self.inputs.push(from.dtype);
        self.place(from, tag);
        self.finish_step(to.dtype, format_args!("i0(u,k)"));
        self.outputs.push(0);
        self.place(to, tag);
    }

    /// One element for all.
    pub fn fill(&mut self, value: Sc, dtype: DType) {
        let (s, d) = (self.dtypes.len(), tag(dtype));
        self.scalar(format_args!("SCALAR({s},{d},"), &[value]);
        self.finish_step(dtype, format_args!("c{s}"));
    }

    /// `start + number * step`.
    pub fn arange(&mut self, start: Sc, step: Sc, dtype: DType) {
        let (s, d) = (self.dtypes.len(), tag(dtype));
        self.numbered = true;
        self.scalar(format_args!("RANGE({s},{d},"), &[start, step]);
        self.finish_step(dtype, format_args!("arange<{d}>(first{s},step{s},numbers.first+k*numbers.step)"));
    }

    /// Random numbers of a float dtype.
    pub fn random(&mut self, kind: Random, seed: Sc, offset: Sc, dtype: DType) -> Result<()> {
        if !dtype.is_float() {
            return Err(Error::dtype(format!("{} has no random numbers", dtype.name())));
        }
        let (s, d) = (self.dtypes.len(), tag(dtype));
        (self.numbered, self.heavy) = (true, true);
        self.scalar(format_args!("RANDOM({s},{d},{},", kind == Random::Normal), &[seed, offset]);
        self.finish_step(dtype, format_args!("{d}::round(w{s}[k])"));
        Ok(())
    }

    /// The next step: Unary, Binary, Scalar, Clamp, Where, Cast or Dropout. Returns the result's dtype, or an error if the op has no
    /// kernel for its operands'.
    pub fn step(&mut self, op: &Op, ins: &[Operand]) -> Result<DType> {
        let s = self.dtypes.len();
        let of = |source: &Operand| match source {
            Operand::Input(i) => self.inputs.get(*i).copied(),
            Operand::Step(p) => self.dtypes.get(*p).copied(),
        };
        let dtypes: Vec<DType> = ins.iter().filter_map(of).collect();
        let arity = match op {
            Op::Binary(_) => 2,
            Op::Where => 3,
            _ => 1,
        };
        if ins.len() != arity || dtypes.len() != arity {
            return Err(Error::internal("a pointwise op with the wrong operands"));
        }
        let text = |k: usize| match ins[k] {
            Operand::Input(i) => format!("i{i}(u,k)"),
            Operand::Step(p) => format!("s{p}"),
        };
        let dtype = dtypes[arity - 1];
        let d = tag(dtype);
        let unsupported = || Error::dtype(format!("is not defined for {}", dtype.name()));
        match op {
            Op::Unary(u) if supports_unary(*u, dtype) => {
                self.heavy |= heavy_unary(*u, dtype);
                self.call(u.name(), u.is_predicate(), dtype, &text(0), "");
            }
            Op::Binary(b) if supports_binary(*b, dtype) => self.binary(*b, dtype, &text(0), &text(1)),
            Op::Scalar { op, value, reversed } if supports_binary(*op, dtype) => {
                check_scalar(*op, value.get(self.params), *reversed, dtype)?;
                self.scalar(format_args!("SCALAR({s},{d},"), &[*value]);
                let (x, value) = (text(0), format!("c{s}"));
                if *reversed { self.binary(*op, dtype, &value, &x) } else { self.binary(*op, dtype, &x, &value) }
            }
            Op::Clamp { low, high } if dtype != DType::Bool => {
                self.scalar(format_args!("CLAMP({s},{d},"), &[*low, *high]);
                self.finish_step(dtype, format_args!("op::clamp({},low{s},high{s})", text(0)));
            }
            Op::Where => self.finish_step(dtype, format_args!("op::choose({},{},{})", text(0), text(1), text(2))),
            Op::Cast(to) if *to == dtype => self.finish_step(dtype, format_args!("{}", text(0))),
            Op::Cast(to) => self.finish_step(*to, format_args!("{}::from({})", tag(*to), text(0))),
            Op::Dropout { p, seed, offset } if dtype.is_float() => {
                (self.numbered, self.heavy) = (true, true);
                self.scalar(format_args!("KEEP({s},{d},"), &[*p, *seed, *offset]);
                self.finish_step(dtype, format_args!("{d}::round(k{s}.apply({},w{s}[k]))", text(0)));
            }
            Op::Unary(_) | Op::Binary(_) | Op::Scalar { .. } | Op::Clamp { .. } | Op::Dropout { .. } => return Err(unsupported()),
            _ => return Err(Error::not_supported("is not a pointwise op")),
        }
        Ok(self.dtypes[s])
    }

    fn binary(&mut self, op: Binary, dtype: DType, a: &str, b: &str) {
        self.heavy |= matches!(op, Binary::Pow | Binary::Remainder);
        // Bool adds and multiplies as `or` and `and`.
        let op = match (op, dtype) {
            (Binary::Add, DType::Bool) => Binary::LogicalOr,
            (Binary::Mul, DType::Bool) => Binary::LogicalAnd,
            _ => op,
        };
        self.call(op.name(), op.is_predicate(), dtype, a, b);
    }

    fn call(&mut self, name: &str, predicate: bool, dtype: DType, a: &str, b: &str) {
        let comma = if b.is_empty() { "" } else { "," };
        if predicate {
            self.finish_step(DType::Bool, format_args!("op::{name}({a}{comma}{b})"));
        } else {
            self.finish_step(dtype, format_args!("{}::round(op::{name}({a}{comma}{b}))", tag(dtype)));
        }
    }

    /// Writing to a string can't fail.
    fn finish_step(&mut self, dtype: DType, value: std::fmt::Arguments) {
        let _ = write!(self.steps, "STEP({},{value})", self.dtypes.len());
        self.dtypes.push(dtype);
    }
    fn scalar(&mut self, begin: std::fmt::Arguments, values: &[Sc]) {
        let _ = write!(self.scalars, "{begin}NUMBERS+{})", 2 * self.numbers.len());
        self.numbers.extend_from_slice(values);
    }

    /// The macros of `chain.cu`; no spaces within one.
    fn defines(&self, walk: &Walk, unroll: usize) -> String {
        let inputs = self.inputs.len();
        let mut text = String::with_capacity(256 + self.steps.len() + self.scalars.len());
        let index = if walk.wide { "u64" } else { "u32" };
        let (numbers, space) = (self.places.len(), self.places.len() + 2 * self.numbers.len());
        let words = space + walk.rank * (2 + walk.walks()) + 2;
        let _ = write!(text, "--fmad=false V={} U={unroll} RANK={} WALKS={} INDEX={index} ", walk.vector, walk.rank, walk.walks());
        let _ = write!(text, "WORDS={words} FIRST_OUT={inputs} NUMBERS={numbers} SPACE={space} NEIGHBOURS={} ", walk.neighbours());
        if let Some(slot) = walk.logical {
            let _ = write!(text, "LOGICAL={slot} ");
        }
        let _ = write!(text, "SCALARS={} STEPS={} INPUTS=", self.scalars, self.steps);
        for (k, how) in walk.how.iter().enumerate() {
            if k == inputs {
                text.push_str(" OUTPUTS=");
            }
            let (how, slot) = match how {
                How::Linear => ("LINEAR", 0),
                How::Walk(slot) => ("WALK", *slot),
                How::Spread(slot) => ("SPREAD", *slot),
                How::One => ("ONE", 0),
            };
            let _ = match k.checked_sub(inputs) {
                None => write!(text, "IN({k},{},{how},{slot})", self.tags[k]),
                Some(o) => write!(text, "OUT({o},{},{how},{slot},{})", self.tags[k], self.outputs[o]),
            };
        }
        text
    }

    /// Vectors that a thread has in flight: more than one only where there is work for all, and registers.
    fn unroll(&self, walk: &Walk, sms: u32) -> usize {
        let reads = walk.how[..self.inputs.len()].iter().filter(|h| **h != How::One).count();
        let most = match reads {
            _ if self.heavy || walk.wide => 1,
            0..=2 if walk.rank == 0 => 4,
            0..=4 => 2,
            _ => 1,
        };
        if walk.vectors() >= most * THREADS * 8 * sms as usize { most } else { 1 }
    }

    /// Launches the program.
    ///
    /// # Safety
    /// Device addresses are valid for their layouts; an output overlaps no input, or is the same element for element.
    pub unsafe fn run(&self, gpu: &Gpu) -> Result<()> {
        if self.shape.numel() == 0 {
            return Ok(());
        }
        let walk = Walk::new(&self.shape, &self.places, self.inputs.len(), self.numbered);
        let unroll = self.unroll(&walk, gpu.sms());
        let f = gpu.kernel(&SOURCE, &self.defines(&walk, unroll), "chain")?;
        let mut words: Vec<u64> = Vec::with_capacity(32);
        words.extend(self.places.iter().map(|p| p.ptr));
        for number in &self.numbers {
            let number = gpu.scalar(number, self.params);
            words.extend([number.value.to_bits(), number.param]);
        }
        walk.words(&mut words);
        let blocks = walk.vectors().div_ceil(THREADS * unroll);
        let blocks = u32::try_from(blocks).ok().filter(|b| *b <= i32::MAX as u32);
        let blocks = blocks.ok_or_else(|| Error::not_supported(format!("{} elements are too many for a kernel", walk.numel)))?;
        gpu.launch(f, (blocks, 1, 1), (THREADS as u32, 1, 1), 0, &mut [words.as_mut_ptr().cast()])
    }
}

/// Floats have all, integers what keeps them integers, bool only the predicates.
fn supports_unary(op: Unary, dtype: DType) -> bool {
    use Unary::*;
    op.is_predicate() || dtype.is_float() || dtype != DType::Bool && matches!(op, Neg | Abs | Sign | Relu | Floor | Ceil | Round)
}
/// Bool adds and multiplies as `or` and `and`; integers don't divide.
fn supports_binary(op: Binary, dtype: DType) -> bool {
    match op {
        Binary::Div => dtype.is_float(),
        Binary::Sub | Binary::Pow | Binary::Remainder | Binary::ReluGrad => dtype != DType::Bool,
        _ => true,
    }
}
fn heavy_unary(op: Unary, dtype: DType) -> bool {
    use Unary::*;
    match op {
        Sin | Cos => true,
        Exp | Log | Log1p | Expm1 | Tanh | Sigmoid | Erf => dtype == DType::F64 || matches!(op, Erf | Tanh | Expm1 | Log1p),
        _ => false,
    }
}
/// What the CPU refuses of a scalar, where the host knows its value. Divisors on the device cannot be refused: a remainder by one
/// that is 0 is 0.
fn check_scalar(op: Binary, value: f64, reversed: bool, dtype: DType) -> Result<()> {
    if dtype.is_float() || reversed || value.is_nan() {
        return Ok(());
    }
    let held = match dtype {
        DType::U8 => value as u8 as i64,
        DType::I32 => value as i32 as i64,
        _ => value as i64,
    };
    match op {
        Binary::Pow if value < 0.0 => Err(Error::bad_option("an integer can't be raised to a negative power")),
        Binary::Remainder if held == 0 => Err(Error::bad_option("integer remainder by zero")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::variants::example;
    use super::*;
    use wick_core::shape::Layout;

    #[test]
    fn every_text_once() {
        let texts: Vec<String> = variants().into_iter().map(|v| v.1).collect();
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text), "{text}");
            assert!(text.split(' ').all(|word| word.starts_with("--") || word.contains('=')), "{text}");
        }
        // The largest dtype's has every function.
        let all = &texts[DType::ALL.len() - 1];
        for name in Unary::ALL.map(Unary::name).into_iter().chain(Binary::ALL.map(Binary::name)) {
            assert!(all.contains(&format!("op::{name}(")), "{name}");
        }
    }

    #[test]
    fn dtypes_are_checked() {
        let layout = Layout::contiguous(Shape::new(&[4]));
        let mut p = Program::new(layout.shape, &[]);
        p.input(&example(layout, DType::I32));
        p.input(&example(layout, DType::Bool));
        let scalar = |op, value, reversed| Op::Scalar { op, value: Sc::new(value), reversed };
        let (int, bool) = ([Operand::Input(0)], [Operand::Input(1)]);
        assert!(p.step(&Op::Unary(Unary::Exp), &int).is_err());
        assert!(p.step(&Op::Unary(Unary::Neg), &bool).is_err());
        assert!(p.step(&scalar(Binary::Div, 2.0, false), &int).is_err());
        assert!(p.step(&scalar(Binary::Pow, -1.0, false), &int).is_err());
        assert!(p.step(&scalar(Binary::Remainder, 0.5, false), &int).is_err());
        assert!(p.step(&Op::Matmul { mask: false }, &int).is_err());
        assert!(p.step(&Op::Where, &int).is_err());
        assert_eq!(p.step(&scalar(Binary::Lt, 2.0, true), &int).unwrap(), DType::Bool);
        assert_eq!(p.step(&Op::Cast(DType::F16), &[Operand::Step(0)]).unwrap(), DType::F16);
        assert_eq!(p.steps, "STEP(0,op::lt(c0,i0(u,k)))STEP(1,F16::from(s0))");
        // Steps that failed left nothing behind.
        assert_eq!(p.dtypes.len(), 2);
    }
}
