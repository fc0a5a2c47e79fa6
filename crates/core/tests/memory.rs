//! What groups and sites hold is given back with them.
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::{Code, Result};
use wick_core::op::{Op, Unary};
use wick_core::shape::Shape;

const N: usize = 1 << 18;

fn parameter(e: &mut Engine) -> Result<Handle> {
    let p = e.from_host(&vec![0u8; 4 * N], Shape::new(&[N]), DType::F32, Device::Cpu)?;
    e.set_requires_grad(p, true)?;
    Ok(p)
}
fn bytes(e: &Engine) -> usize {
    e.memory(Device::Cpu).usage.bytes
}

#[test]
fn models_and_optimizers_one_after_another() -> Result<()> {
    let mut e = Engine::new();
    let before = bytes(&e);
    for _ in 0..6 {
        let p = parameter(&mut e)?;
        let g = e.group(&[p], 2)?;
        e.dispose(p)?;
        e.free_group(g);
        assert_eq!(bytes(&e), before);
        assert_eq!(e.zero_grad(g).unwrap_err().code, Code::Disposed);
    }
    Ok(())
}

#[test]
fn optimizers_of_one_model_one_after_another() -> Result<()> {
    let mut e = Engine::new();
    let p = parameter(&mut e)?;
    let mut after = vec![];
    for _ in 0..6 {
        let g = e.group(&[p], 2)?;
        e.free_group(g);
        after.push(bytes(&e));
    }
    assert!(after.iter().all(|b| *b == after[0]), "{after:?}");
    assert!(e.read(p)?.1.iter().all(|b| *b == 0));
    Ok(())
}

#[test]
fn captured_functions_one_after_another() -> Result<()> {
    let mut e = Engine::new();
    let mut after = vec![];
    for _ in 0..5 {
        let w = parameter(&mut e)?;
        let site = e.new_site("f")?;
        for _ in 0..4 {
            assert!(e.window_begin(site, true, None)?);
            let y = e.call(Op::Unary(Unary::Neg), &[w])?[0];
            let z = e.call(Op::Unary(Unary::Exp), &[y])?[0];
            e.window_end(&[z], false)?;
            e.dispose(z)?;
        }
        assert_eq!(e.report(site)?.counts.matched, 2);
        e.free_site(site);
        e.dispose(w)?;
        e.empty_cache()?;
        after.push(bytes(&e));
        assert_eq!(e.report(site).unwrap_err().code, Code::Disposed);
    }
    assert_eq!(after, [0; 5]);
    Ok(())
}

#[test]
fn a_site_is_freed_after_its_window() -> Result<()> {
    let mut e = Engine::new();
    let site = e.new_site("f")?;
    assert!(e.window_begin(site, true, None)?);
    e.free_site(site);
    e.window_end(&[], false)?;
    assert_eq!(e.window_begin(site, true, None).unwrap_err().code, Code::Disposed);
    Ok(())
}

#[test]
fn plans_go_with_the_group_that_they_update() -> Result<()> {
    let mut e = Engine::new();
    let p = parameter(&mut e)?;
    let g = e.group(&[p], 1)?;
    let site = e.new_site("step")?;
    for _ in 0..4 {
        assert!(e.window_begin(site, true, None)?);
        e.zero_grad(g)?;
        let y = e.call(Op::Unary(Unary::Exp), &[p])?[0];
        let shape = Shape::new(&[N]);
        let one = e.call(Op::Fill { shape, dtype: DType::F32, device: Device::Cpu, value: wick_core::op::Sc::new(1.0) }, &[])?[0];
        e.backward(y, Some(one), false, false)?;
        e.sgd_step(g, 0.1, 0.0, 0.0, 0.0, false, false, None)?;
        e.window_end(&[], false)?;
    }
    assert_eq!(e.report(site)?.plans, 1);
    e.free_group(g);
    assert_eq!(e.report(site)?.plans, 0);
    e.dispose(p)?;
    e.empty_cache()?;
    assert_eq!(bytes(&e), 0);
    Ok(())
}
