//! Layouts don't change results: every op of the golden cases with each operand moved to each layout, against contiguous operands.
//! This is also the guard for upgrades of what runs the long tail of ops.
mod common;

use common::array::Array;
use common::fixture::{Case, FAMILIES, cases};
use common::operand::{Operands, Placement};
use common::tolerance::{difference, tolerance};
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;

fn results(engine: &mut Engine, case: &Case, operands: &[Handle]) -> Result<Vec<Array>> {
    let mut read: Vec<Handle> = engine.call(case.op.clone(), operands)?;
    read.extend(case.mutated.iter().map(|(i, _)| operands[*i]));
    read.into_iter().map(|h| Array::read(engine, h)).collect()
}

/// The operands' values, row-major.
fn values(case: &Case) -> Result<Vec<Array>> {
    let engine = &mut Engine::new();
    let mut case = case.clone();
    case.inputs.iter_mut().for_each(|i| i.grad = false);
    Operands::upload(engine, &case)?.handles.into_iter().map(|h| Array::read(engine, h)).collect()
}

fn place(engine: &mut Engine, values: &[Array], placements: &[Placement]) -> Result<Vec<Handle>> {
    values.iter().zip(placements).map(|(v, p)| p.upload(engine, v)).collect()
}

fn check(case: &Case) -> Result<Vec<String>> {
    let values = values(case)?;
    let n = values.len();
    let plain = vec![Placement::Contiguous; n];
    let engine = &mut Engine::new();
    let operands = place(engine, &values, &plain)?;
    let want = results(engine, case, &operands)?;
    let mut problems = vec![];
    for placement in Placement::ALL {
        // each operand alone, then all
        for moved in (0..n).map(Some).chain([None]) {
            let placements: Vec<Placement> = (0..n).map(|i| if moved.is_none_or(|m| m == i) { placement } else { Placement::Contiguous }).collect();
            let engine = &mut Engine::new();
            let operands = place(engine, &values, &placements)?;
            for (i, (got, want)) in results(engine, case, &operands)?.iter().zip(&want).enumerate() {
                if let Some(d) = difference(got, want, tolerance(&case.op, want.dtype)) {
                    problems.push(format!("operand {moved:?} {placement:?}: result {i} {d}"));
                }
            }
        }
    }
    Ok(problems)
}

#[test]
fn layouts_dont_change_results() {
    let mut report = vec![];
    for family in FAMILIES {
        // a case of each layout has the same values; one is enough
        let strided = ["/transposed", "/narrowed", "/selected", "/mixed"];
        for case in cases(family).iter().filter(|c| !c.inputs.is_empty() && !strided.iter().any(|s| c.name.ends_with(s))) {
            let problems = check(case).unwrap_or_else(|e| vec![format!("fails: {e}")]);
            report.extend(problems.into_iter().map(|p| format!("{}: {p}", case.name)));
        }
    }
    assert!(report.is_empty(), "{} problems:\n{}", report.len(), report.join("\n"));
}
