use super::super::test_args::{Element, Owned, assert_close, same_on_threads};
use super::*;
use crate::op::Sc;
use crate::shape::{Layout, Shape};

fn ranges(list: &[(usize, usize)]) -> Ranges {
    list.iter().map(|(start, len)| Range { start: *start, len: *len }).collect()
}
fn sc(v: f64) -> Sc {
    Sc::new(v)
}
fn inside(i: usize, r: &Ranges) -> bool {
    r.iter().any(|r| (r.start..r.start + r.len).contains(&i))
}

/// Some elements, odd lengths, holes between the ranges.
const N: usize = 40_000;
fn holes() -> Ranges {
    ranges(&[(0, 7), (11, 300), (500, 0), (1000, 38_001)])
}

#[derive(Clone, Copy)]
struct Config {
    momentum: f64,
    dampening: f64,
    decay: f64,
    nesterov: bool,
    maximize: bool,
}

fn sgd_op(c: Config, fresh: bool, skip: bool) -> Op {
    let Config { momentum, dampening, decay, nesterov, maximize } = c;
    Op::Sgd {
        ranges: holes(),
        lr: sc(0.1),
        momentum: sc(momentum),
        dampening: sc(dampening),
        weight_decay: sc(decay),
        nesterov,
        maximize,
        fresh,
        skip,
    }
}

fn check_sgd<T: Element>(c: Config, tolerance: f64) {
    let (mut p, mut m) = (Owned::<T>::random(&[N], 1), Owned::<T>::random(&[N], 2));
    let (mut want, mut want_m) = (p.values(), m.values());
    let r = holes();
    for step in 0..3 {
        let mut g = Owned::<T>::random(&[N], 10 + step);
        unsafe { run(&sgd_op(c, step == 0, false), &[], &[p.arg(), g.arg(), m.arg()], &[]) }.unwrap();
        for (i, g) in g.values().into_iter().enumerate().filter(|(i, _)| inside(*i, &r)) {
            let g = if c.maximize { -g } else { g } + c.decay * want[i];
            let d = if c.momentum == 0.0 {
                g
            } else {
                want_m[i] = if step == 0 { g } else { c.momentum * want_m[i] + (1.0 - c.dampening) * g };
                if c.nesterov { g + c.momentum * want_m[i] } else { want_m[i] }
            };
            want[i] -= 0.1 * d;
        }
    }
    assert_close(&p.values(), &want, tolerance, "param");
    assert_close(&m.values(), &want_m, tolerance, "momentum");
}

#[test]
fn sgd_follows_the_formula() {
    let plain = Config { momentum: 0.0, dampening: 0.0, decay: 0.0, nesterov: false, maximize: false };
    let heavy = Config { momentum: 0.9, ..plain };
    let all = [
        plain,
        heavy,
        Config { decay: 0.01, maximize: true, ..plain },
        Config { nesterov: true, decay: 0.1, ..heavy },
        Config { dampening: 0.3, maximize: true, ..heavy },
    ];
    for c in all {
        check_sgd::<f32>(c, 1e-6);
        check_sgd::<f64>(c, 1e-14);
    }
}

#[test]
fn adamw_follows_the_formula() {
    fn check<T: Element>(maximize: bool, tolerance: f64) {
        let (lr, b1, b2, eps, decay) = (0.01, 0.9, 0.999, 1e-8, 0.1);
        let (mut p, mut m, mut v) = (Owned::<T>::random(&[N], 1), Owned::<T>::zeros(&[N]), Owned::<T>::zeros(&[N]));
        let (mut want, mut wm, mut wv) = (p.values(), m.values(), v.values());
        for step in 1..4 {
            let mut g = Owned::<T>::random(&[N], 10 + step);
            let t = step as f64;
            let op = Op::AdamW {
                ranges: holes(),
                lr: sc(lr),
                beta1: sc(b1),
                beta2: sc(b2),
                eps: sc(eps),
                weight_decay: sc(decay),
                step: sc(t),
                maximize,
                skip: false,
            };
            unsafe { run(&op, &[], &[p.arg(), g.arg(), m.arg(), v.arg()], &[]) }.unwrap();
            for (i, g) in g.values().into_iter().enumerate().filter(|(i, _)| inside(*i, &holes())) {
                let g = if maximize { -g } else { g };
                want[i] *= 1.0 - lr * decay;
                wm[i] = b1 * wm[i] + (1.0 - b1) * g;
                wv[i] = b2 * wv[i] + (1.0 - b2) * g * g;
                let denominator = wv[i].sqrt() / (1.0 - b2.powf(t)).sqrt() + eps;
                want[i] -= lr / (1.0 - b1.powf(t)) * wm[i] / denominator;
            }
        }
        for (got, want) in [(&p, &want), (&m, &wm), (&v, &wv)] {
            assert_close(&got.values(), want, tolerance, "adamw");
        }
    }
    check::<f32>(false, 1e-6);
    check::<f32>(true, 1e-6);
    check::<f64>(false, 1e-13);
}

#[test]
fn skip_leaves_everything_alone() {
    let (mut p, mut g, mut m, mut v) =
        (Owned::<f32>::random(&[N], 1), Owned::<f32>::random(&[N], 2), Owned::<f32>::random(&[N], 3), Owned::<f32>::random(&[N], 4));
    let (before, moments) = (p.data.clone(), m.data.clone());
    let adamw = Op::AdamW {
        ranges: holes(),
        lr: sc(0.1),
        beta1: sc(0.9),
        beta2: sc(0.9),
        eps: sc(1e-8),
        weight_decay: sc(0.0),
        step: sc(1.0),
        maximize: false,
        skip: true,
    };
    let sgd = sgd_op(Config { momentum: 0.9, dampening: 0.0, decay: 0.0, nesterov: false, maximize: false }, false, true);
    let mut skip = Owned::<f64>::new(vec![1.0], &[]);
    unsafe { run(&adamw, &[], &[p.arg(), g.arg(), m.arg(), v.arg(), skip.arg()], &[]) }.unwrap();
    unsafe { run(&sgd, &[], &[p.arg(), g.arg(), m.arg(), skip.arg()], &[]) }.unwrap();
    assert!(p.data == before && m.data == moments);
    skip.data[0] = 0.0;
    unsafe { run(&sgd, &[], &[p.arg(), g.arg(), m.arg(), skip.arg()], &[]) }.unwrap();
    assert!(p.data != before && m.data != moments);
}

/// Clips two buffers of different types as one; gives the norm and both.
fn clip(max: f64, poison: Option<f32>) -> (f32, Vec<f64>, Vec<f64>) {
    let (mut a, mut b, mut norm) = (Owned::<f32>::random(&[N], 1), Owned::<f64>::random(&[9], 2), Owned::<f32>::zeros(&[]));
    if let Some(x) = poison {
        a.data[0] = x;
    }
    let op = Op::ClipGradNorm { ranges: [holes(), ranges(&[(2, 5)])].into(), max: sc(max) };
    unsafe { run(&op, &[], &[a.arg(), b.arg()], &[norm.arg()]) }.unwrap();
    (norm.data[0], a.values(), b.values())
}

#[test]
fn norms_are_clipped_over_all_buffers() {
    let (a, b) = (Owned::<f32>::random(&[N], 1).values(), Owned::<f64>::random(&[9], 2).values());
    let small = ranges(&[(2, 5)]);
    let squares = |v: &[f64], r: &Ranges| v.iter().enumerate().filter(|(i, _)| inside(*i, r)).map(|(_, x)| x * x).sum::<f64>();
    let want = (squares(&a, &holes()) + squares(&b, &small)).sqrt();
    let (norm, got_a, got_b) = clip(1.0, None);
    assert!((norm as f64 - want).abs() < 1e-6 * want);
    let scaled = |v: &[f64], r: &Ranges| v.iter().enumerate().map(|(i, x)| if inside(i, r) { x / (want + 1e-6) } else { *x }).collect::<Vec<_>>();
    assert_close(&got_a, &scaled(&a, &holes()), 1e-6, "float32");
    assert_close(&got_b, &scaled(&b, &small), 1e-6, "float64");
    let (_, same_a, same_b) = clip(1e9, None);
    assert!(same_a == a && same_b == b);
    let (norm, by_inf, _) = clip(1.0, Some(f32::INFINITY));
    assert!(norm.is_infinite() && by_inf[0].is_nan() && by_inf[11] == 0.0);
    let (norm, by_nan, _) = clip(1.0, Some(f32::NAN));
    assert!(norm.is_nan() && by_nan[11].is_nan() && by_nan[8] == a[8]);
}

#[test]
fn values_are_clipped() {
    let mut g = Owned::<f32>::random(&[20], 1);
    g.data[3] = f32::NAN;
    let before = g.values();
    unsafe { run(&Op::ClipGradValue { ranges: [ranges(&[(2, 10)])].into(), max: sc(0.25) }, &[], &[g.arg()], &[]) }.unwrap();
    let want: Vec<f64> = before.iter().enumerate().map(|(i, x)| if (2..12).contains(&i) { x.clamp(-0.25, 0.25) } else { *x }).collect();
    assert_close(&g.values(), &want, 0.0, "clipped");
}

#[test]
fn threads_change_nothing() {
    same_on_threads(|| {
        let n = 1_500_000;
        let (mut p, mut g, mut m, mut v) =
            (Owned::<f32>::random(&[n], 1), Owned::<f32>::random(&[n], 2), Owned::<f32>::zeros(&[n]), Owned::<f32>::zeros(&[n]));
        let mut norm = Owned::<f32>::zeros(&[]);
        let r = ranges(&[(0, n)]);
        unsafe { run(&Op::ClipGradNorm { ranges: [r.clone()].into(), max: sc(0.1) }, &[], &[g.arg()], &[norm.arg()]) }.unwrap();
        let op = Op::AdamW {
            ranges: r,
            lr: sc(0.1),
            beta1: sc(0.9),
            beta2: sc(0.99),
            eps: sc(1e-8),
            weight_decay: sc(0.1),
            step: sc(1.0),
            maximize: false,
            skip: false,
        };
        unsafe { run(&op, &[], &[p.arg(), g.arg(), m.arg(), v.arg()], &[]) }.unwrap();
        (norm.data, p.data, m.data, v.data)
    });
}

// the loss scaler

fn arg<T>(x: &mut [T], dtype: DType) -> Arg {
    Arg { ptr: x.as_mut_ptr().cast(), layout: Layout::contiguous(Shape::new(&[x.len()])), dtype }
}

#[test]
fn only_the_ranges_are_divided_and_watched() {
    let (mut g, mut scale, mut found) = ([8.0f32, f32::NAN, 4.0, 2.0], [2.0f32], [9.0f64]);
    let ranges: Ranges = [Range { start: 0, len: 1 }, Range { start: 2, len: 2 }].into();
    let op = Op::Unscale { ranges: [ranges].into() };
    let ins = [arg(&mut g, DType::F32), arg(&mut scale, DType::F32)];
    unsafe { run(&op, &[], &ins, &[arg(&mut found, DType::F64)]).unwrap() }
    assert_eq!((g[0], g[2], g[3], found[0]), (4.0, 2.0, 1.0, 0.0));
    let all: Ranges = [Range { start: 0, len: 4 }].into();
    unsafe { run(&Op::Unscale { ranges: [all].into() }, &[], &ins, &[arg(&mut found, DType::F64)]).unwrap() }
    assert_eq!(found[0], 1.0);
}

#[test]
fn the_scale_backs_off_and_grows() {
    let (mut scale, mut tracker, mut found) = ([8.0f32], [0i32], [0.0f64]);
    let op = Op::UpdateScale { growth: Sc::new(2.0), backoff: Sc::new(0.5), interval: Sc::new(2.0) };
    let mut step = |bad: f64| {
        found[0] = bad;
        let ins = [arg(&mut scale, DType::F32), arg(&mut tracker, DType::I32), arg(&mut found, DType::F64)];
        unsafe { run(&op, &[], &ins, &[]).unwrap() }
        (scale[0], tracker[0])
    };
    assert_eq!([step(0.0), step(0.0), step(0.0), step(1.0), step(0.0)], [(8.0, 1), (16.0, 0), (16.0, 1), (8.0, 0), (8.0, 1)]);
}
