//! Results don't depend on the number of threads: work above the parallel threshold on 1, 2 and 3 threads, bit for bit.
//! One test, because the number of threads is the process's.
mod common;

use common::array::{Array, noise};
use wick_core::cpu::parallel::set_num_threads;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::engine::{Engine, Handle};
use wick_core::error::Result;
use wick_core::op::{Binary, Conv2d, Dims, NormMask, Op, Perm, Pool2d, Random, ReduceKind, Reduction, Sc, Unary, View};
use wick_core::shape::Shape;

/// Makes operands and keeps results as (name, bytes).
struct Workload {
    engine: Engine,
    results: Vec<(String, Vec<u8>)>,
}

impl Workload {
    fn floats(&mut self, shape: &[usize], salt: u64) -> Result<Handle> {
        Array::from_f64s(DType::F32, shape, &noise(shape.iter().product(), salt)).upload(&mut self.engine)
    }
    fn indices(&mut self, shape: &[usize], high: usize, salt: u64) -> Result<Handle> {
        let values: Vec<f64> =
            noise(shape.iter().product(), salt).iter().map(|v| ((v + 1.0) / 2.0 * high as f64).floor().min(high as f64 - 1.0)).collect();
        Array::from_f64s(DType::I64, shape, &values).upload(&mut self.engine)
    }
    fn view(&mut self, view: View, x: Handle) -> Result<Handle> {
        Ok(self.engine.call(Op::View(view), &[x])?[0])
    }
    fn keep(&mut self, name: &str, handles: &[Handle]) -> Result<()> {
        for h in handles {
            let (_, bytes) = self.engine.read(*h)?;
            self.results.push((name.to_string(), bytes));
        }
        Ok(())
    }
    fn op(&mut self, name: &str, op: Op, ins: &[Handle]) -> Result<Vec<Handle>> {
        let outs = self.engine.call(op, ins)?;
        self.keep(name, &outs)?;
        Ok(outs)
    }

    fn pointwise(&mut self) -> Result<()> {
        let (a, b) = (self.floats(&[1100, 1201], 1)?, self.floats(&[1100, 1201], 2)?);
        let (row, column) = (self.floats(&[1201], 3)?, self.floats(&[1100, 1], 4)?);
        let turned = self.view(View::Permute(Perm::new(&[1, 0])), a)?;
        self.op("exp", Op::Unary(Unary::Exp), &[a])?;
        self.op("tanh of a transposed", Op::Unary(Unary::Tanh), &[turned])?;
        self.op("add", Op::Binary(Binary::Add), &[a, b])?;
        self.op("mul by a row", Op::Binary(Binary::Mul), &[a, row])?;
        self.op("div by a column", Op::Binary(Binary::Div), &[a, column])?;
        let mask = self.op("lt", Op::Binary(Binary::Lt), &[a, b])?[0];
        self.op("where", Op::Where, &[mask, a, row])?;
        self.op("scalar", Op::Scalar { op: Binary::Sub, value: Sc::new(0.3), reversed: true }, &[a])?;
        self.op("clamp", Op::Clamp { low: Sc::new(-0.5), high: Sc::new(0.5) }, &[a])?;
        self.op("cast", Op::Cast(DType::BF16), &[a])?;
        self.op("contiguous", Op::Contiguous, &[turned])?;
        self.op("copy_", Op::CopyInto, &[b, a])?;
        self.op("add_", Op::BinaryInto(Binary::Add), &[b, row])?;
        self.engine.manual_seed(5.0);
        for (name, kind) in [("rand", Random::Uniform), ("randn", Random::Normal)] {
            let r = self.engine.random(kind, Shape::new(&[1_300_007]), DType::F32, Device::Cpu, None)?;
            self.keep(name, &[r])?;
        }
        let dropped = self.engine.dropout(turned, 0.3)?;
        self.keep("dropout", &[dropped])
    }

    fn reductions(&mut self) -> Result<()> {
        let x = self.floats(&[1100, 1201], 1)?;
        for kind in [ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Prod, ReduceKind::Amax, ReduceKind::Argmin] {
            for dims in [vec![0], vec![1], vec![0, 1]] {
                self.op(&format!("{} over {dims:?}", kind.name()), Op::Reduce { kind, dims: Dims::of(&dims), keepdim: false }, &[x])?;
            }
        }
        let cube = self.floats(&[120, 100, 121], 2)?;
        self.op("sum over [0, 2]", Op::Reduce { kind: ReduceKind::Sum, dims: Dims::of(&[0, 2]), keepdim: true }, &[cube])?;
        self.op("softmax", Op::Softmax { log: false }, &[x])?;
        self.op("logSoftmax", Op::Softmax { log: true }, &[x])?;
        self.op("cumsum 0", Op::Cumsum { dim: 0 }, &[x])?;
        self.op("cumsum 1", Op::Cumsum { dim: 1 }, &[x])?;
        self.op("sort", Op::Sort { descending: true }, &[x])?;
        Ok(())
    }

    fn products(&mut self) -> Result<()> {
        let (a, b) = (self.floats(&[301, 400], 1)?, self.floats(&[400, 257], 2)?);
        self.op("matmul", Op::Matmul { mask: false }, &[a, b])?;
        let (s, t) = (self.floats(&[12, 65, 130], 3)?, self.floats(&[1, 130, 67], 4)?);
        self.op("batched matmul", Op::Matmul { mask: false }, &[s, t])?;
        let (x, w, bias) = (self.floats(&[400, 300], 5)?, self.floats(&[129, 300], 6)?, self.floats(&[129], 7)?);
        self.op("linear", Op::Linear { bias: true, relu: false }, &[x, w, bias])?;
        Ok(())
    }

    fn indexing(&mut self) -> Result<()> {
        let x = self.floats(&[1100, 1201], 1)?;
        let (rows, grid) = (self.indices(&[1300], 1100, 2)?, self.indices(&[1100, 1201], 1100, 3)?);
        let picked = self.op("indexSelect", Op::IndexSelect { dim: 0 }, &[x, rows])?[0];
        self.op("indexAdd", Op::IndexAdd { dim: 0 }, &[x, rows, picked])?;
        let gathered = self.op("gather", Op::Gather { dim: 0 }, &[x, grid])?[0];
        self.op("scatterAdd", Op::ScatterAdd { dim: 0 }, &[x, grid, gathered])?;
        self.op("cat", Op::Cat { dim: 1 }, &[x, gathered, x])?;
        self.op("narrowGrad", Op::NarrowGrad { shape: Shape::new(&[1100, 2500]), dim: 1, start: 7, step: 2 }, &[x])?;
        Ok(())
    }

    fn images(&mut self) -> Result<()> {
        let (x_shape, w_shape) = ([6, 16, 29, 28], [24, 8, 3, 3]);
        let (x, w, bias) = (self.floats(&x_shape, 1)?, self.floats(&w_shape, 2)?, self.floats(&[24], 3)?);
        let geometry = Conv2d { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 2 };
        let y = self.op("conv2d", Op::Conv2d { geometry, bias: true }, &[x, w, bias])?[0];
        self.op("conv2dGradInput", Op::Conv2dGradInput { geometry, shape: Shape::new(&x_shape) }, &[y, w])?;
        self.op("conv2dGradWeight", Op::Conv2dGradWeight { geometry, shape: Shape::new(&w_shape) }, &[y, x])?;
        let shape = [16, 24, 60, 61];
        let big = self.floats(&shape, 4)?;
        let window = Pool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], dilation: [1, 1], ceil: false };
        let pooled = self.op("maxPool2d", Op::MaxPool2d(window), &[big])?;
        self.op("maxPool2dGrad", Op::MaxPool2dGrad { geometry: window, shape: Shape::new(&shape) }, &pooled)?;
        let mean = self.op("avgPool2d", Op::AvgPool2d(window), &[big])?[0];
        self.op("avgPool2dGrad", Op::AvgPool2dGrad { geometry: window, shape: Shape::new(&shape) }, &[mean])?;
        let (weight, shift) = (self.floats(&[24], 5)?, self.floats(&[24], 6)?);
        let norm = Op::BatchNorm { eps: Sc::new(1e-5), momentum: Sc::new(0.1), affine: true, stats: false, add: false, relu: false };
        let r = self.op("batchNorm", norm, &[big, weight, shift])?;
        self.op(
            "batchNormGrad",
            Op::BatchNormGrad { affine: true, mask: NormMask::None, sum: false, keep: false },
            &[big, r[0], weight, r[1], r[2]],
        )?;
        Ok(())
    }

    fn losses(&mut self) -> Result<()> {
        let (logits, target) = (self.floats(&[20_000, 65], 1)?, self.indices(&[20_000], 65, 2)?);
        let (ignore_index, smoothing) = (3, Sc::new(0.1));
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            let r = self.op("crossEntropy", Op::CrossEntropy { ignore_index, smoothing, reduction, grad: false }, &[logits, target])?;
            self.op("crossEntropyGrad", Op::CrossEntropyGrad { ignore_index, smoothing, reduction }, &[r[0], logits, target, r[1]])?;
        }
        Ok(())
    }

    fn optimizers(&mut self) -> Result<()> {
        for adam in [false, true] {
            let params = [self.floats(&[1100, 1201], 1)?, self.floats(&[1000, 501], 2)?];
            for p in params {
                self.engine.set_requires_grad(p, true)?;
            }
            let group = self.engine.group(&params, 2)?;
            let grads = [self.floats(&[1100, 1201], 3)?, self.floats(&[1000, 501], 4)?];
            for (p, g) in params.into_iter().zip(grads) {
                self.engine.set_grad(p, Some(g))?;
            }
            let norm = self.engine.clip_grad_norm(&[group], 1.0)?;
            self.keep("clipGradNorm", &[norm])?;
            self.engine.clip_grad_value(&[group], 1e-3)?;
            for _ in 0..3 {
                if adam {
                    self.engine.adamw_step(group, 0.01, 0.9, 0.999, 1e-8, 0.1, false, None)?;
                } else {
                    self.engine.sgd_step(group, 0.1, 0.9, 0.1, 0.01, false, false, None)?;
                }
            }
            self.keep(if adam { "adamw" } else { "sgd" }, &params)?;
        }
        Ok(())
    }
}

fn run(threads: usize) -> Result<Vec<(String, Vec<u8>)>> {
    set_num_threads(threads);
    let mut w = Workload { engine: Engine::new(), results: vec![] };
    for family in
        [Workload::pointwise, Workload::reductions, Workload::products, Workload::indexing, Workload::images, Workload::losses, Workload::optimizers]
    {
        // one family's tensors at a time
        w.engine = Engine::new();
        family(&mut w)?;
    }
    Ok(w.results)
}

#[test]
fn results_dont_depend_on_the_number_of_threads() {
    let alone = run(1).unwrap();
    for threads in [2, 3] {
        let several = run(threads).unwrap();
        assert_eq!(alone.len(), several.len());
        let differing: Vec<&str> = alone.iter().zip(&several).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
        assert!(differing.is_empty(), "on {threads} threads these differ: {differing:?}");
    }
}
