//! Several steps in one graph give the bits of steps run one by one: inputs, random numbers and what a step leaves for the next.
//! The CPU runs a GPU's plan.
mod common;

use common::array::{Array, noise};
use common::host::Host;
use std::rc::Rc;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::op::{Binary, Dims, Op, ReduceKind, Sc};
use wick_core::shape::Shape;

/// `w *= 0.9` between two looks at it; the result: the sum of dropout(x w).
fn body(engine: &mut Engine, x: Handle, w: Handle) -> Result<Handle> {
    let y = engine.call(Op::Matmul { mask: false }, &[x, w])?[0];
    let y = engine.dropout(y, 0.25)?;
    engine.call(Op::ScalarInto { op: Binary::Mul, value: Sc::new(0.9) }, &[w])?;
    Ok(engine.call(Op::Reduce { kind: ReduceKind::Sum, dims: Dims::all(2), keepdim: false }, &[y])?[0])
}

struct Setup {
    engine: Engine,
    site: u32,
    w: Handle,
    batches: Vec<Handle>,
}

fn setup() -> Result<Setup> {
    let mut engine = Engine::new();
    engine.manual_seed(5.0);
    let mut put = |shape: &[usize], salt| {
        let a = Array::from_f64s(DType::F32, shape, &noise(shape.iter().product(), salt));
        engine.from_host(&a.bytes, Shape::new(shape), a.dtype, Device::Cuda(0))
    };
    let w = put(&[6, 5], 1)?;
    let batches = (0..41).map(|i| put(&[8, 6], 2 + i)).collect::<Result<Vec<_>>>()?;
    let site = engine.new_site("test")?;
    Ok(Setup { engine, site, w, batches })
}

impl Setup {
    fn window(&mut self, x: Handle) -> Result<f64> {
        assert!(self.engine.window_begin(self.site, true, Some(&[x]))?);
        let y = body(&mut self.engine, x, self.w)?;
        self.engine.window_end(&[y], false)?;
        self.value(y)
    }
    fn value(&mut self, y: Handle) -> Result<f64> {
        let value = Array::read(&mut self.engine, y)?.f64s()[0];
        self.engine.dispose(y)?;
        Ok(value)
    }
    fn weights(&mut self) -> Result<Vec<u64>> {
        Ok(Array::read(&mut self.engine, self.w)?.f64s().iter().map(|v| v.to_bits()).collect())
    }
}

#[test]
fn groups_have_the_bits_of_single_steps() -> Result<()> {
    wick_core::device::set_opener(|_| Ok(Rc::new(Host::default())));
    let mut single = setup()?;
    let batches = single.batches.clone();
    let values = batches.iter().map(|x| single.window(*x)).collect::<Result<Vec<_>>>()?;

    let mut grouped = setup()?;
    let batches = grouped.batches.clone();
    // eager twice, launched one by one, captured
    for (x, want) in batches[..4].iter().zip(&values) {
        assert_eq!(grouped.window(*x)?.to_bits(), want.to_bits());
    }
    // 16 and 2 and 1, then 16 and 2: one group's graph again, and another size's
    for (from, to) in [(4, 23), (23, 41)] {
        let out = grouped.engine.full(grouped.site, &batches[from..to], to - from)?.expect("the plan applies");
        assert_eq!(grouped.value(out[0])?.to_bits(), values[to - 1].to_bits());
    }
    assert_eq!(grouped.weights()?, single.weights()?);
    assert_eq!(grouped.engine.report(grouped.site)?.counts.full, 37);
    Ok(())
}
