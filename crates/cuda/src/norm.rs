//! Batch normalisation in training mode and its gradient, with what a plan fuses into them (an addend and a relu after, a relu's
//! derivative and a second gradient before). Two passes each way: sums, and the result.
mod form;

use crate::conv::repack;
use crate::counters::{COUNTERS, counters as shared_counters};
use crate::gpu::{Gpu, Scalar, Source, args, type_name};
use cudarc::driver::sys::CUfunction;
use form::{APPLY, Form, Grids, STATS};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{NormMask, Op};

static SOURCE: Source = Source { name: "norm", text: include_str!("kernels/norm.cu") };
const DTYPES: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Every program of this family.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let mut kernels: Vec<String> =
        ["rows_stats", "rows_apply", "planes_stats", "planes_finish", "planes_apply", "planes_back_finish"].map(|k| format!("bn_{k}")).to_vec();
    for mask in ["all", "input", "result"] {
        kernels.extend(["rows_back_sums", "rows_back_apply", "planes_back_sums", "planes_back_apply"].map(|k| format!("bn_{k}_{mask}")));
    }
    let widths = |d: DType| [16 / d.size(), 1];
    DTYPES.into_iter().flat_map(|d| widths(d).map(|w| (&SOURCE, format!("TYPE={} WIDTH={w}", type_name(d)), kernels.clone()))).collect()
}

/// A number a channel, `Param` in `norm.cu`; address 0: none.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Param {
    at: u64,
    stride: u64,
}
impl Param {
    fn of(a: &Arg) -> Param {
        Param { at: a.ptr as u64, stride: a.layout.strides()[0] as u64 }
    }
}
#[repr(C)]
#[derive(Clone, Copy)]
struct Moments {
    mean: Param,
    invstd: Param,
    running_mean: Param,
    running_var: Param,
    eps: Scalar,
    momentum: Scalar,
    n: f64,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct Gradients {
    weight: Param,
    bias: Param,
    invstd: Param,
    /// Two numbers a channel for the second pass.
    back: u64,
    n: f64,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct Back {
    grad: u64,
    grad2: u64,
    x: u64,
    result: u64,
    mean: Param,
    invstd: Param,
    weight: Param,
    bias: Param,
    keep: u64,
}

/// What a call works on: the form of its result, kernels compiled for dtype and width, and how they are launched.
struct Call<'a> {
    gpu: &'a Gpu,
    out: &'a Arg,
    form: Form,
    /// Values that a thread takes at once.
    width: u32,
    grids: Grids,
    /// Bytes for operands that lie in another order than the result.
    copies: usize,
}

impl<'a> Call<'a> {
    fn new(gpu: &'a Gpu, out: &'a Arg, operands: &[&Arg], back: bool) -> Result<Call<'a>> {
        let form = Form::of(&out.layout)?;
        let size = out.dtype.size();
        let full = 16 / size as u32;
        let aligned = operands.iter().chain([&out]).all(|a| (a.ptr as u64).is_multiple_of(16));
        let width = if aligned && form.divides(full) { full } else { 1 };
        let strangers = operands.iter().filter(|a| !a.layout.same_order(&out.layout));
        let copies = strangers.map(|a| (a.numel() * size).next_multiple_of(256)).sum();
        Ok(Call { gpu, out, form, width, grids: Grids::new(gpu, form, width, size, back), copies })
    }

    fn kernel(&self, name: &str) -> Result<CUfunction> {
        let defines = match (self.out.dtype, self.width == 1) {
            (DType::F16, false) => "TYPE=half_t WIDTH=8",
            (DType::F16, true) => "TYPE=half_t WIDTH=1",
            (DType::BF16, false) => "TYPE=bf16_t WIDTH=8",
            (DType::BF16, true) => "TYPE=bf16_t WIDTH=1",
            (DType::F32, false) => "TYPE=float WIDTH=4",
            (DType::F32, true) => "TYPE=float WIDTH=1",
            (DType::F64, false) => "TYPE=double WIDTH=2",
            (DType::F64, true) => "TYPE=double WIDTH=1",
            (other, _) => return Err(Error::not_supported(format!("no kernels for {}", other.name()))),
        };
        self.gpu.kernel(&SOURCE, defines, name)
    }

    /// The values of a channel, as a divisor.
    fn count(&self) -> f64 {
        self.form.count() as f64
    }

    /// Working memory: sums, counters, copies of operands, and `more` bytes.
    fn memory(&self, more: usize) -> Result<Memory> {
        let accumulator = self.out.dtype.accumulator().size();
        let (sums, counters) = (self.grids.sums(self.width, accumulator) * accumulator, self.grids.counters() as usize * size_of::<u32>());
        let pieces = [sums, counters, more].map(|b| b.next_multiple_of(256));
        let mut memory = Memory { next: self.gpu.scratch(pieces.iter().sum::<usize>() + self.copies)?, sums: 0, counters: 0 };
        memory.sums = memory.take(sums);
        let counters = memory.take(counters);
        memory.counters = if self.grids.counters() <= COUNTERS {
            shared_counters(self.gpu)?
        } else {
            self.gpu.memset(counters, 0, self.grids.counters() as usize * size_of::<u32>())?;
            counters
        };
        Ok(memory)
    }

    /// The address of an operand in the result's order: where it is, or of a copy. 0 if there is none.
    fn in_order(&self, a: Option<&Arg>, memory: &mut Memory) -> Result<u64> {
        match a {
            None => Ok(0),
            Some(a) if a.layout.same_order(&self.out.layout) => Ok(a.ptr as u64),
            Some(a) => {
                let at = memory.take(a.numel() * a.dtype.size());
                repack(self.gpu, a.dtype, (a.ptr as u64, &a.layout), (at, &self.out.layout))?;
                Ok(at)
            }
        }
    }
}

/// Working memory, handed out piece by piece.
struct Memory {
    next: u64,
    sums: u64,
    counters: u64,
}
impl Memory {
    fn take(&mut self, bytes: usize) -> u64 {
        let at = self.next;
        self.next += bytes.next_multiple_of(256) as u64;
        at
    }
}

/// Kernels of a gradient without a mask: sums and results of rows, then of planes.
const PLAIN: [&str; 4] = ["bn_rows_back_sums_all", "bn_rows_back_apply_all", "bn_planes_back_sums_all", "bn_planes_back_apply_all"];
/// Threads of a block that joins the sums of planes, one a channel.
const JOIN: u32 = 128;

/// # Safety
/// As [`wick_core::cpu::run`], of device addresses; operands are row-major or channels-last.
pub unsafe fn run(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let done = match op {
        Op::BatchNorm { .. } => forward(gpu, op, params, ins, outs),
        Op::BatchNormGrad { .. } => backward(gpu, op, ins, outs),
        _ => Err(Error::internal("isn't a normalisation")),
    };
    done.map_err(|e| e.in_op(op.name()))
}

fn forward(gpu: &Gpu, op: &Op, params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Op::BatchNorm { eps, momentum, affine, stats, add, relu } = op else { return Err(Error::internal("isn't a batch norm")) };
    let out = &outs[0];
    if out.numel() == 0 {
        return Ok(());
    }
    let mut rest = ins[1..].iter();
    let mut param = |there: bool| if there { rest.next().map(Param::of).unwrap_or_default() } else { Param::default() };
    let (weight, bias) = (param(*affine), param(*affine));
    let (running_mean, running_var) = (param(*stats), param(*stats));
    let addend = if *add { rest.next() } else { None };
    let operands: Vec<&Arg> = [Some(&ins[0]), addend].into_iter().flatten().collect();
    let call = Call::new(gpu, out, &operands, false)?;
    let (mean, invstd) = (Param::of(&outs[1]), Param::of(&outs[2]));
    let (eps, momentum) = (gpu.scalar(eps, params), gpu.scalar(momentum, params));
    let moments = Moments { mean, invstd, running_mean, running_var, eps, momentum, n: call.count() };
    let (relu, y) = (*relu as i32, out.ptr as u64);
    let mut memory = call.memory(0)?;
    let (x, addend) = (call.in_order(Some(&ins[0]), &mut memory)?, call.in_order(addend, &mut memory)?);
    let (parts, counters) = (memory.sums, memory.counters);
    match call.grids {
        Grids::Rows { sums, apply } => {
            gpu.launch(call.kernel("bn_rows_stats")?, sums.grid(), sums.block(), 0, args![x, parts, counters, moments, sums.rows])?;
            let f = call.kernel("bn_rows_apply")?;
            gpu.launch(f, apply.grid(), apply.block(), 0, args![x, addend, y, mean, invstd, weight, bias, relu, apply.rows])
        }
        Grids::Planes { planes, splits, blocks } => {
            let c = planes.c;
            gpu.launch(call.kernel("bn_planes_stats")?, (splits, c, 1), (STATS, 1, 1), 0, args![x, parts, moments, planes])?;
            if splits > 1 {
                let f = call.kernel("bn_planes_finish")?;
                gpu.launch(f, (c.div_ceil(JOIN), 1, 1), (JOIN, 1, 1), 0, args![parts, splits, moments, planes])?;
            }
            let f = call.kernel("bn_planes_apply")?;
            gpu.launch(f, (blocks, c, 1), (APPLY, 1, 1), 0, args![x, addend, y, mean, invstd, weight, bias, relu, planes])
        }
    }
}

fn backward(gpu: &Gpu, op: &Op, ins: &[Arg], outs: &[Arg]) -> Result<()> {
    let Op::BatchNormGrad { affine, mask, sum, keep } = op else { return Err(Error::internal("isn't a batch norm's gradient")) };
    let out = &outs[0];
    if out.numel() == 0 {
        return Ok(());
    }
    let mut rest = ins[2..].iter();
    let mut next = |there: bool| if there { rest.next() } else { None };
    let param = |a: Option<&Arg>| a.map(Param::of).unwrap_or_default();
    let weight = param(next(*affine));
    let (mean, invstd) = (param(next(true)), param(next(true)));
    let bias = param(next(*affine && *mask == NormMask::Input));
    let (result, grad2) = (next(*mask == NormMask::Result), next(*sum));
    let kept = if *keep { outs.get(3) } else { None };
    let operands: Vec<&Arg> = [Some(&ins[0]), Some(&ins[1]), result, grad2].into_iter().flatten().collect();
    if kept.is_some_and(|k| !k.layout.same_order(&out.layout)) {
        return Err(Error::internal("the results lie in different orders"));
    }
    let all: Vec<&Arg> = operands.into_iter().chain(kept).collect();
    let call = Call::new(gpu, out, &all, true)?;
    let [sums_name, apply_name, plane_sums_name, plane_apply_name] = match mask {
        NormMask::None => PLAIN,
        NormMask::Input => ["bn_rows_back_sums_input", "bn_rows_back_apply_input", "bn_planes_back_sums_input", "bn_planes_back_apply_input"],
        NormMask::Result => ["bn_rows_back_sums_result", "bn_rows_back_apply_result", "bn_planes_back_sums_result", "bn_planes_back_apply_result"],
    };
    // The second pass knows one gradient only: a sum is kept for it, if not for anybody else.
    let own = if *sum && kept.is_none() { out.numel() * out.dtype.size() } else { 0 };
    let pair = (2 * outs[1].numel() * out.dtype.accumulator().size()).next_multiple_of(256);
    let mut memory = call.memory(pair + own)?;
    let back = memory.take(pair);
    let keep = match kept {
        Some(k) => k.ptr as u64,
        None if own > 0 => memory.take(own),
        None => 0,
    };
    let mut place = |a: Option<&Arg>| call.in_order(a, &mut memory);
    let (grad, x, result, grad2) = (place(Some(&ins[0]))?, place(Some(&ins[1]))?, place(result)?, place(grad2)?);
    let (parts, counters, dx) = (memory.sums, memory.counters, out.ptr as u64);
    let gradients = Gradients { weight: Param::of(&outs[1]), bias: Param::of(&outs[2]), invstd, back, n: call.count() };
    let first = Back { grad, grad2, x, result, mean, invstd, weight, bias, keep };
    // What was kept is masked already.
    let (second, apply_name, plane_apply_name) =
        if keep == 0 { (first, apply_name, plane_apply_name) } else { (Back { grad: keep, ..first }, PLAIN[1], PLAIN[3]) };
    match call.grids {
        Grids::Rows { sums, apply } => {
            gpu.launch(call.kernel(sums_name)?, sums.grid(), sums.block(), 0, args![first, parts, counters, gradients, sums.rows])?;
            gpu.launch(call.kernel(apply_name)?, apply.grid(), apply.block(), 0, args![second, dx, back, apply.rows])
        }
        Grids::Planes { planes, splits, blocks } => {
            let c = planes.c;
            gpu.launch(call.kernel(plane_sums_name)?, (splits, c, 1), (STATS, 1, 1), 0, args![first, parts, gradients, planes])?;
            if splits > 1 {
                let f = call.kernel("bn_planes_back_finish")?;
                gpu.launch(f, (c.div_ceil(JOIN), 1, 1), (JOIN, 1, 1), 0, args![parts, splits, gradients, planes])?;
            }
            gpu.launch(call.kernel(plane_apply_name)?, (blocks, c, 1), (APPLY, 1, 1), 0, args![second, dx, back, planes])
        }
    }
}
