use super::super::test_args::{Element, Owned, assert_close, same_on_threads};
use super::*;
use crate::error::Code;
use crate::shape::Shape;

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

/// PyTorch's formulas, in f64: losses of the rows and derivatives of their sum.
fn reference(x: &[f64], t: &[i64], c: usize, ignore: i64, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let mut losses = vec![];
    let mut grads = vec![];
    for (row, t) in x.chunks(c).zip(t) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = max + row.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
        let keep = if *t == ignore { 0.0 } else { 1.0 };
        let q = |j: usize| eps / c as f64 + if j as i64 == *t { 1.0 - eps } else { 0.0 };
        losses.push(keep * (0..c).map(|j| q(j) * (lse - row[j])).sum::<f64>());
        grads.extend((0..c).map(|j| keep * ((row[j] - lse).exp() - q(j))));
    }
    (losses, grads)
}

fn check<T: Element>(n: usize, c: usize, smoothing: f64, reduction: Reduction, tolerance: f64) {
    let mut x = Owned::<T>::random(&[n, c], 1);
    x.data.iter_mut().for_each(|v| *v = T::from_f64(v.to_f64() * 8.0));
    let ignore = -100;
    let labels: Vec<i64> = (0..n).map(|i| if i % 5 == 3 { ignore } else { (i * 7 % c) as i64 }).collect();
    let valid = labels.iter().filter(|t| **t != ignore).count() as f64;
    let mut t = Owned::new(labels.clone(), &[n]);
    let (losses, grads) = reference(&x.values(), &labels, c, ignore, smoothing);
    let shape: &[usize] = if reduction == Reduction::None { &[n] } else { &[] };
    let (mut loss, mut lse) = (Owned::<T>::random(shape, 2), Owned::<T>::random(&[n], 3));
    let smoothing = Sc::new(smoothing);
    unsafe { run(&Op::CrossEntropy { ignore_index: ignore, smoothing, reduction, grad: false }, &[], &[x.arg(), t.arg()], &[loss.arg(), lse.arg()]) }
        .unwrap();
    let total: f64 = losses.iter().sum();
    let (want, divisor) = match reduction {
        Reduction::None => (losses, 1.0),
        Reduction::Mean => (vec![total / valid], valid),
        Reduction::Sum => (vec![total], 1.0),
    };
    assert_close(&loss.values(), &want, tolerance, "loss");
    let mut g = Owned::<T>::random(shape, 4);
    let upstream = g.values();
    let want: Vec<f64> =
        grads.iter().enumerate().map(|(i, d)| d / divisor * upstream[if reduction == Reduction::None { i / c } else { 0 }]).collect();
    let mut out = Owned::<T>::random(&[n, c], 5);
    let op = Op::CrossEntropyGrad { ignore_index: ignore, smoothing, reduction };
    unsafe { run(&op, &[], &[g.arg(), x.arg(), t.arg(), lse.arg()], &[out.arg()]) }.unwrap();
    assert_close(&out.values(), &want, tolerance, "grad");
}

#[test]
fn agrees_with_the_formulas() {
    for (n, c) in [(1, 1), (7, 3), (32, 10), (9, 16), (5, 1000), (300, 33)] {
        for smoothing in [0.0, 0.1] {
            for reduction in REDUCTIONS {
                check::<f32>(n, c, smoothing, reduction, 3e-6);
                check::<f64>(n, c, smoothing, reduction, 1e-13);
                check::<::half::bf16>(n, c, smoothing, reduction, 1e-2);
            }
        }
    }
}

fn with_gradient<T: Element>(n: usize, c: usize, reduction: Reduction) {
    let (mut x, mut t) = (Owned::<T>::random(&[n, c], 1), Owned::new((0..n).map(|i| if i % 4 == 2 { 7777 } else { (i % c) as i64 }).collect(), &[n]));
    let [mut loss, mut alone, mut one] = [2, 3, 4].map(|seed| Owned::<T>::random(&[], seed));
    let ([mut lse, mut lse_alone], [mut out, mut out_alone]) =
        ([5, 6].map(|seed| Owned::<T>::random(&[n], seed)), [7, 8].map(|seed| Owned::<T>::random(&[n, c], seed)));
    one.data[0] = T::from_f64(1.0);
    let (ignore_index, smoothing) = (7777, Sc::new(0.1));
    let op = |grad| Op::CrossEntropy { ignore_index, smoothing, reduction, grad };
    let of_logits = Op::CrossEntropyGrad { ignore_index, smoothing, reduction };
    unsafe {
        run(&op(true), &[], &[x.arg(), t.arg()], &[loss.arg(), lse.arg(), out.arg()]).unwrap();
        run(&op(false), &[], &[x.arg(), t.arg()], &[alone.arg(), lse_alone.arg()]).unwrap();
        run(&of_logits, &[], &[one.arg(), x.arg(), t.arg(), lse_alone.arg()], &[out_alone.arg()]).unwrap();
    }
    assert_eq!((loss.values(), lse.values(), out.values()), (alone.values(), lse_alone.values(), out_alone.values()));
}

#[test]
fn a_fused_gradient_has_the_bits_of_the_single_ops() {
    for (n, c) in [(1, 1), (7, 3), (32, 10), (5, 1000)] {
        for reduction in [Reduction::Mean, Reduction::Sum] {
            with_gradient::<f32>(n, c, reduction);
            with_gradient::<f64>(n, c, reduction);
            with_gradient::<::half::bf16>(n, c, reduction);
            with_gradient::<::half::f16>(n, c, reduction);
        }
    }
}

fn loss_of(x: &mut Owned<f32>, labels: &[i64], ignore_index: i64, reduction: Reduction) -> Result<Vec<f64>> {
    let n = labels.len();
    let shape: &[usize] = if reduction == Reduction::None { &[n] } else { &[] };
    let (mut t, mut loss, mut lse) = (Owned::new(labels.to_vec(), &[n]), Owned::<f32>::zeros(shape), Owned::<f32>::zeros(&[n]));
    let op = Op::CrossEntropy { ignore_index, smoothing: Sc::new(0.0), reduction, grad: false };
    unsafe { run(&op, &[], &[x.arg(), t.arg()], &[loss.arg(), lse.arg()])? };
    Ok(loss.values())
}

#[test]
fn targets_that_are_no_class() {
    let mut x = Owned::<f32>::random(&[3, 10], 1);
    for bad in [12, -1, 10] {
        let e = loss_of(&mut x, &[0, bad, 3], -100, Reduction::Mean).unwrap_err();
        assert_eq!((e.code, e.op), (Code::IndexOutOfRange, Some("crossEntropy")));
        assert!(e.message.contains(&bad.to_string()) && e.message.contains("10 classes"), "{}", e.message);
    }
    assert!(loss_of(&mut x, &[0, 12, 3], 12, Reduction::Mean).is_ok());
}

#[test]
fn nothing_but_ignored_targets() {
    let mut x = Owned::<f32>::random(&[2, 4], 1);
    assert!(loss_of(&mut x, &[-100, -100], -100, Reduction::Mean).unwrap()[0].is_nan());
    assert_eq!(loss_of(&mut x, &[-100, -100], -100, Reduction::Sum).unwrap(), [0.0]);
    assert_eq!(loss_of(&mut x, &[-100, -100], -100, Reduction::None).unwrap(), [0.0, 0.0]);
    assert!(loss_of(&mut Owned::<f32>::zeros(&[0, 4]), &[], -100, Reduction::Mean).unwrap()[0].is_nan());
    let mut grad = Owned::<f32>::new(vec![1.0], &[]);
    let (mut t, mut lse, mut out) = (Owned::new(vec![-100i64; 2], &[2]), Owned::<f32>::zeros(&[2]), Owned::<f32>::random(&[2, 4], 1));
    let op = Op::CrossEntropyGrad { ignore_index: -100, smoothing: Sc::new(0.0), reduction: Reduction::Mean };
    unsafe { run(&op, &[], &[grad.arg(), x.arg(), t.arg(), lse.arg()], &[out.arg()]) }.unwrap();
    assert_eq!(out.data, [0.0; 8]);
}

#[test]
fn large_logits_keep_their_digits() {
    let mut x = Owned::<f32>::new(vec![100_000.0, 100_001.0, 100_002.0], &[1, 3]);
    let want = reference(&x.values(), &[0], 3, -100, 0.0);
    assert_close(&loss_of(&mut x, &[0], -100, Reduction::Sum).unwrap(), &want.0, 1e-6, "loss");
    let (mut g, mut t) = (Owned::<f32>::new(vec![1.0], &[]), Owned::new(vec![0i64], &[1]));
    let (mut lse, mut out) = (Owned::<f32>::zeros(&[1]), Owned::<f32>::zeros(&[1, 3]));
    let op = Op::CrossEntropyGrad { ignore_index: -100, smoothing: Sc::new(0.0), reduction: Reduction::Sum };
    unsafe { run(&op, &[], &[g.arg(), x.arg(), t.arg(), lse.arg()], &[out.arg()]) }.unwrap();
    assert_close(&out.values(), &want.1, 1e-6, "grad");
}

#[test]
fn a_repeated_gradient_and_threads() {
    same_on_threads(|| {
        let (n, c) = (2000, 101);
        let mut x = Owned::<f32>::random(&[n, c], 1);
        let labels: Vec<i64> = (0..n).map(|i| (i % c) as i64).collect();
        let mut t = Owned::new(labels.clone(), &[n]);
        let mut g = Owned::<f32>::new(vec![0.5], &[1]).under(|l| l.expand(&Shape::new(&[2000])));
        let (mut lse, mut out) = (Owned::<f32>::zeros(&[n]), Owned::<f32>::zeros(&[n, c]));
        let op = Op::CrossEntropyGrad { ignore_index: -100, smoothing: Sc::new(0.0), reduction: Reduction::None };
        unsafe { run(&op, &[], &[g.arg(), x.arg(), t.arg(), lse.arg()], &[out.arg()]) }.unwrap();
        let want: Vec<f64> = reference(&x.values(), &labels, c, -100, 0.0).1.iter().map(|v| v * 0.5).collect();
        assert_close(&out.values(), &want, 2e-6, "grad");
        (out.data, loss_of(&mut x, &labels, -100, Reduction::Mean).unwrap())
    });
}

#[test]
fn tracker() {
    let mut t = Owned::<f64>::zeros(&[4]);
    let step = |t: &mut Owned<f64>, v: f32, w: f64| {
        unsafe { run(&Op::TrackLoss { weight: Sc::new(w) }, &[], &[t.arg(), Owned::new(vec![v], &[]).arg()], &[]) }.unwrap()
    };
    step(&mut t, 2.0, 32.0);
    step(&mut t, 4.0, 8.0);
    assert_eq!(t.data, [96.0, 40.0, 0.0, 4.0]);
    step(&mut t, f32::INFINITY, 1.0);
    assert_eq!(t.data[1..], [41.0, 1.0, f64::INFINITY]);
}
