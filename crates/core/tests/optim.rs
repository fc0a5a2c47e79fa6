//! Optimisers and clipping against PyTorch, through groups of parameters.
mod common;

use common::array::Array;
use common::fixture::{File, Reader};
use common::tolerance::{Tolerance, difference};
use serde_json::Value;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::shape::Shape;

/// Twenty steps add up.
fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F64 => Tolerance { relative: 1e-11, absolute: 1e-12 },
        _ => Tolerance { relative: 2e-5, absolute: 2e-6 },
    }
}

fn list(v: &Value) -> &[Value] {
    v.as_array().expect("a list")
}

fn parameters(engine: &mut Engine, values: &[Array]) -> Result<Vec<Handle>> {
    values
        .iter()
        .map(|v| {
            let h = v.upload(engine)?;
            engine.set_requires_grad(h, true)?;
            engine.keep(h)?;
            Ok(h)
        })
        .collect()
}

fn set_gradients(engine: &mut Engine, params: &[Handle], grads: &[Option<Array>]) -> Result<()> {
    for (p, g) in params.iter().zip(grads) {
        let g = g.as_ref().map(|g| g.upload(engine)).transpose()?;
        engine.set_grad(*p, g)?;
    }
    Ok(())
}

fn step(engine: &mut Engine, group: u32, case: &Value, skip: Option<Handle>) -> Result<()> {
    let number = |key: &str| case["options"][key].as_f64().unwrap_or_else(|| panic!("no {key}"));
    let flag = |key: &str| case["options"][key].as_bool().unwrap_or(false);
    match case["op"].as_str() {
        Some("Sgd") => engine.sgd_step(
            group,
            number("lr"),
            number("momentum"),
            number("dampening"),
            number("weight_decay"),
            flag("nesterov"),
            flag("maximize"),
            skip,
        ),
        Some("AdamW") => {
            engine.adamw_step(group, number("lr"), number("beta1"), number("beta2"), number("eps"), number("weight_decay"), flag("maximize"), skip)
        }
        other => panic!("no optimizer {other:?}"),
    }
}

fn train(case: &Value, reader: &Reader) -> Result<Vec<String>> {
    let engine = &mut Engine::new();
    let values: Vec<Array> = list(&case["params"]).iter().map(|k| reader.get(k)).collect();
    let params = parameters(engine, &values)?;
    let group = engine.group(&params, if case["op"] == "Sgd" { 1 } else { 2 })?;
    let skips = list(&case["skip"]);
    let any_skip = skips.iter().any(|s| s == true);
    let mut problems = vec![];
    for (n, grads) in list(&case["grads"]).iter().enumerate() {
        let grads: Vec<Option<Array>> = list(grads).iter().map(|k| reader.optional(k)).collect();
        engine.zero_grad(group)?;
        set_gradients(engine, &params, &grads)?;
        let skip = if any_skip { Some(Array::from_f64s(DType::F64, &[], &[if skips[n] == true { 1.0 } else { 0.0 }]).upload(engine)?) } else { None };
        step(engine, group, case, skip)?;
        let Some(expected) = case["expected"].get((n + 1).to_string()) else { continue };
        for (i, key) in list(expected).iter().enumerate() {
            let (got, want) = (Array::read(engine, params[i])?, reader.get(key));
            problems.extend(difference(&got, &want, tolerance(want.dtype)).map(|d| format!("parameter {i} after step {}: {d}", n + 1)));
        }
    }
    Ok(problems)
}

fn clip(case: &Value, reader: &Reader) -> Result<Vec<String>> {
    let engine = &mut Engine::new();
    let grads: Vec<Option<Array>> = list(&case["grads"]).iter().map(|k| reader.optional(k)).collect();
    let dtype = grads.iter().flatten().next().expect("a gradient").dtype;
    let zeros = |shape: &[usize]| Array::from_f64s(dtype, shape, &vec![0.0; shape.iter().product()]);
    let values: Vec<Array> = grads.iter().map(|g| zeros(g.as_ref().map_or(&[2, 2], |g| &g.shape))).collect();
    let params = parameters(engine, &values)?;
    // Two groups: the norm is over both.
    let groups = [engine.group(&params[..1], 1)?, engine.group(&params[1..], 1)?];
    set_gradients(engine, &params, &grads)?;
    let max = case["max"].as_f64().expect("a limit");
    let mut problems = vec![];
    if case["op"] == "ClipGradNorm" {
        let norm = engine.clip_grad_norm(&groups, max)?;
        let (got, want) = (Array::read(engine, norm)?, reader.get(&case["norm"]));
        problems.extend(difference(&got, &want, tolerance(dtype)).map(|d| format!("the norm {d}")));
    } else {
        engine.clip_grad_value(&groups, max)?;
    }
    for (i, key) in list(&case["expected"]).iter().enumerate() {
        let got = engine.grad_of(params[i])?.map(|g| Array::read(engine, g)).transpose()?;
        match (got, reader.optional(key)) {
            (Some(got), Some(want)) => problems.extend(difference(&got, &want, tolerance(dtype)).map(|d| format!("gradient {i} {d}"))),
            (None, None) => {}
            (got, _) => problems.push(format!("gradient {i} is {}", if got.is_some() { "there" } else { "missing" })),
        }
    }
    Ok(problems)
}

fn check(wanted: &[&str], run: impl Fn(&Value, &Reader) -> Result<Vec<String>>) {
    let file = File::open("optim");
    let reader = file.reader();
    let mut report = vec![];
    for case in file.cases.iter().filter(|c| wanted.iter().any(|w| c["op"] == *w)) {
        let problems = run(case, &reader).unwrap_or_else(|e| vec![format!("fails: {e}")]);
        report.extend(problems.into_iter().map(|p| format!("{}: {p}", case["name"])));
    }
    assert!(report.is_empty(), "{} problems:\n{}", report.len(), report.join("\n"));
}

#[test]
fn sgd() {
    check(&["Sgd"], train);
}
#[test]
fn adamw() {
    check(&["AdamW"], train);
}
#[test]
fn clipping() {
    check(&["ClipGradNorm", "ClipGradValue"], clip);
}

#[test]
fn zero_grad_leaves_none() {
    let engine = &mut Engine::new();
    let p = engine.from_host(&[0; 8], Shape::new(&[2]), DType::F32, Device::Cpu).unwrap();
    engine.set_requires_grad(p, true).unwrap();
    let group = engine.group(&[p], 1).unwrap();
    let g = engine.from_host(&[0; 8], Shape::new(&[2]), DType::F32, Device::Cpu).unwrap();
    engine.set_grad(p, Some(g)).unwrap();
    assert!(engine.grad_of(p).unwrap().is_some());
    engine.zero_grad(group).unwrap();
    assert!(engine.grad_of(p).unwrap().is_none());
}
