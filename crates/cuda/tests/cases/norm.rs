//! Batch norm, its gradient, and what plans fuse into them.
use crate::case::{Case, Input, Lay, Reference, Values};
use wick_core::dtype::DType;
use wick_core::op::{NormMask, Op, Sc};

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
/// Of the dtypes that share code with another, each `n`th case.
fn every(dtype: DType, n: usize) -> usize {
    if matches!(dtype, DType::BF16 | DType::F32) { 1 } else { n }
}
/// Away from 0, so that statistics have a relative error that means something.
const X: Values = Values::Between(-1.0, 3.0);

#[derive(Clone, Copy)]
struct Norm<'a> {
    shape: &'a [usize],
    dtype: DType,
    lay: Lay,
    affine: bool,
}

impl Norm<'_> {
    fn name(&self, what: &str) -> String {
        format!("{what} {:?} {:?} {:?}{}", self.shape, self.dtype, self.lay, if self.affine { "" } else { " plain" })
    }
    fn images(&self, values: Values) -> Input {
        Input::new(self.shape, self.dtype).lay(self.lay).values(values)
    }
    fn channels(&self, low: f64, high: f64) -> Input {
        Input::new(&self.shape[1..2], self.dtype.accumulator()).values(Values::Between(low, high))
    }
    fn forward(&self, stats: bool, add: bool, relu: bool) -> Case {
        let mut ins = vec![self.images(X)];
        if self.affine {
            ins.extend([self.channels(-1.5, 1.5), self.channels(-1.0, 1.0)]);
        }
        if stats {
            ins.extend([self.channels(-1.0, 1.0), self.channels(0.5, 2.0)]);
        }
        if add {
            ins.push(self.images(Values::Normal));
        }
        let op = Op::BatchNorm { eps: Sc::new(1e-5), momentum: Sc::new(0.1), affine: self.affine, stats, add, relu };
        let what = format!("batch norm{}{}{}", if stats { " stats" } else { "" }, if add { " add" } else { "" }, if relu { " relu" } else { "" });
        Case::new(self.name(&what), op, ins).outputs(self.out())
    }
    fn backward(&self, mask: NormMask, sum: bool, keep: bool) -> Case {
        let mut ins = vec![self.images(Values::Normal), self.images(X)];
        if self.affine {
            ins.push(self.channels(-1.5, 1.5));
        }
        ins.extend([self.channels(0.5, 1.5), self.channels(0.5, 1.5)]);
        match mask {
            NormMask::Input if self.affine => ins.push(self.channels(-1.0, 1.0)),
            NormMask::Result => ins.push(self.images(Values::Normal)),
            _ => {}
        }
        if sum {
            ins.push(self.images(Values::Normal));
        }
        let op = Op::BatchNormGrad { affine: self.affine, mask, sum, keep };
        let what = format!("batch norm grad {mask:?}{}{}", if sum { " sum" } else { "" }, if keep { " keep" } else { "" });
        let case = Case::new(self.name(&what), op, ins).outputs(self.out());
        // The sum is a tensor of this dtype, whether it is kept or not: rounded, it gives other gradients than in float64.
        Case { reference: if sum { Reference::Same } else { case.reference }, ..case }
    }
    fn out(&self) -> Lay {
        if self.lay == Lay::ChannelsLast { Lay::ChannelsLast } else { Lay::Contiguous }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    // Vectors and single values, one tile and several, tiles that don't come out even, planes of all sizes.
    let shapes: [(&[usize], Lay); 22] = [
        (&[2, 8, 5, 7], Lay::ChannelsLast),
        (&[4, 64, 9, 9], Lay::ChannelsLast),
        (&[3, 6, 5, 5], Lay::ChannelsLast),
        (&[2, 24, 7, 7], Lay::ChannelsLast),
        (&[2, 264, 3, 3], Lay::ChannelsLast),
        (&[2, 320, 4, 4], Lay::ChannelsLast),
        (&[2, 2048, 2, 2], Lay::ChannelsLast),
        (&[2, 1, 9, 9], Lay::ChannelsLast),
        (&[16, 512, 4, 4], Lay::ChannelsLast),
        (&[33, 10], Lay::Contiguous),
        (&[300, 128], Lay::Contiguous),
        (&[2, 7], Lay::Contiguous),
        (&[3, 9000], Lay::Contiguous),
        (&[4, 2101], Lay::Contiguous),
        (&[4, 5, 9], Lay::Contiguous),
        (&[3, 4, 4, 8, 2], Lay::Contiguous),
        (&[4, 3, 32, 32], Lay::Contiguous),
        (&[2, 8, 5, 7], Lay::Contiguous),
        (&[64, 2, 40, 40], Lay::Contiguous),
        (&[1, 300, 6, 6], Lay::Contiguous),
        (&[4, 64, 9, 8], Lay::Offset),
        (&[30, 40], Lay::Offset),
    ];
    for dtype in FLOATS {
        // float16 and float64 run the same code as their neighbours.
        for (shape, lay) in shapes.into_iter().step_by(every(dtype, 3)) {
            for affine in [true, false] {
                let norm = Norm { shape, dtype, lay, affine };
                all.push(norm.forward(affine, false, false));
                all.push(norm.backward(NormMask::None, false, false));
            }
        }
    }
    // Everything that can be fused, where it is fast and where it isn't.
    let fused: [(&[usize], Lay); 5] = [
        (&[4, 64, 9, 9], Lay::ChannelsLast),
        (&[3, 6, 5, 5], Lay::ChannelsLast),
        (&[2, 264, 7, 7], Lay::ChannelsLast),
        (&[4, 5, 8, 8], Lay::Contiguous),
        (&[4, 5, 9], Lay::Contiguous),
    ];
    for dtype in FLOATS {
        for (shape, lay) in fused.into_iter().step_by(every(dtype, 3)) {
            for affine in if shape[1] == 64 { vec![true, false] } else { vec![true] } {
                let norm = Norm { shape, dtype, lay, affine };
                for (add, relu) in [(false, true), (true, false), (true, true)] {
                    all.push(norm.forward(affine, add, relu));
                }
                for mask in [NormMask::None, NormMask::Input, NormMask::Result] {
                    for (sum, keep) in [(false, false), (false, true), (true, false), (true, true)] {
                        if mask != NormMask::None || sum || keep {
                            all.push(norm.backward(mask, sum, keep));
                        }
                    }
                }
            }
        }
    }
    // Many rows: every block takes several, and more blocks where it is large.
    for shape in [[64, 64, 32, 32], [32, 64, 96, 96], [16, 256, 28, 28]] {
        let norm = Norm { shape: &shape, dtype: DType::BF16, lay: Lay::ChannelsLast, affine: true };
        all.extend([norm.forward(true, true, true), norm.backward(NormMask::Result, true, true), norm.backward(NormMask::Input, false, false)]);
    }
    // A mean that is large beside the deviation: float32 holds it to 6e-5, and the result follows.
    for (shape, lay) in [([8, 64, 12, 12], Lay::ChannelsLast), ([8, 4, 30, 30], Lay::Contiguous)] {
        let norm = Norm { shape: &shape, dtype: DType::F32, lay, affine: true };
        let mut case = norm.forward(true, false, false).tolerance(100.0);
        case.name += " far from 0";
        case.inputs[0].values = Values::Between(1000.0, 1001.0);
        all.push(case);
    }
    // One row unlike all others, which sums are taken relative to.
    let norm = Norm { shape: &[20000, 8], dtype: DType::F32, lay: Lay::Contiguous, affine: true };
    let mut case = norm.forward(true, false, false).tolerance(20.0);
    case.name += " outlier";
    case.inputs[0].values = Values::Given((0..20000 * 8).map(|i| if i < 8 { 50.0 } else { (i * 37 % 101) as f64 / 101.0 }).collect());
    all.push(case);
    // Operands in another order than the result's.
    let norm = Norm { shape: &[4, 32, 6, 6], dtype: DType::BF16, lay: Lay::ChannelsLast, affine: true };
    let mut case = norm.forward(true, true, true);
    case.name += " mixed";
    case.inputs[5].lay = Lay::Contiguous;
    all.push(case);
    for lay in [Lay::Contiguous, Lay::Expanded, Lay::Strided] {
        let mut case = norm.backward(NormMask::Result, true, true);
        case.name += &format!(" mixed {lay:?}");
        case.inputs[0].lay = lay;
        case.inputs[5].lay = Lay::Contiguous;
        all.push(case);
    }
    // Running statistics that don't lie side by side.
    let mut case = norm.forward(true, false, false);
    case.name += " strided statistics";
    (case.inputs[3].lay, case.inputs[4].lay) = (Lay::Strided, Lay::Strided);
    all.push(case);
    all
}
