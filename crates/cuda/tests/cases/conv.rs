//! 2-d convolution and its gradients.
use crate::case::{Case, Input, Lay};
use wick_core::dtype::DType;
use wick_core::op::{Conv2d, Op};
use wick_core::shape::Shape;

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

#[derive(Clone, Copy)]
struct Conv {
    x: [usize; 4],
    /// Outputs and kernel.
    weight: [usize; 3],
    geometry: Conv2d,
}

/// Images, outputs and kernel; stride 1, no padding, one group.
const fn conv(x: [usize; 4], weight: [usize; 3]) -> Conv {
    Conv { x, weight, geometry: Conv2d { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 } }
}

impl Conv {
    const fn stride(mut self, stride: [usize; 2]) -> Conv {
        self.geometry.stride = stride;
        self
    }
    const fn padding(mut self, padding: [usize; 2]) -> Conv {
        self.geometry.padding = padding;
        self
    }
    const fn dilation(mut self, dilation: [usize; 2]) -> Conv {
        self.geometry.dilation = dilation;
        self
    }
    const fn groups(mut self, groups: usize) -> Conv {
        self.geometry.groups = groups;
        self
    }
    fn weight(&self) -> [usize; 4] {
        [self.weight[0], self.x[1] / self.geometry.groups, self.weight[1], self.weight[2]]
    }
    fn y(&self) -> [usize; 4] {
        let g = &self.geometry;
        let side = |i: usize| (self.x[2 + i] + 2 * g.padding[i] - g.dilation[i] * (self.weight[1 + i] - 1) - 1) / g.stride[i] + 1;
        [self.x[0], self.weight[0], side(0), side(1)]
    }
    /// The three products. Images and weights lie as `images` and `weights`, results as `out`.
    fn cases(&self, dtype: DType, images: Lay, weights: Lay, out: Lay) -> [Case; 3] {
        let (x, weight, y) = (self.x, self.weight(), self.y());
        let image = |shape: [usize; 4]| Input::new(&shape, dtype).lay(images);
        let filter = Input::new(&weight, dtype).lay(weights);
        let name = |what: &str| format!("{what} {x:?} {weight:?} {:?} {dtype:?} {images:?} {weights:?} {out:?}", self.geometry);
        let geometry = self.geometry;
        let forward = Case::new(name("conv"), Op::Conv2d { geometry, bias: false }, vec![image(x), filter.clone()]);
        let of_input = Op::Conv2dGradInput { geometry, shape: Shape::new(&x) };
        let of_weight = Op::Conv2dGradWeight { geometry, shape: Shape::new(&weight) };
        [
            forward.outputs(out),
            Case::new(name("conv grad input"), of_input, vec![image(y), filter]).outputs(out),
            Case::new(name("conv grad weight"), of_weight, vec![image(y), image(x)]).outputs(out),
        ]
    }
    fn with_bias(&self, dtype: DType, out: Lay) -> Case {
        let ins = vec![Input::new(&self.x, dtype).lay(out), Input::new(&self.weight(), dtype), Input::new(&self.weight[..1], dtype)];
        let name = format!("conv bias {:?} {:?} {dtype:?} {out:?}", self.x, self.weight);
        Case::new(name, Op::Conv2d { geometry: self.geometry, bias: true }, ins).outputs(out)
    }
}

/// Ordinary layers, small.
const LAYERS: [Conv; 18] = [
    conv([4, 64, 14, 14], [64, 3, 3]).padding([1, 1]),
    conv([4, 64, 14, 14], [128, 3, 3]).padding([1, 1]).stride([2, 2]),
    conv([4, 64, 14, 14], [256, 1, 1]),
    conv([4, 64, 14, 14], [128, 1, 1]).stride([2, 2]),
    conv([2, 16, 15, 13], [24, 5, 5]).padding([2, 2]),
    conv([2, 16, 15, 13], [24, 1, 5]).padding([0, 2]).stride([2, 1]),
    conv([2, 16, 12, 12], [8, 3, 2]).padding([1, 0]).dilation([2, 3]),
    conv([2, 32, 9, 9], [32, 3, 3]).padding([2, 2]).dilation([2, 2]),
    conv([4, 32, 9, 9], [64, 3, 3]).padding([1, 1]).groups(4),
    conv([4, 32, 9, 9], [32, 3, 3]).padding([1, 1]).groups(32),
    conv([4, 32, 9, 9], [32, 3, 3]).padding([1, 1]).stride([2, 2]).groups(32),
    conv([2, 12, 9, 9], [15, 3, 3]).padding([1, 1]).groups(3),
    // Channels that aren't multiples of eight.
    conv([4, 64, 8, 8], [10, 3, 3]).padding([1, 1]),
    conv([4, 6, 14, 14], [16, 5, 5]),
    conv([3, 9, 7, 7], [5, 3, 3]),
    // A batch of one, a single pixel, a kernel as large as the image.
    conv([1, 8, 6, 6], [8, 6, 6]),
    conv([5, 16, 1, 1], [8, 1, 1]),
    conv([1, 8, 3, 3], [1, 3, 3]).padding([1, 1]),
];

/// Few channels: padded, or folded where the stride is 2.
const FIRST: [Conv; 12] = [
    conv([2, 3, 32, 32], [64, 7, 7]).padding([3, 3]).stride([2, 2]),
    conv([2, 3, 33, 31], [16, 7, 7]).padding([3, 3]).stride([2, 2]),
    conv([2, 3, 32, 32], [32, 3, 3]).padding([1, 1]).stride([2, 2]),
    conv([2, 4, 17, 18], [8, 4, 5]).padding([1, 2]).stride([2, 2]),
    conv([2, 1, 28, 28], [8, 5, 5]).stride([2, 2]),
    conv([2, 2, 11, 12], [8, 3, 3]).padding([0, 1]).stride([2, 2]),
    conv([4, 3, 32, 32], [64, 3, 3]).padding([1, 1]),
    conv([4, 1, 28, 28], [6, 5, 5]),
    conv([2, 3, 16, 16], [8, 2, 2]).stride([2, 2]),
    conv([2, 5, 16, 16], [8, 3, 3]).padding([1, 1]).stride([2, 2]),
    conv([2, 3, 16, 16], [8, 1, 1]).stride([2, 2]),
    conv([2, 3, 16, 16], [8, 4, 4]).stride([4, 4]),
];

pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    for dtype in FLOATS {
        // float16 takes the ways of bfloat16, and float64 those of float32.
        let main = matches!(dtype, DType::BF16 | DType::F32);
        for conv in LAYERS.iter().chain(&FIRST).step_by(if main { 1 } else { 3 }) {
            all.extend(conv.cases(dtype, Lay::ChannelsLast, Lay::Contiguous, Lay::ChannelsLast));
        }
        if !main {
            continue;
        }
        // A user's batch and weights, before anything is channels-last; and results that aren't either.
        for conv in [LAYERS[0], LAYERS[1], LAYERS[9], LAYERS[13], FIRST[0], FIRST[6]] {
            all.extend(conv.cases(dtype, Lay::Contiguous, Lay::Contiguous, Lay::ChannelsLast));
            all.extend(conv.cases(dtype, Lay::Contiguous, Lay::Contiguous, Lay::Contiguous));
            all.extend(conv.cases(dtype, Lay::ChannelsLast, Lay::ChannelsLast, Lay::ChannelsLast));
        }
        for conv in [LAYERS[0], LAYERS[12], FIRST[0]] {
            all.extend([conv.with_bias(dtype, Lay::ChannelsLast), conv.with_bias(dtype, Lay::Contiguous)]);
        }
        // Not aligned, transposed, repeated.
        for lay in [Lay::Offset, Lay::Transposed, Lay::Expanded] {
            all.extend(LAYERS[0].cases(dtype, lay, Lay::Contiguous, Lay::ChannelsLast));
        }
        all.extend(LAYERS[0].cases(dtype, Lay::Offset, Lay::Offset, Lay::Offset));
        all.extend(LAYERS[1].cases(dtype, Lay::ChannelsLast, Lay::Contiguous, Lay::ChannelsLast).map(Case::deterministic).map(|mut case| {
            case.name += " deterministic";
            case
        }));
    }
    // TF32 keeps 10 bits of the operands.
    all.extend(LAYERS[0].cases(DType::F32, Lay::ChannelsLast, Lay::Contiguous, Lay::ChannelsLast).map(|mut case| {
        case.name += " tf32";
        case.tf32().tolerance(100.0)
    }));
    // Nothing to sum, and nothing to write.
    all.extend(conv([0, 8, 6, 6], [4, 3, 3]).cases(DType::F32, Lay::ChannelsLast, Lay::Contiguous, Lay::ChannelsLast));
    // A layer of its real size.
    all.extend(conv([16, 64, 56, 56], [64, 3, 3]).padding([1, 1]).cases(DType::BF16, Lay::ChannelsLast, Lay::Contiguous, Lay::ChannelsLast));
    all
}
