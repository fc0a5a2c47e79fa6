//! Random numbers and dropout: the numbers of Philox4x32-10 at any place of a stream, their moments, and dropout's derivative.
mod common;

use common::array::{Array, noise};
use common::operand::{Placement, apply};
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::op::{Op, Random};
use wick_core::shape::Shape;

/// The published algorithm, written plainly: four words of one counter.
fn philox(counter: u64, seed: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let (a, b) = (0xD251_1F53u64 * c[0] as u64, 0xCD9E_8D57u64 * c[2] as u64);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

fn draw(engine: &mut Engine, kind: Random, n: usize, dtype: DType, generator: Option<u32>) -> Vec<f64> {
    let h = engine.random(kind, Shape::new(&[n]), dtype, Device::Cpu, generator).unwrap();
    Array::read(engine, h).unwrap().f64s()
}

fn moments(values: &[f64]) -> (f64, f64, f64) {
    let mean = |f: &dyn Fn(f64) -> f64| values.iter().map(|v| f(*v)).sum::<f64>() / values.len() as f64;
    let m = mean(&|v| v);
    (m, mean(&|v| (v - m).powi(2)), mean(&|v| (v - m).powi(4)))
}

#[test]
fn uniform_numbers_are_those_of_philox() {
    let engine = &mut Engine::new();
    engine.manual_seed(42.0);
    // 10 numbers take three blocks: the next draw starts at the fourth
    let (first, second) = (draw(engine, Random::Uniform, 10, DType::F32, None), draw(engine, Random::Uniform, 4, DType::F32, None));
    let expected =
        |block: u64, n: usize| (0..n).map(|i| (philox(block + i as u64 / 4, 42)[i % 4] >> 8) as f64 / (1u32 << 24) as f64).collect::<Vec<_>>();
    assert_eq!(first, expected(0, 10));
    assert_eq!(second, expected(3, 4));
    assert_eq!(engine.generator_state(None).unwrap(), (42.0, 4.0));
}

#[test]
fn a_stream_can_be_taken_up_anywhere() {
    let engine = &mut Engine::new();
    let g = engine.generator(7.0);
    for dtype in [DType::F32, DType::F64] {
        for kind in [Random::Uniform, Random::Normal] {
            engine.set_generator_state(Some(g), 7.0, 5.0).unwrap();
            let once = draw(engine, kind, 64, dtype, Some(g));
            engine.set_generator_state(Some(g), 7.0, 7.0).unwrap();
            assert_eq!(draw(engine, kind, 16, dtype, Some(g)), once[8..24], "{kind:?} {dtype:?}");
            let other = engine.generator(8.0);
            assert_ne!(draw(engine, kind, 64, dtype, Some(other)), once);
        }
    }
    // the default stream is another one
    assert_eq!(engine.generator_state(None).unwrap(), (0.0, 0.0));
}

#[test]
fn moments_of_the_distributions() {
    let engine = &mut Engine::new();
    engine.manual_seed(1.0);
    for dtype in [DType::F32, DType::F64] {
        let u = draw(engine, Random::Uniform, 200_001, dtype, None);
        assert!(u.iter().all(|v| (0.0..1.0).contains(v)));
        let (mean, variance, _) = moments(&u);
        assert!((mean - 0.5).abs() < 0.003 && (variance - 1.0 / 12.0).abs() < 0.001, "{mean} {variance}");
        let (mean, variance, fourth) = moments(&draw(engine, Random::Normal, 200_001, dtype, None));
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02 && (fourth - 3.0).abs() < 0.12, "{mean} {variance} {fourth}");
    }
}

fn dropout(engine: &mut Engine, x: Handle, p: f64) -> (Vec<f64>, Handle) {
    engine.manual_seed(3.0);
    let y = engine.dropout(x, p).unwrap();
    (Array::read(engine, y).unwrap().f64s(), y)
}

#[test]
fn dropout_scales_what_it_keeps() {
    let engine = &mut Engine::new();
    let values = Array::from_f64s(DType::F64, &[200, 101], &noise(20_200, 1));
    let x = values.upload(engine).unwrap();
    for p in [0.1, 0.5, 0.9] {
        let (y, _) = dropout(engine, x, p);
        let kept = y.iter().zip(values.f64s()).filter(|(y, x)| (**y - x / (1.0 - p)).abs() < 1e-12).count();
        let dropped = y.iter().filter(|y| **y == 0.0).count();
        assert_eq!(kept + dropped, y.len());
        assert!((dropped as f64 / y.len() as f64 - p).abs() < 0.02, "{dropped} of {} at {p}", y.len());
    }
    assert_eq!(dropout(engine, x, 0.0).0, values.f64s());
    assert!(dropout(engine, x, 1.0).0.iter().all(|y| *y == 0.0));
    assert!(engine.dropout(x, 1.5).is_err());
    let (a, b) = (engine.dropout(x, 0.5).unwrap(), engine.dropout(x, 0.5).unwrap());
    assert_ne!(Array::read(engine, a).unwrap(), Array::read(engine, b).unwrap());
}

#[test]
fn dropout_doesnt_depend_on_the_layout() {
    let engine = &mut Engine::new();
    for shape in [vec![7, 9], vec![1, 1], vec![33], vec![2, 3, 5]] {
        let values = Array::from_f64s(DType::F32, &shape, &noise(shape.iter().product(), 2));
        let x = values.upload(engine).unwrap();
        let want = dropout(engine, x, 0.4).0;
        for placement in Placement::ALL {
            let x = placement.upload(engine, &values).unwrap();
            assert_eq!(dropout(engine, x, 0.4).0, want, "{shape:?} {placement:?}");
        }
    }
}

/// Dropout is linear in its input, so its gradient is the mask of the forward pass, to any order.
#[test]
fn the_gradient_of_dropout_has_its_mask() {
    let engine = &mut Engine::new();
    let shape = [5, 8];
    let ones = Array::from_f64s(DType::F64, &shape, &[1.0; 40]);
    let x = ones.upload(engine).unwrap();
    engine.set_requires_grad(x, true).unwrap();
    let turned = apply(engine, Op::View(wick_core::op::View::Permute(wick_core::op::Perm::new(&[1, 0]))), &[x]).unwrap();
    let (mask, y) = dropout(engine, turned, 0.3);
    let upstream = Array::from_f64s(DType::F64, &[8, 5], &noise(40, 3));
    let g = upstream.upload(engine).unwrap();
    engine.set_requires_grad(g, true).unwrap();
    let dx = engine.grad(&[y], &[Some(g)], &[x], true, true, false).unwrap()[0].unwrap();
    let got = Array::read(engine, dx).unwrap().f64s();
    for (i, got) in got.iter().enumerate() {
        let at = (i % 8) * 5 + i / 8;
        assert!((got - mask[at] * upstream.f64s()[at]).abs() < 1e-12);
    }
    // by the upstream gradient: the mask again
    let one = ones.upload(engine).unwrap();
    let dg = engine.grad(&[dx], &[Some(one)], &[g], false, false, false).unwrap()[0].unwrap();
    let got = Array::read(engine, dg).unwrap().f64s();
    assert!(got.iter().zip(&mask).all(|(a, b)| (a - b).abs() < 1e-12));
}
