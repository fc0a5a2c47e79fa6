//! Cross-entropy, its gradient and the tracker.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::{Op, Reduction, Sc};

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];
const IGNORED: i64 = -100;

/// One shape of logits.
#[derive(Clone)]
struct Loss {
    rows: usize,
    classes: usize,
    dtype: DType,
    smoothing: f64,
    reduction: Reduction,
    /// Every so many targets are ignored; 0: none.
    ignored: usize,
    /// Logits are a normal number times this.
    logits: Values,
}

impl Loss {
    fn new(rows: usize, classes: usize, dtype: DType) -> Loss {
        Loss { rows, classes, dtype, smoothing: 0.0, reduction: Reduction::Mean, ignored: 5, logits: Values::Between(-8.0, 8.0) }
    }
    fn name(&self, what: &str) -> String {
        let Loss { rows, classes, dtype, smoothing, reduction, ignored, .. } = self;
        format!("{what} {rows}x{classes} {dtype:?} {reduction:?} smoothing {smoothing} ignored {ignored}")
    }
    fn target(&self) -> Input {
        let class =
            |i: usize| if self.ignored > 0 && i % self.ignored == self.ignored / 2 { IGNORED as f64 } else { (i * 7919 % self.classes) as f64 };
        Input::new(&[self.rows], DType::I64).values(Values::Given((0..self.rows.max(1)).map(class).collect()))
    }
    fn logits(&self) -> Input {
        Input::new(&[self.rows, self.classes], self.dtype).values(self.logits.clone())
    }
    fn forward(&self, grad: bool) -> Case {
        let op = Op::CrossEntropy { ignore_index: IGNORED, smoothing: Sc::new(self.smoothing), reduction: self.reduction, grad };
        Case::new(self.name(if grad { "cross entropy and grad" } else { "cross entropy" }), op, vec![self.logits(), self.target()])
    }
    fn backward(&self) -> Case {
        let op = Op::CrossEntropyGrad { ignore_index: IGNORED, smoothing: Sc::new(self.smoothing), reduction: self.reduction };
        let shape: &[usize] = if self.reduction == Reduction::None { &[self.rows] } else { &[] };
        let grad = Input::new(shape, self.dtype).values(Values::Between(0.5, 2.0));
        Case::new(self.name("cross entropy grad"), op, vec![grad, self.logits(), self.target(), Input::new(&[self.rows], self.dtype)])
    }
    fn both(&self, all: &mut Vec<Case>) {
        all.extend([self.forward(false), self.backward()]);
        if self.reduction != Reduction::None {
            all.push(self.forward(true));
        }
    }
}

fn track(dtype: DType, loss: f64) -> Case {
    let tracker = Input::new(&[4], DType::F64).values(Values::Given(vec![3.0, 40.0, 0.0, 1.5]));
    let loss_input = Input::new(&[], dtype).values(Values::Given(vec![loss]));
    Case::new(format!("track loss {dtype:?} {loss}"), Op::TrackLoss { weight: Sc::new(32.0) }, vec![tracker, loss_input])
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    // One block and many, rows of a few threads, of a warp and of a block, with vectors and without.
    let shapes =
        [(1, 1), (7, 3), (32, 10), (512, 10), (33, 16), (2000, 10), (300, 33), (64, 512), (5, 513), (6, 1000), (9, 1024), (3, 30522), (5, 50257)];
    for (rows, classes) in shapes {
        for dtype in FLOATS {
            for reduction in REDUCTIONS {
                for smoothing in [0.0, 0.1] {
                    Loss { reduction, smoothing, ..Loss::new(rows, classes, dtype) }.both(&mut all);
                }
            }
        }
    }
    // More targets than a block counts for itself; more rows than blocks.
    for (rows, classes) in [(4097, 10), (20_000, 37), (9000, 600)] {
        for reduction in REDUCTIONS {
            Loss { reduction, ..Loss::new(rows, classes, DType::F32) }.both(&mut all);
        }
    }
    for reduction in REDUCTIONS {
        // All targets ignored: a mean is 0 / 0. No rows at all.
        Loss { reduction, ignored: 1, ..Loss::new(6, 4, DType::F32) }.both(&mut all);
        Loss { reduction, ignored: 1, ..Loss::new(6, 2000, DType::BF16) }.both(&mut all);
        Loss { reduction, ..Loss::new(0, 10, DType::F32) }.both(&mut all);
        Loss { reduction, ignored: 0, ..Loss::new(48, 10, DType::F32) }.both(&mut all);
    }
    // Large logits keep their digits; classes that are masked out; a NaN spoils its row alone.
    for classes in [3, 700] {
        let fill = |f: &dyn Fn(usize) -> f64| Values::Given((0..2 * classes).map(f).collect());
        let kinds = [
            ("large", fill(&|i| 100_000.0 + (i % 7) as f64)),
            ("masked", fill(&|i| if i % 3 == 1 { f64::NEG_INFINITY } else { i as f64 / classes as f64 })),
            ("nothing left", fill(&|i| if i < classes { f64::NEG_INFINITY } else { 1.0 })),
            ("nan", fill(&|i| if i == 1 { f64::NAN } else { 0.5 })),
        ];
        for (what, logits) in kinds {
            for dtype in [DType::F32, DType::F64] {
                let loss = Loss { reduction: Reduction::None, ignored: 0, logits: logits.clone(), ..Loss::new(4, classes, dtype) };
                for mut case in [loss.forward(false), loss.backward()] {
                    case.name += &format!(" {what}");
                    all.push(case);
                }
            }
        }
    }
    // Logits that aren't aligned for vectors, and a gradient that is one number, repeated.
    for (rows, classes) in [(8, 10), (8, 1024)] {
        for dtype in [DType::F32, DType::BF16] {
            let loss = Loss::new(rows, classes, dtype);
            for (mut case, logits) in [(loss.forward(false), 0), (loss.forward(true), 0), (loss.backward(), 1)] {
                case.name += " offset";
                case.inputs[logits].lay = Lay::Offset;
                all.push(case.outputs(Lay::Offset));
            }
            let mut case = Loss { reduction: Reduction::None, ..loss }.backward();
            case.name += " repeated";
            case.inputs[0].lay = Lay::Expanded;
            all.push(case);
        }
    }
    for dtype in FLOATS {
        all.extend([2.5, f64::INFINITY, f64::NAN].map(|loss| track(dtype, loss)));
    }
    let mut strided = track(DType::F32, 0.25);
    strided.name += " strided";
    strided.inputs[0].lay = Lay::Strided;
    all.push(strided);
    all
}
