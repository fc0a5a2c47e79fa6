use super::super::test_args::{Element, Owned, assert_close, indices, same_on_threads};
use super::*;
use ::half::{bf16, f16};

/// `a @ b` in f64 by the definition, batch dimensions broadcast.
fn reference<T: Element>(a: &Owned<T>, b: &Owned<T>) -> (Vec<usize>, Vec<f64>) {
    let (sa, sb) = (a.layout.shape.to_vec(), b.layout.shape.to_vec());
    let r = sa.len();
    let mut shape: Vec<usize> = (0..r - 2).map(|d| if sa[d] == 1 { sb[d] } else { sa[d] }).collect();
    shape.extend([sa[r - 2], sb[r - 1]]);
    let clamp = |i: &[usize], s: &[usize]| -> Vec<usize> { i.iter().zip(s).map(|(i, s)| if *s == 1 { 0 } else { *i }).collect() };
    let values = indices(&shape)
        .map(|i| {
            (0..sa[r - 1])
                .map(|p| {
                    let (mut ia, mut ib) = (clamp(&i, &sa), clamp(&i, &sb));
                    (ia[r - 2], ia[r - 1], ib[r - 2], ib[r - 1]) = (i[r - 2], p, p, i[r - 1]);
                    a.at(&ia).to_f64() * b.at(&ib).to_f64()
                })
                .sum()
        })
        .collect();
    (shape, values)
}

fn check<T: Element>(mut a: Owned<T>, mut b: Owned<T>, tolerance: f64) {
    let (shape, want) = reference(&a, &b);
    let mut out = Owned::<T>::random(&shape, 9);
    unsafe { run(&Op::Matmul { mask: false }, &[], &[a.arg(), b.arg()], &[out.arg()]) }.unwrap();
    assert_close(&out.values(), &want, tolerance, &format!("{:?} @ {:?}", a.layout, b.layout));
}

fn masked<T: Element>(m: usize, n: usize, k: usize) {
    let [mut a, mut b] = [Owned::<T>::random(&[m, k], 1), Owned::<T>::random(&[n, k], 2).under(transposed)];
    let [mut y, mut plain, mut fused, mut alone] = [3, 4, 5, 6].map(|seed| Owned::<T>::random(&[m, n], seed));
    y.data[0] = T::from_f64(0.0);
    unsafe {
        run(&Op::Matmul { mask: true }, &[], &[a.arg(), b.arg(), y.arg()], &[fused.arg()]).unwrap();
        run(&Op::Matmul { mask: false }, &[], &[a.arg(), b.arg()], &[plain.arg()]).unwrap();
        pointwise::run(&Op::Binary(Binary::ReluGrad), &[], &[plain.arg(), y.arg()], &[alone.arg()]).unwrap();
    }
    assert_eq!(fused.values(), alone.values());
}

#[test]
fn a_fused_mask_has_the_bits_of_the_single_ops() {
    for (m, n, k) in [(1, 1, 1), (32, 64, 10), (7, 13, 300)] {
        masked::<f32>(m, n, k);
        masked::<f64>(m, n, k);
        masked::<bf16>(m, n, k);
        masked::<f16>(m, n, k);
    }
}

fn transposed(l: &Layout) -> Layout {
    let r = l.rank();
    l.permute(crate::op::Perm::swap(r, r - 1, r - 2).as_slice())
}

#[test]
fn every_layout_of_the_last_two_dimensions() {
    for (m, n, k) in [(1, 1, 1), (3, 5, 7), (32, 10, 64), (7, 13, 300), (33, 70, 257), (13, 4, 48), (1, 9, 100), (9, 1, 100), (5, 6, 2), (70, 3, 65)]
    {
        check(Owned::<f32>::random(&[m, k], 1), Owned::random(&[k, n], 2), 1e-5);
        check(Owned::<f32>::random(&[m, k], 1), Owned::random(&[n, k], 2).under(transposed), 1e-5);
        check(Owned::<f32>::random(&[k, m], 1).under(transposed), Owned::random(&[k, n], 2), 1e-5);
        check(Owned::<f32>::random(&[k, m], 1).under(transposed), Owned::random(&[n, k], 2).under(transposed), 1e-5);
        check(Owned::<f64>::random(&[m, k], 1), Owned::random(&[n, k], 2).under(transposed), 1e-13);
        check(
            Owned::<f32>::random(&[2 * m, k], 1).under(|l| l.narrow(0, 1, m, 2)),
            Owned::random(&[k, 3 * n], 2).under(|l| l.narrow(1, 0, n, 3)),
            1e-5,
        );
        // Rows along k with a gap, as the dot kernel takes them.
        let cut = |l: &Layout| l.narrow(1, 3, k, 1);
        check(Owned::<f32>::random(&[m, k + 5], 1).under(cut), Owned::random(&[n, k + 5], 2).under(|l| transposed(&cut(l))), 1e-5);
    }
}

#[test]
fn other_element_types() {
    check(Owned::<i32>::random(&[5, 7], 1), Owned::random(&[3, 7], 2).under(transposed), 0.0);
    check(Owned::<i64>::random(&[2, 5, 7], 1), Owned::random(&[1, 7, 4], 2), 0.0);
    check(Owned::<u8>::random(&[2, 2], 1), Owned::random(&[2, 3], 2), 0.0);
    check(Owned::<bf16>::random(&[5, 70], 1), Owned::random(&[4, 70], 2).under(transposed), 8e-3);
    check(Owned::<f16>::random(&[2, 5, 9], 1), Owned::random(&[1, 9, 6], 2), 1e-3);
    let mut b = Owned::<u8>::random(&[2, 2], 1);
    b.dtype = DType::Bool;
    let (x, mut out) = (b.arg(), Owned::<u8>::zeros(&[2, 2]));
    out.dtype = DType::Bool;
    assert!(unsafe { run(&Op::Matmul { mask: false }, &[], &[x, x], &[out.arg()]) }.is_err());
}

#[test]
fn batches_broadcast() {
    check(Owned::<f32>::random(&[3, 4, 5], 1), Owned::random(&[3, 5, 2], 2), 1e-5);
    check(Owned::<f32>::random(&[3, 4, 5], 1), Owned::random(&[1, 5, 2], 2), 1e-5);
    check(Owned::<f32>::random(&[3, 1, 5], 1), Owned::random(&[1, 5, 2], 2), 1e-5);
    check(Owned::<f32>::random(&[1, 4, 5], 1), Owned::random(&[3, 5, 2], 2), 1e-5);
    check(Owned::<f32>::random(&[2, 1, 4, 5], 1), Owned::random(&[1, 3, 5, 2], 2), 1e-5);
    check(Owned::<f32>::random(&[4, 2, 3, 5], 1).under(|l| l.permute(&[1, 2, 0, 3])), Owned::random(&[2, 3, 5, 6], 2), 1e-5);
    check(Owned::<f32>::random(&[1, 4, 5], 1).under(|l| l.expand(&Shape::new(&[6, 4, 5]))), Owned::random(&[6, 5, 2], 2), 1e-5);
}

#[test]
fn empty_sides() {
    check(Owned::<f32>::random(&[0, 5], 1), Owned::random(&[5, 3], 2), 0.0);
    check(Owned::<f32>::random(&[4, 0], 1), Owned::random(&[0, 3], 2), 0.0);
    check(Owned::<i32>::random(&[4, 0], 1), Owned::random(&[0, 3], 2), 0.0);
    check(Owned::<f32>::random(&[4, 5], 1), Owned::random(&[5, 0], 2), 0.0);
    check(Owned::<f32>::random(&[0, 4, 5], 1), Owned::random(&[0, 5, 3], 2), 0.0);
}

#[test]
fn linear_adds_bias_and_clips() {
    for (m, n, k) in [(32, 10, 64), (5, 7, 3), (17, 33, 300), (2, 3, 0), (0, 3, 4), (3, 0, 4)] {
        for (bias, relu) in [(false, false), (true, false), (true, true), (false, true)] {
            let (mut x, mut w, mut b) = (Owned::<f32>::random(&[m, k], 1), Owned::<f32>::random(&[n, k], 2), Owned::<f32>::random(&[n], 3));
            let want: Vec<f64> = indices(&[m, n])
                .map(|i| {
                    let dot: f64 = (0..k).map(|p| x.at(&[i[0], p]).to_f64() * w.at(&[i[1], p]).to_f64()).sum();
                    let y = dot + if bias { b.at(&[i[1]]).to_f64() } else { 0.0 };
                    if relu { y.max(0.0) } else { y }
                })
                .collect();
            let mut out = Owned::<f32>::random(&[m, n], 4);
            let mut ins = vec![x.arg(), w.arg()];
            if bias {
                ins.push(b.arg());
            }
            unsafe { run(&Op::Linear { bias, relu }, &[], &ins, &[out.arg()]) }.unwrap();
            assert_close(&out.values(), &want, 1e-5, &format!("linear {m} {n} {k} {bias} {relu}"));
        }
    }
}

#[test]
fn relu_keeps_nan() {
    for k in [4, 64] {
        let (mut x, mut w, mut out) = (Owned::<f32>::random(&[2, k], 1), Owned::<f32>::random(&[5, k], 2), Owned::<f32>::zeros(&[2, 5]));
        x.data[0] = f32::NAN;
        unsafe { run(&Op::Linear { bias: false, relu: true }, &[], &[x.arg(), w.arg()], &[out.arg()]) }.unwrap();
        assert!(out.data[..5].iter().all(|v| v.is_nan()) && out.data[5..].iter().all(|v| *v >= 0.0));
    }
}

#[test]
fn products_add_to_what_is_there() {
    for (m, n, k) in [(5, 7, 3), (9, 11, 300)] {
        let (a, b) = (Owned::<f32>::random(&[m, k], 1), Owned::<f32>::random(&[n, k], 2).under(transposed));
        let (_, product) = reference(&a, &b);
        let mut out = Owned::<f32>::random(&[m, n], 3);
        let want: Vec<f64> = out.values().iter().zip(&product).map(|(x, y)| x + y).collect();
        let (ma, mb) = (Mat { ptr: a.data.as_ptr(), row: k, col: 1 }, Mat { ptr: b.data.as_ptr(), row: 1, col: k });
        let epilogue = Epilogue { accumulate: true, ..Epilogue::default() };
        unsafe { gemm(&Product { m, n, k, a: ma, b: mb, out: out.data.as_mut_ptr(), ldo: n, epilogue, threads: true }) };
        assert_close(&out.values(), &want, 1e-5, "accumulated");
    }
}

#[test]
fn threads_change_nothing() {
    for (m, n, k) in [(300, 300, 300), (40, 900, 800), (900, 40, 800), (513, 300, 100)] {
        for flip in [false, true] {
            same_on_threads(|| {
                let mut a = Owned::<f32>::random(&[m, k], 1);
                let mut b = if flip { Owned::<f32>::random(&[n, k], 2).under(transposed) } else { Owned::random(&[k, n], 2) };
                let mut out = Owned::<f32>::zeros(&[m, n]);
                unsafe { run(&Op::Matmul { mask: false }, &[], &[a.arg(), b.arg()], &[out.arg()]) }.unwrap();
                out.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            });
        }
    }
    same_on_threads(|| {
        let (mut a, mut b) = (Owned::<f32>::random(&[40, 32, 96], 1), Owned::<f32>::random(&[40, 96, 96], 2));
        let mut out = Owned::<f32>::zeros(&[40, 32, 96]);
        unsafe { run(&Op::Matmul { mask: false }, &[], &[a.arg(), b.arg()], &[out.arg()]) }.unwrap();
        out.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    });
}
