use super::super::parallel::set_num_threads;
use super::super::testing::{Operand, assert_close};
use super::*;
use crate::error::Code;

/// Small whole numbers, exact in every dtype; bools for bool.
fn whole(shape: &[usize], dtype: DType, seed: u64) -> Operand {
    let fit = |v: f64| if dtype == DType::Bool { (v > 0.0) as u8 as f64 } else { v.abs().floor() };
    Operand::new(shape, dtype, &Operand::random(shape, DType::F64, seed).values().into_iter().map(fit).collect::<Vec<_>>())
}
fn indices(shape: &[usize], size: usize, seed: u64) -> Operand {
    Operand::new(
        shape,
        DType::I64,
        &Operand::random(shape, DType::F64, seed).values().iter().map(|v| ((v + 8.0) / 16.0 * size as f64).floor()).collect::<Vec<_>>(),
    )
}
fn add(dtype: DType, a: f64, b: f64) -> f64 {
    if dtype == DType::Bool { a.max(b) } else { a + b }
}
/// Coordinates of element `i`.
fn place(shape: &[usize], mut i: usize) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        at[d] = i % shape[d];
        i /= shape[d];
    }
    at
}
fn position(shape: &[usize], at: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |p, (i, n)| p * n + i)
}

#[test]
fn gather_and_scatter_add() {
    for dtype in DType::ALL {
        for (shape, index, dim) in [([4, 5, 3], [4, 7, 3], 1), ([4, 5, 3], [2, 5, 1], 0), ([4, 5, 6], [3, 2, 9], 2), ([4, 5, 6], [0, 5, 6], 0)] {
            let (x, at) = (whole(&shape, dtype, 1), indices(&index, shape[dim], 2));
            // The source may be larger than the index.
            let src_shape = index.map(|n| n + 1);
            let src = whole(&src_shape, dtype, 3);
            let (picked, added) = (whole(&index, dtype, 4), whole(&shape, dtype, 5));
            unsafe {
                run(&Op::Gather { dim }, &[], &[x.arg(), at.arg()], &[picked.arg()]).unwrap();
                run(&Op::ScatterAdd { dim }, &[], &[x.arg(), at.arg(), src.arg()], &[added.arg()]).unwrap();
            }
            let (xs, ats, srcs) = (x.values(), at.values(), src.values());
            let mut sums = xs.clone();
            let mut want = vec![];
            for (i, index_value) in ats.iter().enumerate() {
                let mut c = place(&index, i);
                let from = position(&src_shape, &c);
                c[dim] = *index_value as usize;
                let to = position(&shape, &c);
                want.push(xs[to]);
                sums[to] = add(dtype, sums[to], srcs[from]);
            }
            assert_close(&picked.values(), &want, 0.0, &format!("gather {dtype:?} {shape:?} {index:?}"));
            assert_close(&added.values(), &sums, 0.0, &format!("scatter_add {dtype:?} {shape:?} {index:?}"));
        }
    }
}

#[test]
fn rows_are_selected_and_added() {
    for dtype in DType::ALL {
        for (shape, n, dim) in [(vec![5], 9, 0), (vec![4, 300], 7, 0), (vec![3, 4, 5], 6, 1), (vec![3, 4], 0, 1), (vec![2, 3, 7], 5, 2)] {
            let (x, at) = (whole(&shape, dtype, 1), indices(&[n], shape[dim], 2));
            let mut rows = shape.clone();
            rows[dim] = n;
            let (src, picked, added) = (whole(&rows, dtype, 3), whole(&rows, dtype, 4), whole(&shape, dtype, 5));
            unsafe {
                run(&Op::IndexSelect { dim }, &[], &[x.arg(), at.arg()], &[picked.arg()]).unwrap();
                run(&Op::IndexAdd { dim }, &[], &[x.arg(), at.arg(), src.arg()], &[added.arg()]).unwrap();
            }
            let (xs, ats, srcs) = (x.values(), at.values(), src.values());
            let mut sums = xs.clone();
            let mut want = vec![];
            for (i, s) in srcs.iter().enumerate() {
                let mut c = place(&rows, i);
                c[dim] = ats[c[dim]] as usize;
                let to = position(&shape, &c);
                want.push(xs[to]);
                sums[to] = add(dtype, sums[to], *s);
            }
            assert_close(&picked.values(), &want, 0.0, "index_select");
            assert_close(&added.values(), &sums, 0.0, "index_add");
        }
    }
}

#[test]
fn a_wrong_index_is_named_and_nothing_is_written() {
    for wrong in [-1.0, 3.0] {
        let (x, src, out) = (whole(&[3, 2], DType::F32, 1), whole(&[2, 2], DType::F32, 2), whole(&[3, 2], DType::F32, 9));
        let (line, plane) = (Operand::new(&[2], DType::I64, &[0.0, wrong]), Operand::new(&[2, 2], DType::I64, &[0.0, 1.0, wrong, 1.0]));
        let before = out.values();
        let cases = [
            (Op::Gather { dim: 0 }, vec![x.arg(), plane.arg()]),
            (Op::ScatterAdd { dim: 0 }, vec![x.arg(), plane.arg(), src.arg()]),
            (Op::IndexSelect { dim: 0 }, vec![x.arg(), line.arg()]),
            (Op::IndexAdd { dim: 0 }, vec![x.arg(), line.arg(), src.arg()]),
        ];
        for (op, ins) in cases {
            let e = unsafe { run(&op, &[], &ins, &[out.arg()]) }.unwrap_err();
            assert_eq!(e.code, Code::IndexOutOfRange);
            assert_eq!(e.message, format!("index {wrong} is out of range for dimension 0 of size 3"));
        }
        assert_eq!(out.values(), before);
    }
}

#[test]
fn cat_takes_any_layout() {
    for dtype in DType::ALL {
        for dim in 0..3 {
            let shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4], [2, 3, 4], [0, 0, 0]];
            let mut shapes = shapes.map(|s| s.to_vec());
            shapes[1][dim] = 5;
            shapes[4] = vec![0];
            // The third is a transposed view, the fourth the odd columns of a wider tensor.
            let (a, b, c, d, empty) = (
                whole(&shapes[0], dtype, 1),
                whole(&shapes[1], dtype, 2),
                whole(&[4, 3, 2], dtype, 3),
                whole(&[2, 3, 8], dtype, 4),
                whole(&[0], dtype, 5),
            );
            let (mut view_c, mut view_d) = (c.arg(), d.arg());
            view_c.layout = view_c.layout.permute(&[2, 1, 0]);
            view_d.layout = view_d.layout.narrow(2, 1, 4, 2);
            view_d.ptr = unsafe { view_d.ptr.add(view_d.layout.offset * dtype.size()) };
            view_d.layout.offset = 0;
            let mut to = shapes[0].clone();
            to[dim] = 3 * shapes[0][dim] + 5;
            let out = whole(&to, dtype, 6);
            unsafe { run(&Op::Cat { dim }, &[], &[a.arg(), b.arg(), view_c, view_d, empty.arg()], &[out.arg()]).unwrap() };
            let (av, bv, cv, dv) = (a.values(), b.values(), c.values(), d.values());
            let (n, wide) = (shapes[0][dim], shapes[1].clone());
            let want: Vec<f64> = (0..to.iter().product())
                .map(|i| {
                    let mut at = place(&to, i);
                    let part = at[dim];
                    at[dim] = if part < n {
                        part
                    } else if part < n + 5 {
                        part - n
                    } else {
                        (part - n - 5) % n
                    };
                    match part {
                        p if p < n => av[position(&shapes[0], &at)],
                        p if p < n + 5 => bv[position(&wide, &at)],
                        p if p < 2 * n + 5 => cv[position(&[4, 3, 2], &[at[2], at[1], at[0]])],
                        _ => dv[position(&[2, 3, 8], &[at[0], at[1], 2 * at[2] + 1])],
                    }
                })
                .collect();
            assert_close(&out.values(), &want, 0.0, &format!("cat {dtype:?} along {dim}"));
        }
    }
}

#[test]
fn narrow_grad_is_zero_elsewhere() {
    for dtype in DType::ALL {
        for (dim, start, len, step) in [(0, 1, 2, 1), (1, 0, 2, 3), (2, 2, 3, 2), (1, 5, 0, 1), (0, 0, 4, 1)] {
            let shape = [4, 5, 7];
            let mut part = shape;
            part[dim] = len;
            let (g, out) = (whole(&part, dtype, 1), whole(&shape, dtype, 2));
            unsafe { run(&Op::NarrowGrad { shape: Shape::new(&shape), dim, start, step }, &[], &[g.arg()], &[out.arg()]).unwrap() };
            let mut want = vec![0.0; 140];
            for (i, v) in g.values().iter().enumerate() {
                let mut c = place(&part, i);
                c[dim] = start + c[dim] * step;
                want[position(&shape, &c)] = *v;
            }
            assert_close(&out.values(), &want, 0.0, "narrow_grad");
        }
    }
}

#[test]
fn two_threads_give_the_bits_of_one() {
    let (table, at, src) = (Operand::random(&[50, 1000], DType::F32, 1), indices(&[2000], 50, 2), Operand::random(&[2000, 1000], DType::F32, 3));
    let all = |threads: usize| {
        set_num_threads(threads);
        let (picked, added) = (Operand::zeros(&[2000, 1000], DType::F32), Operand::zeros(&[50, 1000], DType::F32));
        unsafe {
            run(&Op::IndexSelect { dim: 0 }, &[], &[table.arg(), at.arg()], &[picked.arg()]).unwrap();
            run(&Op::IndexAdd { dim: 0 }, &[], &[table.arg(), at.arg(), src.arg()], &[added.arg()]).unwrap();
        }
        [picked.values(), added.values()]
    };
    assert_eq!(all(1), all(2));
}
