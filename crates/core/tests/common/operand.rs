//! A case's operands on the engine.
use super::array::Array;
use super::fixture::Case;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::op::{Binary, Op, Sc, View};

pub fn apply(engine: &mut Engine, op: Op, ins: &[Handle]) -> Result<Handle> {
    Ok(engine.call(op, ins)?[0])
}

pub struct Operands {
    /// What gradients are taken of, in the order of the inputs; `None` where the case wants none.
    pub leaves: Vec<Option<Handle>>,
    /// What views are taken of: the leaf, or a copy of it if the op writes it.
    pub bases: Vec<Handle>,
    pub handles: Vec<Handle>,
}

impl Operands {
    pub fn upload(engine: &mut Engine, case: &Case) -> Result<Operands> {
        let bases: Vec<&Array> = case.inputs.iter().map(|i| &i.base).collect();
        Operands::upload_bases(engine, case, &bases)
    }

    /// The case's operands with other values in their bases.
    pub fn upload_bases(engine: &mut Engine, case: &Case, values: &[&Array]) -> Result<Operands> {
        let mut o = Operands { leaves: vec![], bases: vec![], handles: vec![] };
        for (i, (input, value)) in case.inputs.iter().zip(values).enumerate() {
            let leaf = value.upload(engine)?;
            let mut base = leaf;
            if input.grad {
                engine.set_requires_grad(leaf, true)?;
                if case.mutated.iter().any(|(m, _)| *m == i) {
                    base = apply(engine, Op::Scalar { op: Binary::Mul, value: Sc::new(1.0), reversed: false }, &[leaf])?;
                }
            }
            let mut handle = base;
            for view in &input.views {
                handle = apply(engine, Op::View(*view), &[handle])?;
            }
            o.leaves.push(input.grad.then_some(leaf));
            o.bases.push(base);
            o.handles.push(handle);
        }
        Ok(o)
    }

    pub fn wanted(&self) -> Vec<Handle> {
        self.leaves.iter().flatten().copied().collect()
    }
}

/// Where operands can lie.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Placement {
    Contiguous,
    Transposed,
    /// In the middle of a larger tensor, every second element of the last dimension.
    Narrowed,
    /// A slice of a tensor with one more dimension.
    Selected,
}
impl Placement {
    pub const ALL: [Placement; 4] = [Placement::Contiguous, Placement::Transposed, Placement::Narrowed, Placement::Selected];

    /// The operand `values` (row-major) under this layout. What lies between its elements is not a number.
    pub fn upload(self, engine: &mut Engine, values: &Array) -> Result<Handle> {
        let rank = values.shape.len();
        let (shape, views): (Vec<usize>, Vec<View>) = match self {
            Placement::Transposed if rank > 1 => {
                let perm: Vec<usize> = (0..rank).rev().collect();
                (perm.iter().map(|d| values.shape[*d]).collect(), vec![View::Permute(wick_core::op::Perm::new(&perm))])
            }
            Placement::Narrowed if rank > 0 => {
                let mut shape = values.shape.clone();
                shape[rank - 1] = 2 * shape[rank - 1] + 1;
                (shape, vec![View::Narrow { dim: rank - 1, start: 1, len: values.shape[rank - 1], step: 2 }])
            }
            Placement::Selected | Placement::Narrowed => {
                let mut shape = values.shape.clone();
                shape.insert(rank / 2, 3);
                (shape, vec![View::Select { dim: rank / 2, index: 1 }])
            }
            _ => (values.shape.clone(), vec![]),
        };
        let size = values.dtype.size();
        let filler = Array::from_f64s(values.dtype, &[1], &[if values.dtype.is_float() { f64::NAN } else { 99.0 }]).bytes;
        let mut bytes: Vec<u8> = filler.iter().copied().cycle().take(shape.iter().product::<usize>() * size).collect();
        for (i, element) in values.bytes.chunks_exact(size).enumerate() {
            let at = position(self, i, &values.shape, &shape) * size;
            bytes[at..at + size].copy_from_slice(element);
        }
        let mut handle = Array { dtype: values.dtype, shape, bytes }.upload(engine)?;
        for view in views {
            handle = apply(engine, Op::View(view), &[handle])?;
        }
        Ok(handle)
    }
}

/// Where element `i` of the operand lies in its base.
fn position(placement: Placement, mut i: usize, shape: &[usize], base: &[usize]) -> usize {
    let rank = shape.len();
    let mut at = vec![0; rank];
    for d in (0..rank).rev() {
        at[d] = i % shape[d];
        i /= shape[d];
    }
    match placement {
        Placement::Transposed if rank > 1 => at.reverse(),
        Placement::Narrowed if rank > 0 => at[rank - 1] = 2 * at[rank - 1] + 1,
        Placement::Selected | Placement::Narrowed => at.insert(rank / 2, 1),
        _ => {}
    }
    at.iter().zip(base).fold(0, |n, (a, size)| n * size + a)
}
