//! What the offline test compiles.
use super::{Program, SOURCE};
use crate::gpu::Source;
use crate::walk::Walk;
use wick_core::cpu::Arg;
use wick_core::cpu::chain::Source as Operand;
use wick_core::dtype::DType;
use wick_core::op::{Binary, Op, Random, Sc, Unary};
use wick_core::shape::{Layout, Shape};

/// Programs that between them hold every function at every dtype, and every way of walking.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let mut texts: Vec<String> = DType::ALL.into_iter().map(every_function).collect();
    let (rows, last) = (Layout::contiguous(Shape::new(&[6, 5, 8, 4])), Layout::contiguous(Shape::new(&[6, 8, 4, 5])).permute(&[0, 3, 1, 2]));
    let channel = Layout::contiguous(Shape::new(&[5, 1, 1]));
    for (layout, unroll) in [(rows, 4), (rows, 1), (last, 2)] {
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            texts.push(drawn(layout, channel, dtype, unroll));
        }
    }
    // Offsets of more than 31 bits.
    let large = Layout::contiguous(Shape::new(&[1 << 16, 1 << 16]));
    texts.push(drawn(large, Layout::contiguous(Shape::new(&[1 << 16])), DType::F32, 1));
    texts.push(drawn(large.permute(&[1, 0]), Layout::contiguous(Shape::new(&[1 << 16])), DType::F32, 1));
    texts.into_iter().map(|text| (&SOURCE, text, vec!["chain".to_string()])).collect()
}

/// An operand at an aligned address.
pub fn example(layout: Layout, dtype: DType) -> Arg {
    Arg { ptr: std::ptr::without_provenance_mut(1 << 20), layout, dtype }
}

/// All functions that a dtype has, added up so that none is dead.
fn every_function(dtype: DType) -> String {
    let layout = Layout::contiguous(Shape::new(&[64]));
    let mut p = Program::new(layout.shape, &[]);
    (0..2).for_each(|_| p.input(&example(layout, dtype)));
    let (x, y, number) = (Operand::Input(0), Operand::Input(1), Sc::new(2.0));
    let mut ops: Vec<(Op, Vec<Operand>)> = Unary::ALL.iter().map(|u| (Op::Unary(*u), vec![x])).collect();
    ops.extend(Binary::ALL.iter().map(|b| (Op::Binary(*b), vec![x, y])));
    ops.extend(DType::ALL.iter().map(|d| (Op::Cast(*d), vec![x])));
    ops.push((Op::Scalar { op: Binary::Add, value: number, reversed: true }, vec![x]));
    ops.push((Op::Clamp { low: number, high: number }, vec![x]));
    let mut sum = x;
    for (op, ins) in ops {
        // What a dtype doesn't have is left out.
        let Ok(result) = p.step(&op, &ins) else { continue };
        let mut last = Operand::Step(p.dtypes.len() - 1);
        if result != dtype {
            let _ = p.step(&Op::Cast(dtype), &[last]);
            last = Operand::Step(p.dtypes.len() - 1);
        }
        let _ = p.step(&Op::Binary(Binary::Maximum), &[sum, last]);
        sum = Operand::Step(p.dtypes.len() - 1);
    }
    p.output(p.dtypes.len() - 1, &example(layout, dtype));
    p.defines(&Walk::new(&layout.shape, &p.places, 2, false), 1)
}

/// Random numbers, a range, a dropout and broadcast operands, written to `layout`.
fn drawn(layout: Layout, broadcast: Layout, dtype: DType, unroll: usize) -> String {
    let mut p = Program::new(layout.shape, &[]);
    for l in [layout, broadcast, Layout::contiguous(Shape::scalar())] {
        p.input(&example(l, dtype));
    }
    let number = Sc::new(0.5);
    let add = Op::Binary(Binary::Add);
    let _ = p.step(&add, &[Operand::Input(0), Operand::Input(1)]);
    let _ = p.step(&add, &[Operand::Step(0), Operand::Input(2)]);
    let _ = p.step(&Op::Dropout { p: number, seed: number, offset: number }, &[Operand::Step(1)]);
    let _ = p.random(Random::Uniform, number, number, dtype);
    let _ = p.random(Random::Normal, number, number, dtype);
    p.arange(number, number, dtype);
    p.fill(number, dtype);
    for s in [2, 3, 4, 5, 6] {
        p.output(s, &example(layout, p.dtypes[s]));
    }
    p.defines(&Walk::new(&layout.shape, &p.places, 3, true), unroll)
}
