//! Every derivative by central differences in float64, on the operands of the golden cases; first derivatives of all ops, and
//! second derivatives (`create_graph`) of all but those that have none.
mod common;

use common::array::{Array, noise};
use common::fixture::{Case, cases};
use common::operand::{Operands, apply};
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::op::{Binary, Dims, Op, ReduceKind};

/// Step of the differences, and how far a derivative may lie from them.
const STEP: f64 = 1e-6;
const RELATIVE: f64 = 1e-6;
const ABSOLUTE: f64 = 1e-7;

/// sum(a * b)
fn dot(engine: &mut Engine, a: Handle, b: Handle) -> Result<Handle> {
    let product = apply(engine, Op::Binary(Binary::Mul), &[a, b])?;
    let rank = engine.meta(product)?.shape.rank();
    apply(engine, Op::Reduce { kind: ReduceKind::Sum, dims: Dims::all(rank), keepdim: false }, &[product])
}

fn value(engine: &mut Engine, scalar: Handle) -> Result<f64> {
    Ok(Array::read(engine, scalar)?.f64s()[0])
}

/// The variables of a check: the bases of the operands, and last the upstream gradient.
struct Check<'a> {
    case: &'a Case,
    /// Directions that first derivatives are contracted with.
    directions: Vec<Array>,
}

/// Values of all variables.
type Point = Vec<Array>;

impl Check<'_> {
    fn point(&self) -> Point {
        self.case.inputs.iter().map(|i| i.base.clone()).chain(self.case.upstream.clone()).collect()
    }

    /// The scalar sum(op(x) * upstream) on the tape: its operands and their leaves, and the upstream gradient.
    fn scalar(&self, engine: &mut Engine, at: &Point) -> Result<(Handle, Vec<Handle>, Handle)> {
        let (upstream, bases) = at.split_last().expect("an upstream gradient");
        let operands = Operands::upload_bases(engine, self.case, &bases.iter().collect::<Vec<_>>())?;
        let out = engine.call(self.case.op.clone(), &operands.handles)?[0];
        let upstream = upstream.upload(engine)?;
        engine.set_requires_grad(upstream, true)?;
        Ok((dot(engine, out, upstream)?, operands.wanted(), upstream))
    }

    fn first(&self, at: &Point) -> Result<f64> {
        let engine = &mut Engine::new();
        let (y, ..) = self.scalar(engine, at)?;
        value(engine, y)
    }

    /// The first derivative in the fixed directions, and its gradient if asked for.
    fn second(&self, at: &Point, gradient: bool) -> Result<(f64, Vec<Option<Array>>)> {
        let engine = &mut Engine::new();
        let (y, leaves, upstream) = self.scalar(engine, at)?;
        let grads = engine.grad(&[y], &[None], &leaves, true, gradient, true)?;
        let mut total: Option<Handle> = None;
        for (g, d) in grads.iter().zip(&self.directions).filter_map(|(g, d)| g.map(|g| (g, d))) {
            let d = d.upload(engine)?;
            let part = dot(engine, g, d)?;
            total = Some(match total {
                Some(t) => apply(engine, Op::Binary(Binary::Add), &[t, part])?,
                None => part,
            });
        }
        let Some(total) = total else { return Ok((0.0, vec![])) };
        let mut derivative = vec![];
        if gradient && engine.requires_grad(total)? {
            let variables: Vec<Handle> = leaves.iter().copied().chain([upstream]).collect();
            for g in engine.grad(&[total], &[None], &variables, false, false, true)? {
                derivative.push(g.map(|g| Array::read(engine, g)).transpose()?);
            }
        }
        Ok((value(engine, total)?, derivative))
    }

    /// Compares the gradients of variables with central differences of `f`.
    fn compare(&self, order: &str, variables: &[usize], gradients: &[Option<Array>], f: impl Fn(&Point) -> Result<f64>) -> Result<Vec<String>> {
        let mut problems = vec![];
        let point = self.point();
        for (n, v) in variables.iter().enumerate() {
            let values = point[*v].f64s();
            let gradient = gradients.get(n).and_then(Option::as_ref).map(Array::f64s).unwrap_or_else(|| vec![0.0; values.len()]);
            for (i, x) in values.iter().enumerate() {
                // What lies between the operand's elements has no influence.
                let expected = if x.is_nan() {
                    0.0
                } else {
                    let step = STEP * x.abs().max(1.0);
                    let moved = |to: f64| {
                        let (mut p, mut values) = (point.clone(), values.clone());
                        values[i] = to;
                        p[*v] = Array::from_f64s(DType::F64, &point[*v].shape, &values);
                        f(&p)
                    };
                    (moved(x + step)? - moved(x - step)?) / (2.0 * step)
                };
                let got = gradient[i];
                if (got - expected).is_nan() || (got - expected).abs() > ABSOLUTE + RELATIVE * expected.abs().max(1.0) {
                    problems.push(format!("{order} derivative by variable {v}, [{i}] is {got:e}, by differences {expected:e}"));
                    break;
                }
            }
        }
        Ok(problems)
    }
}

fn inputs_with_grad(case: &Case) -> Vec<usize> {
    (0..case.inputs.len()).filter(|i| case.inputs[*i].grad).collect()
}

fn first_order(case: &Case) -> Result<Vec<String>> {
    let check = Check { case, directions: vec![] };
    let engine = &mut Engine::new();
    let (y, leaves, _) = check.scalar(engine, &check.point())?;
    let mut gradients = vec![];
    for g in engine.grad(&[y], &[None], &leaves, false, false, true)? {
        gradients.push(g.map(|g| Array::read(engine, g)).transpose()?);
    }
    check.compare("first", &inputs_with_grad(case), &gradients, |p| check.first(p))
}

fn second_order(case: &Case) -> Result<Vec<String>> {
    let wanted = inputs_with_grad(case);
    let directions = wanted.iter().map(|i| &case.inputs[*i].base).enumerate();
    let directions = directions.map(|(n, b)| Array::from_f64s(DType::F64, &b.shape, &noise(b.numel(), n as u64 + 1))).collect();
    let check = Check { case, directions };
    let (_, gradients) = check.second(&check.point(), true)?;
    let variables: Vec<usize> = wanted.into_iter().chain([case.inputs.len()]).collect();
    check.compare("second", &variables, &gradients, |p| Ok(check.second(p, false)?.0))
}

fn check(family: &str, derivative: impl Fn(&Case) -> Result<Vec<String>>) {
    let smooth: Vec<Case> = cases(family).iter().filter(|c| c.is_smooth()).map(Case::widened).collect();
    let mut report = vec![];
    for case in &smooth {
        let problems = derivative(case).unwrap_or_else(|e| vec![format!("fails: {e}")]);
        report.extend(problems.into_iter().map(|p| format!("{}: {p}", case.name)));
    }
    assert!(report.is_empty(), "{} problems in {} cases of {family}:\n{}", report.len(), smooth.len(), report.join("\n"));
}

macro_rules! families {
    ($($family:ident)*) => {
        mod first {
            $(#[test] fn $family() { super::check(stringify!($family), super::first_order); })*
        }
        mod second {
            $(#[test] fn $family() { super::check(stringify!($family), super::second_order); })*
        }
    };
}
families! { pointwise reduce views indexing linalg conv loss inplace }
