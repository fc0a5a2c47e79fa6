//! A new op without a PyTorch fixture, or a derivative without a check by differences, fails here.
mod common;

use common::fixture::{Case, FAMILIES, File, cases};
use std::collections::{BTreeMap, BTreeSet};
use wick_core::op::{Binary, Op, View, registry};
use wick_core::ops;

/// Ops that PyTorch has no numbers for, and where they are tested.
const WITHOUT_FIXTURE: [(&str, &str); 10] = [
    ("tensor", "every fixture is uploaded by it"),
    ("rand", "random.rs: its generator is ours"),
    ("randn", "random.rs"),
    ("dropout", "random.rs"),
    ("backward", "golden.rs: every gradient"),
    ("zeroGrad", "optim.rs: between the steps"),
    ("toDevice", "wick-cuda: a copy"),
    ("unscale", "cpu/optim/tests.rs, precision.test.ts"),
    ("updateScale", "cpu/optim/tests.rs, precision.test.ts"),
    ("item", "every result is read by it"),
];

fn all() -> Vec<Case> {
    FAMILIES.into_iter().flat_map(cases).collect()
}

fn by_name(cases: &[Case]) -> BTreeMap<&'static str, Vec<&Case>> {
    let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in cases {
        map.entry(case.op.name()).or_default().push(case);
    }
    map
}

/// Names of the ops that the cases of `optim.safetensors` run through groups.
fn optimizer_names() -> BTreeSet<&'static str> {
    let variants = [("Sgd", "sgd"), ("AdamW", "adamw"), ("ClipGradNorm", "clipGradNorm"), ("ClipGradValue", "clipGradValue")];
    let file = File::open("optim");
    variants.into_iter().filter(|(variant, _)| file.cases.iter().any(|c| c["op"] == *variant)).map(|(_, name)| name).collect()
}

#[test]
fn every_op_has_a_fixture() {
    let cases = all();
    let covered: BTreeSet<&str> = by_name(&cases).into_keys().chain(optimizer_names()).collect();
    let names = registry();
    let missing: Vec<_> = names.iter().filter(|n| !covered.contains(*n) && !WITHOUT_FIXTURE.iter().any(|(o, _)| o == *n)).collect();
    assert!(missing.is_empty(), "add cases to test/golden for {missing:?}");
    let unknown: Vec<_> = covered.iter().filter(|n| !names.contains(*n)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in the registry");
    let stale: Vec<_> = WITHOUT_FIXTURE.iter().filter(|(o, _)| covered.contains(o) || !names.contains(o)).collect();
    assert!(stale.is_empty(), "{stale:?} need no exception");
}

#[test]
fn every_derivative_is_checked_by_differences() {
    let cases = all();
    let unchecked: Vec<&str> = by_name(&cases)
        .iter()
        .filter(|(_, cases)| cases.iter().any(|c| ops::saves(&c.op).is_some()) && !cases.iter().any(|c| c.is_smooth()))
        .map(|(name, _)| *name)
        .collect();
    assert!(unchecked.is_empty(), "add smooth cases with gradients to test/golden for {unchecked:?}");
}

#[test]
fn every_op_is_tested_on_every_kind_of_operand() {
    let cases = all();
    let mut missing = vec![];
    for (name, cases) in by_name(&cases) {
        let operands = || cases.iter().flat_map(|c| &c.inputs);
        // trackLoss works on two buffers of its own, and what makes a tensor has no operand
        if name == "trackLoss" || operands().next().is_none() {
            continue;
        }
        let strided = |v: &View| matches!(v, View::Permute(_) | View::Narrow { .. });
        let kinds = [
            ("contiguous", cases.iter().any(|c| c.inputs.iter().all(|i| i.views.is_empty()))),
            ("strided", operands().any(|i| i.views.iter().any(strided))),
            ("size-1", operands().any(|i| i.views.is_empty() && i.base.numel() == 1 || i.base.shape.contains(&1))),
            (
                "broadcast",
                !cases.iter().any(|c| ops::broadcasts(&c.op))
                    || name == "reluGrad"
                    || operands().any(|i| i.views.iter().any(|v| matches!(v, View::Expand(_)))),
            ),
        ];
        missing.extend(kinds.into_iter().filter(|(_, there)| !there).map(|(kind, _)| format!("{name} on {kind} operands")));
    }
    assert!(missing.is_empty(), "add cases to test/golden for {missing:?}");
}

#[test]
fn every_binary_op_is_tested_with_a_scalar_on_either_side() {
    let cases = all();
    for op in Binary::ALL.into_iter().filter(|b| *b != Binary::ReluGrad) {
        for side in [false, true] {
            let found = cases.iter().any(|c| matches!(&c.op, Op::Scalar { op: o, reversed, .. } if *o == op && *reversed == side));
            assert!(found, "no case of {} with a scalar, reversed: {side}", op.name());
        }
    }
}
