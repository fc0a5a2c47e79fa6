use super::super::parallel::set_num_threads;
use super::super::testing::{Operand, assert_close};
use super::*;
use crate::dtype::DType;
use crate::shape::Shape;

fn pool(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], ceil: bool) -> Pool2d {
    Pool2d { kernel, stride, padding, dilation, ceil }
}
/// PyTorch's size: a window must start inside the plane or its left padding.
fn side(g: &Pool2d, d: usize, size: usize) -> usize {
    let (room, stride) = (size + 2 * g.padding[d] - g.dilation[d] * (g.kernel[d] - 1) - 1, g.stride[d]);
    let n = (if g.ceil { room.div_ceil(stride) } else { room / stride }) + 1;
    if g.ceil && (n - 1) * stride >= size + g.padding[d] { n - 1 } else { n }
}
fn out_shape(g: &Pool2d, x: &[usize]) -> Vec<usize> {
    vec![x[0], x[1], side(g, 0, x[2]), side(g, 1, x[3])]
}
/// Calls `f` with the result, and the source element or none for padding; and the window's counted size.
fn visits(g: &Pool2d, x: &[usize], mut f: impl FnMut(usize, Option<usize>, f64)) {
    let y = out_shape(g, x);
    for i in 0..y.iter().product::<usize>() {
        let (ox, oy, plane) = (i % y[3], i / y[3] % y[2], i / y[3] / y[2]);
        let inside = |d: usize, o: usize, k: usize| {
            let at = (o * g.stride[d] + k * g.dilation[d]) as isize - g.padding[d] as isize;
            (at < (x[2 + d] + g.padding[d]) as isize).then_some(at)
        };
        let count = |d: usize, o: usize| (0..g.kernel[d]).filter(|k| inside(d, o, *k).is_some()).count();
        let counted = (count(0, oy) * count(1, ox)) as f64;
        for ky in 0..g.kernel[0] {
            for kx in 0..g.kernel[1] {
                if let (Some(iy), Some(ix)) = (inside(0, oy, ky), inside(1, ox, kx)) {
                    let real = iy >= 0 && ix >= 0 && (iy as usize) < x[2] && (ix as usize) < x[3];
                    f(i, real.then(|| (plane * x[2] + iy as usize) * x[3] + ix as usize), counted);
                }
            }
        }
    }
}
fn geometries() -> Vec<Pool2d> {
    let two = [2, 2];
    vec![
        pool(two, two, [0, 0], [1, 1], false),
        pool(two, two, [0, 0], [1, 1], true),
        pool([3, 2], [1, 3], [1, 1], [1, 1], false),
        pool([3, 3], two, [1, 1], [1, 1], true),
        pool([5, 5], [3, 4], [2, 1], [1, 1], true),
    ]
}

#[test]
fn maxima_and_their_places() {
    let dilated = [pool([3, 2], [2, 1], [1, 1], [2, 3], false), pool([2, 3], [2, 2], [1, 1], [3, 2], true)];
    for dtype in [DType::F32, DType::F64] {
        for (g, shape) in geometries().into_iter().chain(dilated).flat_map(|g| [[2, 3, 7, 9], [1, 1, 8, 34], [0, 2, 6, 6]].map(|s| (g, s))) {
            // Few distinct values: ties are the rule.
            let values: Vec<f64> = Operand::random(&shape, DType::F64, 3).values().iter().map(|v| (v / 3.0).floor()).collect();
            let mut with_nan = values.clone();
            with_nan.iter_mut().step_by(11).for_each(|v| *v = f64::NAN);
            let mut lowest = values.clone();
            lowest.iter_mut().for_each(|v| *v = f64::NEG_INFINITY);
            for values in [values, with_nan, lowest] {
                let x = Operand::new(&shape, dtype, &values);
                let to = out_shape(&g, &shape);
                let (y, places) = (Operand::random(&to, dtype, 1), Operand::random(&to, DType::I64, 2));
                unsafe { run(&Op::MaxPool2d(g), &[], &[x.arg()], &[y.arg(), places.arg()]).unwrap() };
                let plane = (shape[2] * shape[3]).max(1);
                let (mut want, mut want_places) = (vec![f64::NEG_INFINITY; y.values().len()], vec![-1.0; y.values().len()]);
                visits(&g, &shape, |i, j, _| {
                    if let Some(j) = j.filter(|j| values[*j] > want[i] || values[*j].is_nan() || want_places[i] < 0.0) {
                        (want[i], want_places[i]) = (values[j], (j % plane) as f64);
                    }
                });
                assert_close(&y.values(), &want, 0.0, &format!("{g:?} of {shape:?}"));
                assert_eq!(places.values(), want_places, "{g:?} of {shape:?}");
                let grad = Operand::eighths(&to, dtype, 5);
                let mut want = vec![0.0; values.len()];
                let result = want_places.len() / (shape[0] * shape[1]).max(1);
                grad.values().iter().enumerate().for_each(|(i, g)| want[i / result * plane + want_places[i] as usize] += g);
                let dx = Operand::random(&shape, dtype, 6);
                unsafe { run(&Op::MaxPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[grad.arg(), places.arg()], &[dx.arg()]).unwrap() };
                assert_close(&dx.values(), &want, 0.0, "gradient of the maxima");
            }
        }
    }
}

#[test]
fn means_and_their_gradients() {
    for dtype in [DType::F32, DType::F64] {
        for (g, shape) in geometries().into_iter().flat_map(|g| [[2, 3, 7, 9], [1, 1, 8, 34], [0, 2, 6, 6]].map(|s| (g, s))) {
            let (x, to) = (Operand::eighths(&shape, dtype, 3), out_shape(&g, &shape));
            let (y, grad, dx) = (Operand::random(&to, dtype, 1), Operand::eighths(&to, dtype, 2), Operand::random(&shape, dtype, 4));
            unsafe {
                run(&Op::AvgPool2d(g), &[], &[x.arg()], &[y.arg()]).unwrap();
                run(&Op::AvgPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[grad.arg()], &[dx.arg()]).unwrap();
            }
            let (xs, gs) = (x.values(), grad.values());
            let (mut want, mut want_x) = (vec![0.0; gs.len()], vec![0.0; xs.len()]);
            visits(&g, &shape, |i, j, counted| {
                if let Some(j) = j {
                    want[i] += xs[j] / counted;
                    want_x[j] += gs[i] / counted;
                }
            });
            assert_close(&y.values(), &want, 1e-6, &format!("{g:?} of {shape:?}"));
            assert_close(&dx.values(), &want_x, 1e-6, &format!("gradient of {g:?} of {shape:?}"));
        }
    }
}

#[test]
fn two_threads_give_the_bits_of_one() {
    let shape = [8, 16, 96, 96];
    let g = pool([3, 3], [2, 2], [1, 1], [1, 1], false);
    let (x, to) = (Operand::random(&shape, DType::F32, 1), out_shape(&g, &shape));
    let all = |threads: usize| {
        set_num_threads(threads);
        let (y, places, dx) = (Operand::zeros(&to, DType::F32), Operand::zeros(&to, DType::I64), Operand::zeros(&shape, DType::F32));
        unsafe {
            run(&Op::MaxPool2d(g), &[], &[x.arg()], &[y.arg(), places.arg()]).unwrap();
            run(&Op::MaxPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[y.arg(), places.arg()], &[dx.arg()]).unwrap();
        }
        (y.values(), places.values(), dx.values())
    };
    assert_eq!(all(1), all(2));
}

#[test]
fn halves_are_rounded_once() {
    let (shape, g) = ([2, 3, 9, 10], pool([3, 3], [2, 2], [1, 1], [1, 1], false));
    let to = out_shape(&g, &shape);
    for dtype in [DType::F16, DType::BF16] {
        let (x, grad) = (Operand::random(&shape, dtype, 1), Operand::random(&to, dtype, 2));
        let run_all = |x: &Operand, grad: &Operand| {
            let at = Operand::zeros(&to, DType::I64);
            let [y, mean] = [0; 2].map(|_| Operand::zeros(&to, x.dtype));
            let [dx, d_mean] = [0; 2].map(|_| Operand::zeros(&shape, x.dtype));
            unsafe {
                run(&Op::MaxPool2d(g), &[], &[x.arg()], &[y.arg(), at.arg()]).unwrap();
                run(&Op::MaxPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[grad.arg(), at.arg()], &[dx.arg()]).unwrap();
                run(&Op::AvgPool2d(g), &[], &[x.arg()], &[mean.arg()]).unwrap();
                run(&Op::AvgPool2dGrad { geometry: g, shape: Shape::new(&shape) }, &[], &[grad.arg()], &[d_mean.arg()]).unwrap();
            }
            [y, dx, mean, d_mean, at]
        };
        let wide = run_all(&Operand::new(&shape, DType::F32, &x.values()), &Operand::new(&to, DType::F32, &grad.values()));
        for (got, want) in run_all(&x, &grad).iter().zip(&wide) {
            assert_eq!(got.values(), Operand::new(&want.shape, got.dtype, &want.values()).values());
        }
    }
}
