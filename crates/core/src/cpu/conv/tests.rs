use super::super::parallel::set_num_threads;
use super::super::testing::{Operand, assert_close};
use super::run;
use crate::dtype::DType;
use crate::op::{Conv2d, Op};
use crate::shape::Shape;

struct Case {
    x: [usize; 4],
    out: usize,
    kernel: [usize; 2],
    geometry: Conv2d,
}
impl Case {
    fn weight(&self) -> [usize; 4] {
        [self.out, self.x[1] / self.geometry.groups, self.kernel[0], self.kernel[1]]
    }
    fn y(&self) -> [usize; 4] {
        let g = &self.geometry;
        let side = |d: usize| (self.x[2 + d] + 2 * g.padding[d] - g.dilation[d] * (self.kernel[d] - 1) - 1) / g.stride[d] + 1;
        [self.x[0], self.out, side(0), side(1)]
    }
    /// Calls `f` with the offsets of result, input and weight of each product.
    fn products(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (g, w, y) = (&self.geometry, self.weight(), self.y());
        for i in 0..y.iter().product::<usize>() {
            let (ox, oy, o, n) = (i % y[3], i / y[3] % y[2], i / y[3] / y[2] % y[1], i / y[3] / y[2] / y[1]);
            for k in 0..w[1] * w[2] * w[3] {
                let (kx, ky, c) = (k % w[3], k / w[3] % w[2], k / w[3] / w[2]);
                let (iy, ix) = (oy * g.stride[0] + ky * g.dilation[0], ox * g.stride[1] + kx * g.dilation[1]);
                let (iy, ix) = (iy.wrapping_sub(g.padding[0]), ix.wrapping_sub(g.padding[1]));
                if iy < self.x[2] && ix < self.x[3] {
                    let c = o / (y[1] / g.groups) * w[1] + c;
                    f(i, ((n * self.x[1] + c) * self.x[2] + iy) * self.x[3] + ix, o * w[1] * w[2] * w[3] + k);
                }
            }
        }
    }
}

fn case(x: [usize; 4], out: usize, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], groups: usize) -> Case {
    Case { x, out, kernel, geometry: Conv2d { stride, padding, dilation, groups } }
}

fn cases() -> Vec<Case> {
    vec![
        case([2, 1, 9, 28], 32, [3, 3], [1, 1], [1, 1], [1, 1], 1),
        case([3, 5, 7, 6], 4, [3, 3], [1, 1], [0, 0], [1, 1], 1),
        case([2, 32, 14, 14], 64, [3, 3], [1, 1], [1, 1], [1, 1], 1),
        case([9, 20, 4, 4], 33, [3, 3], [1, 1], [1, 1], [1, 1], 1),
        case([2, 9, 11, 13], 70, [3, 2], [2, 3], [1, 2], [1, 1], 1),
        case([2, 6, 12, 17], 9, [3, 3], [2, 1], [0, 2], [2, 3], 3),
        case([1, 8, 5, 5], 8, [3, 3], [1, 1], [1, 1], [1, 1], 8),
        case([2, 8, 6, 21], 16, [3, 5], [2, 2], [1, 2], [1, 1], 8),
        case([3, 24, 6, 5], 40, [1, 1], [1, 1], [0, 0], [1, 1], 1),
        case([2, 24, 8, 8], 17, [1, 1], [2, 2], [0, 0], [1, 1], 1),
        case([1, 16, 16, 16], 16, [1, 1], [1, 1], [0, 0], [1, 1], 2),
        case([2, 3, 4, 4], 5, [2, 2], [3, 3], [0, 0], [1, 1], 1),
        case([1, 70, 3, 40], 8, [3, 3], [1, 1], [3, 3], [1, 1], 1),
        case([1, 2, 3, 3], 90, [1, 3], [1, 1], [2, 4], [1, 1], 1),
        case([1, 1, 1, 1], 1, [1, 1], [1, 1], [0, 0], [1, 1], 1),
        case([2, 2, 40, 30], 3, [7, 7], [2, 2], [3, 3], [1, 1], 1),
        case([5, 17, 7, 9], 40, [3, 3], [1, 1], [1, 1], [1, 1], 1),
        case([2, 32, 6, 37], 96, [3, 3], [1, 1], [0, 2], [1, 1], 2),
        case([3, 40, 5, 4], 140, [3, 3], [1, 1], [2, 0], [1, 1], 1),
        case([1, 16, 67, 3], 16, [3, 3], [1, 1], [3, 1], [1, 1], 1),
    ]
}

#[test]
fn every_geometry_equals_the_naive_loop() {
    for dtype in [DType::F32, DType::F64] {
        for c in cases() {
            let what = format!("x {:?} out {} kernel {:?} {:?}", c.x, c.out, c.kernel, c.geometry);
            let (x, w, b) = (Operand::eighths(&c.x, dtype, 1), Operand::eighths(&c.weight(), dtype, 2), Operand::eighths(&[c.out], dtype, 3));
            let (g, plane) = (Operand::eighths(&c.y(), dtype, 4), c.y()[2] * c.y()[3]);
            let (xs, ws, bs, gs) = (x.values(), w.values(), b.values(), g.values());
            let mut want: Vec<f64> = (0..gs.len()).map(|i| bs[i / plane % c.out]).collect();
            let (mut want_x, mut want_w) = (vec![0.0; xs.len()], vec![0.0; ws.len()]);
            c.products(|i, j, k| {
                want[i] += xs[j] * ws[k];
                want_x[j] += gs[i] * ws[k];
                want_w[k] += gs[i] * xs[j];
            });
            let (y, dx, dw) = (Operand::random(&c.y(), dtype, 5), Operand::random(&c.x, dtype, 6), Operand::random(&c.weight(), dtype, 7));
            let geometry = c.geometry;
            unsafe {
                run(&Op::Conv2d { geometry, bias: true }, &[], &[x.arg(), w.arg(), b.arg()], &[y.arg()]).unwrap();
                run(&Op::Conv2dGradInput { geometry, shape: Shape::new(&c.x) }, &[], &[g.arg(), w.arg()], &[dx.arg()]).unwrap();
                run(&Op::Conv2dGradWeight { geometry, shape: Shape::new(&c.weight()) }, &[], &[g.arg(), x.arg()], &[dw.arg()]).unwrap();
            }
            assert_close(&y.values(), &want, 0.0, &format!("result, {what}"));
            assert_close(&dx.values(), &want_x, 0.0, &format!("input gradient, {what}"));
            assert_close(&dw.values(), &want_w, 0.0, &format!("weight gradient, {what}"));
            for (i, v) in want.iter_mut().enumerate() {
                *v -= bs[i / plane % c.out];
            }
            unsafe { run(&Op::Conv2d { geometry, bias: false }, &[], &[x.arg(), w.arg()], &[y.arg()]).unwrap() };
            assert_close(&y.values(), &want, 0.0, &format!("without bias, {what}"));
        }
    }
}

#[test]
fn an_empty_batch_has_a_zero_weight_gradient() {
    let c = case([0, 3, 8, 8], 4, [3, 3], [1, 1], [1, 1], [1, 1], 1);
    let (x, g, w, b) = (
        Operand::zeros(&c.x, DType::F32),
        Operand::zeros(&c.y(), DType::F32),
        Operand::random(&c.weight(), DType::F32, 1),
        Operand::zeros(&[4], DType::F32),
    );
    let y = Operand::zeros(&c.y(), DType::F32);
    let geometry = c.geometry;
    unsafe {
        run(&Op::Conv2d { geometry, bias: true }, &[], &[x.arg(), w.arg(), b.arg()], &[y.arg()]).unwrap();
        run(&Op::Conv2dGradWeight { geometry, shape: Shape::new(&c.weight()) }, &[], &[g.arg(), x.arg()], &[w.arg()]).unwrap();
    }
    assert!(w.values().iter().all(|v| *v == 0.0));
}

#[test]
fn two_threads_give_the_bits_of_one() {
    for c in [case([19, 16, 14, 14], 24, [3, 3], [1, 1], [1, 1], [1, 1], 1), case([7, 12, 30, 33], 12, [3, 3], [2, 2], [1, 1], [1, 1], 3)] {
        let (x, w, g) = (Operand::random(&c.x, DType::F32, 1), Operand::random(&c.weight(), DType::F32, 2), Operand::random(&c.y(), DType::F32, 3));
        let all = |threads: usize| {
            set_num_threads(threads);
            let (y, dx, dw) = (Operand::zeros(&c.y(), DType::F32), Operand::zeros(&c.x, DType::F32), Operand::zeros(&c.weight(), DType::F32));
            let geometry = c.geometry;
            unsafe {
                run(&Op::Conv2d { geometry, bias: false }, &[], &[x.arg(), w.arg()], &[y.arg()]).unwrap();
                run(&Op::Conv2dGradInput { geometry, shape: Shape::new(&c.x) }, &[], &[g.arg(), w.arg()], &[dx.arg()]).unwrap();
                run(&Op::Conv2dGradWeight { geometry, shape: Shape::new(&c.weight()) }, &[], &[g.arg(), x.arg()], &[dw.arg()]).unwrap();
            }
            [y.values(), dx.values(), dw.values()]
        };
        assert_eq!(all(1), all(2));
    }
}

#[test]
fn halves_are_rounded_once() {
    for dtype in [DType::F16, DType::BF16] {
        for c in [case([2, 18, 9, 8], 33, [3, 3], [1, 1], [1, 1], [1, 1], 1), case([2, 6, 12, 17], 9, [3, 3], [2, 1], [0, 2], [2, 3], 3)] {
            let ins = [
                Operand::random(&c.x, dtype, 1),
                Operand::random(&c.weight(), dtype, 2),
                Operand::random(&[c.out], dtype, 3),
                Operand::random(&c.y(), dtype, 4),
            ];
            let geometry = c.geometry;
            let all = |[x, w, b, g]: [&Operand; 4]| {
                let (y, dx, dw) = (Operand::zeros(&c.y(), x.dtype), Operand::zeros(&c.x, x.dtype), Operand::zeros(&c.weight(), x.dtype));
                unsafe {
                    run(&Op::Conv2d { geometry, bias: true }, &[], &[x.arg(), w.arg(), b.arg()], &[y.arg()]).unwrap();
                    run(&Op::Conv2dGradInput { geometry, shape: Shape::new(&c.x) }, &[], &[g.arg(), w.arg()], &[dx.arg()]).unwrap();
                    run(&Op::Conv2dGradWeight { geometry, shape: Shape::new(&c.weight()) }, &[], &[g.arg(), x.arg()], &[dw.arg()]).unwrap();
                }
                [y, dx, dw]
            };
            let wide = ins.each_ref().map(|x| Operand::new(&x.shape, DType::F32, &x.values()));
            for (got, want) in all(ins.each_ref()).iter().zip(&all(wide.each_ref())) {
                assert_eq!(got.values(), Operand::new(&want.shape, dtype, &want.values()).values());
            }
        }
    }
}

#[test]
fn minimal_filtering_is_as_precise_as_float32_allows() {
    let c = case([3, 96, 14, 14], 64, [3, 3], [1, 1], [1, 1], [1, 1], 1);
    let all = |dtype: DType| {
        let round = |shape: &[usize], seed: u64| Operand::new(shape, dtype, &Operand::random(shape, DType::F32, seed).values());
        let (x, w, g) = (round(&c.x, 1), round(&c.weight(), 2), round(&c.y(), 3));
        let (y, dx, dw) = (Operand::zeros(&c.y(), dtype), Operand::zeros(&c.x, dtype), Operand::zeros(&c.weight(), dtype));
        let geometry = c.geometry;
        unsafe {
            run(&Op::Conv2d { geometry, bias: false }, &[], &[x.arg(), w.arg()], &[y.arg()]).unwrap();
            run(&Op::Conv2dGradInput { geometry, shape: Shape::new(&c.x) }, &[], &[g.arg(), w.arg()], &[dx.arg()]).unwrap();
            run(&Op::Conv2dGradWeight { geometry, shape: Shape::new(&c.weight()) }, &[], &[g.arg(), x.arg()], &[dw.arg()]).unwrap();
        }
        [y.values(), dx.values(), dw.values()]
    };
    for (got, want) in all(DType::F32).iter().zip(&all(DType::F64)) {
        let typical = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt();
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        assert!(worst < 4e-6 * typical, "{worst} of {typical}");
    }
}
