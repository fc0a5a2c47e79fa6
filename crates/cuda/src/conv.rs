//! 2-d convolution: its result and both gradients, by cuDNN ([`crate::dnn`]). What is here brings operands into the layout
//! that a convolution is fast in, and results back: see [`Side`].
mod repack;
mod side;

pub(crate) use repack::repack;

use crate::dnn::{Dnn, Found, Kind, Problem};
use crate::gpu::{Gpu, Source, args, type_name};
use side::{Inner, Side};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Code, Error, Result};
use wick_core::op::{self, Op};

static SOURCE: Source = Source { name: "conv", text: include_str!("kernels/conv.cu") };
const DTYPES: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
/// Threads of a block in every kernel of this family.
const BLOCK: u32 = 256;

/// Every program of this family.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let kernels = ["repack", "transpose", "pad_pixels", "fold_pixels", "filter_in", "filter_out", "bias", "bias_one"];
    DTYPES.iter().map(|d| (&SOURCE, format!("TYPE={}", type_name(*d)), kernels.map(String::from).to_vec())).collect()
}

/// The defines of a dtype, without an allocation.
fn defines(dtype: DType) -> Result<&'static str> {
    Ok(match dtype {
        DType::F16 => "TYPE=half_t",
        DType::BF16 => "TYPE=bf16_t",
        DType::F32 => "TYPE=float",
        DType::F64 => "TYPE=double",
        other => return Err(Error::not_supported(format!("no kernels for {}", other.name()))),
    })
}
fn kernel(gpu: &Gpu, dtype: DType, name: &str) -> Result<cudarc::driver::sys::CUfunction> {
    gpu.kernel(&SOURCE, defines(dtype)?, name)
}
/// Blocks that give each of `n` elements a thread. Kernels count in 32 bits.
fn blocks(n: usize) -> Result<(u32, u32, u32)> {
    if n > u32::MAX as usize {
        return Err(Error::not_supported(format!("an operand of {n} elements is too large for a convolution")));
    }
    Ok(((n as u32).div_ceil(BLOCK), 1, 1))
}

/// One of the three products, with its operands in the same places whatever is computed.
struct Call<'a> {
    kind: Kind,
    geometry: &'a op::Conv2d,
    x: &'a Arg,
    weight: &'a Arg,
    y: &'a Arg,
    bias: Option<&'a Arg>,
}

impl<'a> Call<'a> {
    fn of(op: &'a Op, ins: &'a [Arg], outs: &'a [Arg]) -> Result<Call<'a>> {
        Ok(match op {
            Op::Conv2d { geometry, bias } => {
                Call { kind: Kind::Forward, geometry, x: &ins[0], weight: &ins[1], y: &outs[0], bias: bias.then(|| &ins[2]) }
            }
            Op::Conv2dGradInput { geometry, .. } => Call { kind: Kind::GradInput, geometry, x: &outs[0], weight: &ins[1], y: &ins[0], bias: None },
            Op::Conv2dGradWeight { geometry, .. } => Call { kind: Kind::GradWeight, geometry, x: &ins[1], weight: &outs[0], y: &ins[0], bias: None },
            _ => return Err(Error::internal("isn't a convolution")),
        })
    }

    /// The operands in the order of a problem, and whether each is the result.
    fn operands(&self) -> [(&'a Arg, bool); 3] {
        let result = match self.kind {
            Kind::GradInput => 0,
            Kind::GradWeight => 1,
            Kind::Forward => 2,
        };
        let all = [self.x, self.weight, self.y];
        std::array::from_fn(|i| (all[i], i == result))
    }

    fn problem(&self, gpu: &Gpu, inner: &Inner) -> Problem {
        let sizes = |a: &Arg| [0, 1, 2, 3].map(|d| a.layout.shape[d]);
        let problem = Problem {
            kind: self.kind,
            dtype: self.x.dtype,
            x: sizes(self.x),
            weight: sizes(self.weight),
            y: sizes(self.y),
            channels_last: inner.channels_last,
            stride: self.geometry.stride,
            padding: self.geometry.padding,
            dilation: self.geometry.dilation,
            tf32: gpu.tf32(),
            deterministic: gpu.deterministic(),
        };
        inner.adapt(problem)
    }

    /// Brings the operands in, runs the problem and brings the result out.
    fn attempt(&self, gpu: &Gpu, dnn: &Dnn, problem: &Problem, inner: &Inner, found: Found) -> Result<()> {
        let sizes = [problem.x, problem.weight, problem.y];
        let operands = self.operands();
        let sides: [Side; 3] = std::array::from_fn(|i| Side::new(operands[i].0, i, sizes[i], inner));
        let staged: usize = sides.iter().map(Side::bytes).sum();
        let scratch = gpu.scratch(staged + found.workspace())?;
        let mut at = scratch;
        let mut pointers = [0; 3];
        for (side, pointer) in sides.iter().zip(&mut pointers) {
            *pointer = side.place(at);
            at += side.bytes() as u64;
        }
        for ((side, pointer), (_, is_result)) in sides.iter().zip(pointers).zip(operands) {
            if !is_result {
                side.bring_in(gpu, pointer)?;
            }
        }
        dnn.run(gpu, problem, found, pointers, at)?;
        for ((side, pointer), (_, is_result)) in sides.iter().zip(pointers).zip(operands) {
            if is_result {
                side.bring_out(gpu, pointer)?;
            }
        }
        Ok(())
    }

    fn add_bias(&self, gpu: &Gpu, bias: &Arg) -> Result<()> {
        let shape = &self.y.layout.shape;
        let channels_last = self.y.layout.is_channels_last();
        let (y, bias) = (self.y.ptr as u64, bias.ptr as u64);
        let (numel, channels) = (shape.numel() as u64, shape[1] as u32);
        let inner = if channels_last { 1 } else { (shape[2] * shape[3]) as u32 };
        let width = 16 / self.y.dtype.size() as u32;
        let aligned = y.is_multiple_of(16) && (if channels_last { channels } else { inner }).is_multiple_of(width);
        let (name, threads) = if aligned { ("bias", numel / width as u64) } else { ("bias_one", numel) };
        let f = kernel(gpu, self.y.dtype, name)?;
        gpu.launch(f, blocks(threads as usize)?, (BLOCK, 1, 1), 0, args![y, bias, numel, channels, inner])
    }
}

/// # Safety
/// As [`wick_core::cpu::run`], of device addresses; operands are row-major or channels-last.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let call = Call::of(op, ins, outs)?;
    convolve(gpu, &call).map_err(|e| e.in_op(op.name()))
}

fn convolve(gpu: &Gpu, call: &Call) -> Result<()> {
    let operands = call.operands();
    for (result, _) in operands.iter().filter(|o| o.1) {
        if result.numel() == 0 {
            return Ok(());
        }
        if operands.iter().any(|(a, _)| a.numel() == 0) {
            // A sum of nothing.
            gpu.memset(result.ptr as u64, 0, result.numel() * result.dtype.size())?;
            return call.bias.map_or(Ok(()), |bias| call.add_bias(gpu, bias));
        }
    }
    let inner = Inner::of(call.kind, call.geometry, call.x, call.weight, call.y);
    let problem = call.problem(gpu, &inner);
    let dnn = Dnn::of(gpu)?;
    let found = dnn.find(gpu, &problem)?;
    let chosen = found.is_chosen();
    match call.attempt(gpu, &dnn, &problem, &inner, found) {
        // What was chosen on another day may be refused today: then one of today's.
        Err(e) if chosen && e.code == Code::Cuda => {
            let candidates = dnn.candidates(gpu, &problem)?;
            call.attempt(gpu, &dnn, &problem, &inner, candidates)?;
        }
        r => r?,
    }
    call.bias.map_or(Ok(()), |bias| call.add_bias(gpu, bias))
}
