//! Sizes whose products pass 64 bits: every op of the golden cases on operands that take no memory, because a size is 0 or because
//! they are expanded, gives a typed error or a right shape, and writes nothing outside of memory.
mod common;

use common::fixture::{Case, FAMILIES, cases};
use common::operand::Operands;
use std::collections::{BTreeMap, BTreeSet};
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::{Code, Result};
use wick_core::op::{Op, Sc, View, registry};
use wick_core::shape::Shape;
use wick_core::tensor::Meta;

/// More bytes than any system gives: what has them is refused at once and nobody waits for a kernel.
const ENDLESS: usize = 1 << 46;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// As in the fixture.
    Given,
    /// `[2^31, .., 0]` and `[0, .., 2^31]`.
    TallAndEmpty,
    WideAndEmpty,
    /// One element under a shape of 2^48 and more.
    Expanded,
    /// The fixture's sizes, but 2^48 along the first dimension.
    Tall,
    /// Nearly as many elements as a shape may have.
    Full,
}
const KINDS: [Kind; 6] = [Kind::Given, Kind::TallAndEmpty, Kind::WideAndEmpty, Kind::Expanded, Kind::Tall, Kind::Full];

impl Kind {
    fn shape(self, given: &[usize]) -> Vec<usize> {
        let mut s = given.to_vec();
        let r = s.len();
        let spread = |bits: usize| vec![1 << bits.div_ceil(r.max(1)); r];
        match self {
            _ if r == 0 => {}
            Kind::Given => {}
            Kind::TallAndEmpty => (s[0], s[r - 1]) = (1 << 31, 0),
            Kind::WideAndEmpty => (s[r - 1], s[0]) = (1 << 31, 0),
            Kind::Expanded => s = spread(48),
            Kind::Tall => s[0] = 1 << 48,
            Kind::Full => s = vec![1 << (59 / r); r],
        }
        s
    }
    fn make(self, engine: &mut Engine, given: Handle) -> Result<Handle> {
        let meta = engine.meta(given)?;
        if self == Kind::Given {
            return Ok(given);
        }
        let shape = Shape::checked(&self.shape(&meta.shape))?;
        let start = if shape.numel() == 0 { shape } else { Shape::scalar() };
        let fill = Op::Fill { shape: start, dtype: meta.dtype, device: Device::Cpu, value: Sc::new(0.0) };
        let x = engine.call(fill, &[])?[0];
        Ok(engine.call(Op::View(View::Expand(shape)), &[x])?[0])
    }
}

/// Operands each of a kind: all alike, one apart, and of two every pair.
fn choices(n: usize) -> Vec<Vec<Kind>> {
    let mut all = vec![];
    for a in KINDS {
        all.push(vec![a; n]);
        for i in 0..n {
            let mut one = vec![Kind::Given; n];
            one[i] = a;
            all.push(one);
        }
        if n == 2 {
            all.extend(KINDS.map(|b| vec![a, b]));
        }
    }
    all
}

fn check(case: &Case, kinds: &[Kind]) -> Result<()> {
    let engine = &mut Engine::new();
    let mut plain = case.clone();
    plain.inputs.iter_mut().for_each(|i| i.grad = false);
    let given = Operands::upload(engine, &plain)?.handles;
    let operands = given.iter().zip(kinds).map(|(h, k)| k.make(engine, *h)).collect::<Result<Vec<_>>>()?;
    let metas = operands.iter().map(|h| engine.meta(*h)).collect::<Result<Vec<_>>>()?;
    let outs = wick_core::ops::infer(&case.op, &metas)?;
    for m in &outs {
        let bytes = m.shape.iter().try_fold(m.dtype.size(), |n, d| n.checked_mul((*d).max(1)));
        assert!(bytes.is_some_and(|b| b <= isize::MAX as usize), "{} of {metas:?} gives {m:?}", case.name);
    }
    // a kernel may walk the sizes around an empty one
    let walked = |m: &Meta| m.shape.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1))).unwrap_or(usize::MAX);
    let few = |m: &[Meta]| m.iter().all(|m| m.shape.numel() < 1 << 20 && walked(m) <= 1 << 32);
    if matches!(case.op, Op::View(_)) || few(&metas) && few(&outs) || outs.iter().any(|m| m.bytes() >= ENDLESS) {
        for h in engine.call(case.op.clone(), &operands)? {
            let shape = engine.meta(h)?.shape;
            assert!(matches!(case.op, Op::View(_)) || shape.numel() < 1 << 32, "{} of {metas:?} has memory for {shape:?}", case.name);
        }
    }
    Ok(())
}

#[test]
fn no_product_of_sizes_overflows() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut refused, mut taken) = (0, BTreeSet::new());
    for case in FAMILIES.into_iter().flat_map(cases) {
        let n = case.inputs.len();
        let count = seen.entry(case.op.name()).or_default();
        *count += 1;
        // what only derivatives call gets operands of the engine's own making
        if n == 0 || *count > 12 || case.op.name().contains("Grad") {
            continue;
        }
        for kinds in choices(n) {
            match check(&case, &kinds) {
                Ok(()) => {
                    taken.insert(case.op.name());
                }
                Err(e) => {
                    assert_ne!(e.code, Code::Internal, "{} of {kinds:?}: {e}", case.name);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000, "only {refused} calls were refused");
    let names = registry();
    assert!(taken.iter().all(|n| names.contains(n)) && taken.len() > 60, "{} ops took some operands", taken.len());
}

#[test]
fn what_overflows_has_the_codes_that_say_so() -> Result<()> {
    let engine = &mut Engine::new();
    let zeros = |engine: &mut Engine, shape: &[usize]| {
        let fill = Op::Fill { shape: Shape::checked(shape)?, dtype: DType::F32, device: Device::Cpu, value: Sc::new(0.0) };
        Ok(engine.call(fill, &[])?[0])
    };
    let (a, b) = (zeros(engine, &[1 << 31, 0])?, zeros(engine, &[0, 1 << 31])?);
    let e = engine.call(Op::Matmul { mask: false }, &[a, b]).unwrap_err();
    assert_eq!((e.code, e.op), (Code::ShapeMismatch, Some("matmul")));
    let (a, b) = (zeros(engine, &[1 << 30, 0])?, zeros(engine, &[0, 1 << 28])?);
    assert_eq!(engine.call(Op::Matmul { mask: false }, &[a, b]).unwrap_err().code, Code::OutOfMemory);
    assert_eq!(Shape::checked(&[1 << 40, 1 << 40, 0]).unwrap_err().code, Code::ShapeMismatch);
    Ok(())
}
