//! Every op against PyTorch: results, what it writes in place, and gradients.
mod common;

use common::array::Array;
use common::fixture::{Case, cases};
use common::operand::Operands;
use common::tolerance::{difference, gradient_tolerance, tolerance};
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;

/// Checks results and writes; returns what to differentiate.
fn forward(engine: &mut Engine, case: &Case, problems: &mut Vec<String>) -> Result<(Operands, Handle)> {
    let operands = Operands::upload(engine, case)?;
    let outs = engine.call(case.op.clone(), &operands.handles)?;
    if outs.len() != case.outputs.len() {
        problems.push(format!("{} results, not {}", outs.len(), case.outputs.len()));
    }
    for (i, (out, want)) in outs.iter().zip(&case.outputs).enumerate() {
        let got = Array::read(engine, *out)?;
        if let Some(d) = want.as_ref().and_then(|w| difference(&got, w, tolerance(&case.op, w.dtype))) {
            problems.push(format!("result {i} {d}"));
        }
    }
    for (i, want) in &case.mutated {
        let got = Array::read(engine, operands.bases[*i])?;
        if let Some(d) = difference(&got, want, tolerance(&case.op, want.dtype)) {
            problems.push(format!("operand {i} after it {d}"));
        }
    }
    Ok((operands, outs[0]))
}

/// PyTorch's gradient, where a missing one is 0.
fn same_gradient(case: &Case, input: usize, got: Option<Array>) -> Option<String> {
    let base = &case.inputs[input].base;
    let zeros = || Array::from_f64s(base.dtype, &base.shape, &vec![0.0; base.numel()]);
    let want = case.grads[input].clone().unwrap_or_else(zeros);
    difference(&got.unwrap_or_else(zeros), &want, gradient_tolerance(&case.op, want.dtype)).map(|d| format!("gradient {input} {d}"))
}

fn gradients(engine: &mut Engine, case: &Case, operands: &Operands, out: Handle, problems: &mut Vec<String>) -> Result<()> {
    let Some(upstream) = &case.upstream else { return Ok(()) };
    let g = upstream.upload(engine)?;
    let got = engine.grad(&[out], &[Some(g)], &operands.wanted(), true, false, true)?;
    let inputs: Vec<usize> = (0..case.inputs.len()).filter(|i| operands.leaves[*i].is_some()).collect();
    let mut by_grad = vec![];
    for (i, handle) in inputs.iter().zip(got) {
        let array = handle.map(|h| Array::read(engine, h)).transpose()?;
        problems.extend(same_gradient(case, *i, array.clone()));
        by_grad.push(array);
    }
    // `backward` is another way through the tape to the same numbers.
    engine.backward(out, Some(g), false, false)?;
    for (i, before) in inputs.iter().zip(by_grad) {
        let leaf = operands.leaves[*i].expect("a leaf");
        let now = engine.grad_of(leaf)?.map(|h| Array::read(engine, h)).transpose()?;
        if now.as_ref().map(|a| &a.bytes) != before.as_ref().map(|a| &a.bytes) {
            problems.push(format!("gradient {i} by backward differs from that by grad"));
        }
    }
    Ok(())
}

fn check(family: &str) {
    let mut report = vec![];
    let cases = cases(family);
    for case in &cases {
        let mut problems = vec![];
        let mut engine = Engine::new();
        let run = forward(&mut engine, case, &mut problems).and_then(|(operands, out)| gradients(&mut engine, case, &operands, out, &mut problems));
        problems.extend(run.err().map(|e| format!("fails: {e}")));
        report.extend(problems.into_iter().map(|p| format!("{}: {p}", case.name)));
    }
    assert!(report.is_empty(), "{} problems in {} cases of {family}:\n{}", report.len(), cases.len(), report.join("\n"));
}

#[test]
fn pointwise() {
    check("pointwise");
}
#[test]
fn reduce() {
    check("reduce");
}
#[test]
fn views() {
    check("views");
}
#[test]
fn indexing() {
    check("indexing");
}
#[test]
fn linalg() {
    check("linalg");
}
#[test]
fn conv() {
    check("conv");
}
#[test]
fn loss() {
    check("loss");
}
#[test]
fn inplace() {
    check("inplace");
}
