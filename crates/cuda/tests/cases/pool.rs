//! Pooling and its gradients, channels-last and row-major: windows inside, over the padding, overlapping, apart, dilated, hanging over.
use crate::case::{Case, Input, Lay, Values};
use wick_core::dtype::DType;
use wick_core::op::{Op, Pool2d};
use wick_core::ops;
use wick_core::shape::Shape;
use wick_core::tensor::Meta;

fn pool(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], ceil: bool) -> Pool2d {
    Pool2d { kernel, stride, padding, dilation, ceil }
}

/// All four ops of a geometry. The places that the gradient gets are those of maxima of the same images.
fn family(g: Pool2d, shape: &[usize], dtype: DType, lay: Lay) -> Vec<Case> {
    let out = if lay == Lay::ChannelsLast { lay } else { Lay::Contiguous };
    let name = |what: &str| {
        format!(
            "{what} {}x{} / {:?} + {:?} * {:?}{} {shape:?} {dtype:?} {lay:?}",
            g.kernel[0],
            g.kernel[1],
            g.stride,
            g.padding,
            g.dilation,
            if g.ceil { " ceil" } else { "" }
        )
    };
    // Few different numbers: ties are the rule.
    let x = |values: Values| Input::new(shape, dtype).lay(lay).values(values);
    let metas = ops::infer(&Op::MaxPool2d(g), &[Meta::new(Shape::new(shape), dtype)]).expect("a geometry that fits");
    let small = metas[0].shape.to_vec();
    let grad = Input::new(&small, dtype).lay(lay);
    // Maxima are elements, so there is no tolerance; the CPU has them in float32 and float64 only.
    let mut all = vec![Case::new(name("maxPool2d"), Op::MaxPool2d(g), vec![x(Values::Integers(-3, 3))]).outputs(out).tolerance(0.0)];
    let places = Input::new(&small, DType::I64).lay(lay).values(Values::Given(places(&g, shape, &small)));
    let op = Op::MaxPool2dGrad { geometry: g, shape: Shape::new(shape) };
    all.push(Case::new(name("maxPool2dGrad"), op, vec![grad.clone(), places]).outputs(out));
    if g.dilation == [1, 1] {
        all.push(Case::new(name("avgPool2d"), Op::AvgPool2d(g), vec![x(Values::Normal)]).outputs(out));
        all.push(Case::new(name("avgPool2dGrad"), Op::AvgPool2dGrad { geometry: g, shape: Shape::new(shape) }, vec![grad]).outputs(out));
    }
    all
}

/// For each window in row-major order of its coordinates, some element of it inside the plane.
fn places(g: &Pool2d, from: &[usize], to: &[usize]) -> Vec<f64> {
    let inside = |d: usize, o: usize, salt: usize| {
        let taps: Vec<usize> = (0..g.kernel[d])
            .map(|k| o * g.stride[d] + k * g.dilation[d])
            .filter(|p| *p >= g.padding[d] && *p < from[2 + d] + g.padding[d])
            .map(|p| p - g.padding[d])
            .collect();
        taps[salt % taps.len()]
    };
    let n: usize = to.iter().product();
    (0..n)
        .map(|i| {
            let (ox, oy, plane) = (i % to[3], i / to[3] % to[2], i / to[3] / to[2]);
            let salt = ((plane * 7 + oy * 3 + ox * 5 + i / 11) * 2654435761) >> 7;
            (inside(0, oy, salt) * from[3] + inside(1, ox, salt / 5)) as f64
        })
        .collect()
}

pub fn cases() -> Vec<Case> {
    let (one, two) = ([1, 1], [2, 2]);
    let geometries = [
        pool(two, two, [0, 0], one, false),
        pool(two, two, [0, 0], one, true),
        pool([3, 3], two, one, one, false),
        pool([3, 3], two, one, one, true),
        pool([3, 3], one, one, one, false),
        pool([3, 2], [1, 3], one, one, false),
        pool([5, 5], [3, 4], [2, 1], one, true),
        pool([2, 3], [4, 5], [0, 0], one, false),
        pool([3, 2], [2, 1], one, [2, 3], false),
        pool([2, 3], two, one, [3, 2], true),
        pool([7, 9], [1, 1], [0, 0], one, false),
    ];
    let mut all = vec![];
    for dtype in [DType::F32, DType::BF16, DType::F16, DType::F64] {
        for g in geometries {
            for shape in [&[2, 3, 7, 9][..], &[2, 16, 8, 10], &[1, 24, 13, 11]] {
                for lay in [Lay::Contiguous, Lay::ChannelsLast] {
                    all.extend(family(g, shape, dtype, lay));
                }
            }
        }
        let resnet = pool([3, 3], two, one, one, false);
        all.extend(family(resnet, &[4, 64, 112, 112], dtype, Lay::ChannelsLast));
        all.extend(family(pool([7, 7], [7, 7], [0, 0], one, false), &[8, 256, 7, 7], dtype, Lay::ChannelsLast));
        all.extend(family(resnet, &[3, 5, 57, 33], dtype, Lay::Contiguous));
        all.extend(family(pool(two, two, [0, 0], one, false), &[2, 8, 1, 9].map(|n| n + 1), dtype, Lay::ChannelsLast));
        for shape in [&[0, 8, 6, 6][..], &[1, 1, 6, 6], &[1, 8, 2, 2]] {
            all.extend(family(pool(two, two, [0, 0], one, false), shape, dtype, Lay::ChannelsLast));
        }
        for values in [vec![1.0, f64::NAN, 2.0, 0.0, -1.0, f64::NAN, 3.0], vec![f64::NEG_INFINITY], vec![f64::NEG_INFINITY, f64::INFINITY, 0.0]] {
            for lay in [Lay::Contiguous, Lay::ChannelsLast] {
                let x = Input::new(&[2, 16, 7, 9], dtype).lay(lay).values(Values::Given(values.clone()));
                let name = format!("maxPool2d {dtype:?} {lay:?} of {} special numbers", values.len());
                all.push(Case::new(name, Op::MaxPool2d(resnet), vec![x]).outputs(lay).tolerance(0.0));
            }
        }
    }
    all
}
