use super::super::parallel::set_num_threads;
use super::super::testing::{Operand, assert_close};
use super::super::{Arg, run as run_any};
use super::run;
use crate::dtype::DType;
use crate::op::{Binary, NormMask, Op, Sc, Unary};

fn op(affine: bool, stats: bool) -> Op {
    Op::BatchNorm { eps: Sc::new(1e-3), momentum: Sc::new(0.25), affine, stats, add: false, relu: false }
}

fn plain(affine: bool) -> Op {
    Op::BatchNormGrad { affine, mask: NormMask::None, sum: false, keep: false }
}

#[test]
fn results_statistics_and_gradients() {
    for (shape, dtype) in [vec![5, 7, 3, 11], vec![9, 70], vec![4, 3, 130], vec![2, 2, 1, 1, 1], vec![1, 3, 65, 70], vec![33, 4, 4, 4]]
        .into_iter()
        .flat_map(|s| [(s.clone(), DType::F32), (s, DType::F64)])
    {
        for affine in [true, false] {
            let (c, plane) = (shape[1], shape[2..].iter().product::<usize>());
            let channel = |i: usize| i / plane % c;
            // Far from 0: a one-pass variance in float32 would be lost.
            let x = Operand::new(&shape, dtype, &Operand::random(&shape, dtype, 1).values().iter().map(|v| v + 1000.0).collect::<Vec<_>>());
            let (w, b, g) = (Operand::random(&[c], dtype, 2), Operand::random(&[c], dtype, 3), Operand::random(&shape, dtype, 4));
            let (running_mean, running_var) = (Operand::random(&[c], dtype, 5), Operand::random(&[c], dtype, 6));
            let (old_mean, old_var) = (running_mean.values(), running_var.values());
            let (y, mean, invstd) = (Operand::zeros(&shape, dtype), Operand::zeros(&[c], dtype), Operand::zeros(&[c], dtype));
            let (dx, dw, db) = (Operand::zeros(&shape, dtype), Operand::zeros(&[c], dtype), Operand::zeros(&[c], dtype));
            let mut ins = vec![x.arg()];
            let mut grad_ins = vec![g.arg(), x.arg()];
            if affine {
                ins.extend([w.arg(), b.arg()]);
                grad_ins.push(w.arg());
            }
            ins.extend([running_mean.arg(), running_var.arg()]);
            grad_ins.extend([mean.arg(), invstd.arg()]);
            unsafe {
                run(&op(affine, true), &[], &ins, &[y.arg(), mean.arg(), invstd.arg()]).unwrap();
                run(&plain(affine), &[], &grad_ins, &[dx.arg(), dw.arg(), db.arg()]).unwrap();
            }
            let (xs, gs) = (x.values(), g.values());
            let n = (xs.len() / c) as f64;
            let sum = |f: &dyn Fn(usize) -> f64| {
                (0..xs.len()).fold(vec![0.0; c], |mut s, i| {
                    s[channel(i)] += f(i);
                    s
                })
            };
            let means: Vec<f64> = sum(&|i| xs[i]).iter().map(|s| s / n).collect();
            let vars: Vec<f64> = sum(&|i| (xs[i] - means[channel(i)]).powi(2)).iter().map(|s| s / n).collect();
            let inv: Vec<f64> = vars.iter().map(|v| 1.0 / (v + 1e-3).sqrt()).collect();
            let hat = |i: usize| (xs[i] - means[channel(i)]) * inv[channel(i)];
            let (ws, bs) = if affine { (w.values(), b.values()) } else { (vec![1.0; c], vec![0.0; c]) };
            let (want_w, want_b) = (sum(&|i| gs[i] * hat(i)), sum(&|i| gs[i]));
            let tolerance = if dtype == DType::F32 { 2e-3 } else { 1e-9 };
            let what = format!("{shape:?} {dtype:?} affine {affine}");
            assert_close(&mean.values(), &means, 1e-6, &what);
            assert_close(&invstd.values(), &inv, 1e-4, &what);
            assert_close(&y.values(), &(0..xs.len()).map(|i| hat(i) * ws[channel(i)] + bs[channel(i)]).collect::<Vec<_>>(), tolerance, &what);
            assert_close(&running_mean.values(), &(0..c).map(|i| 0.75 * old_mean[i] + 0.25 * means[i]).collect::<Vec<_>>(), 1e-6, &what);
            assert_close(&running_var.values(), &(0..c).map(|i| 0.75 * old_var[i] + 0.25 * vars[i] * n / (n - 1.0)).collect::<Vec<_>>(), 1e-4, &what);
            assert_close(&dw.values(), &want_w, tolerance, &what);
            assert_close(&db.values(), &want_b, 1e-5, &what);
            let want_x = |i: usize| (gs[i] - want_b[channel(i)] / n - hat(i) * want_w[channel(i)] / n) * inv[channel(i)] * ws[channel(i)];
            assert_close(&dx.values(), &(0..xs.len()).map(want_x).collect::<Vec<_>>(), tolerance, &what);
        }
    }
}

#[test]
fn two_threads_give_the_bits_of_one() {
    let shape = [16, 24, 40, 40];
    let x = Operand::random(&shape, DType::F32, 1);
    let all = |threads: usize| {
        set_num_threads(threads);
        let (y, mean, invstd) = (Operand::zeros(&shape, DType::F32), Operand::zeros(&[24], DType::F32), Operand::zeros(&[24], DType::F32));
        let (dx, dw, db) = (Operand::zeros(&shape, DType::F32), Operand::zeros(&[24], DType::F32), Operand::zeros(&[24], DType::F32));
        unsafe {
            run(&op(false, false), &[], &[x.arg()], &[y.arg(), mean.arg(), invstd.arg()]).unwrap();
            run(&plain(false), &[], &[y.arg(), x.arg(), mean.arg(), invstd.arg()], &[dx.arg(), dw.arg(), db.arg()]).unwrap();
        }
        [y.values(), mean.values(), invstd.values(), dx.values(), dw.values(), db.values()]
    };
    assert_eq!(all(1), all(2));
}

fn bits(x: &Operand) -> Vec<u64> {
    x.values().iter().map(|v| v.to_bits()).collect()
}

const SHAPES: [&[usize]; 5] = [&[5, 7, 3, 11], &[9, 70], &[3, 2, 65, 70], &[40, 1], &[2, 5, 1, 1]];
const DTYPES: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// `f(shape, dtype, affine)` of many.
fn each(f: impl Fn(&[usize], DType, bool)) {
    for shape in SHAPES {
        for dtype in DTYPES {
            f(shape, dtype, true);
            f(shape, dtype, false);
        }
    }
}

/// Arguments that are there only under a condition.
fn given(all: &[(&Operand, bool)]) -> Vec<Arg> {
    all.iter().filter(|(_, given)| *given).map(|(x, _)| x.arg()).collect()
}

#[test]
fn a_fused_result_has_the_bits_of_the_single_ops() {
    each(|shape, dtype, affine| {
        let number = dtype.accumulator();
        let (x, addend) = (Operand::random(shape, dtype, 1), Operand::random(shape, dtype, 2));
        let (w, b) = (Operand::random(&shape[1..2], number, 3), Operand::random(&shape[1..2], number, 4));
        for (add, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let norm = |add: bool, relu: bool, y: &Operand| {
                let channels = [5, 6, 7, 8].map(|seed| Operand::random(&shape[1..2], number, seed));
                let [mean, var, m, s] = &channels;
                let ins = given(&[(&x, true), (&w, affine), (&b, affine), (mean, true), (var, true), (&addend, add)]);
                let op = Op::BatchNorm { eps: Sc::new(1e-3), momentum: Sc::new(0.25), affine, stats: true, add, relu };
                unsafe { run(&op, &[], &ins, &[y.arg(), m.arg(), s.arg()]).unwrap() };
                channels.map(|c| bits(&c))
            };
            let [fused, single, sum, positive] = [0; 4].map(|_| Operand::zeros(shape, dtype));
            let (statistics, want) = (norm(add, relu, &fused), norm(false, false, &single));
            unsafe {
                run_any(&Op::Binary(Binary::Add), &[], &[single.arg(), addend.arg()], &[sum.arg()]).unwrap();
                let last = if add { &sum } else { &single };
                run_any(&Op::Unary(Unary::Relu), &[], &[last.arg()], &[positive.arg()]).unwrap();
                let last = if relu { &positive } else { last };
                assert_eq!(bits(&fused), bits(last), "{shape:?} {dtype:?} affine {affine} add {add} relu {relu}");
            }
            assert_eq!(statistics, want);
        }
    });
}

#[test]
fn a_fused_gradient_has_the_bits_of_the_single_ops() {
    each(|shape, dtype, affine| {
        let (c, number) = (&shape[1..2], dtype.accumulator());
        let [x, grad, second] = [1, 2, 3].map(|seed| Operand::random(shape, dtype, seed));
        let (w, b) = (Operand::random(c, number, 4), Operand::random(c, number, 5));
        let (y, positive, mean, invstd) =
            (Operand::zeros(shape, dtype), Operand::zeros(shape, dtype), Operand::zeros(c, number), Operand::zeros(c, number));
        let ins = given(&[(&x, true), (&w, affine), (&b, affine)]);
        unsafe {
            run(&op(affine, false), &[], &ins, &[y.arg(), mean.arg(), invstd.arg()]).unwrap();
            run_any(&Op::Unary(Unary::Relu), &[], &[y.arg()], &[positive.arg()]).unwrap();
        }
        let derive = |op: &Op, grad: &Operand, more: &[(&Operand, bool)], keep: bool| {
            let outs = [Operand::zeros(shape, dtype), Operand::zeros(c, number), Operand::zeros(c, number), Operand::zeros(shape, dtype)];
            let ins = given(&[&[(grad, true), (&x, true), (&w, affine), (&mean, true), (&invstd, true)], more].concat());
            unsafe { run(op, &[], &ins, &outs.iter().map(Operand::arg).collect::<Vec<_>>()[..if keep { 4 } else { 3 }]).unwrap() };
            outs.map(|o| bits(&o))
        };
        for mask in [NormMask::None, NormMask::Input, NormMask::Result] {
            for (sum, keep) in [(false, false), (false, true), (true, false), (true, true)] {
                let more = [(&b, affine && mask == NormMask::Input), (&positive, mask == NormMask::Result), (&second, sum)];
                let fused = derive(&Op::BatchNormGrad { affine, mask, sum, keep }, &grad, &more, keep);
                let [added, masked] = [0; 2].map(|_| Operand::zeros(shape, dtype));
                unsafe {
                    run_any(&Op::Binary(Binary::Add), &[], &[grad.arg(), second.arg()], &[added.arg()]).unwrap();
                    let g = if sum { &added } else { &grad };
                    run_any(&Op::Binary(Binary::ReluGrad), &[], &[g.arg(), positive.arg()], &[masked.arg()]).unwrap();
                    let g = if mask == NormMask::None { g } else { &masked };
                    let want = derive(&plain(affine), g, &[], false);
                    let what = format!("{shape:?} {dtype:?} affine {affine} {mask:?} sum {sum} keep {keep}");
                    assert_eq!(fused[..3], want[..3], "{what}");
                    if keep {
                        assert_eq!(fused[3], bits(g), "what is kept, {what}");
                    }
                }
            }
        }
    });
}

#[test]
fn halves_have_float32_statistics() {
    for dtype in [DType::F16, DType::BF16] {
        let (shape, c) = ([6, 3, 9, 9], [3]);
        let x = Operand::random(&shape, dtype, 1);
        let wide = Operand::new(&shape, DType::F32, &x.values());
        let (w, b) = (Operand::random(&c, DType::F32, 2), Operand::random(&c, DType::F32, 3));
        let forward = |x: &Operand| {
            let outs = [Operand::zeros(&shape, x.dtype), Operand::zeros(&c, DType::F32), Operand::zeros(&c, DType::F32)];
            unsafe { run(&op(true, false), &[], &[x.arg(), w.arg(), b.arg()], &[outs[0].arg(), outs[1].arg(), outs[2].arg()]).unwrap() };
            outs
        };
        let ([y, mean, invstd], [wide_y, wide_mean, wide_invstd]) = (forward(&x), forward(&wide));
        assert_eq!(y.values(), Operand::new(&shape, dtype, &wide_y.values()).values());
        assert_eq!((mean.values(), invstd.values()), (wide_mean.values(), wide_invstd.values()));
    }
}
