//! Gradient clipping, loss scaling and the optimisers.
use crate::case::{Case, Input, Lay, Reference, Values};
use wick_core::dtype::DType;
use wick_core::op::{Op, Range, Ranges, Sc};

/// Elements of a flat buffer.
const N: usize = 40_000;

fn ranges(list: impl IntoIterator<Item = (usize, usize)>) -> Ranges {
    list.into_iter().map(|(start, len)| Range { start, len }).collect()
}
/// One range as a group has it nearly always, a short one, some with holes, odd ones that no vector fits, many, none.
fn kinds() -> Vec<(&'static str, Ranges)> {
    vec![
        ("one", ranges([(0, N)])),
        ("short", ranges([(16, 32)])),
        ("holes", ranges([(0, 16), (48, 304), (1024, 38_000)])),
        ("odd", ranges([(0, 7), (11, 300), (500, 0), (1000, 38_001)])),
        ("many", ranges((0..70).map(|i| (i * 512, 16 + i * 4)))),
        ("none", ranges([])),
    ]
}
fn flat(dtype: DType) -> Input {
    Input::new(&[N], dtype)
}
fn skip(value: f64) -> Input {
    Input::new(&[], DType::F64).values(Values::Given(vec![value]))
}

#[derive(Clone, Copy)]
struct Momentum {
    momentum: f64,
    dampening: f64,
    decay: f64,
    nesterov: bool,
    maximize: bool,
    fresh: bool,
}

fn sgd(what: &str, r: &Ranges, m: Momentum, dtype: DType, skipped: Option<f64>) -> Case {
    let Momentum { momentum, dampening, decay, nesterov, maximize, fresh } = m;
    let op = Op::Sgd {
        ranges: r.clone(),
        lr: Sc::new(0.1),
        momentum: Sc::new(momentum),
        dampening: Sc::new(dampening),
        weight_decay: Sc::new(decay),
        nesterov,
        maximize,
        fresh,
        skip: skipped.is_some(),
    };
    let name = format!(
        "sgd {what} {dtype:?} momentum {momentum} dampening {dampening} decay {decay} nesterov {nesterov} maximize {maximize} fresh {fresh} skip {skipped:?}"
    );
    Case::new(name, op, [flat(dtype), flat(dtype), flat(dtype)].into_iter().chain(skipped.map(skip)).collect())
}

fn adamw(what: &str, r: &Ranges, step: f64, maximize: bool, dtype: DType, skipped: Option<f64>) -> Case {
    let op = Op::AdamW {
        ranges: r.clone(),
        lr: Sc::new(0.01),
        beta1: Sc::new(0.9),
        beta2: Sc::new(0.999),
        eps: Sc::new(1e-8),
        weight_decay: Sc::new(0.1),
        step: Sc::new(step),
        maximize,
        skip: skipped.is_some(),
    };
    let name = format!("adamw {what} {dtype:?} step {step} maximize {maximize} skip {skipped:?}");
    let ins = [flat(dtype), flat(dtype), flat(dtype), flat(dtype).values(Values::Uniform)];
    Case::new(name, op, ins.into_iter().chain(skipped.map(skip)).collect())
}

fn updates() -> Vec<Case> {
    let plain = Momentum { momentum: 0.0, dampening: 0.0, decay: 0.0, nesterov: false, maximize: false, fresh: false };
    let heavy = Momentum { momentum: 0.9, ..plain };
    let settings = [
        plain,
        heavy,
        Momentum { decay: 0.01, maximize: true, ..plain },
        Momentum { nesterov: true, decay: 0.1, ..heavy },
        Momentum { dampening: 0.3, maximize: true, ..heavy },
        Momentum { fresh: true, dampening: 0.3, ..heavy },
        Momentum { fresh: true, nesterov: true, ..heavy },
    ];
    let mut all = vec![];
    for (what, r) in kinds() {
        for dtype in [DType::F32, DType::F64] {
            all.extend(settings.map(|m| sgd(what, &r, m, dtype, None)));
            all.extend([0.0, 1.0].map(|s| sgd(what, &r, heavy, dtype, Some(s))));
            for step in [1.0, 2.0, 1000.0, 1e6] {
                all.push(adamw(what, &r, step, step == 2.0, dtype, None));
            }
            all.extend([0.0, 1.0].map(|s| adamw(what, &r, 3.0, false, dtype, Some(s))));
        }
    }
    // Buffers that don't begin at a vector.
    let mut case = adamw("offset", &ranges([(0, 4096)]), 5.0, false, DType::F32, None);
    case.inputs[1].lay = Lay::Offset;
    all.push(case);
    all
}

/// Clips buffers of these types, each with ranges, as one.
fn clip_norm(what: &str, parts: &[(DType, Ranges)], max: f64, values: Values) -> Case {
    let op = Op::ClipGradNorm { ranges: parts.iter().map(|p| p.1.clone()).collect(), max: Sc::new(max) };
    let dtypes: Vec<DType> = parts.iter().map(|p| p.0).collect();
    Case::new(format!("clip norm {what} {dtypes:?} to {max}"), op, dtypes.iter().map(|d| flat(*d).values(values.clone())).collect())
}

/// Mostly 1, and one of something else.
fn with(value: f64) -> Values {
    Values::Given((0..N).map(|i| if i == 1005 { value } else { 1.0 }).collect())
}

fn clipping() -> Vec<Case> {
    let mut all = vec![];
    let large = ranges([(0, N)]);
    for (what, r) in kinds() {
        for dtype in [DType::F32, DType::F64] {
            for max in [1.0, 1e9] {
                all.push(clip_norm(what, &[(dtype, r.clone())], max, Values::Normal));
            }
            let op = Op::ClipGradValue { ranges: [r.clone()].into(), max: Sc::new(0.25) };
            all.push(Case::new(format!("clip value {what} {dtype:?}"), op, vec![flat(dtype)]));
        }
        // Several buffers, of one type and of two.
        all.push(clip_norm(what, &[(DType::F32, r.clone()), (DType::F32, large.clone())], 1.0, Values::Normal));
        // The norm has the first one's type.
        let mixed = clip_norm(what, &[(DType::F32, r.clone()), (DType::F64, r.clone()), (DType::F32, large.clone())], 1.0, Values::Normal);
        all.push(Case { reference: Reference::Same, ..mixed });
    }
    for value in [f64::INFINITY, f64::NAN] {
        all.push(clip_norm(&format!("with {value}"), &[(DType::F32, large.clone())], 1.0, with(value)));
    }
    let op = Op::ClipGradValue { ranges: [large].into(), max: Sc::new(0.25) };
    all.push(Case::new("clip value of NaN", op, vec![flat(DType::F32).values(with(f64::NAN))]));
    all
}

fn scaling() -> Vec<Case> {
    let scale = |v: f64| Input::new(&[], DType::F32).values(Values::Given(vec![v]));
    let mut all = vec![];
    for (what, r) in kinds() {
        for values in [Values::Normal, with(f64::INFINITY), with(f64::NAN)] {
            let op = Op::Unscale { ranges: [r.clone(), ranges([(0, 16)])].into() };
            let name = format!("unscale {what} {}", if let Values::Given(v) = &values { v[1005].to_string() } else { "finite".into() });
            all.push(Case::new(name, op, vec![flat(DType::F32).values(values), flat(DType::F32), scale(1024.0)]));
        }
    }
    for (found, tracker) in [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
        let op = Op::UpdateScale { growth: Sc::new(2.0), backoff: Sc::new(0.5), interval: Sc::new(2.0) };
        let tracker_input = Input::new(&[], DType::I32).values(Values::Given(vec![tracker]));
        all.push(Case::new(format!("update scale found {found} tracker {tracker}"), op, vec![scale(65536.0), tracker_input, skip(found)]));
    }
    // A scale doesn't grow to infinity.
    let op = Op::UpdateScale { growth: Sc::new(2.0), backoff: Sc::new(0.5), interval: Sc::new(1.0) };
    let tracker = Input::new(&[], DType::I32).values(Values::Given(vec![0.0]));
    all.push(Case::new("update scale at the end", op, vec![scale(3e38), tracker, skip(0.0)]));
    all
}

pub fn cases() -> Vec<Case> {
    [updates(), clipping(), scaling()].concat()
}
