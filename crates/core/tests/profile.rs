//! The profiler: counts are those of the ops that ran, times fit into the wall time, results don't change. A stand-in for a GPU
//! runs the CPU's kernels, so that plans on a device, with streams and graphs, are seen without one.
mod common;

use common::array::Array;
use common::host::Host;
use std::collections::BTreeMap;
use std::rc::Rc;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::{Code, Result};
use wick_core::op::{Binary, Op, Sc, Unary};
use wick_core::profile::{Options, Profile};
use wick_core::shape::Shape;

fn counts(p: &Profile) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for e in &p.events {
        *counts.entry(p.keys[e.key as usize].name.as_str()).or_default() += 1;
    }
    counts
}
fn values(engine: &mut Engine, h: Handle) -> Result<Vec<f64>> {
    Ok(Array::read(engine, h)?.f64s())
}
fn scaled(engine: &mut Engine, x: Handle, by: f64) -> Result<Handle> {
    Ok(engine.call(Op::Scalar { op: Binary::Mul, value: Sc::new(by), reversed: false }, &[x])?[0])
}
/// relu(x w) * by, summed.
fn body(engine: &mut Engine, x: Handle, w: Handle, by: f64) -> Result<Handle> {
    let y = engine.call(Op::Matmul { mask: false }, &[x, w])?[0];
    let y = engine.call(Op::Unary(Unary::Relu), &[y])?[0];
    let y = scaled(engine, y, by)?;
    let kind = wick_core::op::ReduceKind::Sum;
    Ok(engine.call(Op::Reduce { kind, dims: wick_core::op::Dims::all(2), keepdim: false }, &[y])?[0])
}
fn window(engine: &mut Engine, site: u32, x: Handle, w: Handle, by: f64) -> Result<f64> {
    assert!(engine.window_begin(site, true, None)?);
    let y = body(engine, x, w, by)?;
    engine.window_end(&[y], false)?;
    let value = values(engine, y)?[0];
    engine.dispose(y)?;
    Ok(value)
}
fn operands(engine: &mut Engine, device: Device) -> Result<(Handle, Handle)> {
    let noise = |shape: &[usize], salt| Array::from_f64s(DType::F32, shape, &common::array::noise(shape.iter().product(), salt));
    let (x, w) = (noise(&[8, 6], 1), noise(&[6, 5], 2));
    let put = |engine: &mut Engine, a: &Array| engine.from_host(&a.bytes, Shape::new(&a.shape), a.dtype, device);
    Ok((put(engine, &x)?, put(engine, &w)?))
}

#[test]
fn counts_are_those_of_the_dispatched_ops() -> Result<()> {
    let mut engine = Engine::new();
    let (x, w) = operands(&mut engine, Device::Cpu)?;
    engine.profile_begin(Options { shapes: true, graphs: false })?;
    for _ in 0..3 {
        body(&mut engine, x, w, 2.0)?;
    }
    let p = engine.profile_end()?;
    assert_eq!(counts(&p), BTreeMap::from([("matmul", 3), ("relu", 3), ("mul", 3), ("sum", 3)]));
    assert_eq!(p.keys[0].signature, "float32[8, 6], float32[6, 5] -> float32[8, 5]");
    let total: f64 = p.events.iter().map(|e| e.duration).sum();
    assert!(total <= p.wall, "{total} of {}", p.wall);
    for pair in p.events.windows(2) {
        assert!(pair[0].start + pair[0].duration <= pair[1].start + 1e-3, "{pair:?} overlap");
    }
    body(&mut engine, x, w, 2.0)?;
    engine.profile_begin(Options::default())?;
    assert!(engine.profile_end()?.events.is_empty(), "nothing is noted between profiles");
    Ok(())
}

#[test]
fn a_profile_in_a_profile_is_an_error() -> Result<()> {
    let mut engine = Engine::new();
    engine.profile_begin(Options::default())?;
    assert_eq!(engine.profile_begin(Options::default()).err().map(|e| e.code), Some(Code::BadOption));
    engine.profile_end()?;
    assert_eq!(engine.profile_end().err().map(|e| e.code), Some(Code::Internal));
    Ok(())
}

#[test]
fn a_replayed_plan_is_noted_by_instruction() -> Result<()> {
    let mut engine = Engine::new();
    let (x, w) = operands(&mut engine, Device::Cpu)?;
    let site = engine.new_site("test")?;
    let eager = window(&mut engine, site, x, w, 3.0)?;
    window(&mut engine, site, x, w, 3.0)?;
    engine.profile_begin(Options::default())?;
    let replayed = window(&mut engine, site, x, w, 3.0)?;
    let p = engine.profile_end()?;
    assert_eq!(engine.report(site)?.counts.matched, 1);
    assert_eq!(replayed.to_bits(), eager.to_bits());
    // the result outlives the window: its memory is copied out of the plan's
    assert_eq!(counts(&p), BTreeMap::from([("matmul", 1), ("chain: relu+mul", 1), ("sum", 1), ("copy memory", 1)]));
    Ok(())
}

#[test]
fn memory_is_that_of_the_peak() -> Result<()> {
    let mut engine = Engine::new();
    let big = |engine: &mut Engine| engine.from_host(&vec![0; 1 << 20], Shape::new(&[1 << 20]), DType::U8, Device::Cpu);
    let before = engine.memory(Device::Cpu).usage.bytes;
    let h = (0..3).map(|_| big(&mut engine)).collect::<Result<Vec<_>>>()?;
    h.into_iter().try_for_each(|h| engine.dispose(h))?;
    engine.profile_begin(Options::default())?;
    let h = big(&mut engine)?;
    engine.dispose(h)?;
    let p = engine.profile_end()?;
    let m = p.memory.iter().find(|m| m.device == Device::Cpu).expect("the CPU's memory");
    assert_eq!((m.before, m.peak.bytes), (before, before + (1 << 20)), "the larger peak before the profile doesn't count");
    Ok(())
}

#[test]
fn a_plan_on_a_gpu_is_noted_by_launch_or_as_a_graph() -> Result<()> {
    wick_core::device::set_opener(|_| Ok(Rc::new(Host::default())));
    let mut engine = Engine::new();
    let (x, w) = operands(&mut engine, Device::Cuda(0))?;
    let site = engine.new_site("test")?;
    // eager twice, launch by launch once, captured and launched as a graph
    let eager = window(&mut engine, site, x, w, 3.0)?;
    for _ in 0..3 {
        assert_eq!(window(&mut engine, site, x, w, 3.0)?.to_bits(), eager.to_bits());
    }
    let profiled = |engine: &mut Engine, graphs: bool, by: f64| -> Result<(Profile, f64)> {
        engine.profile_begin(Options { shapes: false, graphs })?;
        let value = window(engine, site, x, w, by)?;
        Ok((engine.profile_end()?, value))
    };
    let (p, value) = profiled(&mut engine, false, 3.0)?;
    assert_eq!(value.to_bits(), eager.to_bits());
    let launches = BTreeMap::from([("matmul", 1), ("chain: relu+mul", 1), ("sum", 1), ("copy memory", 1), ("download", 1)]);
    assert_eq!(counts(&p), launches);
    assert!(p.events.iter().all(|e| e.gpu.is_some_and(|(_, duration)| duration >= 0.0) && e.device == Device::Cuda(0)));
    let (p, value) = profiled(&mut engine, true, 3.0)?;
    assert_eq!(value.to_bits(), eager.to_bits());
    assert_eq!(counts(&p), BTreeMap::from([("graph", 1), ("copy memory", 1), ("download", 1)]));
    // another scalar: it is written to the device in either way
    let (p, once) = profiled(&mut engine, false, 5.0)?;
    assert_eq!(counts(&p)["set scalars"], 1);
    let (p, again) = profiled(&mut engine, true, 5.0)?;
    assert_eq!(counts(&p).get("set scalars"), None);
    let unprofiled = window(&mut engine, site, x, w, 5.0)?;
    assert_eq!((once.to_bits(), again.to_bits()), (unprofiled.to_bits(), unprofiled.to_bits()));
    assert_eq!(engine.report(site)?.counts.matched, 7);
    Ok(())
}
