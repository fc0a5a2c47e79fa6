//! PyTorch's own numbers (`test/golden`) on the GPU: results of single ops.
use crate::compare::difference;
use crate::fixture::{self, Case, FAMILIES};
use crate::operand::{Image, Placed};
use wick_core::cpu::Arg;
use wick_core::device::{Backend, Device};
use wick_core::dtype::DType;
use wick_core::error::Result;
use wick_core::op::Op;
use wick_core::ops;
use wick_core::shape::{Layout, Shape};
use wick_core::tensor::Meta;

/// Cases whose ops have kernels and need no promotion of dtypes, which is the engine's work.
pub fn cases() -> Vec<(String, Case)> {
    let of = |family: &'static str| fixture::cases(family).into_iter().filter(runs).map(move |c| (format!("{family}: {}", c.name), c));
    FAMILIES.into_iter().flat_map(of).collect()
}

fn runs(case: &Case) -> bool {
    let Some(metas) = views(case).map(|v| metas(case, &v)) else { return false };
    let wanted: Vec<DType> = case.outputs.iter().flatten().map(|a| a.dtype).collect();
    let outs = ops::infer(&case.op, &metas);
    let promoted = matches!(case.op, Op::CopyInto | Op::BinaryInto(_)) && metas.iter().any(|m| m.dtype != metas[0].dtype);
    case.op.has_kernel() && !promoted && outs.is_ok_and(|o| wanted.is_empty() || o.iter().zip(&wanted).all(|(o, w)| o.dtype == *w))
}

/// The layouts of the operands over their bases.
fn views(case: &Case) -> Option<Vec<Layout>> {
    let view = |i: &fixture::Input| i.views.iter().try_fold(Layout::contiguous(Shape::new(&i.base.shape)), |l, v| ops::view::layout(v, &l).ok());
    case.inputs.iter().map(view).collect()
}
fn metas(case: &Case, views: &[Layout]) -> Vec<Meta> {
    case.inputs.iter().zip(views).map(|(i, v)| Meta::new(v.shape, i.base.dtype)).collect()
}

/// Relative L2 error; PyTorch's own numbers in a narrow dtype are rounded too.
fn tolerance(op: &Op, dtype: DType) -> f64 {
    let exact = matches!(op, Op::Contiguous | Op::Cast(_) | Op::Where | Op::Gather { .. } | Op::IndexSelect { .. } | Op::Cat { .. } | Op::CopyInto);
    if exact { 0.0 } else { crate::case::tolerance(dtype) }
}

pub fn check(backend: &dyn Backend, case: &Case) -> Result<Vec<String>> {
    let views = views(case).unwrap_or_default();
    let metas = metas(case, &views);
    let shape = match &case.op {
        Op::CopyInto | Op::BinaryInto(_) => Some(metas[0].shape),
        op if ops::broadcasts(op) => Some(metas.iter().try_fold(Shape::scalar(), |s, m| s.broadcast(&m.shape))?),
        _ => None,
    };
    let inputs = case
        .inputs
        .iter()
        .zip(&views)
        .enumerate()
        .map(|(i, (input, view))| {
            let contiguous = ops::needs_contiguous(&case.op, i, view, Device::Cuda(0));
            Placed::new(backend, Image::viewed(&input.base, view, contiguous))
        })
        .collect::<Result<Vec<_>>>()?;
    let outputs = ops::infer(&case.op, &metas)?
        .iter()
        .map(|m| Placed::new(backend, Image::filled(Layout::contiguous(m.shape), m.dtype, 0xff)))
        .collect::<Result<Vec<_>>>()?;
    let ins: Vec<Arg> = inputs.iter().map(|i| i.arg(shape.as_ref())).collect();
    let outs: Vec<Arg> = outputs.iter().map(|o| o.arg(None)).collect();
    unsafe { backend.run(&case.op, &[], &ins, &outs)? };
    let mut problems = vec![];
    for (i, (out, want)) in outputs.iter().zip(&case.outputs).enumerate() {
        let Some(want) = want else { continue };
        let d = difference(&out.now()?.array(), want, tolerance(&case.op, want.dtype));
        problems.extend(d.map(|d| format!("result {i} {d}")));
    }
    for (i, want) in &case.mutated {
        let base = Image { layout: Layout::contiguous(Shape::new(&want.shape)), ..inputs[*i].now()? };
        problems.extend(difference(&base.array(), want, tolerance(&case.op, want.dtype)).map(|d| format!("operand {i} after it {d}")));
    }
    Ok(problems)
}
