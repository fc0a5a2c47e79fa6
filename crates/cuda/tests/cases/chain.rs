//! Fused chains, and in them every pointwise function at every dtype: the harness also runs a chain's steps one by one.
use super::pointwise::special;
use crate::case::{Case, Input, Lay, Values};
use Source::{Input as In, Step as At};
use wick_core::cpu::chain::{Chain, Source, Step};
use wick_core::dtype::DType;
use wick_core::op::{Binary, Op, Sc, Unary};

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
/// Functions that the CPU rounds to the last bit.
const ROUNDED: [Unary; 14] = {
    use Unary::*;
    [Neg, Abs, Sign, Sqrt, Rsqrt, Floor, Ceil, Round, Reciprocal, Relu, LogicalNot, IsNan, IsInf, IsFinite]
};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = DType::ALL.into_iter().flat_map(functions).collect();
    all.extend(FLOATS.into_iter().flat_map(fused));
    all.push(
        Case::chain("many steps", many(DType::F32), vec![59, 17, 31], vec![Input::new(&[301], DType::F32).values(Values::Between(0.1, 1.0))]).exact(),
    );
    all
}

fn step(op: Op, ins: &[Source]) -> Step {
    Step { op, ins: ins.to_vec() }
}
fn scalar(op: Binary, value: f64) -> Op {
    Op::Scalar { op, value: Sc::new(value), reversed: false }
}

/// Those of the ops that the CPU has for the dtype, as steps that each read only inputs, with all results wanted.
fn all_of(name: String, ops: Vec<Op>, inputs: Vec<Input>) -> Case {
    let dtypes: Vec<DType> = inputs.iter().map(|i| i.dtype).collect();
    let steps = ops.into_iter().map(|op| {
        let ins = if matches!(op, Op::Binary(_)) { vec![In(0), In(1)] } else { vec![In(0)] };
        Step { op, ins }
    });
    let steps: Vec<Step> = steps.filter(|s| Chain::new(vec![s.clone()], vec![0], &dtypes).is_ok()).collect();
    let outputs = (0..steps.len()).collect();
    Case::chain(name, steps, outputs, inputs)
}

fn functions(dtype: DType) -> Vec<Case> {
    let x = || Input::new(&[307], dtype).values(special(dtype));
    let unary = |exact: bool| Unary::ALL.into_iter().filter(move |u| ROUNDED.contains(u) == exact).map(Op::Unary).collect::<Vec<Op>>();
    let mut all = vec![all_of(format!("rounded functions {dtype:?}"), unary(true), vec![x()]).exact()];
    if dtype.is_float() {
        for (low, high) in [(-4.0, 4.0), (0.0, 0.01), (-90.0, 90.0), (-3000.0, 3000.0)] {
            let x = Input::new(&[501], dtype).values(Values::Between(low, high));
            all.push(all_of(format!("functions {low} {high} {dtype:?}"), unary(false), vec![x]).same_dtype());
        }
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let x = Input::new(&[33], dtype).values(Values::Given(vec![0.0, -0.0, 1.0, -1.0, inf, -inf, nan, -2.0, 3.0]));
        all.push(all_of(format!("functions of special values {dtype:?}"), unary(false), vec![x]).same_dtype());
    }
    // Pairs of everything with everything: the second operand's period has no factor with the first's.
    let binary = |keep: &dyn Fn(Binary) -> bool| Binary::ALL.into_iter().filter(|b| keep(*b)).map(Op::Binary).collect::<Vec<Op>>();
    let Values::Given(mut values) = special(dtype) else { return all };
    values.push(6.0);
    let y = Input::new(&[307], dtype).values(Values::Given(values));
    let defined = |b: Binary| !matches!(b, Binary::Pow) && (dtype.is_float() || b != Binary::Remainder);
    all.push(all_of(format!("binary {dtype:?}"), binary(&defined), vec![x(), y]).exact());
    // The CPU refuses an integer's remainder by 0.
    let (pow, remainder) = (|b| b == Binary::Pow, |b| b == Binary::Remainder);
    let divisors = Values::Given(vec![1.0, 2.0, 3.0, 7.0, 100.0, -1.0, -2.0, -9.0].into_iter().filter(|v| dtype != DType::U8 || *v > 0.0).collect());
    if dtype != DType::Bool {
        all.push(all_of(format!("remainder {dtype:?}"), binary(&remainder), vec![x(), Input::new(&[307], dtype).values(divisors)]).exact());
        let bases = Values::Given(vec![0.0, 1.0, -1.0, 2.0, -3.0, 0.5, 10.0, 1.25, -0.75, 7.0, 1.9]);
        let powers = Values::Given(vec![0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 5.0, -3.0, 2.5, 4.0, 7.0]);
        let ins = [bases, powers].map(|v| Input::new(&[307], dtype).values(v)).to_vec();
        let case = all_of(format!("pow {dtype:?}"), binary(&pow), ins);
        all.push(if dtype.is_float() { case.same_dtype() } else { case.exact() });
    }
    let values = [3.0, -2.0, 0.3];
    let ops: Vec<Op> = values
        .into_iter()
        .flat_map(|value| {
            Binary::ALL.into_iter().flat_map(move |op| [false, true].map(|reversed| Op::Scalar { op, value: Sc::new(value), reversed }))
        })
        .filter(|op| !matches!(op, Op::Scalar { op: Binary::Pow, .. }))
        .filter(|op| dtype.is_float() || !matches!(op, Op::Scalar { op: Binary::Remainder, .. }))
        .collect();
    all.push(all_of(format!("scalars {dtype:?}"), ops, vec![x()]).exact());
    all.push(all_of(format!("casts {dtype:?}"), DType::ALL.into_iter().map(Op::Cast).collect(), vec![x()]).exact());
    all
}

/// A bit of everything on a matrix, a row, and one element.
fn steps() -> Vec<Step> {
    vec![
        step(Op::Binary(Binary::Add), &[In(0), In(1)]),
        step(Op::Unary(Unary::Sqrt), &[At(0)]),
        step(scalar(Binary::Mul, 0.7), &[At(1)]),
        step(Op::Dropout { p: Sc::new(0.3), seed: Sc::new(9.0), offset: Sc::new(4.0) }, &[At(2)]),
        step(Op::Binary(Binary::Gt), &[At(3), In(2)]),
        step(Op::Where, &[At(4), At(0), At(3)]),
        step(Op::Clamp { low: Sc::new(-0.5), high: Sc::new(f64::INFINITY) }, &[At(5)]),
        step(Op::Binary(Binary::Div), &[At(6), At(0)]),
        step(scalar(Binary::Pow, 3.0), &[At(7)]),
        step(Op::Cast(DType::F32), &[At(8)]),
        step(scalar(Binary::Sub, 0.1), &[At(9)]),
        step(Op::Cast(DType::I32), &[At(10)]),
    ]
}

fn fused(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    let x = |shape: &[usize], lay: Lay| Input::new(shape, dtype).lay(lay).values(Values::Between(0.25, 3.0));
    for (rows, cols) in [(1, 1), (1, 1000), (7, 3), (5, 256), (3, 1024), (129, 517), (0, 4)] {
        for outputs in [vec![8], vec![11, 0, 4]] {
            let ins = vec![x(&[rows, cols], Lay::Contiguous), x(&[cols], Lay::Contiguous), x(&[], Lay::Contiguous)];
            all.push(Case::chain(format!("fused {rows} {cols} {outputs:?} {dtype:?}"), steps(), outputs, ins).exact());
        }
    }
    // A channel's operand, and every layout.
    for lay in [Lay::Contiguous, Lay::Transposed, Lay::Offset, Lay::ChannelsLast, Lay::Expanded, Lay::Strided] {
        for out in [Lay::Contiguous, Lay::ChannelsLast, Lay::Offset] {
            let ins = vec![x(&[3, 4, 6, 5], lay), x(&[4, 1, 1], Lay::Contiguous), x(&[1], Lay::Contiguous)];
            all.push(Case::chain(format!("fused {lay:?} to {out:?} {dtype:?}"), steps(), vec![3, 10], ins).outputs(out).exact());
        }
    }
    // Transcendental functions: the same bits as alone, and close to the CPU's.
    let names = [Unary::Exp, Unary::Log1p, Unary::Tanh, Unary::Sigmoid, Unary::Sin, Unary::Erf, Unary::Cos, Unary::Expm1, Unary::Log];
    let mut steps = vec![step(Op::Unary(Unary::Abs), &[In(0)])];
    steps.extend(names.iter().enumerate().map(|(k, u)| step(Op::Unary(*u), &[At(k)])));
    all.push(
        Case::chain(format!("functions of functions {dtype:?}"), steps, vec![3, 6, 8], vec![x(&[1001], Lay::Contiguous)]).same_dtype().tolerance(8.0),
    );
    all
}

fn many(dtype: DType) -> Vec<Step> {
    let mut steps = vec![step(scalar(Binary::Mul, 1.5), &[In(0)])];
    for k in 0..58 {
        let op = [scalar(Binary::Add, 0.25), Op::Unary(Unary::Sqrt), Op::Binary(Binary::Mul), scalar(Binary::Div, 3.0)][k % 4].clone();
        let ins = if matches!(op, Op::Binary(_)) { vec![At(k), At(k / 2)] } else { vec![At(k)] };
        steps.push(Step { op, ins });
    }
    steps.push(step(Op::Cast(dtype), &[At(58)]));
    steps
}
