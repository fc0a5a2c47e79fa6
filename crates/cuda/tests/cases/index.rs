//! Picking, adding, joining: small and large indices, along every dimension, whole vectors and single elements; and indices out of range.
use crate::case::{Case, Input, Lay, Values};
use crate::operand::{Generator, Image, Placed};
use wick_core::device::Backend;
use wick_core::dtype::DType;
use wick_core::error::{Code, Result};
use wick_core::op::Op;
use wick_core::shape::Shape;

fn index(shape: &[usize], size: usize) -> Input {
    Input::new(shape, DType::I64).values(Values::Index(size))
}
/// `shape` with another size for `dim`.
fn with(shape: &[usize], dim: usize, size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[dim] = size;
    shape
}

/// A selection of `n` rows and their addition.
fn rows(shape: &[usize], dim: usize, n: usize, dtype: DType) -> [Case; 2] {
    let src = Input::new(&with(shape, dim, n), dtype);
    let x = Input::new(shape, dtype);
    let name = |what: &str| format!("{what} {n} of {shape:?} {dtype:?} along {dim}");
    [
        Case::new(name("indexSelect"), Op::IndexSelect { dim }, vec![x.clone(), index(&[n], shape[dim])]).exact(),
        Case::new(name("indexAdd"), Op::IndexAdd { dim }, vec![x, index(&[n], shape[dim]), src]),
    ]
}

/// A gather of `at` numbers along `dim` and its opposite.
fn elements(shape: &[usize], at: &[usize], dim: usize, dtype: DType) -> [Case; 2] {
    let x = Input::new(shape, dtype);
    let name = |what: &str| format!("{what} {at:?} of {shape:?} {dtype:?} along {dim}");
    let mut add = Case::new(name("scatterAdd"), Op::ScatterAdd { dim }, vec![x.clone(), index(at, shape[dim]), Input::new(at, dtype)]);
    if at[dim] > 256 && matches!(dtype, DType::F32 | DType::F64) {
        // Atomic additions come in any order: a replay needn't have the same bits.
        add = add.no_graph();
    }
    [Case::new(name("gather"), Op::Gather { dim }, vec![x, index(at, shape[dim])]).exact(), add]
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    for dtype in DType::ALL {
        for (shape, dim, n) in [
            (&[5][..], 0, 9),
            (&[4, 300], 0, 7),
            (&[3, 4, 5], 1, 6),
            (&[3, 4], 1, 0),
            (&[2, 3, 7], 2, 5),
            (&[100, 64], 0, 33),
            (&[6, 16, 32], 1, 100),
            (&[50, 48], 0, 700),
            (&[3, 11, 8], 1, 400),
            (&[9, 40], 1, 3000),
        ] {
            all.extend(rows(shape, dim, n, dtype));
        }
        for (shape, at, dim) in [
            (&[4, 5, 3][..], &[4, 7, 3][..], 1),
            (&[4, 5, 3], &[2, 5, 1], 0),
            (&[4, 5, 6], &[3, 2, 9], 2),
            (&[4, 5, 6], &[0, 5, 6], 0),
            (&[128, 10], &[128, 1], 1),
            (&[40, 32], &[300, 32], 0),
            (&[40, 1000], &[40, 600], 1),
            (&[9, 3, 20], &[9, 500, 20], 1),
        ] {
            all.extend(elements(shape, at, dim, dtype));
        }
        all.extend(joined(dtype));
        all.extend(narrowed(dtype));
    }
    for dtype in [DType::F32, DType::BF16, DType::F64, DType::I64] {
        // Embeddings: more rows than one tile of the sort, popular ones, unaligned ones.
        all.extend(rows(&[5000, 768], 0, 8192, dtype));
        all.extend(rows(&[7, 96], 0, 5000, dtype));
        all.extend(rows(&[1000, 33], 0, 4097, dtype));
        for (shape, at, dim) in [(&[300, 70][..], &[3000, 70][..], 0), (&[9, 30], &[9, 700], 1)] {
            let [_, mut add] = elements(shape, at, dim, dtype);
            add.name += " deterministic";
            add.graph = true;
            all.push(add.deterministic());
        }
        let ins = vec![Input::new(&[50, 64], dtype).lay(Lay::Offset), index(&[400], 50), Input::new(&[400, 64], dtype).lay(Lay::Offset)];
        all.push(Case::new(format!("indexAdd {dtype:?} offset"), Op::IndexAdd { dim: 0 }, ins));
        let ins = vec![Input::new(&[50, 64], dtype).lay(Lay::Offset), index(&[400], 50)];
        all.push(Case::new(format!("indexSelect {dtype:?} offset"), Op::IndexSelect { dim: 0 }, ins).outputs(Lay::Offset).exact());
    }
    // One row that every number names.
    let ins = vec![
        Input::new(&[10, 64], DType::F32),
        Input::new(&[3000], DType::I64).values(Values::Given(vec![4.0])),
        Input::new(&[3000, 64], DType::F32).values(Values::Uniform),
    ];
    all.push(Case::new("indexAdd to one row", Op::IndexAdd { dim: 0 }, ins));
    all
}

fn joined(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for dim in 0..3 {
        for lay in [Lay::Contiguous, Lay::Transposed, Lay::Offset, Lay::Strided] {
            let base = [2, 3, 8];
            let mut ins: Vec<Input> = [3, 1, 5, 2, 4].iter().map(|n| Input::new(&with(&base, dim, 8 * n), dtype)).collect();
            ins[1] = ins[1].clone().lay(lay);
            ins[3] = ins[3].clone().lay(lay);
            all.push(Case::new(format!("cat {dtype:?} {lay:?} along {dim}"), Op::Cat { dim }, ins).exact());
        }
    }
    let odd = [3, 1, 0, 2].map(|n| Input::new(&[5, n], dtype)).to_vec();
    all.push(Case::new(format!("cat {dtype:?} of odd sizes"), Op::Cat { dim: 1 }, odd).exact());
    // More than one launch takes.
    let many = (0..70).map(|i| Input::new(&[4, 1 + i % 3], dtype)).collect();
    all.push(Case::new(format!("cat {dtype:?} of many"), Op::Cat { dim: 1 }, many).exact());
    let images = [16, 32, 8].map(|c| Input::new(&[2, c, 5, 6], dtype).lay(Lay::ChannelsLast)).to_vec();
    for out in [Lay::Contiguous, Lay::ChannelsLast] {
        all.push(Case::new(format!("cat {dtype:?} of images to {out:?}"), Op::Cat { dim: 1 }, images.clone()).outputs(out).exact());
    }
    all
}

fn narrowed(dtype: DType) -> Vec<Case> {
    let mut all = vec![];
    for (shape, dim, start, step, len) in [
        (&[10][..], 0, 2, 1, 5),
        (&[10, 64], 0, 1, 3, 3),
        (&[6, 40], 1, 8, 1, 16),
        (&[6, 40], 1, 3, 2, 11),
        (&[3, 9, 16], 1, 4, 2, 3),
        (&[3, 9, 16], 1, 0, 1, 9),
        (&[3, 9], 1, 4, 1, 0),
    ] {
        let op = Op::NarrowGrad { shape: Shape::new(shape), dim, start, step };
        let grad = Input::new(&with(shape, dim, len), dtype);
        all.push(Case::new(format!("narrowGrad {shape:?} {dtype:?} {start} {step} {len} along {dim}"), op, vec![grad]).exact());
    }
    all
}

/// A number that is no index reads and writes nothing, and the next read is an error; the one after that isn't.
pub fn wrong_indices(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut problems = vec![];
    let make = |shape: &[usize], dtype: DType, values: Values| {
        let input = Input::new(shape, dtype).values(values);
        Placed::new(backend, Image::of(&input, Lay::Contiguous, &mut Generator::new("wrong", shape.len())))
    };
    for n in [2, 300] {
        for wrong in [-1.0, 3.0, 1e15] {
            let mut numbers = vec![1.0; n];
            numbers[n - 1] = wrong;
            for (op, shape) in [
                (Op::Gather { dim: 0 }, vec![n, 2]),
                (Op::ScatterAdd { dim: 0 }, vec![n, 2]),
                (Op::IndexSelect { dim: 0 }, vec![n]),
                (Op::IndexAdd { dim: 0 }, vec![n]),
            ] {
                let per = shape.get(1).copied().unwrap_or(1);
                let numbers: Vec<f64> = numbers.iter().flat_map(|v| vec![*v; per]).collect();
                let x = make(&[3, 2], DType::F32, Values::Normal)?;
                let at = make(&shape, DType::I64, Values::Given(numbers))?;
                let src = make(&[n, 2], DType::F32, Values::Given(vec![0.0]))?;
                let adds = matches!(op, Op::ScatterAdd { .. } | Op::IndexAdd { .. });
                let out = make(&[if adds { 3 } else { n }, 2], DType::F32, Values::Normal)?;
                for p in [&x, &at, &src, &out] {
                    p.restore()?;
                }
                let ins: Vec<_> = [&x, &at].into_iter().chain(adds.then_some(&src)).map(|p| p.arg(None)).collect();
                unsafe { backend.run(&op, &[], &ins, &[out.arg(None)])? };
                match out.now() {
                    Ok(_) => problems.push(format!("{} with {wrong} of {n} is no error", op.name())),
                    Err(e) if e.code != Code::IndexOutOfRange => problems.push(format!("{} with {wrong}: {e}", op.name())),
                    Err(_) => {}
                }
                let now = out.now()?;
                if !now.same_around(&out.image) {
                    problems.push(format!("{} with {wrong} of {n} writes around the result", op.name()));
                }
                // Nothing but zeros was added.
                if adds && now.array().f64s() != x.image.array().f64s() {
                    problems.push(format!("{} with {wrong} of {n} changes the result", op.name()));
                }
            }
        }
    }
    Ok(problems)
}
